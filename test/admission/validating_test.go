package admission

import (
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"terminals.dev/session-controller/test/testenv"
)

// before136 is an API server as it was before 1.36, without the kind MutatingAdmissionPolicy; 1.34 is as far back as 1.37 goes. It takes
// config/default-before-1.36 as a whole.
func before136(t *testing.T) *cluster {
	t.Helper()
	env, err := testenv.Start(t.Context(), testenv.Options{APIServerFlags: map[string]string{"emulated-version": "1.34"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := env.Stop(); err != nil {
			t.Errorf("stopping: %v", err)
		}
	})
	c, err := newCluster(t.Context(), env)
	if err != nil {
		t.Fatal(err)
	}
	mutating := &unstructured.Unstructured{}
	mutating.SetAPIVersion("admissionregistration.k8s.io/v1")
	mutating.SetKind("MutatingAdmissionPolicy")
	if err := c.admin.api.Get(t.Context(), client.ObjectKey{Name: "requested-by.terminals.dev"}, mutating); !meta.IsNoMatchError(err) {
		t.Fatalf("asking for a MutatingAdmissionPolicy: %v, want that there is no such kind", err)
	}
	if err := c.install(t.Context(), "config/default-before-1.36"); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestTheValidatingHalfAlone(t *testing.T) {
	t.Parallel()
	c := before136(t)

	t.Run("a name that is left out is refused, and what the answer says to write is taken", func(t *testing.T) {
		eachKind(t, c, func(t *testing.T, m manifest) {
			eachWay(t, m, func(t *testing.T, m manifest, create creation) {
				_, err := create(t, c.anna, m)
				if m.by = advised(t, err); m.by != c.anna.name {
					t.Fatalf("the answer %q says to write %q, want %q", err, m.by, c.anna.name)
				}
				if made, err := create(t, c.anna, m); err != nil || by(made) != c.anna.name {
					t.Errorf("as it says: %v", err)
				}
			})
		})
	})

	t.Run("a name that is left empty is refused like one that is left out", func(t *testing.T) {
		eachKind(t, c, func(t *testing.T, m manifest) {
			says(t, c.anna.api.Create(t.Context(), emptyName(t, m)), "write requestedBy: 'anna@acme.example'")
		})
	})

	t.Run("a forged name is refused", func(t *testing.T) {
		eachKind(t, c, func(t *testing.T, m manifest) {
			m.by = c.ben.name
			err := c.anna.api.Create(t.Context(), m.object())
			says(t, err, "spec.requestedBy must be your own user name; write requestedBy: 'anna@acme.example'")
		})
	})

	t.Run("a manifest with the name can be applied again, by others too", func(t *testing.T) {
		eachKind(t, c, func(t *testing.T, m manifest) {
			m.by = c.anna.name
			for i, flags := range [][]string{{"apply"}, {"apply", "--server-side"}} {
				m.name = fmt.Sprintf("%s-%d", m.namespace, i)
				for _, u := range []*user{c.anna, c.anna, c.ben} {
					if _, err := u.kubectl(t, append(flags, "-f", m.file(t))...); err != nil {
						t.Error(err)
					}
				}
			}
		})
	})

	t.Run("a ban's name can be neither changed nor removed, and the answer says what to write", func(t *testing.T) {
		t.Parallel()
		ns := c.namespace(t)
		for _, kind := range kinds[:2] {
			m := manifest{kind: kind, namespace: ns, name: ns, by: c.anna.name}
			if _, err := byKubectl("apply")(t, c.anna, m); err != nil {
				t.Fatal(err)
			}
			for way, change := range changes {
				for _, name := range []string{c.ben.name, ""} {
					t.Run(fmt.Sprintf("%s, %s, to %q", kind, way, name), func(t *testing.T) {
						m := m
						m.by, m.reason = name, "card skimmer found by way of "+way
						err := change(t, c.ben, m)
						if m.by == "" && err == nil && way == "kubectl apply, server-side" {
							return // Ben's manager never had the field, so it is not taken away
						}
						if m.by = advised(t, err); m.by != c.anna.name {
							t.Fatalf("the answer %q says to write %q, want %q", err, m.by, c.anna.name)
						}
						if err := change(t, c.ben, m); err != nil {
							t.Errorf("as it says: %v", err)
						}
					})
				}
			}
			if got := c.requestedBy(t, m.object()); got != c.anna.name {
				t.Errorf("requestedBy is %q, want %q", got, c.anna.name)
			}
		}
	})

	t.Run("what is older than the policies can be changed, and stays without a name", func(t *testing.T) {
		t.Parallel()
		m := manifest{kind: "SessionBan", namespace: "default", name: "old", reason: "card skimmer found"}
		if _, err := byKubectl("apply")(t, c.anna, m); err != nil {
			t.Fatal(err)
		}
	})

	t.Run("the controller's own writes pass", func(t *testing.T) {
		eachKind(t, c, func(t *testing.T, m manifest) {
			m.by = c.anna.name
			controllerWrites(t, c, m)
		})
	})
}

// advised reads what an answer says to write, as YAML.
func advised(t *testing.T, err error) string {
	t.Helper()
	says(t, err, "; write requestedBy: ")
	_, advice, _ := strings.Cut(strings.TrimSpace(err.Error()), "; write ")
	var written struct {
		RequestedBy string `json:"requestedBy"`
	}
	if err := yaml.Unmarshal([]byte(advice), &written); err != nil {
		t.Errorf("%q is no YAML: %v", advice, err)
	}
	return written.RequestedBy
}
