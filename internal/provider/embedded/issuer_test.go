package embedded_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"terminals.dev/session-controller/internal/provider"
	"terminals.dev/session-controller/internal/provider/embedded"
)

const issuerURL = "https://sessions.example/clusterproviders/default"

func TestTokenLivesExactlyAsLongAsIsSaid(t *testing.T) {
	tests := map[string]struct{ lifetime, want time.Duration }{
		"a second":          {time.Second, time.Second},
		"thirty days":       {720 * time.Hour, 720 * time.Hour},
		"the longest":       {embedded.MaxTokenLifetime, embedded.MaxTokenLifetime},
		"a part of seconds": {90*time.Minute + 999*time.Millisecond, 90 * time.Minute},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.advance(700 * time.Millisecond)
			issuer := w.issuer(issuerURL)
			req := request()
			req.Session.Lifetime = test.lifetime
			token := login(t, issuer, req)
			if token.ExpiresIn != test.want {
				t.Errorf("ExpiresIn is %s, want %s", token.ExpiresIn, test.want)
			}
			claims, err := issuer.Verify(t.Context(), token.Value)
			if err != nil {
				t.Fatal(err)
			}
			if got := time.Duration(claims.ExpiresAt-claims.IssuedAt) * time.Second; got != token.ExpiresIn {
				t.Errorf("exp - iat is %s, want %s", got, token.ExpiresIn)
			}
			if claims.IssuedAt != start.Unix() {
				t.Errorf("iat is %d, want %d", claims.IssuedAt, start.Unix())
			}
		})
	}
}

func TestWhatCannotBeInATokenIsRefused(t *testing.T) {
	tests := map[string]func(*provider.Session){
		"no lifetime":                    func(s *provider.Session) { s.Lifetime = 0 },
		"a negative lifetime":            func(s *provider.Session) { s.Lifetime = -time.Hour },
		"less than a second":             func(s *provider.Session) { s.Lifetime = time.Second - 1 },
		"a lifetime over a year":         func(s *provider.Session) { s.Lifetime = embedded.MaxTokenLifetime + 1 },
		"two scopes in one":              func(s *provider.Session) { s.Scopes = []string{"payments admin"} },
		"a scope with a quote":           func(s *provider.Session) { s.Scopes = []string{`"`} },
		"a scope beyond ASCII":           func(s *provider.Session) { s.Scopes = []string{"zahlungen-für-alle"} },
		"more than a verifier will read": func(s *provider.Session) { s.Audiences = []string{strings.Repeat("a", 16<<10)} },
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			issuer := newWorld(t).issuer(issuerURL)
			req := request()
			change(&req.Session)
			_, err := issuer.Login(t.Context(), req)
			wantKind(t, err, provider.Misconfigured)
			_, err = issuer.Renew(t.Context(), req)
			wantKind(t, err, provider.Misconfigured)
		})
	}
}

func TestIdentityIsTheUserAskedFor(t *testing.T) {
	issuer := newWorld(t).issuer(issuerURL)
	req := request()
	want := provider.Identity{Email: "anna@acme.example", Subject: "anna@acme.example"}
	if got := login(t, issuer, req).Identity; got != want {
		t.Errorf("identity is %+v, want %+v", got, want)
	}
	req.Session.UserEmail = ""
	want = provider.Identity{Subject: "terminal:T-0042"}
	if got := login(t, issuer, req).Identity; got != want {
		t.Errorf("identity without a user is %+v, want %+v", got, want)
	}
}

