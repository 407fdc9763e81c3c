package budget

import (
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "terminals.dev/session-controller/api/v1"
)

// TestADeletedSessionLosesItsSecretWithinASecond has no garbage collector beside it: the controller alone deletes.
func TestADeletedSessionLosesItsSecretWithinASecond(t *testing.T) {
	const ns, tries = "deletion", 20
	m := startManager(t, "--endpoint-auth=None")
	providerReady(t)
	if err := api.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns}}); err != nil {
		t.Fatal(err)
	}
	var took []time.Duration
	for range tries {
		s := &v1.TerminalSession{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "till-1"}}
		s.Spec.Terminal.ID = "T-1"
		if err := api.Create(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		until(t, m, ns, "established", isEstablished)
		begin := time.Now()
		if err := api.Delete(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		for len(tokens(t, ns)) > 0 {
			if time.Since(begin) > 30*time.Second {
				t.Fatalf("the Secret is still there; the manager's last words:\n%s", m.Tail(15))
			}
			<-time.After(time.Millisecond)
		}
		took = append(took, time.Since(begin))
	}
	slices.Sort(took)
	t.Logf("from the deletion to the Secret gone: median %s, longest %s of %d", took[tries/2], took[tries-1], tries)
	if took[tries/2] > time.Second {
		t.Errorf("it took %s, want less than a second", took[tries/2])
	}
}
