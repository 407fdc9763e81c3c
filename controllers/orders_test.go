package controllers

import (
	"context"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	v1 "terminals.dev/session-controller/api/v1"
)

func TestABanWakesWhomItMayMatchThoughANamespaceIsUnknown(t *testing.T) {
	scheme := runtime.NewScheme()
	_ = clientgoscheme.AddToScheme(scheme)
	_ = v1.AddToScheme(scheme)
	of := func(ns string) *v1.TerminalSession {
		return &v1.TerminalSession{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "till-1"}, Spec: v1.TerminalSessionSpec{User: &v1.User{Email: "mallory@acme.example"}}}
	}
	c := fake.NewClientBuilder().WithScheme(scheme).WithObjects(of("shop"), of("brand-new"),
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop", Labels: map[string]string{"tenant": "yes"}}}).
		WithIndex(&v1.TerminalSession{}, indexMatch, func(o client.Object) []string { return matchShelves(o.(*v1.TerminalSession)) }).Build()
	r := &TerminalSessionReconciler{Client: c, Orders: &Orders{Reader: c, Clock: clocktesting.NewFakePassiveClock(time.Now())}}
	b := &v1.ClusterSessionBan{ObjectMeta: metav1.ObjectMeta{Name: "mallory"}}
	b.Spec.Match.User, b.Spec.Code = "mallory@acme.example", "UserBanned"
	b.Spec.NamespaceSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"tenant": "yes"}}
	if got := r.ofBan(context.Background(), b); len(got) == 0 {
		t.Errorf("the ban wakes nobody, not even shop/till-1, since the namespace of another session is not in the cache yet")
	}
}
