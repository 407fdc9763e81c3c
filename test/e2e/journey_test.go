package e2e

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/internal/provider/embedded"
)

func secret(t *testing.T, namespace, name string) *corev1.Secret {
	t.Helper()
	found := &corev1.Secret{}
	err := api.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: name}, found)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestAnAppliedSessionIsEstablishedAndItsTokenVerifies(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	apply(t, manifest(ns, "till-07", `user: {email: Anna@acme.example}, purpose: AppLogin, terminal: {id: T-7, serialNumber: SN-7}, token: {scopes: [payments], audiences: [https://pay.example]}`))
	s := established(t, ns, "till-07")
	token := string(secret(t, ns, "till-07-token").Data["token"])

	got := claims(t, manager.Issuer+embedded.Path("", "default"), token)
	for claim, want := range map[string]any{
		"iss": manager.Issuer + "/clusterproviders/default", "sub": "Anna@acme.example", "client_id": "T-7", "sid": s.Status.SessionID,
		"merchant_id": "acme", "tsn": "SN-7", "namespace": ns, "scope": "payments", "purpose": "AppLogin",
	} {
		if got[claim] != want {
			t.Errorf("claim %s is %v, want %v", claim, got[claim], want)
		}
	}
	for _, claim := range []string{"aud", "exp", "iat", "jti"} {
		if got[claim] == nil {
			t.Errorf("claim %s is missing", claim)
		}
	}
	if left := time.Until(s.Status.Token.ExpiresAt.Time); left < 719*time.Hour || left > 720*time.Hour {
		t.Errorf("the token is valid for %s, want 720h", left)
	}
}

func TestKubectlShowsSelectsWaitsAndExplains(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	apply(t, manifest(ns, "till-1", `user: {email: anna@acme.example}`), manifest(ns, "till-2", `merchantID: other`), manifest(ns, "out", `desiredState: LoggedOut`))
	kubectl(t, "-n", ns, "wait", "--for=condition=Ready", "ts", "--all", "--timeout=30s")

	table := strings.Split(strings.TrimSpace(kubectl(t, "-n", ns, "get", "ts")), "\n")
	if got, want := strings.Fields(table[0]), []string{"NAME", "TERMINAL", "MERCHANT", "USER", "PHASE", "EXPIRES", "ACTIVE", "AGE"}; !slices.Equal(got, want) {
		t.Errorf("columns are %v, want %v", got, want)
	}
	if whole := strings.Join(table, "\n"); strings.Contains(whole, "invalid") || !strings.Contains(whole, "Established") || !strings.Contains(whole, "NotLoggedIn") {
		t.Errorf("the table does not read well:\n%s", whole)
	}
	for selector, want := range map[string]string{
		"spec.merchantID=other":             "terminalsession.terminals.dev/till-2\n",
		"spec.terminal.id=till-1":           "terminalsession.terminals.dev/till-1\n",
		"spec.user.email=anna@acme.example": "terminalsession.terminals.dev/till-1\n",
		"status.phase=NotLoggedIn":          "terminalsession.terminals.dev/out\n",
	} {
		if got := kubectl(t, "-n", ns, "get", "ts", "--field-selector", selector, "-o", "name"); got != want {
			t.Errorf("--field-selector %s gives %q, want %q", selector, got, want)
		}
	}
	if got := kubectl(t, "explain", "terminalsession.spec.token"); !strings.Contains(got, "default 720h (30 days)") {
		t.Errorf("kubectl explain does not give limits and defaults:\n%s", got)
	}
}

