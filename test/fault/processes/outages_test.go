package processes

import (
	"syscall"
	"testing"
	"time"

	"terminals.dev/session-controller/test/testenv"
)

// killing is a fault of what the managers work with: it is killed, and started again.
func killing(d *testenv.Daemon) fault {
	return func(t *testing.T, _ *scene) []crash {
		began := time.Now()
		d.Kill()
		return restarted(t, d, began)
	}
}

// stopping is one where it is told to end, and started again.
func stopping(d *testenv.Daemon) fault {
	return func(t *testing.T, _ *scene) []crash {
		began := time.Now()
		if err := d.Stop(grace); err != nil {
			t.Errorf("it did not end in order: %v\n%s", err, d.Tail(5))
		}
		return restarted(t, d, began)
	}
}

func restarted(t *testing.T, d *testenv.Daemon, began time.Time) []crash {
	t.Helper()
	<-time.After(away)
	must(t, d.Restart(t.Context()))
	return []crash{interrupted(began, time.Now())}
}

// freezing is one where it stands still for longer than a lease lasts, and goes on.
func freezing(d *testenv.Daemon) fault {
	return func(t *testing.T, _ *scene) []crash {
		began := time.Now()
		must(t, d.Signal(syscall.SIGSTOP))
		<-time.After(frozen)
		must(t, d.Signal(syscall.SIGCONT))
		return []crash{interrupted(began, time.Now())}
	}
}
