package integration_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/internal/tokenstore"
)

// newTelling is a harness whose providers have to be told when a token is over. What is put aside for them is in the test's namespace.
func newTelling(t *testing.T) *harness {
	t.Helper()
	h := newHarness(t)
	h.answers.tell = true
	h.restart()
	return h
}

// aside are the tokens that were put aside, in order.
func (h *harness) aside() []string {
	h.t.Helper()
	list := &corev1.SecretList{}
	if err := h.api.List(h.ctx, list, client.InNamespace(h.namespace), client.MatchingFields{"type": string(tokenstore.TypeRevocation)}); err != nil {
		h.t.Fatal(err)
	}
	var all []string
	for _, s := range list.Items {
		all = append(all, string(s.Data[tokenstore.KeyToken]))
	}
	slices.Sort(all)
	return all
}

// expectAside checks which tokens were put aside, and makes the names of their Secrets, which nobody can foretell, the word Secret.
func (h *harness) expectAside(tokens ...string) {
	h.t.Helper()
	want := slices.Sorted(slices.Values(tokens))
	if got := h.aside(); !slices.Equal(got, want) {
		h.t.Errorf("%d tokens were put aside, want these %d: %v", len(got), len(want), want)
	}
	for i, w := range h.wire.writes {
		if strings.HasPrefix(w, "create Secret revocation-") {
			h.wire.writes[i] = "create Secret"
		}
	}
}

func TestASessionWhoseProviderMustBeToldHasTheFinalizerBeforeItsToken(t *testing.T) {
	t.Parallel()
	h := newTelling(t)
	h.apply(session("till-1"))
	h.settle("till-1")
	h.expect("till-1", established)
	h.expectWrites("patch TerminalSession till-1", "create Secret till-1-token", "patch TerminalSession/status till-1")
	if got := h.get("till-1").Finalizers; !slices.Equal(got, []string{v1.Finalizer}) {
		t.Errorf("the finalizers are %v", got)
	}
	h.answers.tell = false
	h.loggedIn(session("till-2"))
	if got := h.get("till-2").Finalizers; len(got) > 0 {
		t.Errorf("where nobody is to be told the finalizers are %v", got)
	}
}

// ends are the ways in which a session ends, and what it is then.
var ends = []struct {
	name string
	end  func(*harness)
	is   string
}{
	{"desiredState LoggedOut", func(h *harness) { h.edit("till-1", to(loggedOut)) }, "NotLoggedIn: Ready (LoggedOut)"},
	{"a ban", func(h *harness) { h.apply(ban("anna")) }, terminated},
	{"a sign-out", func(h *harness) { l := logout("out"); h.apply(l); h.advance(l); h.wire.taken() }, signedOut},
	{"deletion", func(h *harness) { h.delete(h.get("till-1")) }, ""},
}

func TestAnEndPutsTheTokenAsideAndWaitsForNoProvider(t *testing.T) {
	t.Parallel()
	for what, provider := range map[string]func(*harness){
		"there":   func(*harness) {},
		"down":    func(h *harness) { h.answers.say(unavailable) },
		"deleted": func(h *harness) { h.delete(h.provider(issuer)) },
		"not ready": func(h *harness) {
			change(h, h.provider(issuer), func(p *v1.SessionProvider) { unusable(&p.Spec) })
			h.look(h.provider(issuer))
		},
	} {
		for _, test := range ends {
			t.Run(test.name+" with the provider "+what, func(t *testing.T) {
				t.Parallel()
				h := newTelling(t)
				h.loggedIn(session("till-1"))
				token := h.token("till-1-token")
				provider(h)
				h.answers.taken()
				h.wire.taken()
				test.end(h)
				h.reconcile("till-1")
				h.expectAside(token)
				h.expectNo("till-1-token")
				h.expectCalls()
				last := "patch TerminalSession/status till-1"
				if test.is == "" {
					last = "patch TerminalSession till-1" // the finalizer
					if err := h.api.Get(h.ctx, h.key("till-1"), &v1.TerminalSession{}); !apierrors.IsNotFound(err) {
						t.Errorf("the object is still there (%v)", err)
					}
				} else {
					h.expect("till-1", test.is)
				}
				h.expectWrites("create Secret", "delete Secret till-1-token", last)
			})
		}
	}
}

