package integration_test

import (
	"context"
	"sync"
	"time"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/internal/provider"
)

// answers is what the providers of a test answer. They are real issuers, whose answers a test can replace.
type answers struct {
	mu     sync.Mutex
	answer answer
	calls  []string
	// tokens are all that were given, the discarded ones too.
	tokens []string
	// tell is whether providers have to be told when a token is over.
	tell bool
	// attempts are the idempotency keys of the calls, and the sessions that they are for.
	attempts []string
}

// answer stands in for a provider's own, which give would get.
type answer func(give func() (provider.Token, error)) (provider.Token, error)

// say makes the providers answer so from now on; nil leaves it to themselves.
func (a *answers) say(answer answer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.answer = answer
}

// taken returns the calls since the last time: Login, Renew, Revoke.
func (a *answers) taken() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	calls := a.calls
	a.calls = nil
	return calls
}

// refuse answers with an error.
func refuse(err *provider.Error) answer {
	return func(func() (provider.Token, error)) (provider.Token, error) { return provider.Token{}, err }
}

// alter changes what the provider gives.
func alter(change func(*provider.Token)) answer {
	return func(give func() (provider.Token, error)) (provider.Token, error) {
		token, err := give()
		change(&token)
		return token, err
	}
}

// meanwhile has something happen while the provider is at it.
func meanwhile(happens func()) answer {
	return func(give func() (provider.Token, error)) (provider.Token, error) {
		happens()
		return give()
	}
}

// identity has the provider name a user, and lasts a lifetime, whatever was asked for.
func identity(email string) answer {
	return alter(func(t *provider.Token) { t.Identity = provider.Identity{Email: email, Subject: email} })
}

func lasts(d time.Duration) answer { return alter(func(t *provider.Token) { t.ExpiresIn = d }) }

var (
	wrongIdentity = identity("mallory@acme.example")

	unavailable = refuse(&provider.Error{Kind: provider.Unavailable, Message: "the provider is out of reach"})
	rejected    = refuse(&provider.Error{Kind: provider.Rejected, Code: "NoContract", Message: "the merchant has no contract"})
	grantDead   = refuse(&provider.Error{Kind: provider.GrantDead, Message: "the grant is over"})
	banned      = refuse(&provider.Error{Kind: provider.Banned, Code: "UserBanned", Message: "the user is barred"})
)

// wrap is a controllers.Providers' Wrap.
func (a *answers) wrap(_ v1.Provider, asked provider.Provider) provider.Provider {
	return &answering{Provider: asked, answers: a}
}

type answering struct {
	provider.Provider
	*answers
}

func (p *answering) Capabilities() provider.Capabilities {
	c := p.Provider.Capabilities()
	c.RevokesByToken = p.tell
	return c
}

func (p *answering) Login(ctx context.Context, req provider.Request) (provider.Result, error) {
	token, err := p.ask("Login", req, func() (provider.Token, error) {
		result, err := p.Provider.Login(ctx, req)
		if err != nil {
			return provider.Token{}, err
		}
		return *result.Token, nil
	})
	if err != nil {
		return provider.Result{}, err
	}
	return provider.Result{Token: &token}, nil
}

func (p *answering) Renew(ctx context.Context, req provider.Request) (provider.Token, error) {
	return p.ask("Renew", req, func() (provider.Token, error) { return p.Provider.Renew(ctx, req) })
}

func (p *answering) Revoke(ctx context.Context, req provider.Request) error {
	p.mu.Lock()
	p.calls = append(p.calls, "Revoke")
	p.mu.Unlock()
	return p.Provider.Revoke(ctx, req)
}

func (p *answering) ask(call string, req provider.Request, give func() (provider.Token, error)) (provider.Token, error) {
	p.mu.Lock()
	answer := p.answer
	p.calls, p.attempts = append(p.calls, call), append(p.attempts, req.IdempotencyKey+" of session "+req.Session.ID)
	p.mu.Unlock()
	if answer == nil {
		answer = func(give func() (provider.Token, error)) (provider.Token, error) { return give() }
	}
	token, err := answer(give)
	if token.Value != "" {
		p.mu.Lock()
		p.tokens = append(p.tokens, token.Value)
		p.mu.Unlock()
	}
	return token, err
}
