package processes

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"terminals.dev/session-controller/test/testenv"
)

// wire is the network between a manager and the API server.
type wire struct {
	net.Listener
	mu    sync.Mutex
	lines []*line
}

// line is a connection. Once it is silent whatever either end sends gets lost, and neither end is told anything, as when the machine at the other
// end is gone, or what is in between has forgotten the connection.
type line struct {
	ends   [2]net.Conn
	silent atomic.Bool
}

// newWire makes one that lasts as long as the test.
func newWire(t *testing.T, to string) *wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	w := &wire{Listener: l}
	t.Cleanup(func() {
		_ = l.Close()
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, l := range w.lines {
			l.close()
		}
	})
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", to)
			if err != nil {
				_ = near.Close()
				continue
			}
			w.carry(&line{ends: [2]net.Conn{near, far}})
		}
	}()
	return w
}

func (w *wire) carry(l *line) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lines = append(w.lines, l)
	for i := range l.ends {
		go func() {
			_, _ = io.Copy(mouth{l.ends[1-i], &l.silent}, l.ends[i])
			if !l.silent.Load() {
				l.close()
			}
		}()
	}
}

func (l *line) close() {
	for _, end := range l.ends {
		_ = end.Close()
	}
}

// silence silences every connection that there is, for good. New ones are as ever.
func (w *wire) silence() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, l := range w.lines {
		l.silent.Store(true)
	}
}

// mouth is one end of a line.
type mouth struct {
	io.Writer
	silent *atomic.Bool
}

func (m mouth) Write(p []byte) (int, error) {
	if m.silent.Load() {
		return len(p), nil
	}
	return m.Writer.Write(p)
}

// inFlight is how long after connections have fallen silent the server may yet be at work on what has come before.
const inFlight = time.Second

// leaderCutOff has all connections between whoever leads and the API server fall silent. It is to notice, and to go on by others, in time to keep
// the lease.
func leaderCutOff(t *testing.T, s *scene) []crash {
	m := leader(t, s.replicas)
	lease := func() string {
		l := &coordinationv1.Lease{}
		must(t, api.Get(t.Context(), client.ObjectKey{Namespace: testenv.ManagerNamespace, Name: "terminals.dev"}, l))
		return l.ResourceVersion
	}
	began := time.Now()
	for _, r := range s.replicas {
		if r.current() == m {
			r.wire.silence()
		}
	}
	<-time.After(inFlight)
	was := lease()
	until(t, expiry, "the lease is renewed", func() bool { return lease() != was })
	t.Logf("the lease was renewed %.1f s after they had fallen silent", time.Since(began).Seconds())
	select {
	case <-m.Done():
		t.Errorf("%s: who led has ended: %s\n%s", s.load.where(), m.Exit(), m.Tail(20))
	default:
	}
	return []crash{interrupted(began, time.Now())}
}
