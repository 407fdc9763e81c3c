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
	roomEvery = 10 * time.Millisecond
)

var (
	// errCalledOff is how a call ends for a session that is to end.
	errCalledOff = errors.New("the session is to end: the call to its provider was called off")
	// errNotAsked is found by errors.Is in what a call ends with that was not made, as the provider is left alone or cannot be asked.
	errNotAsked = errors.New("the provider was not asked")
)

// noRoom is how a call ends that was not made, and may be tried again when wait has passed.
type noRoom struct{ wait time.Duration }

func (e *noRoom) Error() string { return "there is no room for another call to the provider just now" }

// calls are the calls to providers that are under way. While a session waits for its provider it leaves its turn to others, and where too
// many wait for a provider the next ones come back later. A session that is to end waits for no provider: its call goes on without it.
type calls struct {
	// turns are those of the sessions that are worked on. Where they have no limit, nor has the room.
	turns turns

	mu       sync.Mutex
	underway map[*call]struct{}
	// alone are the calls that go on without their sessions; none is left to itself any more once the process ends.
	alone  sync.WaitGroup
	ending bool
}

// place is a provider that is asked over the network, wherever it is; empty for one that is in this process.
type place struct {
	remote    bool
	namespace string
	ref       v1.ProviderReference
}

// asked is what a call is made of.
type asked struct {
	// read gets together what the call takes, once the provider may be asked. It is given up when the session is to end.
	read func(context.Context) error
	// ask asks. It goes on when the session is to end: the provider may have done by then what it was asked for.
	ask func(context.Context) error
	// late takes what came of ask where the session has not waited for that.
	late func(error)
}

// make makes a call for a session that is so urgent, if the provider is to be asked now. An error is *noRoom, *unread or errCalledOff, or what
// came of the call.
func (c *calls) make(ctx context.Context, s *v1.TerminalSession, priority int, to resolved, do asked) error {
	who := comer{client.ObjectKeyFromObject(s), priority}
	of := place{}
	if to.remote != nil {
		of = placeOf(s)
	}
	mine := c.enter(ctx, who.key, of, max(callTimeout, to.timeout))
	if mine == nil {
		return to.full(who)
	}
	left, err := to.enter(who)
	if err != nil {
		c.leave(mine)
		return err
	}
	// This is the API server's, so it has a turn like everything else that is. Without one, those who are about to ask would fill the room.
	if err = c.read(mine, do.read, left); err != nil {
		return err
	}
	if !of.remote {
		return c.carryOut(mine, do, left)
	}
	lane := laneAnswered
	c.turns.give()
	defer func() { c.turns.again(ctx, who.key, lane) }() // also where a library panics, since the worker goes on
	if err = c.carryOut(mine, do, left); errors.Is(err, errCalledOff) {
		lane = laneEnd
	}
	return err
}

// carryOut makes a call, and waits for what comes of it for as long as the session does.
func (c *calls) carryOut(mine *call, do asked, left func(err error, givenUp bool)) error {
	go c.ask(mine, do, left)
	select {
	case <-mine.answered:
	case <-mine.wanted.Done():
		if mine.isCalledOff() && c.leaveAlone(mine) {
			return errCalledOff
		}
		<-mine.answered
	}
	if bad, ok := errors.AsType[*panicked](mine.answer); ok {
		panic(bad.why) // for whoever catches what reconcilers do
	}
	return mine.answer
}

// read reads what a call takes. Where that fails the call is over.
func (c *calls) read(mine *call, read func(context.Context) error, left func(err error, givenUp bool)) (err error) {
	done := false
	defer func() {
		if !done {
			left(errNotAsked, true)
			c.leave(mine)
		}
	}()
	err = read(mine.wanted)
	switch {
	case mine.isCalledOff():
		return errors.Join(errCalledOff, errNotAsked)
	case err != nil:
		return &unread{err}
	}
	done = true
	return nil
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

// enter begins a call for a session, which ends in time; nil where there is no room for it.
func (c *calls) enter(ctx context.Context, key types.NamespacedName, of place, most time.Duration) *call {
	c.mu.Lock()
	defer c.mu.Unlock()
	if of.remote && !c.room(of) {
		return nil
	}
	mine := &call{key: key, of: of, answered: make(chan struct{})}
	mine.timed, mine.stop = context.WithTimeout(ctx, most)
	mine.wanted, mine.off = context.WithCancelCause(mine.timed)
	if c.underway == nil {
		c.underway = map[*call]struct{}{}
	}
	c.underway[mine] = struct{}{}
	return mine
}

// leave ends a call.
func (c *calls) leave(mine *call) {
	mine.off(nil)
	mine.stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.underway, mine)
}

// room is whether one more may wait for a provider. It is asked under the lock.
func (c *calls) room(of place) bool {
	if c.turns.most == 0 {
		return true
	}
	all, namespace, same := 0, 0, 0
	for other := range c.underway {
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

// callOff has a session that is to end no longer wait for the call that is under way for it, if there is one, or has it be among the next who
// get a turn.
func (c *calls) callOff(key types.NamespacedName) {
	c.turns.hurry(key)
	c.mu.Lock()
	defer c.mu.Unlock()
	for underway := range c.underway {
		if underway.key == key {
			underway.off(errCalledOff)
		}
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
