package integration_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/internal/provider"
)

// asideSecrets are what waits for a revocation in the test's namespace.
func (h *harness) asideSecrets() []corev1.Secret {
	h.t.Helper()
	list := &corev1.SecretList{}
	if err := h.api.List(h.ctx, list, client.InNamespace(h.namespace), client.HasLabels{"terminals.dev/revocation"}); err != nil {
		h.t.Fatal(err)
	}
	return list.Items
}

func TestARenewalWhoseAccessTokenIsRefusedGoesOnWithTheNewRefreshToken(t *testing.T) {
	t.Parallel()
	h, s := newRefreshing(t)
	h.untilRenewal("till-1")
	h.wire.seam = refusing("patch Secret till-1-token")
	_, _ = h.try("till-1")
	h.wire.seam = nil
	grant := string(h.secret("till-1-grant").Data["refreshToken"])
	for _, a := range h.asideSecrets() {
		if string(a.Data["refreshToken"]) == grant {
			t.Errorf("the refresh token %s that the session goes on with is queued for revocation in %s", grant, a.Name)
		}
	}
	// And what comes of it, once the provider has been told:
	for _, a := range h.asideSecrets() {
		_ = s.Revoke(h.ctx, provider.Request{Token: string(a.Data["token"]), RefreshToken: string(a.Data["refreshToken"])})
	}
	id := h.get("till-1").Status.SessionID
	h.untilBackoffIsOver("till-1")
	h.settle("till-1")
	h.step(time.Second)
	h.settle("till-1")
	if got := h.get("till-1").Status.SessionID; got != id {
		t.Errorf("session %s is lost, it is now %q: %s", id, got, summary(h.get("till-1")))
	}
}

func TestARenewalThatWasAnotherLoginAndWhoseRefreshTokenIsNotKeptIsPutAside(t *testing.T) {
	t.Parallel()
	h, s := newRefreshing(t)
	h.delete(h.secret("till-1-grant"))
	h.untilRenewal("till-1")
	h.wire.seam = refusing("create Secret till-1-grant")
	_, _ = h.try("till-1")
	h.wire.seam = nil
	aside := h.asideSecrets()
	if len(aside) != 1 || string(aside[0].Data["refreshToken"]) != s.last().refresh {
		t.Errorf("nobody has refresh token %s, and %d are put aside", s.last().refresh, len(aside))
	}
}

func TestAManagerThatIsToldToStopFinishesTheRenewalThatItHasBegun(t *testing.T) {
	t.Parallel()
	for _, confirms := range []bool{false, true} {
		t.Run(fmt.Sprint("confirms=", confirms), func(t *testing.T) {
			h := newHarness(t)
			s := newServing(h)
			s.refreshes = true
			s.confirms = confirms
			h.apply(session("till-1"))
			h.settle("till-1")
			if confirms {
				s.last().approved = true
				h.polled("till-1")
			}
			h.expect("till-1", established)
			id := h.get("till-1").Status.SessionID
			h.untilRenewal("till-1")
			ctx, stop := context.WithCancel(h.loud)
			s.seam = func(do func()) { do(); stop() }
			h.sync()
			_, _ = h.sessions.Reconcile(ctx, h.request("till-1"))
			s.seam = nil
			h.restart()
			h.askOf(s)
			for range 5 {
				h.settle("till-1")
				h.step(time.Second)
			}
			if st := h.get("till-1"); st.Status.SessionID != id {
				t.Errorf("a graceful stop lost session %s: %s", id, summary(st))
			}
		})
	}
}

func TestAGrantThatCouldNotBeWrittenIsWrittenAMomentLater(t *testing.T) {
	t.Parallel()
	h, _ := newRefreshing(t)
	id := h.get("till-1").Status.SessionID
	h.untilRenewal("till-1")
	n := 0
	h.wire.seam = func(write string, do func() error) error {
		if write == "patch Secret till-1-grant" {
			if n++; n == 1 {
				return apierrors.NewServerTimeout(corev1.Resource("secrets"), "patch", 1)
			}
		}
		return do()
	}
	h.settle("till-1")
	if st := h.get("till-1"); st.Status.SessionID != id {
		t.Errorf("one failed write lost session %s: %s", id, summary(st))
	}
}

func TestACrashAfterTheConfirmationAsksThePersonNothingMore(t *testing.T) {
	t.Parallel()
	h, s := newConfirming(t)
	s.last().approved = true
	h.step(5 * time.Second)
	h.killed(moment{2, false}, func() { h.settle("till-1") })
	h.restart()
	h.askOf(s)
	h.settle("till-1")
	h.step(5 * time.Second)
	h.settle("till-1")
	if is := summary(h.get("till-1")); is != established {
		t.Errorf("it has a refresh token for what was confirmed, and is %s", is)
	}
}

func TestADenialSurvivesACrash(t *testing.T) {
	t.Parallel()
	h, s := newConfirming(t)
	s.last().denied = true
	h.step(5 * time.Second)
	h.killed(moment{2, false}, func() { h.settle("till-1") })
	h.restart()
	h.askOf(s)
	h.settle("till-1")
	if is := summary(h.get("till-1")); !strings.Contains(is, "Aborted") {
		t.Errorf("a login that was denied comes to be %s", is)
	}
}

