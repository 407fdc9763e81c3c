package integration_test

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/controllers"
)

// frozen returns a cache that has everything as it is now, and learns nothing more.
func (h *harness) frozen() client.Reader {
	h.t.Helper()
	h.sync()
	options := controllers.CacheOptions()
	options.Scheme = plane.live.Scheme()
	options.DefaultNamespaces = map[string]cache.Config{h.namespace: {}}
	c, err := cache.New(plane.env.Config, options)
	if err != nil {
		h.t.Fatal(err)
	}
	ctx, freeze := context.WithCancel(h.ctx)
	defer freeze()
	if err := controllers.Index(ctx, c, true); err != nil {
		h.t.Fatal(err)
	}
	stopped := make(chan error)
	go func() { stopped <- c.Start(ctx) }()
	if !c.WaitForCacheSync(ctx) {
		h.t.Fatal("the cache does not fill")
	}
	for _, list := range []client.ObjectList{&v1.TerminalSessionList{}, secretsMetadata(), &v1.SessionBanList{}, &v1.SessionLogoutList{}} {
		if err := c.List(ctx, list); err != nil {
			h.t.Fatal(err)
		}
	}
	freeze()
	if err := <-stopped; err != nil {
		h.t.Fatal(err)
	}
	return c
}

func secretsMetadata() *metav1.PartialObjectMetadataList {
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("SecretList"))
	return list
}

func TestAReplicaWhoseCacheIsBehindDoesNoDamage(t *testing.T) {
	t.Parallel()
	for _, change := range changes {
		for behind, kinds := range map[string][]string{
			"sessions":             {"TerminalSession"},
			"Secrets":              {"Secret"},
			"sessions and Secrets": {"TerminalSession", "Secret"},
		} {
			t.Run(change.name+", behind with "+behind, func(t *testing.T) {
				t.Parallel()
				h := newHarness(t)
				change.bring(h)
				old := h.frozen()
				h.settle("till-1")
				h.expect("till-1", change.is)
				before := h.get("till-1")

				h.restart() // the other replica remembers nothing of what was written
				h.wire.frozen = map[string]client.Reader{}
				for _, kind := range kinds {
					h.wire.frozen[kind] = old
				}
				for range 3 {
					_, _ = h.try("till-1") // a conflict, if anything
				}
				if diff := cmp.Diff(before, h.get("till-1")); diff != "" {
					t.Errorf("it has written status (-before +after):\n%s", diff)
				}
				h.wire.frozen = nil
				h.settle("till-1")

				h.expect("till-1", change.is)
				h.expectOnly(change.secret)
				if diff := cmp.Diff(before, h.get("till-1")); diff != "" {
					t.Errorf("it has left something to mend (-before +after):\n%s", diff)
				}
			})
		}
	}
}

func TestAReplicaThatDoesNotKnowASessionYetLeavesItsSecret(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	old := h.frozen()
	h.loggedIn(session("till-1"))
	token := h.token("till-1-token")

	h.restart()
	h.wire.frozen = map[string]client.Reader{"TerminalSession": old}
	_, _ = h.try("till-1")
	h.wire.frozen = nil
	h.settle("till-1")

	h.expect("till-1", "Established: Ready (Established)")
	if h.token("till-1-token") != token {
		t.Error("the token is another")
	}
}

func TestAProviderReplicaWhoseCacheIsBehindMakesNoSecondKey(t *testing.T) {
	t.Parallel()
	for name, write := range map[string]func(h *harness, p v1.Provider){
		"its key recorded": func(h *harness, p v1.Provider) { h.look(p) },
		"its key not yet recorded": func(h *harness, p v1.Provider) {
			if !h.killed(moment{write: 1, after: true}, func() { h.look(p) }) {
				h.t.Fatal("the controller lives")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t)
			p := sessionProvider("other")
			h.apply(p)
			old := h.frozen()
			write(h, p)

			h.restart()
			h.wire.frozen = map[string]client.Reader{"Secret": old}
			h.look(p)

			h.expectProvider(p, "True (Ready)") // no false alarm either
			if names := h.signingKeys(h.namespace, "other"); len(names) != 1 {
				t.Errorf("the keys are %v, want one", names)
			}
		})
	}
}
