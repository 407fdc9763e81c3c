package controllers

import (
	"context"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/internal/session"
)

// listed is a cache that has the same sessions for whoever asks.
type listed struct {
	client.Client
	sessions []v1.TerminalSession
}

func (l *listed) List(_ context.Context, into client.ObjectList, _ ...client.ListOption) error {
	into.(*v1.TerminalSessionList).Items = l.sessions
	return nil
}

func TestWhatAProviderWakesHasTheUrgencyThatItHasByItself(t *testing.T) {
	t.Parallel()
	_, clock := at(time.Now())
	all := &listed{sessions: make([]v1.TerminalSession, 4)}
	for i, name := range []string{"login", "renewal", "rest", "another's"} {
		all.sessions[i].Name, all.sessions[i].Spec.Type = name, v1.Continuous
		all.sessions[i].Spec.ProviderRef = v1.ProviderReference{Kind: v1.KindSessionProvider, Name: "oidc"}
	}
	all.sessions[3].Spec.ProviderRef.Kind = v1.KindClusterSessionProvider
	for i, renewAt := range []time.Duration{1: -time.Minute, 2: time.Hour} {
		if renewAt != 0 {
			due, over := metav1.NewTime(clock.Now().Add(renewAt)), metav1.NewTime(clock.Now().Add(renewAt+2*time.Minute))
			all.sessions[i].Status.Token = &v1.TokenStatus{RenewAt: &due, ExpiresAt: over}
		}
	}
	r := &TerminalSessionReconciler{Client: all, Clock: clock}
	q := priorityqueue.New[reconcile.Request]("test")
	t.Cleanup(q.ShutDown)
	p := &v1.SessionProvider{ObjectMeta: metav1.ObjectMeta{Name: "oidc"}}
	r.waking(r.ofProvider).Update(context.Background(), event.UpdateEvent{ObjectOld: p, ObjectNew: p}, q)

	for i, want := range []string{"renewal", "login", "rest"} {
		item, priority, _ := q.GetWithPriority()
		if item.NamespacedName != (types.NamespacedName{Name: want}) {
			t.Errorf("at %d there is %s, with priority %d, want %s", i, item.Name, priority, want)
		}
		if want == "login" && priority != session.PriorityLogin {
			t.Errorf("a login has priority %d", priority)
		}
	}
	if n := q.Len(); n != 0 {
		t.Errorf("%d more are woken", n)
	}
}
