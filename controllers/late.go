package controllers

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/internal/session"
)

// call is one call that is under way.
type call struct {
	key types.NamespacedName
	of  place
	// timed ends when the call has taken too long, or is over; wanted also when the session is to end.
	timed, wanted context.Context
	stop          context.CancelFunc
	off           context.CancelCauseFunc
	// answer is what came of it, once answered is closed.
	answer   error
	answered chan struct{}
	// done is whether it has an answer, and alone whether it goes on without its session: of the two, what comes first holds.
	done, alone bool
}

func (m *call) isCalledOff() bool { return errors.Is(context.Cause(m.wanted), errCalledOff) }

// ask makes a call, and hands what came of it to the session, or to whoever takes its place.
func (c *calls) ask(mine *call, do asked, left func(err error, givenUp bool)) {
	mine.answer = guarded(mine.timed, do.ask)
	_, bad := errors.AsType[*panicked](mine.answer)
	left(mine.answer, bad)
	if c.isAwaited(mine) {
		c.leave(mine)
		close(mine.answered)
		return
	}
	defer c.alone.Done()
	defer c.leave(mine)
	_ = guarded(mine.timed, func(context.Context) error { do.late(mine.answer); return nil })
}

// isAwaited is whether a session waits for its call, which has an answer from now on.
func (c *calls) isAwaited(mine *call) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	mine.done = true
	return !mine.alone
}

// leaveAlone has a call go on without its session, unless it has an answer. When the process ends each session waits for its own.
func (c *calls) leaveAlone(mine *call) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if mine.done || c.ending {
		return false
	}
	mine.alone = true
	c.alone.Add(1)
	return true
}

// end waits, when the process is to end, for the calls that go on without their sessions.
func (c *calls) end(ctx context.Context) error {
	<-ctx.Done()
	c.mu.Lock()
	c.ending = true
	c.mu.Unlock()
	c.alone.Wait()
	return nil
}

// panicked is what came of a call in which a library has panicked.
type panicked struct{ why any }

func (p *panicked) Error() string { return fmt.Sprintf("panic: %v", p.why) }

// guarded does something where nobody else would catch what panics.
func guarded(ctx context.Context, do func(context.Context) error) (err error) {
	defer func() {
		if why := recover(); why != nil {
			err = &panicked{why}
			log.FromContext(ctx).Error(err, "a call to a provider has panicked", "stacktrace", string(debug.Stack()))
		}
	}()
	return do(ctx)
}

// spent are the attempts that were called off, or whose provider was left, and of which status does not tell yet. None is made again: the
// token that it may have brought is revoked, and a provider that knows it again would answer with just that.
type spent struct {
	mu sync.Mutex
	of map[types.NamespacedName]attempt
}

type attempt struct {
	uid    types.UID
	number int64
}

func (p *spent) note(s *v1.TerminalSession) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.of == nil {
		p.of = map[types.NamespacedName]attempt{}
	}
	p.of[client.ObjectKeyFromObject(s)] = attempt{s.UID, session.NextAttempt(s)}
}

// is whether the next attempt of a session is such a one.
func (p *spent) is(s *v1.TerminalSession) bool {
	key := client.ObjectKeyFromObject(s)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.of[key] == (attempt{s.UID, session.NextAttempt(s)}) {
		return true
	}
	delete(p.of, key)
	return false
}

func (p *spent) forget(key types.NamespacedName) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.of, key)
}
