package budget

import (
	"syscall"
	"testing"
	"time"
)

func TestARestartAtRestWritesNothingReadsNoSecretAndIssuesNoToken(t *testing.T) {
	const ns = "restart"
	m := startManager(t, "--endpoint-auth=None")
	providerReady(t)
	create(t, ns)
	until(t, m, ns, "established", isEstablished)
	quiet(t, m, fleet)
	if err := m.Stop(20 * time.Second); err != nil {
		t.Fatalf("the manager did not stop in order: %v", err)
	}

	before := counts(t)
	m = startManager(t, "--endpoint-auth=None")
	quiet(t, m, fleet)
	got := counts(t).Since(before)
	if writes := got.Of("terminalsessions").Writes().Total() + got.Of("secrets").Writes().Total() +
		got.Of("sessionproviders").Writes().Total() + got.Of("clustersessionproviders").Writes().Total(); writes != 0 {
		t.Errorf("after the restart there were %d writes: %v", writes, got)
	}
	for request, n := range got.Of("secrets") {
		if request.Verb == "GET" {
			t.Errorf("after the restart %d Secrets were read", n)
		}
	}
}

// TestKilledAtAnyTimeItLogsNobodyInTwiceAndLosesNothing kills the manager while a fleet is being logged in, several times at moments that
// move through the work.
func TestKilledAtAnyTimeItLogsNobodyInTwiceAndLosesNothing(t *testing.T) {
	const ns = "killed"
	create(t, ns)
	for _, share := range []int{1, 20, 45, 70, 95} {
		m := startManager(t, "--endpoint-auth=None", "--concurrent-sessions=4")
		for deadline := time.Now().Add(30 * time.Second); len(tokens(t, ns)) < fleet*share/100; {
			if time.Now().After(deadline) {
				t.Fatalf("there are only %d tokens:\n%s", len(tokens(t, ns)), m.Tail(10))
			}
		}
		if err := m.Signal(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		<-m.Done()
	}
	m := startManager(t, "--endpoint-auth=None")
	until(t, m, ns, "established", isEstablished)
	quiet(t, m, fleet)

	// The number of the attempt is the provider's idempotency key: one attempt is one login, however often it was begun.
	for _, s := range sessions(t, ns) {
		if s.Status.Attempt.Number != 1 || len(s.Status.Recent) != 0 {
			t.Errorf("%s was logged in %d times, and %d sessions of it ended", s.Name, s.Status.Attempt.Number, len(s.Status.Recent))
		}
	}
	all := tokens(t, ns)
	if len(all) != fleet {
		t.Errorf("there are %d token Secrets for %d sessions", len(all), fleet)
	}
	ids := map[string]string{}
	for _, s := range sessions(t, ns) {
		ids[s.Name] = s.Status.SessionID
	}
	for _, secret := range all {
		if name := secret.Labels["terminals.dev/session"]; ids[name] != string(secret.Data["sessionID"]) {
			t.Errorf("the Secret of %s is of session %s, status of %s", name, secret.Data["sessionID"], ids[name])
		}
	}
}
