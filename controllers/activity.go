package controllers

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "terminals.dev/session-controller/api/v1"
)

// Activity tells when a terminal was last heard of.
type Activity interface {
	// LastActive is the last report of a session's terminal; zero where there was none.
	LastActive(s *v1.TerminalSession) time.Time
}

// StatusActivity is what the gateway has written into status.client.
type StatusActivity struct{}

// LastActive implements Activity.
func (StatusActivity) LastActive(s *v1.TerminalSession) time.Time {
	if c := s.Status.Client; c != nil && c.LastActiveAt != nil {
		return c.LastActiveAt.Time
	}
	return time.Time{}
}

func (r *TerminalSessionReconciler) lastActive(s *v1.TerminalSession) time.Time {
	if r.Activity != nil {
		return r.Activity.LastActive(s)
	}
	return StatusActivity{}.LastActive(s)
}

// silence measures for how long terminals have been silent, by this process's own clock: from the moment when it first saw the last
// report, or the session. So neither another machine's clock nor a restart ends a session. Only sessions with a heartbeat are kept.
type silence struct {
	mu    sync.Mutex
	heard map[types.NamespacedName]report
}

// report is what was heard last, of which session, and when this process first saw it.
type report struct {
	sessionID string
	at        time.Time
	seen      time.Time
}

// of is for how long a terminal has been silent.
func (h *silence) of(s *v1.TerminalSession, last time.Time, clock clock.PassiveClock) time.Duration {
	key := client.ObjectKeyFromObject(s)
	h.mu.Lock()
	defer h.mu.Unlock()
	if s.Spec.Heartbeat == nil || s.Status.Token == nil {
		delete(h.heard, key)
		return 0
	}
	known, ok := h.heard[key]
	if !ok || known.sessionID != s.Status.SessionID || !known.at.Equal(last) {
		if h.heard == nil {
			h.heard = map[types.NamespacedName]report{}
		}
		known = report{sessionID: s.Status.SessionID, at: last, seen: clock.Now()}
		h.heard[key] = known
	}
	return clock.Since(known.seen)
}

func (h *silence) forget(key types.NamespacedName) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.heard, key)
}
