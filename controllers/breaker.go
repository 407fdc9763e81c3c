package controllers

import (
	"errors"
	"fmt"
	"sync"
	"time"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/internal/provider"
	"terminals.dev/session-controller/internal/telemetry"
)

const (
	// pauseBase is for how long a provider that has failed is left alone; it doubles with each failure more, up to pauseCap.
	pauseBase = time.Second
	pauseCap  = time.Minute
)

// breaker tells for how long what fails is left alone. Whoever has it guards it.
type breaker struct {
	// after is how many failures in a row open it; one where it is not set.
	after int
	// failures are those in a row, of one version of the provider. It is left alone from pausedAt until pausedUntil.
	failures              int
	version               string
	pausedAt, pausedUntil time.Time
}

// renew forgets what another version of the provider has done: whatever was wrong may be mended. It tells whether there was another.
func (b *breaker) renew(version string) bool {
	if b.version == version {
		return false
	}
	b.version, b.failures, b.pausedUntil = version, 0, time.Time{}
	return true
}

// open is whether so much has failed that one at a time is to find out whether it goes on.
func (b *breaker) open() bool { return b.failures >= max(b.after, 1) }

// paused is for how long nobody is to ask.
func (b *breaker) paused(now time.Time) time.Duration { return max(b.pausedUntil.Sub(now), 0) }

// answered closes it.
func (b *breaker) answered() { b.failures, b.pausedUntil = 0, time.Time{} }

// failed counts a call that began at some time and has failed by now. The pause is at least as long as the provider asks.
func (b *breaker) failed(began, now time.Time, asks time.Duration) {
	if began.Before(b.pausedAt) && !b.open() {
		return // the others that were under way with it have been counted, and the provider has answered since
	}
	if !began.Before(b.pausedAt) { // those that were under way together when it opened fail together, and count once
		b.failures++
		if b.open() {
			b.pausedAt = now
		}
	}
	if b.open() {
		b.pause(now, max(doubled(pauseBase, b.failures-max(b.after, 1)+1, pauseCap), asks))
	}
}

// pause has the provider left alone for a while at least.
func (b *breaker) pause(now time.Time, rest time.Duration) {
	if until := now.Add(rest); until.After(b.pausedUntil) {
		b.pausedUntil = until
	}
}

// state is what a metric says of it.
func (b *breaker) state(now time.Time) telemetry.Circuit {
	switch {
	case b.paused(now) > 0:
		return telemetry.CircuitOpen
	case b.open():
		return telemetry.CircuitHalfOpen
	}
	return telemetry.CircuitClosed
}

const (
	// failuresToOpen is after how many failures in a row a provider is left alone by sessions.
	failuresToOpen = 5
	// farthestPlace is how far those who are denied are spread.
	farthestPlace = 15 * time.Second
)

// gate is what the calls that sessions make to one provider go through: its limit, which revocations share, and its breaker. Nobody waits in
// it. Of those who are denied the most urgent come back soon, and the others each in its place in a line.
type gate struct {
	mu      sync.Mutex
	breaker breaker
	// probing is whether one is finding out just now whether an open breaker can be closed.
	probing bool
	front   front
	line    line
	// took is what the last call took.
	took time.Duration
}

// verdict is what came of a call.
type verdict struct {
	// unknown is whether it tells nothing of the provider, since it was given up.
	unknown     bool
	err         error
	began, done time.Time
}

// enter asks for leave to make one call to a provider, whose client has a version. Without leave there is an error: *noRoom where it may be
// tried again soon, *provider.Error where the provider is left alone.
func (g *gate) enter(now time.Time, who comer, of, version string, l *limit) (leave func(verdict), err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if alone := g.alone(now, of, version); alone != nil {
		return nil, alone
	}
	ahead := g.front.ahead(now, who)
	if g.breaker.open() && g.probing { // what it finds out will be known soon, and is for all
		return nil, g.deny(now, who, pauseBase, l.interval())
	}
	free, wait := l.enter(now, ahead)
	if free == nil {
		return nil, g.deny(now, who, wait, g.every(l))
	}
	g.front.drop(who.key)
	probe := g.breaker.open()
	g.probing = g.probing || probe
	return func(v verdict) {
		free(errors.Is(v.err, errNotAsked))
		g.left(v, version, probe)
	}, nil
}

// full is the error for somebody who cannot go although the provider's own limit may have room.
func (g *gate) full(now time.Time, who comer, of, version string, l *limit) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if alone := g.alone(now, of, version); alone != nil {
		return alone
	}
	every := max(g.every(l), roomEvery)
	return g.deny(now, who, every, every)
}

// every is the time between two turns, as far as it is known.
func (g *gate) every(l *limit) time.Duration {
	return max(l.interval(), g.took/time.Duration(min(l.atOnce(), waitingRoom/4)))
}

// deny says when to come back to somebody who cannot go before wait has passed, where the others follow one after the other.
func (g *gate) deny(now time.Time, who comer, wait, every time.Duration) *noRoom {
	ahead := g.front.ahead(now, who)
	if rank, ok := g.front.join(who); ok {
		soon := max(min(wait+time.Duration(rank-ahead)*every, frontLatest), min(every/8, frontLatest), frontSoonest)
		back := max(wait, soon)
		g.front[rank].until = now.Add(back + frontPatience)
		return &noRoom{back}
	}
	if wait <= every/8 { // its turn has come but for a trifle, and at the end of the line it would lose it
		return &noRoom{wait}
	}
	first := min(wait+time.Duration(frontSize-ahead)*every, max(wait, farthestPlace))
	return &noRoom{g.line.place(now, first, every, farthestPlace)}
}

// alone is why a version of the provider is left alone, if it is.
func (g *gate) alone(now time.Time, of, version string) error {
	g.breaker.after = failuresToOpen
	if g.breaker.renew(version) {
		g.probing = false
	}
	rest, open := g.breaker.paused(now), g.breaker.open()
	switch {
	case rest == 0:
		return nil
	case open:
		return &provider.Error{
			Kind: provider.Unavailable, RetryAfter: rest, Err: errNotAsked,
			Message: fmt.Sprintf("%s was left alone after %d failures in a row, and is asked again by one session at a time.", of, g.breaker.failures),
		}
	}
	return &provider.Error{
		Kind: provider.Busy, RetryAfter: rest, Err: errNotAsked,
		Message: of + " was left alone, as it has asked for.",
	}
}

func (g *gate) left(v verdict, version string, probe bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if version != g.breaker.version {
		return // it is another provider by now
	}
	if probe {
		g.probing = false
	}
	if v.unknown {
		return
	}
	g.took = v.done.Sub(v.began)
	failed := provider.AsError(v.err)
	switch {
	case failed != nil && failed.Kind == provider.Unavailable:
		g.breaker.failed(v.began, v.done, min(failed.RetryAfter, pauseCap))
	case failed != nil && failed.Kind == provider.Busy:
		g.breaker.answered()
		g.breaker.pause(v.done, min(failed.RetryAfter, pauseCap))
	default:
		g.breaker.answered()
	}
}

// nameOf is how messages name a provider.
func nameOf(obj v1.Provider) string { return string(kindOf(obj)) + " " + obj.GetName() }
