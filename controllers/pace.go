package controllers

import (
	"hash/fnv"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/internal/session"
)

// pace is when providers are asked again of their own accord: whether a person has confirmed a login, and whether a token still holds. It
// is this process's alone, since a write each time would cost more than the question.
type pace struct {
	mu     sync.Mutex
	polls  map[types.NamespacedName]poll
	checks map[types.NamespacedName]time.Time
}

// poll is when to ask next about one login.
type poll struct {
	attempt  int64
	at       time.Time
	interval time.Duration
}

// nextPoll is when the provider may be asked again whether a login was confirmed; zero where this process has not asked yet.
func (p *pace) nextPoll(s *v1.TerminalSession) time.Time {
	if known, ok := p.pollOf(s); ok {
		return known.at
	}
	return time.Time{}
}

func (p *pace) pollOf(s *v1.TerminalSession) (poll, bool) {
	if !session.Confirming(s) || s.Status.Attempt == nil {
		return poll{}, false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	known, ok := p.polls[client.ObjectKeyFromObject(s)]
	return known, ok && known.attempt == s.Status.Attempt.Number
}

// pollAgain has the provider asked again about an attempt, an interval from now.
func (p *pace) pollAgain(key types.NamespacedName, attempt int64, interval time.Duration, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.polls == nil {
		p.polls = map[types.NamespacedName]poll{}
	}
	p.polls[key] = poll{attempt: attempt, at: now.Add(interval), interval: interval}
}

// checkDue is whether it is time to ask whether a session's token still holds. The first time is within an interval of the moment that this
// process has seen the session, at a time that is the session's own: so a fleet is spread evenly, after a restart as well.
func (p *pace) checkDue(s *v1.TerminalSession, every time.Duration, now time.Time) bool {
	key := client.ObjectKeyFromObject(s)
	p.mu.Lock()
	defer p.mu.Unlock()
	if every <= 0 || s.Status.Token == nil {
		delete(p.checks, key)
		return false
	}
	at, known := p.checks[key]
	if next := slot(s.UID, every, now); !known || at.After(next) { // the interval may have become shorter
		p.note(key, next)
		return false
	}
	return !now.Before(at)
}

// checked has the next question wait for the session's next turn.
func (p *pace) checked(s *v1.TerminalSession, every time.Duration, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if every > 0 {
		p.note(client.ObjectKeyFromObject(s), slot(s.UID, every, now))
	}
}

// note is called under the lock.
func (p *pace) note(key types.NamespacedName, at time.Time) {
	if p.checks == nil {
		p.checks = map[types.NamespacedName]time.Time{}
	}
	p.checks[key] = at
}

// next is when this process has to ask about a session of its own accord; zero for never. A time that is over is no time to look: what
// stood in the way of asking then wakes the session, or status names when it is over.
func (p *pace) next(s *v1.TerminalSession) time.Time {
	if known, ok := p.pollOf(s); ok {
		return known.at
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.checks[client.ObjectKeyFromObject(s)]
}

func (p *pace) forget(key types.NamespacedName) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.polls, key)
	delete(p.checks, key)
}

// slot is the first time after now that is a session's own among those that are an interval apart.
func slot(uid types.UID, every time.Duration, now time.Time) time.Time {
	h := fnv.New32a()
	_, _ = h.Write([]byte(uid))
	offset := time.Duration(float64(every) * float64(h.Sum32()) / (1 << 32))
	at := now.Truncate(every).Add(offset)
	if !at.After(now) {
		at = at.Add(every)
	}
	return at
}