func TestNoTokenIsLostWhereverAnEndIsCutShort(t *testing.T) {
	t.Parallel()
	for _, test := range ends {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			for write := 1; ; write++ {
				for _, after := range []bool{false, true} {
					h := newTelling(t)
					h.loggedIn(session("till-1"))
					token := h.token("till-1-token")
					test.end(h)
					if !h.killed(moment{write, after}, func() { h.settle("till-1") }) {
						if write < 4 {
							t.Fatalf("it takes %d writes only", write-1)
						}
						return
					}
					h.restart()
					h.settle("till-1")
					h.expectAside(token)
					h.expectNo("till-1-token")
					if test.is == "" {
						if err := h.api.Get(h.ctx, h.key("till-1"), &v1.TerminalSession{}); !apierrors.IsNotFound(err) {
							t.Errorf("killed %v, the object stays (%v)", moment{write, after}, err)
						}
					} else {
						h.expect("till-1", test.is)
					}
				}
			}
		})
	}
}

func TestOnAHandoverTheProviderThatIssuedTheTokenIsTold(t *testing.T) {
	t.Parallel()
	h := newTelling(t)
	h.provide(sessionProvider("other"))
	h.loggedIn(session("till-1"))
	token := h.token("till-1-token")
	h.edit("till-1", to(at(v1.KindSessionProvider, "other")))
	h.settle("till-1")
	h.expect("till-1", established)
	h.expectAside(token)
	list := &corev1.SecretList{}
	if err := h.api.List(h.ctx, list, client.InNamespace(h.namespace), client.HasLabels{tokenstore.LabelRevocation}); err != nil {
		t.Fatal(err)
	}
	want := tokenstore.ProviderReference{Kind: v1.KindSessionProvider, Namespace: h.namespace, Name: issuer}.Label()
	if len(list.Items) != 1 || list.Items[0].Labels[tokenstore.LabelRevocation] != want {
		t.Errorf("another provider is told: %v", list.Items)
	}
}

func TestATokenThatHasMovedIsNotPutAside(t *testing.T) {
	t.Parallel()
	h := newTelling(t)
	h.loggedIn(session("till-1"))
	h.edit("till-1", to(inSecret("moved")))
	h.settle("till-1")
	h.expectOnly("moved")
	h.expectAside()
}

func TestATokenWhoseSecretOthersDeletedIsCounted(t *testing.T) {
	t.Parallel()
	h := newTelling(t)
	h.loggedIn(session("till-1"), session("till-2"), session("till-3"))
	h.delete(h.secret("till-1-token"))
	h.settle("till-1")
	h.delete(h.secret("till-2-token"))
	h.delete(h.get("till-2"))
	h.settle("till-2")
	change(h, h.secret("till-3-token"), putting("token", "forged"))
	h.settle("till-3")
	h.expectAside()
	if got := h.metric("terminalsession_revocations_total", "Lost"); got != 3 {
		t.Errorf("%v are counted as lost, want 3", got)
	}
}

// A namespace that goes takes its Secrets in whatever order, and nothing can be made in it.
func TestASessionGoesWithItsNamespace(t *testing.T) {
	t.Parallel()
	h := newTelling(t)
	h.providers.Namespace = systemNamespace
	h.loggedIn(session("till-1"))
	h.delete(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: h.namespace}})
	h.delete(h.get("till-1"))
	h.settle("till-1")
	if err := h.api.Get(h.ctx, h.key("till-1"), &v1.TerminalSession{}); !apierrors.IsNotFound(err) {
		t.Errorf("the object stays (%v)", err)
	}
	h.expectNo("till-1-token")
}

func TestAFinalizerOfSomebodyElsesStays(t *testing.T) {
	t.Parallel()
	h := newTelling(t)
	held := session("till-1")
	held.Finalizers = []string{"example.com/audit"}
	h.loggedIn(held)
	h.delete(h.get("till-1"))
	h.settle("till-1")
	if got := h.get("till-1").Finalizers; !slices.Equal(got, []string{"example.com/audit"}) {
		t.Errorf("the finalizers are %v", got)
	}
	h.step(time.Hour)
	h.wire.taken()
	h.settle("till-1")
	h.expectWrites()
	h.expectCalls()
}
