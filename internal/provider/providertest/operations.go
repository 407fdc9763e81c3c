package providertest

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"terminals.dev/session-controller/internal/provider"
)

// question is a request, and what a person was asked where it is about that.
type question struct {
	provider.Request
	pending provider.Pending
}

// operation is one of a provider's, called for nothing but its error. A Check that finds a ban has found an answer, so it is made an
// error here.
type operation struct {
	name string
	call func(context.Context, provider.Provider, question) error
}

var (
	login = operation{"Login", func(ctx context.Context, p provider.Provider, q question) error {
		_, err := p.Login(ctx, q.Request)
		return err
	}}
	poll = operation{"Poll", func(ctx context.Context, p provider.Provider, q question) error {
		_, err := p.Poll(ctx, q.Request, q.pending)
		return err
	}}
	renew = operation{"Renew", func(ctx context.Context, p provider.Provider, q question) error {
		_, err := p.Renew(ctx, q.Request)
		return err
	}}
	revoke = operation{"Revoke", func(ctx context.Context, p provider.Provider, q question) error {
		return p.Revoke(ctx, q.Request)
	}}
	check = operation{"Check", func(ctx context.Context, p provider.Provider, q question) error {
		status, err := p.Check(ctx, q.Request)
		if err == nil && status.Banned {
			return &provider.Error{Kind: provider.Banned, Code: status.Code}
		}
		return err
	}}
)

// call is an operation, and what it is called with.
type call struct {
	operation
	about question
}

// calls are those that reach the server, each about a session that it fits.
func (s *suite) calls(t *testing.T, p provider.Provider) []call {
	t.Helper()
	about := question{Request: s.established(t, p)}
	all := []call{{login, question{Request: s.Request(t)}}, {renew, about}}
	if s.Scenarios[Asking] != nil {
		all = append(all, call{poll, s.waiting(t, p)})
	}
	can := p.Capabilities()
	if can.RevokesByToken || can.RevokesBySession {
		all = append(all, call{revoke, about})
	}
	if can.Introspects {
		all = append(all, call{check, about})
	}
	return all
}

// failure is what a scenario is to end in.
type failure struct {
	// kinds are those that fit.
	kinds []provider.Kind
	// of are the operations that fail; none stands for all.
	of []string
	// code and retryAfter tell that the error has them.
	code, retryAfter bool
	// rounds is how often each operation is called, if not once.
	rounds int
}

// unusable are the kinds of what is no answer at all: whether a person has to act is the adapter's to say.
var unusable = []provider.Kind{provider.Misconfigured, provider.Unavailable}

var failures = map[Scenario]failure{
	Busy:        {kinds: []provider.Kind{provider.Busy}, retryAfter: true},
	Unavailable: {kinds: []provider.Kind{provider.Unavailable}, retryAfter: true},
	Failing:     {kinds: []provider.Kind{provider.Unavailable}},
	Down:        {kinds: []provider.Kind{provider.Unavailable}},
	Rejecting:   {kinds: []provider.Kind{provider.Rejected}, of: []string{"Login", "Poll", "Renew"}, code: true},
	Banning:     {kinds: []provider.Kind{provider.Banned}, of: []string{"Login", "Poll", "Renew", "Check"}, code: true},
	Postponing:  {kinds: []provider.Kind{provider.AuthTokenMissing}, of: []string{"Login", "Poll", "Renew"}},
	Forgetting:  {kinds: []provider.Kind{provider.GrantDead}, of: []string{"Renew"}},
	Refusing:    {kinds: []provider.Kind{provider.Misconfigured}},
	Untrusted:   {kinds: unusable},
	Garbage:     {kinds: unusable},
	Huge:        {kinds: unusable},
	Redirecting: {kinds: unusable},
	Leaking: {rounds: 8, kinds: []provider.Kind{
		provider.Busy, provider.Unavailable, provider.Rejected, provider.GrantDead, provider.Banned, provider.AuthTokenMissing,
		provider.Misconfigured,
	}},
}

// failing asks with a client that knows the server, and with one that has just started.
func (s *suite) failing(t *testing.T, on Switch, want failure) {
	p, started := s.New(t), s.New(t)
	calls := s.calls(t, p)
	on(t)
	for _, c := range slices.Repeat(calls, max(want.rounds, 1)) {
		if len(want.of) > 0 && !slices.Contains(want.of, c.name) {
			continue
		}
		for what, p := range map[string]provider.Provider{c.name: p, c.name + " after a start": started} {
			about := c.about
			about.Request = s.again(t, about.Request)
			err := soon(t, func() error { return c.call(t.Context(), p, about) })
			s.fails(t, what, about, err, want.kinds...)
			e := provider.AsError(err)
			if e == nil {
				continue
			}
			if want.code && e.Code == "" {
				t.Errorf("%s: the error has no code", what)
			}
			if want.retryAfter && e.RetryAfter != RetryAfter {
				t.Errorf("%s: the error says to wait %s, want %s", what, e.RetryAfter, RetryAfter)
			}
		}
	}
}

func (s *suite) hanging(t *testing.T, on Switch) {
	p := s.New(t)
	calls := s.calls(t, p)
	var hasty provider.Provider
	if s.Impatient != nil {
		hasty = s.Impatient(t)
	}
	taken := on(t)
	for _, c := range calls {
		// One that is given up may ask on for the others that it has, so it is a new one each time.
		for what, p := range map[string]provider.Provider{c.name: p, c.name + " after a start": s.New(t)} {
			err := soon(t, func() error { return givenUp(t, taken, p, c) })
			s.fails(t, what+", given up", c.about, err, provider.Unavailable)
		}
		if hasty != nil {
			err := soon(t, func() error { return c.call(t.Context(), hasty, c.about) })
			s.fails(t, c.name+", timed out", c.about, err, provider.Unavailable)
			<-taken
		}
	}
}

// givenUp is a call that is given up once the server has taken a request of it.
func givenUp(t *testing.T, taken <-chan struct{}, p provider.Provider, c call) error {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		select {
		case <-taken:
			cancel()
		case <-ctx.Done():
		}
	}()
	return c.call(ctx, p, c.about)
}

// cancelled takes an answer for as good as an error: an adapter that asks nobody has nothing to interrupt.
func (s *suite) cancelled(t *testing.T) {
	p, started := s.New(t), s.New(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range s.calls(t, p) {
		for what, p := range map[string]provider.Provider{c.name: p, c.name + " after a start": started} {
			if err := soon(t, func() error { return c.call(ctx, p, c.about) }); err != nil {
				s.fails(t, what, c.about, err, provider.Unavailable)
			}
		}
	}
}

// stale asks with auth tokens that do not hold, and with none.
func (s *suite) stale(t *testing.T) {
	p := s.New(t)
	for i, token := range append(s.Stale(t), "") {
		about := question{Request: s.Request(t)}
		about.AuthToken = token
		for _, op := range []operation{login, renew} {
			err := soon(t, func() error { return op.call(t.Context(), p, about) })
			s.fails(t, fmt.Sprintf("%s with the stale auth token %d", op.name, i), about, err, provider.AuthTokenMissing)
		}
	}
}