func TestADeletedSessionLosesItsSecretAndIntrospectionSaysInactive(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	apply(t, manifest(ns, "till-1", ""), `
apiVersion: v1
kind: ServiceAccount
metadata: {namespace: `+ns+`, name: pay-backend}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: `+ns+`-introspection}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: session-introspection}
subjects: [{kind: ServiceAccount, namespace: `+ns+`, name: pay-backend}]`)
	established(t, ns, "till-1")
	issuer := manager.Issuer + embedded.Path("", "default")
	token := string(secret(t, ns, "till-1-token").Data["token"])
	bearer := strings.TrimSpace(kubectl(t, "-n", ns, "create", "token", "pay-backend"))

	if status, _ := introspect(t, issuer, token, ""); status != http.StatusUnauthorized {
		t.Errorf("without credentials introspection answers %d, want 401", status)
	}
	if status, answer := introspect(t, issuer, token, bearer); status != http.StatusOK || answer["active"] != true || answer["sid"] == "" {
		t.Fatalf("introspection answers %d %v, want an active token", status, answer)
	}
	kubectl(t, "-n", ns, "delete", "ts", "till-1")
	eventually(t, 10*time.Second, "the Secret is gone", func() bool { return secret(t, ns, "till-1-token") == nil })
	if status, answer := introspect(t, issuer, token, bearer); status != http.StatusOK || answer["active"] != false || len(answer) != 1 {
		t.Errorf("after deletion introspection answers %d %v, want inactive and nothing more", status, answer)
	}
}

func TestAShortLivedSessionRenewsByItself(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	apply(t, manifest(ns, "till-1", `token: {lifetime: 1m, renewBefore: 29s}`))
	before := established(t, ns, "till-1")
	token := string(secret(t, ns, "till-1-token").Data["token"])
	eventually(t, 40*time.Second, "the token is renewed", func() bool { return get(t, ns, "till-1").Status.Token.Renewals == 1 })
	after := get(t, ns, "till-1")
	if after.Status.SessionID != before.Status.SessionID || !after.Status.Token.ExpiresAt.After(before.Status.Token.ExpiresAt.Time) {
		t.Errorf("before: %+v\nafter: %+v", before.Status, after.Status)
	}
	if string(secret(t, ns, "till-1-token").Data["token"]) == token {
		t.Error("the Secret still holds the old token")
	}
}

func TestLogoutByDesiredStateAndBackByAnotherApply(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	apply(t, manifest(ns, "till-1", ""))
	first := established(t, ns, "till-1")
	apply(t, manifest(ns, "till-1", "desiredState: LoggedOut"))
	eventually(t, 10*time.Second, "it is logged out", func() bool { return get(t, ns, "till-1").Status.Phase == v1.PhaseNotLoggedIn })
	if secret(t, ns, "till-1-token") != nil {
		t.Error("the Secret is still there")
	}
	out := get(t, ns, "till-1")
	if reason(out) != v1.ReasonLoggedOut || len(out.Status.Recent) != 1 || out.Status.Recent[0].SessionID != first.Status.SessionID {
		t.Errorf("status is %+v", out.Status)
	}
	apply(t, manifest(ns, "till-1", "desiredState: LoggedIn"))
	if again := established(t, ns, "till-1"); again.Status.SessionID == first.Status.SessionID {
		t.Error("the new login has the old session's ID")
	}
}

func TestASecretDeletedByHandIsMadeGood(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	apply(t, manifest(ns, "till-1", ""))
	first := established(t, ns, "till-1")
	kubectl(t, "-n", ns, "delete", "secret", "till-1-token")
	eventually(t, 10*time.Second, "there is a new session", func() bool {
		s := get(t, ns, "till-1")
		return s.Status.Phase == v1.PhaseEstablished && s.Status.SessionID != first.Status.SessionID && secret(t, ns, "till-1-token") != nil
	})
}

func TestANamespacesOwnProviderServesIt(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	apply(t, manifest(ns, "till-1", "providerRef: {kind: SessionProvider, name: own}"))
	eventually(t, 10*time.Second, "it says that the provider is missing", func() bool { return reason(get(t, ns, "till-1")) == v1.ReasonProviderNotFound })
	apply(t, `
apiVersion: terminals.dev/v1
kind: SessionProvider
metadata: {namespace: `+ns+`, name: own}
spec: {embedded: {}}`)
	established(t, ns, "till-1")
	claims(t, manager.Issuer+embedded.Path(ns, "own"), string(secret(t, ns, "till-1-token").Data["token"]))
}

func TestWarningsAreEvents(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	apply(t, manifest(ns, "till-1", "providerRef: {name: nobody}"))
	eventually(t, 20*time.Second, "there is a warning", func() bool {
		return strings.Contains(kubectl(t, "-n", ns, "get", "events", "-o", "jsonpath={.items[*].reason}"), v1.ReasonProviderNotFound)
	})
}
