package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "terminals.dev/session-controller/api/v1"
)

func TestABanIsEnforcedUntilItIsDeleted(t *testing.T) {
	ns := namespace(t)
	apply(t, manifest(ns, "till-1", "user: {email: mallory@acme.example}"), manifest(ns, "till-2", "user: {email: anna@acme.example}"))
	before := established(t, ns, "till-1")
	established(t, ns, "till-2")
	apply(t, `
apiVersion: terminals.dev/v1
kind: SessionBan
metadata: {namespace: `+ns+`, name: mallory}
spec: {match: {user: mallory@acme.example}, code: UserBanned, reason: card skimmer found}`)
	eventually(t, 10*time.Second, "the ban is enforced", func() bool {
		return columns(kubectl(t, "get", "sban", "-n", ns, "--no-headers"), 4) == "mallory mallory@acme.example UserBanned True 1"
	})
	is := kubectl(t, "get", "ts", "-n", ns, "till-1", "-o", "jsonpath={.status.phase} {.status.error.code} {.status.conditions[?(@.type=='Ready')].status}")
	if want := "Terminated UserBanned True"; is != want {
		t.Errorf("the session is %s, want %s", is, want)
	}
	if left := kubectl(t, "get", "secret", "-n", ns, "-o", "name"); strings.Contains(left, "till-1") || !strings.Contains(left, "till-2") {
		t.Errorf("the Secrets left are %s", left)
	}
	kubectl(t, "delete", "ts", "-n", ns, "till-1")
	apply(t, manifest(ns, "till-1", "user: {email: mallory@acme.example}"))
	kubectl(t, "wait", "-n", ns, "--for=jsonpath={.status.phase}=Terminated", "ts/till-1", "--timeout=10s")

	kubectl(t, "delete", "sban", "-n", ns, "mallory")
	if after := established(t, ns, "till-1"); after.Status.SessionID == before.Status.SessionID || after.Status.Error != nil {
		t.Errorf("after the ban the session is %+v", after.Status)
	}
}

func TestASignOutNamesWhoAskedForIt(t *testing.T) {
	ns := namespace(t)
	apply(t, manifest(ns, "till-1", ""), manifest(ns, "till-2", ""))
	established(t, ns, "till-1")
	established(t, ns, "till-2")
	kubectl(t, "create", "rolebinding", "-n", ns, "shift-lead", "--clusterrole=sessionlogout-editor", "--user=anna@acme.example")
	const anna = "--as=anna@acme.example"
	file := filepath.Join(env.Dir, "evening.yaml")
	err := os.WriteFile(file, []byte(`
apiVersion: terminals.dev/v1
kind: SessionLogout
metadata: {namespace: `+ns+`, name: evening}
spec: {all: true, except: {names: [till-2]}, reason: end of shift}`), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	kubectl(t, "apply", anna, "-f", file)
	kubectl(t, "wait", "-n", ns, "--for=condition=Complete", "slogout/evening", "--timeout=10s")
	s := get(t, ns, "till-1")
	if h := s.Status.Hold; h == nil || h.Reason != v1.HoldSignedOut || h.By != "anna@acme.example" {
		t.Errorf("the hold is %+v", h)
	}
	if s := get(t, ns, "till-2"); s.Status.Phase != v1.PhaseEstablished {
		t.Errorf("till-2 is %s", s.Status.Phase)
	}
	eventually(t, 10*time.Second, "there is an event", func() bool {
		return strings.Contains(kubectl(t, "get", "events", "-n", ns, "--field-selector=reason=SignedOut,type=Warning", "-o", "jsonpath={.items[*].message}"), "anna@acme.example")
	})
	if !strings.Contains(manager.Output(), `"by":"anna@acme.example"`) {
		t.Error("the log does not say who it was")
	}
	kubectl(t, "apply", anna, "-f", file) // once more changes nothing
	kubectl(t, "annotate", "ts", "-n", ns, "till-1", "terminals.dev/login-requested=morning")
	if again := established(t, ns, "till-1"); again.Status.SessionID == s.Status.Recent[0].SessionID {
		t.Error("it is the old session")
	}
}

// columns are the first fields of a line, and the next.
func columns(line string, n int) string {
	fields := strings.Fields(line)
	return strings.Join(fields[:min(len(fields), n+1)], " ")
}
