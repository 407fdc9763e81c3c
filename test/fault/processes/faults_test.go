package processes

import (
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"time"

	"terminals.dev/session-controller/internal/lease"
	"terminals.dev/session-controller/test/testenv"
)

const (
	// kills is how often the manager is killed, each time within a moment of being ready.
	kills  = 8
	moment = 1500 * time.Millisecond
	// turns is how often who leads is told to end.
	turns = 2
	// frozen is for how long a process stands still: longer than a lease lasts, and than its holder tries to renew it.
	frozen = 20 * time.Second
	// away is for how long something is gone that was killed or told to end: long enough for everybody to notice.
	away = 3 * time.Second
	// takeover is how soon somebody else leads where the lease was given back; where it was not, it lasts for 15 seconds.
	takeover = 8 * time.Second
	// expiry is how soon somebody else leads where it was not.
	expiry = 30 * time.Second
	// patient is how soon who has lost the lease unawares ends: at its next try to renew it, and not only when it has tried in vain for long.
	patient = lease.RenewDeadline - lease.RetryPeriod
	// grace is how long the manager may take to end in order: its Deployment gives it longer.
	grace = 30 * time.Second
)

// killed kills the manager at random moments. There is no other, and no lease: it is back, and at work, as soon as it has started.
func killed(t *testing.T, s *scene) []crash {
	dice := rand.New(rand.NewPCG(s.load.seed, workers))
	for range kills {
		m := s.replicas[0].current()
		<-time.After(time.Duration(dice.Int64N(int64(moment))))
		m.Kill()
		until(t, time.Minute, "the manager is back", func() bool {
			now := s.replicas[0].current()
			return now != nil && now != m
		})
	}
	return nil
}

// leaderKilled kills whoever leads; the lease has to run out.
func leaderKilled(t *testing.T, s *scene) []crash {
	m := leader(t, s.replicas)
	m.Kill()
	s.succeeds(t, m, expiry)
	return nil
}

// leaderStopped tells whoever leads to end, as a rollout does: what it has begun it finishes, and it gives the lease back.
func leaderStopped(t *testing.T, s *scene) []crash {
	for range turns {
		m := leader(t, s.replicas)
		began := time.Now()
		if err := m.Stop(grace); err != nil {
			t.Errorf("%s: the manager did not end in order: %v\n%s", s.load.where(), err, m.Tail(20))
		}
		ended := time.Now()
		s.succeeds(t, m, takeover)
		t.Logf("it ended within %.1f s, and another led %.1f s later", ended.Sub(began).Seconds(), time.Since(ended).Seconds())
	}
	return nil
}

// leaderFrozen has whoever leads stand still until the other has led for a while, and then go on. What it had begun it goes on with, beside the
// other, and nothing else.
func leaderFrozen(t *testing.T, s *scene) []crash {
	m := leader(t, s.replicas)
	froze := time.Now()
	must(t, m.Signal(syscall.SIGSTOP))
	s.succeeds(t, m, expiry)
	s.goesOn(t)
	thawed := time.Now()
	must(t, m.Signal(syscall.SIGCONT))
	until(t, patient, "who was frozen ends", func() bool {
		select {
		case <-m.Done():
			return true
		default:
			return false
		}
	})
	t.Logf("it stood still for %.1f s, and ended %.1f s later", thawed.Sub(froze).Seconds(), time.Since(thawed).Seconds())
	if m.Exit() != "exit status 1" || !strings.Contains(m.Output(), "leader election lost") {
		t.Errorf("%s: who was frozen ended otherwise than by having lost the lease: %s\n%s", s.load.where(), m.Exit(), m.Tail(20))
	}
	return []crash{{[]span{{froze, froze}, {thawed, time.Now()}}, underway}}
}

// succeeds waits until another process leads, be it the one that was started in the place of who did.
func (s *scene) succeeds(t *testing.T, than *testenv.Manager, within time.Duration) {
	t.Helper()
	until(t, within, "another manager leads", func() bool {
		for _, r := range s.replicas {
			if m := r.current(); m != than && leads(m) {
				return true
			}
		}
		return false
	})
}
