package fault_test

import (
	"context"

	"terminals.dev/session-controller/internal/provider"
)

// gate lies between a process and a provider: it counts the calls that are under way, and lets none through once the process is killed.
type gate struct {
	provider.Provider
	process *process
}

func through[T any](ctx context.Context, g gate, call func() (T, error)) (T, error) {
	g.process.asking.Add(1)
	defer g.process.asking.Add(-1)
	g.process.concerned.Add(1)
	context.AfterFunc(ctx, func() { g.process.concerned.Add(-1) })
	if g.process.isDead() {
		var nothing T
		return nothing, &provider.Error{Kind: provider.Unavailable, Err: errDead}
	}
	return call()
}

// Login implements provider.Provider.
func (g gate) Login(ctx context.Context, req provider.Request) (provider.Result, error) {
	g.process.run.overlapped()
	return through(ctx, g, func() (provider.Result, error) { return g.Provider.Login(ctx, req) })
}

// Poll implements provider.Provider.
func (g gate) Poll(ctx context.Context, req provider.Request, pending provider.Pending) (provider.Result, error) {
	return through(ctx, g, func() (provider.Result, error) { return g.Provider.Poll(ctx, req, pending) })
}

// Renew implements provider.Provider.
func (g gate) Renew(ctx context.Context, req provider.Request) (provider.Token, error) {
	g.process.run.overlapped()
	return through(ctx, g, func() (provider.Token, error) { return g.Provider.Renew(ctx, req) })
}

// Revoke implements provider.Provider.
func (g gate) Revoke(ctx context.Context, req provider.Request) error {
	_, err := through(ctx, g, func() (struct{}, error) { return struct{}{}, g.Provider.Revoke(ctx, req) })
	return err
}

// Check implements provider.Provider.
func (g gate) Check(ctx context.Context, req provider.Request) (provider.Status, error) {
	return through(ctx, g, func() (provider.Status, error) { return g.Provider.Check(ctx, req) })
}
