package providertest

import (
	"testing"

	"terminals.dev/session-controller/internal/provider"
)

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
	s.startOver(t, req)
}

func (s *suite) swallowing(t *testing.T, on Switch) {
	t.Run("of a login", func(t *testing.T) {
		p := s.New(t)
		s.established(t, p)
		about := question{Request: s.Request(t)}
		s.lost(t, on, p, call{login, about})
		s.startOver(t, about.Request)
	})
	t.Run("of a renewal", func(t *testing.T) { s.lostRenewal(t, on) })
	if s.Scenarios[Asking] != nil {
		t.Run("of a poll", func(t *testing.T) { s.lostPoll(t, on) })
	}
}

// lost makes a call that the server answers, which nobody learns. The client knows the server, so that its first request is the one that
// counts.
func (s *suite) lost(t *testing.T, on Switch, p provider.Provider, c call) {
	t.Helper()
	t.Run("the answer is lost", func(t *testing.T) {
		taken := on(t)
		err := soon(t, func() error { return givenUp(t, taken, p, c) })
		s.fails(t, c.name, c.about, err, provider.Unavailable)
	})
}

// startOver makes an attempt again that has died, and ends the session.
func (s *suite) startOver(t *testing.T, req provider.Request) {
	t.Helper()
	p := s.New(t)
	req = s.again(t, req)
	s.end(t, p, req, s.granted(t, p, req))
}

// lostRenewal has the server replace tokens by others that nobody learns of.
func (s *suite) lostRenewal(t *testing.T, on Switch) {
	p := s.New(t)
	req := s.established(t, p)
	s.lost(t, on, p, call{renew, question{Request: req}})
	p = s.New(t)
	again := s.again(t, req)
	token, err := p.Renew(t.Context(), again)
	if err != nil { // what it rests on may have been for a single use
		s.fails(t, "Renew, again", question{Request: again}, err, provider.GrantDead)
		again = s.again(t, req)
		again.IdempotencyKey += "-next"
		token = s.granted(t, p, again)
	}
	s.end(t, p, req, provider.Token{Value: req.Token, RefreshToken: req.RefreshToken}, token)
}

// lostPoll has the server grant what a person has confirmed, of which nobody learns.
func (s *suite) lostPoll(t *testing.T, on Switch) {
	p := s.New(t)
	about := s.waiting(t, p)
	s.Confirm(t, about.pending)
	s.lost(t, on, p, call{poll, about})
	p = s.New(t)
	result, err := p.Poll(t.Context(), about.Request, about.pending)
	if err != nil { // what was confirmed may be granted once
		s.fails(t, "Poll, again", about, err, provider.Rejected)
		about.IdempotencyKey += "-next"
		s.startOver(t, about.Request)
		return
	}
	if result.Token == nil {
		t.Fatalf("Poll answered with %+v, want a token", result)
	}
	s.end(t, p, about.Request, *result.Token)
}

// end ends the tokens that somebody knows of, and looks for others.
func (s *suite) end(t *testing.T, p provider.Provider, req provider.Request, known ...provider.Token) {
	t.Helper()
	for _, token := range known {
		req.Token, req.RefreshToken = token.Value, token.RefreshToken
		if err := p.Revoke(t.Context(), req); err != nil {
			t.Fatalf("Revoke failed: %v", err)
		}
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
