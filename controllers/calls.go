package controllers

import (
	"context"
	"errors"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/internal/provider"
)

const (
	// callTimeout bounds one call to a provider for a token.
	callTimeout = 15 * time.Second
	// roomWait is how long a session waits for room to ask its provider.
	roomWait = 50 * time.Millisecond
	// spare are the workers that no provider may hold, so that ends go on whatever providers do.
	spare = 2
)

var (
	// errCalledOff is how a call ends when there is to be no session any more.
	errCalledOff = errors.New("the session is to end: the call to its provider was called off")
	// errNoRoom is returned where as many workers as may be wait for providers.
	errNoRoom = errors.New("too many calls to providers are under way")
)

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

// make makes a call for a session.
func (c *calls) make(ctx context.Context, s *v1.TerminalSession, ask func(context.Context) (provider.Token, error)) (provider.Token, error) {
	timed, leave := c.enter(ctx, client.ObjectKeyFromObject(s), s.Spec.ProviderRef)
	if leave == nil {
		return provider.Token{}, errNoRoom
	}
	defer leave()
	token, err := ask(timed)
	if err != nil && errors.Is(context.Cause(timed), errCalledOff) {
		return provider.Token{}, errCalledOff
	}
	return token, err
}

// enter begins a call for a session, whose context ends in time. Where there is no room for it, leave is nil.
func (c *calls) enter(ctx context.Context, key types.NamespacedName, ref v1.ProviderReference) (_ context.Context, leave func()) {
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
	timed, stop := context.WithTimeout(ctx, callTimeout)
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
