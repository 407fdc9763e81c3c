package processes

import (
	"context"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"terminals.dev/session-controller/internal/lease"
	"terminals.dev/session-controller/test/testenv"
)

// crashPause is how long whoever keeps a replica waits before it is started again where it did not even come up.
const crashPause = 500 * time.Millisecond

// replica is a manager that is started again each time that it ends, as a kubelet does it.
type replica struct {
	name string
	args []string
	wire *wire // what it is connected by to the API server; nil: nothing in between

	mu      sync.Mutex
	running *testenv.Manager // nil while it is being started
	exits   []exit
}

// exit is an end of a process.
type exit struct {
	at  time.Time
	how string
	// crash is whether it may have interrupted calls: it had come up, and did not end in order.
	crash bool
}

// keepReplicas keeps managers running until the test is over.
func keepReplicas(t *testing.T, names []string, args ...string) []*replica {
	t.Helper()
	return keep(t, names, func() *wire { return nil }, args)
}

// keepWired keeps managers whose connections can fall silent.
func keepWired(t *testing.T, names []string, args ...string) []*replica {
	t.Helper()
	return keep(t, names, func() *wire { return newWire(t, strings.Trim(strings.TrimPrefix(env.Config.Host, "https:"), "/")) }, args)
}

func keep(t *testing.T, names []string, connect func() *wire, args []string) []*replica {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var kept sync.WaitGroup
	var all []*replica
	for _, name := range names {
		r := &replica{name: name, wire: connect(), args: append([]string{
			"--allow-loopback-providers", "--endpoint-auth=None", fmt.Sprint("--concurrent-sessions=", working),
		}, args...)}
		all = append(all, r)
		kept.Go(func() { r.keep(ctx) })
	}
	t.Cleanup(func() {
		cancel()
		kept.Wait()
	})
	for _, r := range all {
		until(t, time.Minute, r.name+" is ready", func() bool { return r.current() != nil })
	}
	return all
}

func (r *replica) keep(ctx context.Context) {
	through := ""
	if r.wire != nil {
		through = r.wire.Addr().String()
	}
	for n := 0; ctx.Err() == nil; n++ {
		m, err := env.StartManager(ctx, testenv.ManagerOptions{
			Binary: binary, Dir: filepath.Join(env.Dir, fmt.Sprintf("%s-%d", r.name, n)), Args: r.args, Through: through,
		})
		if err != nil {
			r.ended(exit{at: time.Now(), how: err.Error()})
			select {
			case <-time.After(crashPause):
			case <-ctx.Done():
			}
			continue
		}
		r.runs(m)
		select {
		case <-m.Done():
			r.ended(exit{time.Now(), m.Exit(), !finished(m)})
		case <-ctx.Done():
			_ = m.Stop(grace) //nolint:contextcheck // ctx is over; so the lease is given back, for those that come next
		}
	}
}

func (r *replica) runs(m *testenv.Manager) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.running = m
}

func (r *replica) ended(e exit) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.running = nil
	r.exits = append(r.exits, e)
}

// finished is whether a process that has ended has finished before what it had begun: told to end, or since another leads.
func finished(m *testenv.Manager) bool {
	return m.Exit() == "exit status 0" || strings.Contains(m.Output(), lease.ErrLost.Error()) && !strings.Contains(m.Output(), "failed waiting for")
}

// current is the process, once it is ready.
func (r *replica) current() *testenv.Manager {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.running
}

// exitsSince are those that there have been.
func (r *replica) exitsSince(since time.Time) (found []exit) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.exits {
		if e.at.After(since) {
			found = append(found, e)
		}
	}
	return found
}

// leads is whether a manager has, or had until a moment ago, the lease.
func leads(m *testenv.Manager) bool {
	return m != nil && strings.Contains(m.Output(), "Successfully acquired lease")
}

// leader waits until one of the managers leads.
func leader(t *testing.T, replicas []*replica) *testenv.Manager {
	t.Helper()
	var found *testenv.Manager
	until(t, time.Minute, "somebody leads", func() bool {
		for _, r := range replicas {
			if m := r.current(); leads(m) {
				found = m
			}
		}
		return found != nil
	})
	return found
}

// logged are the lines with some text in them that all managers that there were have logged, by whom.
func logged(replicas []*replica, text string) iter.Seq2[string, string] {
	return func(yield func(by, line string) bool) {
		for _, r := range replicas {
			logs, _ := filepath.Glob(filepath.Join(env.Dir, r.name+"-*", "manager.log"))
			for _, log := range logs {
				content, _ := os.ReadFile(log)
				for line := range strings.Lines(string(content)) {
					if strings.Contains(line, text) && !yield(filepath.Base(filepath.Dir(log)), line) {
						return
					}
				}
			}
		}
	}
}

// told is what managers have said of a session.
func told(replicas []*replica, name string) string {
	var all strings.Builder
	for by, line := range logged(replicas, strconv.Quote(name)) {
		all.WriteString(by + " " + line)
	}
	return all.String()
}
