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
	// roomWait is how long a session waits for room to ask its provider.
	roomWait = 50 * time.Millisecond
	// spare are the workers that no provider may hold, so that ends go on whatever providers do.
	spare = 2
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

// calls are the calls to providers that are under way. They leave room for whatever needs no provider, and for other providers; and a call
// is called off when its session is to end, since an end waits for nobody.
type calls struct {
	// workers is how many sessions are worked on at a time; zero for no limit.
	workers int

	mu       sync.Mutex
	underway map[types.NamespacedName]call
}

type call struct {
	of     place
	cancel context.CancelCauseFunc
}

// place is a provider, wherever it is.
type place struct {
	namespace string
	ref       v1.ProviderReference
}

// make makes a call for a session, if the provider is to be asked now. An error is *noRoom or errCalledOff, or what came of the call.
func (c *calls) make(ctx context.Context, s *v1.TerminalSession, to resolved, ask func(context.Context) error) error {
	timed, leave := c.enter(ctx, client.ObjectKeyFromObject(s), s.Spec.ProviderRef, max(callTimeout, to.timeout))
	if leave == nil {
		return &noRoom{roomWait}
	}
	defer leave()
	left, err := to.enter()
	if err != nil {
		return err
	}
	err = ask(timed)
	calledOff := err != nil && errors.Is(context.Cause(timed), errCalledOff)
	left(err, calledOff || ctx.Err() != nil)
	if calledOff {
		return errCalledOff
	}
	return err
}

// enter asks the provider's limit and breaker for leave to make one call. Who has it says what came of the call.
func (to resolved) enter() (left func(err error, givenUp bool), err error) {
	if to.remote == nil {
		return func(error, bool) {}, nil
	}
	began := to.clock.Now()
	leave, err := to.remote.gate.enter(began, to.name, to.version, to.limit)
	if err != nil {
		return nil, err
	}
	return func(err error, givenUp bool) {
		unknown := givenUp || errors.Is(err, errNotAsked) || errors.Is(err, errNoTurn)
		leave(verdict{err: err, unknown: unknown, began: began, done: to.clock.Now()})
	}, nil
}

// enter begins a call for a session, whose context ends in time. Where there is no room for it, leave is nil.
func (c *calls) enter(ctx context.Context, key types.NamespacedName, ref v1.ProviderReference, most time.Duration) (_ context.Context, leave func()) {
	of := place{ref: ref}
	if ref.Kind == v1.KindSessionProvider {
		of.namespace = key.Namespace
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.workers > 0 {
		same := 0
		for _, other := range c.underway {
			if other.of == of {
				same++
			}
		}
		// One provider has at most three quarters of the room.
		room := max(c.workers-spare, 1)
		if len(c.underway) >= room || same >= max(room*3/4, 1) {
			return nil, nil
		}
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

// callOff ends the call that is under way for a session, if there is one.
func (c *calls) callOff(key types.NamespacedName) {
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
	return errors.Is(err, errCalledOff) || errors.As(err, &full) || errors.As(err, &missing)
}
