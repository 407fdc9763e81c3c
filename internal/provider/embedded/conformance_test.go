package embedded_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"terminals.dev/session-controller/internal/provider"
	"terminals.dev/session-controller/internal/provider/embedded"
	"terminals.dev/session-controller/internal/provider/providertest"
)

// slowKeys is a key source that can be made not to answer.
type slowKeys struct {
	*world
	taken atomic.Pointer[chan struct{}]
}

func (k *slowKeys) Keys(ctx context.Context) (embedded.KeySet, error) {
	if taken := k.taken.Load(); taken != nil {
		*taken <- struct{}{}
		<-ctx.Done()
		return embedded.KeySet{}, ctx.Err()
	}
	return k.world.Keys(ctx)
}

func TestConformance(t *testing.T) {
	w := newWorld(t)
	keys := &slowKeys{world: w}
	issuer := func(testing.TB) provider.Provider {
		return embedded.New(embedded.Config{IssuerURL: issuerURL, Keys: keys, Now: w.Now})
	}
	with := func(set embedded.KeySet, err error) providertest.Switch {
		return func(t testing.TB) <-chan struct{} {
			before, _ := w.Keys(t.Context())
			w.set(set, err)
			t.Cleanup(func() { w.set(before, nil) })
			return nil
		}
	}
	var requests atomic.Int64
	providertest.Run(t, providertest.Harness{
		New: issuer,
		Request: func(testing.TB) provider.Request {
			req := request()
			n := requests.Add(1)
			req.IdempotencyKey, req.Session.ID = fmt.Sprintf("%s-%d", req.IdempotencyKey, n), fmt.Sprintf("0197f3d2-0000-7000-8000-%012d", n)
			req.AuthToken = "auth-token-4d3e8d5c2f6f0c1a"
			return req
		},
		Secrets: []string{string(marshal(t, w.keys.Keys[0]))},
		SessionOf: func(t testing.TB, token string) string {
			claims, err := w.issuer(issuerURL).Verify(t.Context(), token)
			if err != nil {
				t.Error(err)
			}
			return claims.SessionID
		},
		Scenarios: map[providertest.Scenario]providertest.Switch{
			providertest.Unavailable: with(embedded.KeySet{}, &provider.Error{Kind: provider.Unavailable, RetryAfter: providertest.RetryAfter}),
			providertest.Failing:     with(embedded.KeySet{}, errors.New("the key store is gone")),
			providertest.Refusing:    with(embedded.KeySet{}, nil),
			providertest.Hanging: func(t testing.TB) <-chan struct{} {
				taken := make(chan struct{}, 16)
				keys.taken.Store(&taken)
				t.Cleanup(func() { keys.taken.Store(nil) })
				return taken
			},
		},
	})
}
