package testenv

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestAControlPlaneThatIsKilledAndStartedAgainIsWhatItWas(t *testing.T) {
	env, err := Start(t.Context(), Options{CRDs: []string{}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := env.Stop(); err != nil {
			t.Errorf("stopping: %v", err)
		}
	})
	admin := clientFor(t, env.Config)
	keep := func(name string) {
		t.Helper()
		_, err := admin.CoreV1().ConfigMaps("default").Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
	}
	kept := func(names ...string) {
		t.Helper()
		for _, name := range names {
			if _, err := admin.CoreV1().ConfigMaps("default").Get(t.Context(), name, metav1.GetOptions{}); err != nil {
				t.Error(err)
			}
		}
	}
	keep("first")
	etcd, server, err := env.Daemons(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	kept("first")
	keep("second")
	if etcd.Restart(t.Context()) == nil {
		t.Error("what is running was started again")
	}
	etcd.Kill()
	server.Kill()
	start := time.Now()
	for _, d := range []*Daemon{etcd, server} {
		if err := d.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("back in %s", time.Since(start))
	kept("first", "second")
}
