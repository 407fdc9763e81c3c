package controllers

import (
	"context"
	"errors"
	"net/http/httptrace"
	"sync/atomic"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/internal/provider"
	"terminals.dev/session-controller/internal/provider/oauth2"
)

// asking is a client that is built when it is first asked, and kept up to date. Whoever asks has leave, from the provider's limit.
type asking struct {
	providers *Providers
	remote    *remote
	obj       v1.Provider
}

// begin returns the client, and the context in which it is asked: it marks the call's first request, and hears of answers.
func (a *asking) begin(ctx context.Context) (context.Context, provider.Provider, error) {
	b, err := a.providers.build(ctx, a.obj)
	if err != nil {
		return ctx, nil, &provider.Error{
			Kind: provider.Unavailable, Message: "The provider's credentials could not be read.", Err: errors.Join(errNotAsked, err),
		}
	}
	if b.problem != nil {
		a.providers.doubt(a.obj)
		return ctx, nil, &provider.Error{Kind: provider.Misconfigured, Message: b.problem.message, Err: errNotAsked}
	}
	return a.providers.heard(context.WithValue(ctx, firstRequest{}, new(atomic.Bool)), a.remote), b.client, nil
}

// heard has the time noted of whatever the provider answers.
func (p *Providers) heard(ctx context.Context, r *remote) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotFirstResponseByte: func() { r.reached.Store(p.Clock.Now().UnixNano()) },
	})
}

// through makes one call. What concerns the provider as a whole is told to whoever answers for it.
func through[T any](ctx context.Context, a *asking, ask func(context.Context, provider.Provider) (T, error)) (T, error) {
	ctx, asked, err := a.begin(ctx)
	if err != nil {
		var nothing T
		return nothing, err
	}
	answer, err := ask(ctx, asked)
	whole := errors.Is(err, oauth2.ErrDiscovery) || errors.Is(err, oauth2.ErrCertificate) || errors.Is(err, oauth2.ErrCredentials)
	if whole && !errors.Is(err, errNoTurn) {
		a.providers.doubt(a.obj)
	}
	return answer, err
}

// Login implements provider.Provider.
func (a *asking) Login(ctx context.Context, req provider.Request) (provider.Result, error) {
	return through(ctx, a, func(ctx context.Context, asked provider.Provider) (provider.Result, error) {
		return asked.Login(ctx, req)
	})
}

// Poll implements provider.Provider.
func (a *asking) Poll(ctx context.Context, req provider.Request, pending provider.Pending) (provider.Result, error) {
	return through(ctx, a, func(ctx context.Context, asked provider.Provider) (provider.Result, error) {
		return asked.Poll(ctx, req, pending)
	})
}

// Renew implements provider.Provider.
func (a *asking) Renew(ctx context.Context, req provider.Request) (provider.Token, error) {
	return through(ctx, a, func(ctx context.Context, asked provider.Provider) (provider.Token, error) {
		return asked.Renew(ctx, req)
	})
}

// Revoke implements provider.Provider.
func (a *asking) Revoke(ctx context.Context, req provider.Request) error {
	_, err := through(ctx, a, func(ctx context.Context, asked provider.Provider) (struct{}, error) {
		return struct{}{}, asked.Revoke(ctx, req)
	})
	return err
}

// Check implements provider.Provider.
func (a *asking) Check(ctx context.Context, req provider.Request) (provider.Status, error) {
	return through(ctx, a, func(ctx context.Context, asked provider.Provider) (provider.Status, error) {
		return asked.Check(ctx, req)
	})
}

// Capabilities implements provider.Provider. Before there is a client they are as status has them.
func (a *asking) Capabilities() provider.Capabilities {
	if b := a.remote.current(); b != nil && b.client != nil {
		return b.client.Capabilities()
	}
	known := supported(a.obj)
	return provider.Capabilities{
		RevokesByToken: known[v1.FeatureRevocation], RevokesBySession: known[v1.FeatureRevocation] && a.obj.ProviderSpec().Webhook != nil,
		Idempotent: known[v1.FeatureIdempotency], Introspects: known[v1.FeatureIntrospection],
		Refreshes: known[v1.FeatureRefreshToken], DeviceCode: known[v1.FeatureDeviceCode],
	}
}