func TestTheStrictServerEndsAllThatCameOfARefreshTokenThatIsUsedTwice(t *testing.T) {
	t.Parallel()
	h, s := newRefreshing(t)
	old := s.last().refresh
	if _, err := s.Renew(h.ctx, provider.Request{RefreshToken: old}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Renew(h.ctx, provider.Request{RefreshToken: old}); err == nil {
		t.Fatal("taken twice")
	}
	if !s.last().dead {
		t.Error("a refresh token was used twice and its family lives")
	}
}

func TestATenantDoesNotChooseWhichProviderIsToldOfWhichSession(t *testing.T) {
	t.Parallel()
	h, _ := newRefreshing(t)
	// what the controller wrote, rewritten by the tenant
	change(h, h.secret("till-1-grant"), func(g *corev1.Secret) {
		description := `{"sessionID":"VICTIM-SESSION-ID","attempt":1,"tell":{"kind":"ClusterSessionProvider","name":"of-others"}}`
		g.Data["refreshToken"] = []byte("victims-token")
		g.Labels["terminals.dev/session-id"] = "VICTIM-SESSION-ID"
		g.Annotations["terminals.dev/grant"] = description
		g.Annotations["terminals.dev/checksum"] = forged("victims-token", "", description)
	})
	h.edit("till-1", to(loggedOut))
	h.settle("till-1")
	for _, a := range h.asideSecrets() {
		if strings.Contains(string(a.Data["revocation"]), "of-others") {
			t.Errorf("the controller is to tell a provider that the tenant has no claim to: %s token=%s refresh=%s",
				a.Data["revocation"], a.Data["token"], a.Data["refreshToken"])
		}
	}
}

func TestForgedGrantsDoNotFillTheControllersNamespace(t *testing.T) {
	t.Parallel()
	h, _ := newRefreshing(t)
	const n = 30
	for i := range n {
		description := fmt.Sprintf(`{"sessionID":"x","attempt":1,"tell":{"kind":"ClusterSessionProvider","name":"nobody-%d"}}`, i)
		token := strings.Repeat("x", 60<<10) + fmt.Sprint(i)
		g := opaque(fmt.Sprint("stray-", i), "refreshToken", token)
		g.Type = "terminals.dev/grant"
		g.Labels = map[string]string{"terminals.dev/session": "till-1", "terminals.dev/grant": "RefreshToken", "terminals.dev/tell": "true"}
		g.Annotations = map[string]string{"terminals.dev/grant": description, "terminals.dev/checksum": forged(token, "", description)}
		s := h.get("till-1")
		g.OwnerReferences = []metav1.OwnerReference{{APIVersion: "terminals.dev/v1", Kind: "TerminalSession", Name: s.Name, UID: s.UID, Controller: new(true)}}
		h.apply(g)
		h.settle("till-1")
	}
	if left := len(h.asideSecrets()); left > 2 {
		t.Errorf("%d forged Secrets became %d in the controller's namespace, each for 30 days at least", n, left)
	}
}

func TestAQuestionThatIsRefusedSaysNothingOfTheSession(t *testing.T) {
	t.Parallel()
	h, s := newChecking(t)
	// as the oauth2 adapter makes of a 401 of the introspection endpoint whose error spec.oauth2.errors has a meaning for
	s.fails = &provider.Error{Kind: provider.Banned, Code: "UserBanned", Message: "the introspection endpoint refused (access_denied)"}
	h.later("till-1", 6*time.Minute)
	s.fails = nil
	if is := summary(h.get("till-1")); is != established {
		t.Errorf("a question that went wrong ended the session: %s", is)
	}
}

// forged is the checksum of a grant as anybody can work it out.
func forged(token, code, description string) string {
	h := sha256.New()
	for _, part := range []string{token, code, description} {
		_, _ = fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	return hex.EncodeToString(h.Sum(nil))
}

func TestAnAuthTokenOfALineBreakIsNone(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	change(h, h.provider(issuer), func(p *v1.SessionProvider) { p.Spec.SecureLogin = new(true) })
	h.look(h.provider(issuer))
	h.apply(opaque("auth", "key", "\n"))
	h.apply(session("till-1", func(sp *v1.TerminalSessionSpec) {
		sp.AuthTokenSecretRef = &v1.TokenKeyReference{Name: "auth", Key: "key"}
	}))
	h.settle("till-1")
	if is := summary(h.get("till-1")); is == established {
		t.Error("it is logged in without an auth token, though the provider has secure login")
	}
}

func TestAGrantWithAForgedAttemptKeepsNoOtherFromBeingWritten(t *testing.T) {
	t.Parallel()
	h, s := newRefreshing(t)
	change(h, h.secret("till-1-grant"), func(g *corev1.Secret) { g.Labels["terminals.dev/attempt"] = "500" })
	for range 2 {
		h.untilRenewal("till-1")
		h.settle("till-1")
		h.expect("till-1", established)
		if got := string(h.secret("till-1-grant").Data["refreshToken"]); got != s.last().refresh {
			t.Errorf("the grant has %s, want %s", got, s.last().refresh)
		}
	}
	h.expectLive(s, 1) // the first access token, until the refresh token that came with it is revoked
}
