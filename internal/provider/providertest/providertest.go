package providertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"terminals.dev/session-controller/internal/provider"
)

const (
	// patience is far more than any call takes that returns soon.
	patience = 20 * time.Second
	// window is the length of the parts of a secret that may stand in no error.
	window = 12
	// unknown is a token that no server has issued.
	unknown = "unknown-0123456789abcdef0123456789abcdef"
)

// Run asks an adapter for everything that is promised, as far as its harness has a wire for it.
func Run(t *testing.T, h Harness) {
	s := &suite{h}
	can := h.New(t).Capabilities()
	told := can.RevokesByToken || can.RevokesBySession

	t.Run("a login is granted", s.login)
	t.Run("a renewal is granted, and is of the same session", s.renewal)
	t.Run("the end of a token that is not known is no error", s.unknownToken)
	t.Run("a call that was given up before it began returns soon", s.cancelled)
	t.Run("sessions do not mix", s.concurrency)
	t.Run("a crash leaves no more behind than is admitted", s.crash)
	t.Run("capabilities are known without a call", s.local)
	if can.Idempotent {
		t.Run("the same attempt is the same session", s.idempotency)
	}
	if can.Introspects && told {
		t.Run("a token is active until its end", s.ending)
	}

	for scenario, want := range failures {
		if on := h.Scenarios[scenario]; on != nil {
			t.Run(string(scenario), func(t *testing.T) { s.failing(t, on, want) })
		}
	}
	if on := h.Scenarios[Asking]; on != nil {
		t.Run(string(Asking), func(t *testing.T) { s.asking(t, on) })
	}
	if on := h.Scenarios[Hanging]; on != nil {
		t.Run(string(Hanging), func(t *testing.T) { s.hanging(t, on) })
	}
	if on := h.Scenarios[Swallowing]; on != nil {
		t.Run(string(Swallowing), func(t *testing.T) { s.swallowing(t, on) })
	}
}

type suite struct{ Harness }

// operation is one of a provider's, called for nothing but its error. A Check that finds a ban has found an answer, so it is made an
// error here.
type operation struct {
	name string
	call func(context.Context, provider.Provider, provider.Request) error
}

var (
	login = operation{"Login", func(ctx context.Context, p provider.Provider, req provider.Request) error {
		_, err := p.Login(ctx, req)
		return err
	}}
	renew = operation{"Renew", func(ctx context.Context, p provider.Provider, req provider.Request) error {
		_, err := p.Renew(ctx, req)
		return err
	}}
	revoke = operation{"Revoke", func(ctx context.Context, p provider.Provider, req provider.Request) error {
		return p.Revoke(ctx, req)
	}}
	check = operation{"Check", func(ctx context.Context, p provider.Provider, req provider.Request) error {
		status, err := p.Check(ctx, req)
		if err == nil && status.Banned {
			return &provider.Error{Kind: provider.Banned, Code: status.Code}
		}
		return err
	}}
)

