package controllers

import (
	"cmp"
	"context"
	"errors"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/utils/clock"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/internal/provider"
)

// What a provider may be asked where its spec does not say: the schema's own defaults.
const (
	defaultRate       = 50
	defaultBurst      = 100
	defaultConcurrent = 16
)

// limit bounds what one provider is asked, by whomever: so many requests a second, and so many calls at once. It keeps nobody waiting: who
// cannot go is told how long it takes at least, and comes back. Only what a call has begun is waited for, by pay.
type limit struct {
	mu                   sync.Mutex
	bucket               bucket
	concurrent, underway int
	// late is whether a call's first request may go out long after the call had leave: others may be waited for first, such as discovery.
	late bool
	// unsent are the calls whose first request has not gone out, and queued the further requests that wait. What they have taken does not
	// make room in the bucket, so that the provider never sees more at once than its burst.
	unsent, queued int
}

// bucket holds tokens, one a request. It may be in debt, for requests that have their place in the future.
type bucket struct {
	rate, burst, tokens float64
	at                  time.Time
}

// limiter returns the limit of a provider: the same one for as long as the provider lives, with the figures that its spec has now. A change
// of them grants no new burst.
func (p *Providers) limiter(obj v1.Provider) *limit {
	l := &p.remote(obj).limit
	l.follow(obj.ProviderSpec(), p.Clock.Now())
	return l
}

// follow takes the figures of a spec.
func (l *limit) follow(spec *v1.SessionProviderSpec, now time.Time) {
	rate, burst := float64(cmp.Or(spec.RateLimit.RequestsPerSecond, defaultRate)), float64(cmp.Or(spec.RateLimit.Burst, defaultBurst))
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.bucket.at.IsZero() {
		l.bucket = bucket{tokens: burst, burst: burst, at: now}
	}
	if l.bucket.rate != rate || l.bucket.burst != burst {
		l.refill(now)
		l.bucket.rate, l.bucket.burst = rate, burst
	}
	l.concurrent = int(cmp.Or(spec.RateLimit.Concurrent, defaultConcurrent))
	l.late = spec.OAuth2 != nil
}

// refill adds what has come in since the last time.
func (l *limit) refill(now time.Time) {
	most := l.bucket.burst - float64(l.unsent+l.queued)
	if passed := now.Sub(l.bucket.at); passed > 0 {
		l.bucket.tokens += passed.Seconds() * l.bucket.rate
		l.bucket.at = now
	}
	l.bucket.tokens = min(l.bucket.tokens, most)
}

// lacks is how long it takes until there are so many tokens; zero if there are.
func (l *limit) lacks(tokens int) time.Duration {
	const trifle = 1e-6 // what is lost by rounding
	missing := float64(tokens) - l.bucket.tokens
	if missing <= trifle {
		return 0
	}
	return max(time.Duration(math.Round(missing/l.bucket.rate*float64(time.Second))), time.Millisecond)
}

// enter asks for leave to make one call, which pays for its first request, and leaves room for those who go ahead. Where leave is given, it is
// to be called when the call is over, with whether no request went out; else it is nil, and there is no place before wait has passed.
func (l *limit) enter(now time.Time, ahead int) (leave func(unsent bool), wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.underway+ahead >= l.concurrent {
		return nil, time.Duration(1+ahead) * l.every()
	}
	l.refill(now)
	// Who does not fit takes no place in the future: it would keep out those who are more urgent.
	if wait := l.lacks(1 + ahead); wait > 0 {
		return nil, wait
	}
	l.bucket.tokens--
	l.underway++
	if l.late {
		l.unsent++
	}
	return func(unsent bool) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.underway--
		if unsent {
			l.bucket.tokens++
			l.unsent = max(l.unsent-1, 0)
		}
		l.unsent = min(l.unsent, l.underway) // of a call that made no request at all
	}, 0
}

// longestQueue is how far ahead a call's further requests are given a place. One that would take longer than any call may is not begun.
const longestQueue = callTimeout

// pay pays for one request of a call that is about to go out, and waits for its turn if need be. The first request of a call that had
// leave is paid already.
func (l *limit) pay(ctx context.Context, now clock.PassiveClock) error {
	if first, ok := ctx.Value(firstRequest{}).(*atomic.Bool); ok && first.CompareAndSwap(false, true) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.refill(now.Now())
		l.unsent = max(l.unsent-1, 0)
		return nil
	}
	wait, ok := l.queue(now.Now())
	if !ok {
		return errThrottled
	}
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.refill(now.Now())
		l.queued--
	}()
	if wait == 0 {
		return nil
	}
	turn := time.NewTimer(wait)
	defer turn.Stop()
	select {
	case <-turn.C:
		return nil
	case <-ctx.Done():
		l.mu.Lock()
		defer l.mu.Unlock()
		l.bucket.tokens++ // the request does not go out
		return errThrottled
	}
}

// queue takes a place in the future.
func (l *limit) queue(now time.Time) (wait time.Duration, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refill(now)
	if wait = l.lacks(1); wait > longestQueue {
		return 0, false
	}
	l.bucket.tokens--
	l.queued++
	return wait, true
}

// every is interval for those who have the lock.
func (l *limit) every() time.Duration {
	return time.Duration(float64(time.Second) / l.bucket.rate)
}

// interval is the time between two requests over time.
func (l *limit) interval() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.every()
}

// atOnce is how many calls may be under way.
func (l *limit) atOnce() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.concurrent
}

// firstRequest is the key in the context of a call under which it stands whether its first request has gone out.
type firstRequest struct{}

// errNoTurn is found by errors.Is in what a call ends with that had no turn for one of its requests. The provider has nothing to do with it.
var errNoTurn = errors.New("there was no turn for the request")

var errThrottled = &provider.Error{
	Kind: provider.Busy, Err: errNoTurn,
	Message: "The provider's own limit left no room for a further request in time: raise spec.rateLimit if the server can take more.",
}

// line spreads those who are to come back, each at a time of its own.
type line struct{ last time.Time }

// place is a place in the line, not before first has passed, some time after the one before, and no further than most: those at the end
// come back together.
func (l *line) place(now time.Time, first, every, most time.Duration) time.Duration {
	at := l.last.Add(every)
	if last := now.Add(max(first, most)); at.After(last) {
		at = last
	}
	if soonest := now.Add(first); at.Before(soonest) {
		at = soonest
	}
	l.last = at
	return at.Sub(now)
}
