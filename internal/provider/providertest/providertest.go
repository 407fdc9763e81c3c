package providertest

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

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

	if h.Stale != nil {
		t.Run("an auth token that does not hold is said to be missing", s.stale)
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
	req = s.again(t, req)
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

func (s *suite) concurrency(t *testing.T) {
	p := s.New(t)
	can := p.Capabilities()
	var group sync.WaitGroup
	for range 8 {
		req := s.Request(t)
		group.Go(func() {
			for attempt := range 3 {
				req := s.again(t, req)
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
	if result.Pending != nil && s.Confirm != nil {
		s.Confirm(t, *result.Pending)
		if result, err = p.Poll(t.Context(), req, *result.Pending); err != nil {
			return fmt.Errorf("polling: %w", err)
		}
	}
	if result.Token == nil {
		return errors.New("a login has given no token")
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
	token, err := p.Renew(t.Context(), s.again(t, req))
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
	var token provider.Token
	if s.Established != nil {
		s.granted(t, p, s.Request(t)) // so that the client knows the server all the same
		token = s.Established(t, req)
	} else {
		token = s.granted(t, p, req)
	}
	req.Token, req.RefreshToken = token.Value, token.RefreshToken
	req.IdempotencyKey += "-next"
	return s.again(t, req)
}

// waiting is a login that a person has been asked to confirm.
func (s *suite) waiting(t *testing.T, p provider.Provider) question {
	t.Helper()
	about := question{Request: s.Request(t)}
	t.Run("a person is asked", func(t *testing.T) { // and nobody else, once this has ended
		s.Scenarios[Asking](t)
		result, err := p.Login(t.Context(), about.Request)
		if err != nil || result.Pending == nil {
			t.Fatalf("Login answered %+v, %v, want a Pending", result, err)
		}
		about.pending = *result.Pending
	})
	return about
}

// again is a request that is made anew with what its login was made with.
func (s *suite) again(t testing.TB, req provider.Request) provider.Request {
	t.Helper()
	if s.Again == nil {
		return req
	}
	return s.Again(t, req)
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