func TestJTINamesTheAttempt(t *testing.T) {
	w := newWorld(t)
	issuer, other := w.issuer(issuerURL), w.issuer(issuerURL+"-2")
	jti := func(issuer *embedded.Issuer, idempotencyKey string) string {
		t.Helper()
		req := request()
		req.IdempotencyKey = idempotencyKey
		token, err := issuer.Renew(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		claims, err := issuer.Verify(t.Context(), token.Value)
		if err != nil {
			t.Fatal(err)
		}
		return claims.ID
	}
	first := jti(issuer, "uid/1")
	w.advance(time.Hour)
	if again := jti(issuer, "uid/1"); again != first {
		t.Errorf("the same attempt made again has jti %s, want %s", again, first)
	}
	if id, err := uuid.Parse(first); err != nil || id.Version() != 5 {
		t.Errorf("jti %s is not a UUID of version 5", first)
	}
	if jti(issuer, "uid/2") == first {
		t.Error("another attempt has the same jti")
	}
	if jti(other, "uid/1") == first {
		t.Error("another issuer gives the same jti")
	}
	if unnamed := jti(issuer, ""); unnamed == jti(issuer, "") {
		t.Error("two requests without a key have the same jti")
	}
}

func TestKeyFailuresHaveAKind(t *testing.T) {
	published := []embedded.Key{newKey(t)}
	cause := errors.New("secret till-key-1 is gone")
	busy := &provider.Error{Kind: provider.Busy, RetryAfter: time.Minute}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	tests := map[string]struct {
		ctx  context.Context
		keys embedded.KeySet
		err  error
		want provider.Kind
	}{
		"any error":            {ctx: t.Context(), err: cause, want: provider.Unavailable},
		"an error with a kind": {ctx: t.Context(), err: busy, want: provider.Busy},
		"the context's end":    {ctx: cancelled, err: cancelled.Err(), want: provider.Unavailable},
		"no key":               {ctx: t.Context(), want: provider.Misconfigured},
		"no active key":        {ctx: t.Context(), keys: embedded.KeySet{Keys: published}, want: provider.Misconfigured},
		"another active key":   {ctx: t.Context(), keys: embedded.KeySet{Active: "x", Keys: published}, want: provider.Misconfigured},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := &world{now: start}
			w.set(test.keys, test.err)
			_, err := w.issuer(issuerURL).Login(test.ctx, request())
			wantKind(t, err, test.want)
			if test.err != nil && !errors.Is(err, test.err) {
				t.Errorf("%v does not wrap its cause", err)
			}
			if strings.Contains(err.Error(), cause.Error()) {
				t.Errorf("%q prints its cause", err)
			}
		})
	}
}

func TestALostKeyStopsSigningAndNotVerification(t *testing.T) {
	w := newWorld(t)
	issuer := w.issuer(issuerURL)
	token := login(t, issuer, request()).Value
	keys := w.keys
	keys.Unusable = provider.Errorf(provider.Misconfigured, "signing key Secret default-key-x is gone")
	w.set(keys, nil)

	_, err := issuer.Login(t.Context(), request())
	wantKind(t, err, provider.Misconfigured)
	if !strings.Contains(err.Error(), "default-key-x is gone") {
		t.Errorf("%q does not tell what is wrong", err)
	}
	if _, err := issuer.Verify(t.Context(), token); err != nil {
		t.Errorf("a token of a key that is still there does not verify: %v", err)
	}
}

func TestCheckLooksAtTheTokenAlone(t *testing.T) {
	w := newWorld(t)
	issuer := w.issuer(issuerURL)
	req := request()
	req.Session.Lifetime = time.Hour
	req.Token = login(t, issuer, req).Value
	check := func() bool {
		t.Helper()
		status, err := issuer.Check(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		return status.Active
	}
	if !check() {
		t.Error("a new token is not active")
	}
	w.advance(time.Hour - 1)
	if !check() {
		t.Error("a token is not active in its last moment")
	}
	w.advance(1)
	if check() {
		t.Error("an expired token is active")
	}
	req.Token = ""
	if check() {
		t.Error("no token is active")
	}
	w.set(embedded.KeySet{}, errors.New("gone"))
	req.Token = login(t, newWorld(t).issuer(issuerURL), req).Value
	_, err := issuer.Check(t.Context(), req)
	wantKind(t, err, provider.Unavailable)
}

func TestNothingIsPendingAndNothingToRevoke(t *testing.T) {
	issuer := newWorld(t).issuer(issuerURL)
	_, err := issuer.Poll(t.Context(), request(), provider.Pending{Handle: "device-code"})
	wantKind(t, err, provider.Rejected)
	if err := issuer.Revoke(t.Context(), request()); err != nil {
		t.Errorf("Revoke failed: %v", err)
	}
	if got, want := issuer.Capabilities(), (provider.Capabilities{Idempotent: true}); got != want {
		t.Errorf("capabilities are %+v, want %+v", got, want)
	}
}

func TestTokensSignedWhileKeysChangeVerify(t *testing.T) {
	w := newWorld(t)
	issuer := w.issuer(issuerURL)
	keys := []embedded.Key{newKey(t), newKey(t)}
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for i := range 20 {
				w.use(keys[i%2], keys[(i+1)%2])
				result, err := issuer.Login(t.Context(), request())
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := issuer.Verify(t.Context(), result.Token.Value); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
}