// operations are those that reach the server.
func operations(can provider.Capabilities) []operation {
	all := []operation{login, renew}
	if can.RevokesByToken || can.RevokesBySession {
		all = append(all, revoke)
	}
	if can.Introspects {
		all = append(all, check)
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
	Rejecting:   {kinds: []provider.Kind{provider.Rejected}, of: []string{"Login", "Renew"}, code: true},
	Banning:     {kinds: []provider.Kind{provider.Banned}, of: []string{"Login", "Renew", "Check"}, code: true},
	Postponing:  {kinds: []provider.Kind{provider.AuthTokenMissing}, of: []string{"Login", "Renew"}},
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

func (s *suite) login(t *testing.T) {
	p, req := s.New(t), s.Request(t)
	token := s.granted(t, p, req)
	if want := req.Session.UserEmail; want != "" && token.Identity.Email != "" && !strings.EqualFold(token.Identity.Email, want) {
		t.Errorf("%s was logged in, want %s", token.Identity.Email, want)
	}
	if s.SessionOf != nil && s.SessionOf(t, token.Value) != req.Session.ID {
		t.Errorf("the token is of session %s, want %s", s.SessionOf(t, token.Value), req.Session.ID)
	}
	if other := s.granted(t, p, s.Request(t)); other.Value == token.Value {
		t.Error("two sessions have the same token")
	}
}

func (s *suite) renewal(t *testing.T) {
	p := s.New(t)
	req := s.established(t, p)
	token, err := p.Renew(t.Context(), req)
	if err != nil {
		t.Fatalf("Renew failed: %v", err)
	}
	s.usable(t, token)
	if s.SessionOf != nil && s.SessionOf(t, token.Value) != req.Session.ID {
		t.Errorf("the renewed token is of session %s, want %s", s.SessionOf(t, token.Value), req.Session.ID)
	}
	req.Token, req.RefreshToken = token.Value, token.RefreshToken
	if p.Capabilities().Introspects && !s.active(t, p, req) {
		t.Error("a renewed token is not active")
	}
	req.IdempotencyKey += "-again"
	if token, err = p.Renew(t.Context(), req); err != nil {
		t.Fatalf("what a renewal gave cannot be renewed: %v", err)
	}
	s.usable(t, token)
}

func (s *suite) unknownToken(t *testing.T) {
	p := s.New(t)
	req := s.established(t, p)
	for _, when := range []string{"for the first time", "for the second time"} {
		if err := p.Revoke(t.Context(), req); err != nil {
			t.Errorf("revoking a token %s: %v", when, err)
		}
	}
	req = s.Request(t)
	req.Token = unknown
	if err := p.Revoke(t.Context(), req); err != nil {
		t.Errorf("revoking a token that was never issued: %v", err)
	}
	if !p.Capabilities().Introspects {
		return
	}
	if s.active(t, p, req) {
		t.Error("a token that was never issued is active")
	}
}

func (s *suite) ending(t *testing.T) {
	p := s.New(t)
	req, other := s.established(t, p), s.established(t, p)
	if !s.active(t, p, req) {
		t.Error("a new token is not active")
	}
	if err := p.Revoke(t.Context(), req); err != nil {
		t.Fatalf("Revoke failed: %v", err)
	}
	if s.active(t, p, req) {
		t.Error("a revoked token is active")
	}
	if !s.active(t, p, other) {
		t.Error("revoking a token has ended another session's")
	}
}

// idempotency makes the same attempt from two processes, of which the first has died.
func (s *suite) idempotency(t *testing.T) {
	req := s.Request(t)
	first := s.granted(t, s.New(t), req)
	p := s.New(t)
	second := s.granted(t, p, req)
	s.endTogether(t, p, req, first, second)
}

// endTogether fails unless two tokens are the same one, or are over together.
func (s *suite) endTogether(t *testing.T, p provider.Provider, req provider.Request, first, second provider.Token) {
	t.Helper()
	if first.Value == second.Value {
		return
	}
	can := p.Capabilities()
	if !can.Introspects { // the session is what its tokens end with
		if s.SessionOf == nil || s.SessionOf(t, first.Value) != s.SessionOf(t, second.Value) {
			t.Error("the same attempt has given tokens of two sessions")
		}
		return
	}
	req.Token, req.RefreshToken = second.Value, second.RefreshToken
	if err := p.Revoke(t.Context(), req); err != nil {
		t.Fatalf("Revoke failed: %v", err)
	}
	for _, token := range []provider.Token{first, second} {
		req.Token = token.Value
		if s.active(t, p, req) {
			t.Error("the two tokens of one attempt do not end together")
		}
	}
}

// crash loses an answer after the server has given it, makes the attempt again, and ends the session.
func (s *suite) crash(t *testing.T) {
	req := s.Request(t)
	s.granted(t, s.New(t), req)
	s.afterCrash(t, req)
}

func (s *suite) swallowing(t *testing.T, on Switch) {
	req := s.Request(t)
	p := s.New(t)
	t.Run("the answer is lost", func(t *testing.T) {
		taken := on(t)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() {
			select {
			case <-taken:
				cancel()
			case <-ctx.Done():
			}
		}()
		s.fails(t, "Login", req, soon(t, func() error { return login.call(ctx, p, req) }), provider.Unavailable)
	})
	s.afterCrash(t, req)
}

func (s *suite) afterCrash(t *testing.T, req provider.Request) {
	t.Helper()
	p := s.New(t)
	token := s.granted(t, p, req)
	req.Token, req.RefreshToken = token.Value, token.RefreshToken
	if err := p.Revoke(t.Context(), req); err != nil {
		t.Fatalf("Revoke failed: %v", err)
	}
	if s.Live == nil {
		return
	}
	orphans := 1
	if p.Capabilities().Idempotent {
		orphans = 0
	}
	if live := s.Live(t, req.Session.ID); live > orphans {
		t.Errorf("%d tokens are left behind, want at most %d", live, orphans)
	}
}

func (s *suite) local(t *testing.T) {
	p := s.New(t)
	before := 0
	if s.Calls != nil {
		before = s.Calls()
	}
	first := p.Capabilities()
	for range 10 {
		if again := p.Capabilities(); again != first {
			t.Errorf("capabilities are %+v, and then %+v", first, again)
		}
	}
	if s.Calls != nil && s.Calls() != before {
		t.Error("the server was asked")
	}
}

// cancelled takes an answer for as good as an error: an adapter that asks nobody has nothing to interrupt.
func (s *suite) cancelled(t *testing.T) {
	p := s.New(t)
	req := s.established(t, p)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, op := range operations(p.Capabilities()) {
		if err := soon(t, func() error { return op.call(ctx, p, req) }); err != nil {
			s.fails(t, op.name, req, err, provider.Unavailable)
		}
	}
}

func (s *suite) concurrency(t *testing.T) {
	p := s.New(t)
	can := p.Capabilities()
	var group sync.WaitGroup
	for range 8 {
		req := s.Request(t)
		group.Go(func() {
			for attempt := range 3 {
				req.IdempotencyKey = fmt.Sprintf("%s-%d", req.IdempotencyKey, attempt)
				if err := s.life(t, p, can, req); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
}

// life is a login, a look, a renewal and an end.
func (s *suite) life(t *testing.T, p provider.Provider, can provider.Capabilities, req provider.Request) error {
	result, err := p.Login(t.Context(), req)
	if err != nil {
		return fmt.Errorf("logging in: %w", err)
	}
	if result.Token == nil { // a person is asked, which has a test of its own
		return nil
	}
	req.Token, req.RefreshToken = result.Token.Value, result.Token.RefreshToken
	if s.SessionOf != nil && s.SessionOf(t, req.Token) != req.Session.ID {
		return fmt.Errorf("session %s was given another's token", req.Session.ID)
	}
	if can.Introspects {
		status, err := p.Check(t.Context(), req)
		if err != nil {
			return fmt.Errorf("checking a new token: %w", err)
		}
		if !status.Active {
			return errors.New("a new token is not active")
		}
	}
	token, err := p.Renew(t.Context(), req)
	if err != nil {
		return fmt.Errorf("renewing: %w", err)
	}
	req.Token, req.RefreshToken = token.Value, token.RefreshToken
	if s.SessionOf != nil && s.SessionOf(t, req.Token) != req.Session.ID {
		return fmt.Errorf("session %s was given another's token when it was renewed", req.Session.ID)
	}
	if err := p.Revoke(t.Context(), req); err != nil {
		return fmt.Errorf("revoking: %w", err)
	}
	return nil
}

func (s *suite) failing(t *testing.T, on Switch, want failure) {
	p := s.New(t)
	req := s.established(t, p)
	fresh := s.Request(t)
	on(t)
	for _, op := range slices.Repeat(operations(p.Capabilities()), max(want.rounds, 1)) {
		if len(want.of) > 0 && !slices.Contains(want.of, op.name) {
			continue
		}
		asked := req
		if op.name == login.name {
			asked = fresh
		}
		err := soon(t, func() error { return op.call(t.Context(), p, asked) })
		s.fails(t, op.name, asked, err, want.kinds...)
		e := provider.AsError(err)
		if e == nil {
			continue
		}
		if want.code && e.Code == "" {
			t.Errorf("%s: the error has no code", op.name)
		}
		if want.retryAfter && e.RetryAfter != RetryAfter {
			t.Errorf("%s: the error says to wait %s, want %s", op.name, e.RetryAfter, RetryAfter)
		}
	}
}

func (s *suite) hanging(t *testing.T, on Switch) {
	p := s.New(t)
	req := s.established(t, p)
	var hasty provider.Provider
	if s.Impatient != nil {
		hasty = s.Impatient(t)
	}
	taken := on(t)
	for _, op := range operations(p.Capabilities()) {
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			select {
			case <-taken:
				cancel()
			case <-ctx.Done():
			}
		}()
		s.fails(t, op.name+", given up", req, soon(t, func() error { return op.call(ctx, p, req) }), provider.Unavailable)
		cancel()
		if hasty != nil {
			s.fails(t, op.name+", timed out", req, soon(t, func() error { return op.call(t.Context(), hasty, req) }), provider.Unavailable)
			<-taken
		}
	}
}

// asking has a person confirm, after the process that asked has died.
func (s *suite) asking(t *testing.T, on Switch) {
	req := s.Request(t)
	on(t)
	result, err := s.New(t).Login(t.Context(), req)
	if err != nil || result.Pending == nil || result.Token != nil {
		t.Fatalf("Login answered %+v, %v, want a Pending alone", result, err)
	}
	pending := *result.Pending
	if pending.VerificationURI == "" || pending.UserCode == "" || pending.ExpiresIn <= 0 || pending.Interval <= 0 {
		t.Errorf("%+v does not say where to go with which code, for how long, and when to ask again", pending)
	}
	p := s.New(t)
	req.IdempotencyKey += "-next" // what Poll goes on with is in the Pending alone
	if result, err = p.Poll(t.Context(), req, pending); err != nil || result.Pending == nil || result.Token != nil {
		t.Fatalf("Poll before anybody confirmed answered %+v, %v, want a Pending alone", result, err)
	}
	s.Confirm(t, pending)
	if result, err = p.Poll(t.Context(), req, pending); err != nil || result.Token == nil || result.Pending != nil {
		t.Fatalf("Poll after somebody confirmed answered %+v, %v, want a token alone", result, err)
	}
	s.usable(t, *result.Token)
}

// granted logs in, with a person's help if need be.
func (s *suite) granted(t *testing.T, p provider.Provider, req provider.Request) provider.Token {
	t.Helper()
	result, err := p.Login(t.Context(), req)
	if err != nil {
		t.Fatalf("Login failed: %v", err)
	}
	if result.Pending != nil && s.Confirm != nil {
		s.Confirm(t, *result.Pending)
		if result, err = p.Poll(t.Context(), req, *result.Pending); err != nil {
			t.Fatalf("Poll failed: %v", err)
		}
	}
	if result.Token == nil || result.Pending != nil {
		t.Fatalf("Login answered with %+v, want a token alone", result)
	}
	s.usable(t, *result.Token)
	return *result.Token
}

// established is a request about a session that has a token, of an attempt that is its next.
func (s *suite) established(t *testing.T, p provider.Provider) provider.Request {
	t.Helper()
	req := s.Request(t)
	token := s.granted(t, p, req)
	req.Token, req.RefreshToken = token.Value, token.RefreshToken
	req.IdempotencyKey += "-next"
	return req
}

func (s *suite) usable(t *testing.T, token provider.Token) {
	t.Helper()
	if token.Value == "" || token.ExpiresIn < time.Second {
		t.Errorf("a token of %d bytes is to live for %s", len(token.Value), token.ExpiresIn)
	}
}

func (s *suite) active(t *testing.T, p provider.Provider, req provider.Request) bool {
	t.Helper()
	status, err := p.Check(t.Context(), req)
	if err != nil {
		t.Fatalf("Check failed: %v", err)
	}
	if status.Active && (status.Banned || status.Code != "") {
		t.Errorf("%+v is active and is not", status)
	}
	return status.Active
}

// fails fails the test unless an error is as every error has to be, and of a kind that fits.
func (s *suite) fails(t *testing.T, what string, req provider.Request, err error, kinds ...provider.Kind) {
	t.Helper()
	var e *provider.Error
	switch {
	case err == nil:
		t.Errorf("%s succeeded, want %v", what, kinds)
		return
	case !errors.As(err, &e):
		t.Errorf("%s failed with %T, want a *provider.Error", what, err)
		return
	case !slices.Contains(kinds, e.Kind):
		t.Errorf("%s failed with %v, want %v", what, err, kinds)
	}
	if utf8.RuneCountInString(e.Message) > 256 || utf8.RuneCountInString(e.Code) > 64 || strings.ContainsAny(e.Message+e.Code, "\r\n") {
		t.Errorf("%s: code or message has several lines, or is longer than 64 or 256 characters", what)
	}
	if e.RetryAfter < 0 {
		t.Errorf("%s says to wait %s", what, e.RetryAfter)
	}
	if reveals(texts(err), append([]string{Marker, req.Token, req.RefreshToken, req.AuthToken}, s.Secrets...)...) {
		t.Errorf("%s: a secret, or a body, stands in the error", what)
	}
}

// texts is everything that an error and all its causes print.
func texts(err error) string {
	if err == nil {
		return ""
	}
	text := fmt.Sprintf("%s\n%v\n%+v\n", err.Error(), err, err)
	switch wrapped := err.(type) { //nolint:errorlint // every link of the chain is looked at by itself
	case interface{ Unwrap() error }:
		text += texts(wrapped.Unwrap())
	case interface{ Unwrap() []error }:
		for _, cause := range wrapped.Unwrap() {
			text += texts(cause)
		}
	}
	return text
}

// reveals tells whether a text has a part of a secret in it.
func reveals(text string, secrets ...string) bool {
	for _, secret := range secrets {
		for i := 0; i+window <= len(secret); i++ {
			if strings.Contains(text, secret[i:i+window]) {
				return true
			}
		}
	}
	return false
}

// soon fails the test unless a call returns within patience.
func soon(t *testing.T, call func() error) error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- call() }()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case err := <-done:
		return err
	case <-timer.C:
		t.Fatalf("the call has not returned after %s", patience)
		return nil
	}
}
