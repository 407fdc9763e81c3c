package integration_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/internal/provider"
	"terminals.dev/session-controller/internal/tokenstore"
)

// secrets are the tokens and keys of a test, and what they are made of.
func (h *harness) secrets() []string {
	h.t.Helper()
	var all []string
	add := func(secret string) { all = append(all, secret, base64.StdEncoding.EncodeToString([]byte(secret))) }
	for _, token := range h.answers.tokens {
		parts := strings.Split(token, ".")
		if len(parts) != 3 {
			h.t.Fatalf("a token has %d parts", len(parts))
		}
		add(token)
		add(parts[1])
		add(parts[2])
	}
	list := &corev1.SecretList{}
	if err := h.api.List(h.ctx, list, client.InNamespace(h.namespace), client.MatchingLabels{tokenstore.LabelProvider: issuer}); err != nil {
		h.t.Fatal(err)
	}
	for i := range list.Items {
		pem := string(list.Items[i].Data[tokenstore.KeyPrivateKey])
		add(pem)
		for line := range strings.Lines(pem) {
			if !strings.HasPrefix(line, "-----") {
				all = append(all, strings.TrimSpace(line))
			}
		}
	}
	return append(all, "proof-of-anna")
}

// told is everything that the controller has told anybody, the Secrets' own contents aside.
func (h *harness) told() map[string]string {
	h.t.Helper()
	told := map[string]string{"the log": h.log.String(), "the events": strings.Join(h.events, "\n"), "the errors": fmt.Sprint(errors.Join(h.errors...))}
	note := func(obj client.Object) {
		text, err := json.Marshal(obj) // managedFields too
		if err != nil {
			h.t.Fatal(err)
		}
		told[fmt.Sprintf("%T %s", obj, obj.GetName())] = string(text)
	}
	sessions, providers, secrets := &v1.TerminalSessionList{}, &v1.SessionProviderList{}, &corev1.SecretList{}
	for _, list := range []client.ObjectList{sessions, providers, secrets} {
		if err := h.api.List(h.ctx, list, client.InNamespace(h.namespace)); err != nil {
			h.t.Fatal(err)
		}
	}
	for i := range sessions.Items {
		note(&sessions.Items[i])
	}
	for i := range providers.Items {
		note(&providers.Items[i])
	}
	for i := range secrets.Items {
		secrets.Items[i].Data = nil
		note(&secrets.Items[i])
	}
	families, err := h.metrics.Gather()
	if err != nil {
		h.t.Fatal(err)
	}
	for _, family := range families {
		told["the metrics"] += family.String() + "\n"
	}
	return told
}

func TestNoTokenOrKeyIsToldToAnybody(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.provide(sessionProvider("secure", secureLogin))
	h.apply(opaque("anna-auth", "token", "proof-of-anna"))
	h.loggedIn(session("till-1"), session("till-2", at(v1.KindSessionProvider, "secure"), withAuthToken("anna-auth")), session("till-3", oneShot))
	h.untilRenewal("till-1")
	h.settle("till-1", "till-2", "till-3")

	// All that can go wrong with a token at hand.
	fails := func(with answer) {
		h.answers.say(with)
		h.annotate("till-1", v1.AnnotationRenewRequested, fmt.Sprint(len(h.errors)))
		_, _ = h.try("till-1")
		h.answers.say(nil)
		h.annotate("till-1", v1.AnnotationLoginRequested, fmt.Sprint(len(h.errors)))
		h.settle("till-1")
	}
	fails(wrongIdentity)
	fails(lasts(0))
	fails(func(give func() (provider.Token, error)) (provider.Token, error) {
		token, err := give()
		return token, errors.Join(err, &provider.Error{Kind: provider.Unavailable, Message: "cut off"})
	})
	fails(meanwhile(func() { h.delete(h.secret("till-1-token")) }))
	fails(meanwhile(func() { change(h, h.secret("till-1-token"), putting("token", "forged")) }))
	change(h, h.secret("till-1-token"), func(s *corev1.Secret) { s.Immutable = new(true) })
	fails(nil)
	h.wire.seam = func(string, func() error) error { return errors.New("the API server is gone") }
	h.annotate("till-2", v1.AnnotationRenewRequested, "1")
	_, _ = h.try("till-2")
	h.wire.seam = nil
	h.edit("till-2", to(inSecret("moved")))
	h.settle("till-2")
	h.delete(h.keySecret())
	h.look(h.provider(issuer))
	h.untilRenewal("till-1")
	h.settle("till-1", "till-2", "till-3")
	h.edit("till-1", to(loggedOut))
	h.settle("till-1")

	secrets := h.secrets()
	if len(h.answers.tokens) < 8 || len(h.events) == 0 || h.log.Len() == 0 {
		t.Fatalf("there is too little to search: %d tokens, %d events, %d bytes of log", len(h.answers.tokens), len(h.events), h.log.Len())
	}
	for what, text := range h.told() {
		for _, secret := range secrets {
			if strings.Contains(text, secret) {
				t.Errorf("a token or key, or a part of one, is in %s:\n%s", what, text)
				break
			}
		}
	}
}
