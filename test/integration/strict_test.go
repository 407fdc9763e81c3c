package integration_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/internal/provider"
)

// strict is an identity server as strict as there are any, in this process so that the controller can be killed around each call: every
// login is another, a refresh token works once, and one that is used again ends everything that came of it.
type strict struct {
	mu sync.Mutex
	// refreshes is whether tokens come with a refresh token, and confirms whether a person must confirm logins.
	refreshes, confirms bool
	// untold is whether it cannot be told of the end of a token.
	untold bool
	// person is who logs in.
	person string
	// fails, where it is set, is how the next calls fail.
	fails *provider.Error
	// seam, where it is set, is called around each call.
	seam func(do func())

	calls    []string
	families []*family
	said     int
}

// family is everything that came of one login.
type family struct {
	code, refresh string
	// tokens are the access tokens that it came to, and spent the refresh tokens that were replaced.
	tokens, spent []string
	// approved and denied are what the person has said; dead is whether it is all over.
	approved, denied, used, dead, banned bool
}

func (s *strict) wrap(v1.Provider, provider.Provider) provider.Provider { return s }

// newServing is a harness whose one provider is a strict server.
func newServing(h *harness) *strict {
	s := &strict{person: "anna@acme.example"}
	h.askOf(s)
	return s
}

// askOf has a controller that was just made ask the server.
func (h *harness) askOf(s *strict) {
	h.providers.Wrap, h.providers.Namespace = s.wrap, h.namespace
}

// live are the tokens that the server honours: all of them, access and refresh.
func (s *strict) live() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	for _, f := range s.families {
		if f.dead || len(f.tokens) == 0 {
			continue
		}
		all = append(all, f.tokens[len(f.tokens)-1])
		if f.refresh != "" {
			all = append(all, f.refresh)
		}
	}
	return all
}

func (s *strict) taken() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	calls := s.calls
	s.calls = nil
	return calls
}

// last is the login that was begun last.
func (s *strict) last() *family { return s.families[len(s.families)-1] }

func (s *strict) Capabilities() provider.Capabilities {
	return provider.Capabilities{RevokesByToken: !s.untold, Introspects: true, Refreshes: s.refreshes, DeviceCode: s.confirms}
}

// asked makes one call.
func (s *strict) asked(call string, do func() error) (err error) {
	around := func(do func()) { do() }
	if s.seam != nil {
		around = s.seam
	}
	around(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.calls = append(s.calls, call); s.fails != nil {
			err = s.fails
			return
		}
		err = do()
	})
	return err
}

// word is a secret that was never said before.
func (s *strict) word(kind string) string {
	s.said++
	return fmt.Sprintf("%s-secret-%d", kind, s.said)
}

func (s *strict) token(f *family) *provider.Token {
	f.tokens = append(f.tokens, s.word("access"))
	token := &provider.Token{Value: f.tokens[len(f.tokens)-1], ExpiresIn: month, Identity: provider.Identity{Email: s.person, Subject: "subject-1"}}
	if s.refreshes {
		if f.refresh != "" {
			f.spent = append(f.spent, f.refresh)
		}
		f.refresh = s.word("refresh")
		token.RefreshToken = f.refresh
	}
	return token
}

func (s *strict) Login(_ context.Context, _ provider.Request) (result provider.Result, err error) {
	err = s.asked("Login", func() error {
		f := &family{}
		s.families = append(s.families, f)
		if !s.confirms {
			result.Token = s.token(f)
			return nil
		}
		f.code = s.word("device")
		result.Pending = &provider.Pending{
			VerificationURI: "https://idp.test/device", VerificationURIComplete: "https://idp.test/device?code=WDJB-MJHT", UserCode: "WDJB-MJHT",
			Handle: f.code, ExpiresIn: 10 * time.Minute, Interval: 5 * time.Second,
		}
		return nil
	})
	return result, err
}

func (s *strict) Poll(_ context.Context, _ provider.Request, pending provider.Pending) (result provider.Result, err error) {
	err = s.asked("Poll", func() error {
		i := slices.IndexFunc(s.families, func(f *family) bool { return f.code == pending.Handle })
		switch {
		case i < 0 || s.families[i].used:
			return &provider.Error{Kind: provider.Rejected, Code: "ExpiredToken", Message: "the code is not known"}
		case s.families[i].denied:
			return &provider.Error{Kind: provider.Rejected, Code: "AccessDenied", Message: "the person denied it"}
		case !s.families[i].approved:
			result.Pending = &pending
			return nil
		}
		s.families[i].used = true
		result.Token = s.token(s.families[i])
		return nil
	})
	return result, err
}

func (s *strict) Renew(_ context.Context, req provider.Request) (token provider.Token, err error) {
	err = s.asked("Renew", func() error {
		if req.RefreshToken == "" && !s.confirms {
			f := &family{}
			s.families = append(s.families, f)
			token = *s.token(f)
			return nil
		}
		for _, f := range s.families {
			if req.RefreshToken != "" && f.refresh == req.RefreshToken && !f.dead {
				token = *s.token(f)
				return nil
			}
			// RFC 9700 section 4.14.2: one that is used again may have been stolen.
			f.dead = f.dead || slices.Contains(f.spent, req.RefreshToken)
		}
		return &provider.Error{Kind: provider.GrantDead, Message: "the refresh token is over"}
	})
	return token, err
}

func (s *strict) Revoke(_ context.Context, req provider.Request) error {
	return s.asked("Revoke", func() error {
		for _, f := range s.families {
			f.dead = f.dead || req.Token != "" && slices.Contains(f.tokens, req.Token) || req.RefreshToken != "" && f.refresh == req.RefreshToken
		}
		return nil
	})
}

func (s *strict) Check(_ context.Context, req provider.Request) (status provider.Status, err error) {
	err = s.asked("Check", func() error {
		for _, f := range s.families {
			if slices.Contains(f.tokens, req.Token) {
				status = provider.Status{Active: !f.dead && !f.banned, Banned: f.banned, Code: "UserBlocked"}
			}
		}
		return nil
	})
	return status, err
}
