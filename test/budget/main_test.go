// Package budget counts what the controller costs the API server, by the API server's own metrics, with nobody else at work: the manager
// is a process of its own, and every request to a session or a Secret is either its or the test's.
package budget

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/test/testenv"
)

// fleet is how many sessions each test has.
const fleet = 100

func TestMain(m *testing.M) { testenv.Main(func() int { return suite(m) }) }

var (
	env    *testenv.Env
	api    client.WithWatch
	binary string
	ports  [3]int // of every manager, so that a restart is one and no change of address
)

func suite(m *testing.M) int {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Minute) // the first time, binaries are built
	defer cancel()
	if err := start(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	if err := env.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, "stopping:", err)
		return 1
	}
	return code
}

func start(ctx context.Context) (err error) {
	if env, api, binary, err = testenv.StartProduct(ctx); err != nil {
		return err
	}
	free, err := testenv.FreePorts(0, 0, 0)
	if err != nil {
		return err
	}
	ports = [3]int(free)
	return env.Apply(ctx, `
apiVersion: terminals.dev/v1
kind: ClusterSessionProvider
metadata: {name: default}
spec: {embedded: {}, allow: [{}]}`)
}

// providerReady waits for the provider, so that no session has to.
func providerReady(t *testing.T) {
	t.Helper()
	if _, err := env.Kubectl(t.Context(), "wait", "--for=condition=Ready", "clustersessionprovider/default", "--timeout=30s"); err != nil {
		t.Fatal(err)
	}
}

func startManager(t *testing.T, args ...string) *testenv.Manager {
	t.Helper()
	m, err := env.StartManager(t.Context(), testenv.ManagerOptions{Binary: binary, Dir: filepath.Join(env.Dir, "manager"), Args: args, Ports: ports})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		m.Kill()
		if strings.Contains(m.Output(), "orbidden") {
			t.Error("config/rbac does not grant all that the manager does")
		}
		if t.Failed() {
			t.Log(m.Output())
		}
	})
	return m
}

// create makes the fleet in a namespace of its own.
func create(t *testing.T, namespace string) {
	t.Helper()
	if err := api.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}); err != nil {
		t.Fatal(err)
	}
	for i := range fleet {
		s := &v1.TerminalSession{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: fmt.Sprintf("till-%03d", i)}}
		s.Spec.Terminal.ID = s.Name
		if err := api.Create(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
}

// each changes every session of the fleet, in one write each.
func each(t *testing.T, namespace string, change func(*v1.TerminalSession)) {
	t.Helper()
	for _, s := range sessions(t, namespace) {
		before := s.DeepCopy()
		change(&s)
		if err := api.Patch(t.Context(), &s, client.MergeFrom(before)); err != nil {
			t.Fatal(err)
		}
	}
}

func sessions(t *testing.T, namespace string) []v1.TerminalSession {
	t.Helper()
	list := &v1.TerminalSessionList{}
	if err := api.List(t.Context(), list, client.InNamespace(namespace)); err != nil {
		t.Fatal(err)
	}
	return list.Items
}

func tokens(t *testing.T, namespace string) []corev1.Secret {
	t.Helper()
	list := &corev1.SecretList{}
	if err := api.List(t.Context(), list, client.InNamespace(namespace)); err != nil {
		t.Fatal(err)
	}
	return list.Items
}

// until waits until every session of the fleet is so.
func until(t *testing.T, m *testenv.Manager, namespace, what string, is func(*v1.TerminalSession) bool) {
	t.Helper()
	missing := 0
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		missing = 0
		for _, s := range sessions(t, namespace) {
			if !is(&s) {
				missing++
			}
		}
		if missing == 0 {
			return
		}
		<-time.After(50 * time.Millisecond)
	}
	t.Fatalf("%d of %d sessions are not %s; the manager's last words:\n%s", missing, fleet, what, m.Tail(15))
}

func isEstablished(s *v1.TerminalSession) bool { return s.Status.Phase == v1.PhaseEstablished }

func counts(t *testing.T) testenv.Counts {
	t.Helper()
	c, err := env.RequestCounts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return c
}
