package controllers

import (
	"context"
	"errors"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "terminals.dev/session-controller/api/v1"
)

const (
	// callTimeout bounds one call to a provider, where its spec does not give it more.
	callTimeout = 15 * time.Second
	// waitingRoom is how many sessions may wait for their providers at a time, beside those that are worked on. One provider has at most a
	// quarter of it, and those of one namespace half.
	waitingRoom = 256
	// roomEvery is how far apart those come back at least for whom there is no room.
	roomEvery = 20 * time.Millisecond
)

var (
	// errCalledOff is how a call ends when there is to be no session any more.
	errCalledOff = errors.New("the session is to end: the call to its provider was called off")
	// errNotAsked is found by errors.Is in what a call ends with that was not made, as the provider is left alone or cannot be asked.
	errNotAsked = errors.New("the provider was not asked")
)

// noRoom is how a call ends that was not made, and may be tried again when wait has passed.
type noRoom struct{ wait time.Duration }

func (e *noRoom) Error() string { return "there is no room for another call to the provider just now" }

// calls are the calls to providers that are under way. While a session waits for its provider it leaves its turn to others, and where too
// many wait for a provider the next ones come back later. A call is called off when its session is to end, since an end waits for nobody.
type calls struct {
	// turns are those of the sessions that are worked on. Where they have no limit, nor has the room.
	turns turns

	mu       sync.Mutex
	underway map[types.NamespacedName]call
}

type call struct {
	of     place
	cancel context.CancelCauseFunc
}

// place is a provider that is asked over the network, wherever it is; empty for one that is in this process.
type place struct {
	remote    bool
	namespace string
	ref       v1.ProviderReference
}

// make makes a call for a session that is so urgent, if the provider is to be asked now. An error is *noRoom or errCalledOff, or what came
// of the call.
func (c *calls) make(ctx context.Context, s *v1.TerminalSession, priority int, to resolved, ask func(context.Context) error) error {
	who := comer{client.ObjectKeyFromObject(s), priority}
	of := place{}
	if to.remote != nil {
		of = placeOf(s)
	}
	timed, leave := c.enter(ctx, who.key, of, max(callTimeout, to.timeout))
	if leave == nil {
		return to.full(who)
	}
	defer leave()
	left, err := to.enter(who)
	if err != nil {
		return err
	}
	// What follows is undone also where a library panics, since the worker goes on.
	var answer error
	ended, calledOff := false, false
	if to.remote != nil {
		c.turns.give()
		defer func() {
			lane := laneAnswered
			if calledOff {
				lane = laneEnd
			}
			c.turns.again(ctx, who.key, lane)
		}()
	}
	defer func() { left(answer, !ended || calledOff || ctx.Err() != nil) }()
	answer = ask(timed)
	ended, calledOff = true, answer != nil && errors.Is(context.Cause(timed), errCalledOff)
	if calledOff {
		return errCalledOff
	}
	return answer
}

// enter asks the provider's limit and breaker for leave to make one call. Who has it says what came of the call.
func (to resolved) enter(who comer) (left func(err error, givenUp bool), err error) {
	if to.remote == nil {
		return func(error, bool) {}, nil
	}
	began := to.clock.Now()
	leave, err := to.remote.gate.enter(began, who, to.name, to.version, to.limit)
	if err != nil {
		return nil, err
	}
	return func(err error, givenUp bool) {
		unknown := givenUp || errors.Is(err, errNotAsked) || errors.Is(err, errNoTurn)
		leave(verdict{err: err, unknown: unknown, began: began, done: to.clock.Now()})
	}, nil
}

// full is the error for somebody for whom there is no room.
func (to resolved) full(who comer) error {
	return to.remote.gate.full(to.clock.Now(), who, to.name, to.version, to.limit)
}

// placeOf is the provider of a session.
func placeOf(s *v1.TerminalSession) place {
	of := place{remote: true, ref: s.Spec.ProviderRef}
	if of.ref.Kind == v1.KindSessionProvider {
		of.namespace = s.Namespace
	}
	return of
}

// enter begins a call for a session, whose context ends in time. Where there is no room for it, leave is nil.
func (c *calls) enter(ctx context.Context, key types.NamespacedName, of place, most time.Duration) (_ context.Context, leave func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if of.remote && !c.room(of) {
		return nil, nil
	}
	ctx, cancel := context.WithCancelCause(ctx)
	timed, stop := context.WithTimeout(ctx, most)
	if c.underway == nil {
		c.underway = map[types.NamespacedName]call{}
	}
	c.underway[key] = call{of, cancel}
	return timed, func() {
		stop()
		cancel(nil)
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.underway, key)
	}
}

// room is whether one more may wait for a provider. It is asked under the lock.
func (c *calls) room(of place) bool {
	if c.turns.most == 0 {
		return true
	}
	all, namespace, same := 0, 0, 0
	for _, other := range c.underway {
		if !other.of.remote {
			continue
		}
		all++
		if of.namespace != "" && other.of.namespace == of.namespace {
			namespace++
		}
		if other.of == of {
			same++
		}
	}
	return all < waitingRoom && namespace < waitingRoom/2 && same < waitingRoom/4
}

// callOff ends the call that is under way for a session that is to end, if there is one, or has it be among the next who get a turn.
func (c *calls) callOff(key types.NamespacedName) {
	c.turns.hurry(key)
	c.mu.Lock()
	defer c.mu.Unlock()
	if underway, ok := c.underway[key]; ok {
		underway.cancel(errCalledOff)
	}
}

// unread is how a call ends that was not made, since the API server did not give what it takes.
type unread struct{ error }

func (e *unread) Unwrap() error { return e.error }

// unasked is whether a call ended without an answer, through no fault of the provider: it is made another time.
func unasked(err error) bool {
	full, missing := (*noRoom)(nil), (*unread)(nil)
	return errors.Is(err, errCalledOff) || errors.Is(err, errNotLeading) || errors.As(err, &full) || errors.As(err, &missing)
}
