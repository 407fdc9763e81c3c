package budget

import (
	"maps"
	"testing"
	"time"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/test/testenv"
)

// TestWrites follows one fleet through its life and counts each step of it.
func TestWrites(t *testing.T) {
	const ns = "writes"
	m := startManager(t, "--endpoint-auth=None")
	providerReady(t)
	step := func(name string, do func(), want map[testenv.Request]int) {
		t.Helper()
		before := counts(t)
		do()
		quiet(t, m, 0)
		got := counts(t).Since(before).Writes()
		for request := range got {
			if request.Resource != "secrets" && request.Resource != "terminalsessions" {
				delete(got, request)
			}
		}
		if !maps.Equal(got, want) {
			t.Errorf("%s of %d sessions: writes are\n%v\nwant\n%v", name, fleet, got, want)
		}
	}

	secrets := func(verb, code string) testenv.Request {
		return testenv.Request{Resource: "secrets", Verb: verb, Code: code}
	}
	status := testenv.Request{Resource: "terminalsessions", Subresource: "status", Verb: "PATCH", Code: "200"}
	mine := func(verb, code string) testenv.Request {
		return testenv.Request{Resource: "terminalsessions", Verb: verb, Code: code}
	}

	step("login", func() {
		create(t, ns)
		until(t, m, ns, "established", isEstablished)
	}, map[testenv.Request]int{mine("POST", "201"): fleet, secrets("POST", "201"): fleet, status: fleet})

	step("renewal", func() {
		each(t, ns, func(s *v1.TerminalSession) { s.Annotations = map[string]string{v1.AnnotationRenewRequested: "1"} })
		until(t, m, ns, "renewed", func(s *v1.TerminalSession) bool { return s.Status.Token.Renewals == 1 })
	}, map[testenv.Request]int{mine("PATCH", "200"): fleet, secrets("PATCH", "200"): fleet, status: fleet})

	step("a look for which there is no reason", func() {
		each(t, ns, func(s *v1.TerminalSession) { s.Labels = map[string]string{"looked": "at"} })
	}, map[testenv.Request]int{mine("PATCH", "200"): fleet})

	step("end by desiredState", func() {
		each(t, ns, func(s *v1.TerminalSession) { s.Spec.DesiredState = v1.LoggedOut })
		until(t, m, ns, "logged out", func(s *v1.TerminalSession) bool { return s.Status.Phase == v1.PhaseNotLoggedIn })
	}, map[testenv.Request]int{mine("PATCH", "200"): fleet, secrets("DELETE", "200"): fleet, status: fleet})

	step("login again", func() {
		each(t, ns, func(s *v1.TerminalSession) { s.Spec.DesiredState = v1.LoggedIn })
		until(t, m, ns, "established", isEstablished)
	}, map[testenv.Request]int{mine("PATCH", "200"): fleet, secrets("POST", "201"): fleet, status: fleet})

	step("end by deletion", func() {
		for _, s := range sessions(t, ns) {
			if err := api.Delete(t.Context(), &s); err != nil {
				t.Fatal(err)
			}
		}
		for deadline := time.Now().Add(30 * time.Second); len(tokens(t, ns)) > 0; {
			if time.Now().After(deadline) {
				t.Fatalf("%d Secrets are not deleted", len(tokens(t, ns)))
			}
		}
	}, map[testenv.Request]int{mine("DELETE", "200"): fleet, secrets("DELETE", "200"): fleet})
}
