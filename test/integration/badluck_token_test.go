package integration_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "terminals.dev/session-controller/api/v1"
	lifecycle "terminals.dev/session-controller/internal/session"
)

// tokenAnswers are the answers with a token of a server of each kind: what it gives is written as the kind has it.
var tokenAnswers = []struct {
	kind string
	of   func(*unlucky) func(*v1.SessionProviderSpec)
	at   string
	// expiry is the member that says how long the token lives.
	expiry string
	give   func(w http.ResponseWriter, r *http.Request, token, expiry string)
}{
	{
		"oauth2", unchecked((*server).oauth2), atToken, "expires_in",
		func(w http.ResponseWriter, r *http.Request, token, expiry string) {
			saysJSON(200, `{"access_token": "%s", "token_type": "Bearer", "note": "%s" %s}`, token, marker, expiry)(w, r)
		},
	},
	{
		"webhook", unchecked((*server).webhook), atWebhook, "expiresInSeconds",
		func(w http.ResponseWriter, r *http.Request, token, expiry string) {
			saysJSON(200, `{"apiVersion": "terminals.dev/v1", "kind": "SessionReview", "note": "%s", "response": {"uid": "%s", "result": "Issued",
				"user": {"email": "anna@acme.example"}, "token": {"value": "%s" %s}}}`, marker, uidOf(r), token, expiry)(w, r)
		},
	},
}

// unchecked makes a provider whose tokens are not asked after.
func unchecked(of func(*server, string) func(*v1.SessionProviderSpec)) func(*unlucky) func(*v1.SessionProviderSpec) {
	return func(s *unlucky) func(*v1.SessionProviderSpec) {
		return func(spec *v1.SessionProviderSpec) {
			of(s.server, "idp")(spec)
			if never := (v1.Introspection{Interval: lasting(0)}); spec.OAuth2 != nil {
				spec.OAuth2.Introspection = never
			} else {
				spec.Webhook.Introspection = never
			}
		}
	}
}

// uidOf is the uid of a webhook's question.
func uidOf(r *http.Request) string {
	var review struct{ Request struct{ UID string } }
	_ = json.NewDecoder(r.Body).Decode(&review)
	return review.Request.UID
}

func TestALifetimeIsTakenAsItIsSaidOrRefused(t *testing.T) {
	t.Parallel()
	const year = 365 * 24 * time.Hour
	for _, kind := range tokenAnswers {
		for _, test := range []struct {
			name string
			// says is the number; empty for none.
			says string
			// life is how long the token lives by kind, or why it is refused.
			life    map[string]time.Duration
			refused map[string]string
		}{
			{
				"missing", "", map[string]time.Duration{"oauth2": time.Hour},
				map[string]string{"webhook": "whose expiresInSeconds is missing or below 1: look at its url and at the handler"},
			},
			{"zero", "0", nil, map[string]string{
				"oauth2": "a token that is over already: its expires_in is not above zero", "webhook": "whose expiresInSeconds is missing or below 1",
			}},
			{"negative", "-3600", nil, map[string]string{
				"oauth2": "a token that is over already: its expires_in is not above zero", "webhook": "whose expiresInSeconds is missing or below 1",
			}},
			{"a second, which would be one renewal after the other", "1", nil, map[string]string{
				"oauth2": "without a token that lives for two seconds or more", "webhook": "without a token that lives for two seconds or more",
			}},
			{"two seconds", "2", map[string]time.Duration{"oauth2": 2 * time.Second, "webhook": 2 * time.Second}, nil},
			{"a year", "31536000", map[string]time.Duration{"oauth2": year, "webhook": year}, nil},
			{"longer than anybody lives", "4611686018427387904", map[string]time.Duration{"oauth2": 9223372036 * time.Second, "webhook": year}, nil},
		} {
			t.Run(kind.kind+", "+test.name, func(t *testing.T) {
				t.Parallel()
				h, srv := newHarness(t), newUnlucky(t)
				asked := 0
				srv.at(kind.at, func(w http.ResponseWriter, r *http.Request) {
					asked++ // one at a time, and the session waits for the answer
					expiry := ""
					if test.says != "" {
						expiry = fmt.Sprintf(`, "%s": %s`, kind.expiry, test.says)
					}
					kind.give(w, r, "token-of-"+marker, expiry)
				})
				h.apply(opaque("idp", "secret", "hunter2"))
				p := sessionProvider("remote", kind.of(srv))
				h.provide(p)
				h.apply(session("till-1", at(v1.KindSessionProvider, "remote"), anybody(p)))
				began := h.clock.Now().UTC().Truncate(time.Second)
				h.settle("till-1")
				h.expectUntold("hunter2")
				life, kept := test.life[kind.kind]
				if !kept {
					is := misconfigured
					if test.says == "1" {
						is = outOfReach
					}
					h.expectTrouble(p, ready, is, test.refused[kind.kind])
					a := h.get("till-1").Status.Attempt
					if asked != 1 || a.NotBefore == nil || !a.NotBefore.After(h.clock.Now()) {
						t.Errorf("it was asked %d times, and the attempt is %+v: it would be asked for one token after the other", asked, a)
					}
					if asked, _ := srv.taken(); kind.kind == "oauth2" && is == misconfigured && !slices.Equal(asked, []string{askMetadata, askProof, askProof}) {
						t.Errorf("the token was not given back: %v", asked)
					}
					return
				}
				h.expect("till-1", established)
				s := h.get("till-1")
				got := s.Status.Token
				if !got.IssuedAt.UTC().Equal(began) || got.ExpiresAt.Sub(began) != life {
					t.Errorf("it is issued at %s and expires at %s, want %s and %s after that", got.IssuedAt, got.ExpiresAt, began, life)
				}
				if want := lifecycle.RenewalTime(s, began, began.Add(life)); !got.RenewAt.UTC().Equal(want) || want.Sub(began) < (life/2).Truncate(time.Second) {
					t.Errorf("it is renewed at %s, want at %s, which is not before half its life", got.RenewAt, want)
				}
				h.clock.SetTime(got.RenewAt.Add(-time.Second))
				h.settle("till-1")
				if asked != 1 {
					t.Errorf("it was asked %d times before the renewal is due", asked)
				}
			})
		}
	}
}

func TestATokenThatIsTooLargeIsRefusedAndOneThatIsJustNotIsKept(t *testing.T) {
	t.Parallel()
	const most = 64 << 10
	for _, kind := range tokenAnswers {
		for _, test := range []struct {
			name            string
			access, refresh int
			kept            bool
		}{
			{"64 KB", most, 0, true},
			{"64 KB, with a refresh token of as much", most, most, true},
			{"more", most + 1, 0, false},
			{"more, of the refresh token", 20, most + 1, false},
			{"half a megabyte", 1 << 19, 0, false},
		} {
			t.Run(kind.kind+", "+test.name, func(t *testing.T) {
				t.Parallel()
				h, srv := newHarness(t), newUnlucky(t)
				of := func(size int) string { return strings.Repeat(marker, size/len(marker)+1)[:size] }
				rest := fmt.Sprintf(`, "%s": 3600`, kind.expiry)
				if name := map[string]string{"oauth2": "refresh_token", "webhook": "refreshToken"}[kind.kind]; test.refresh > 0 {
					rest += fmt.Sprintf(`, "%s": "%s"`, name, of(test.refresh))
				}
				asked := 0
				srv.at(kind.at, func(w http.ResponseWriter, r *http.Request) {
					asked++
					kind.give(w, r, of(test.access), rest)
				})
				h.apply(opaque("idp", "secret", "hunter2"))
				p := sessionProvider("remote", kind.of(srv))
				h.provide(p)
				h.apply(session("till-1", at(v1.KindSessionProvider, "remote"), anybody(p)))
				h.settle("till-1")
				h.expectUntold("hunter2")
				if asked != 1 {
					t.Errorf("it was asked %d times, want once", asked)
				}
				if !test.kept {
					is := map[string]string{"oauth2": misconfigured, "webhook": "NotLoggedIn, held Rejected: Stalled (Rejected)"}[kind.kind]
					h.expectTrouble(p, ready, is, "have it issue smaller ones")
					h.expectNo("till-1-grant")
					return
				}
				h.expect("till-1", established)
				if h.token("till-1-token") != of(test.access) {
					t.Error("what is kept is another token")
				}
				if grant := h.secret("till-1-grant"); test.refresh > 0 && (grant == nil || string(grant.Data["refreshToken"]) != of(test.refresh)) {
					t.Error("the refresh token is not kept")
				}
			})
		}
	}
}

// Times are by our own clock alone: no lifetime is counted by the server's.
func TestAServerWhoseClockIsTenMinutesOffIsAsGoodAsAnyOther(t *testing.T) {
	t.Parallel()
	for name, off := range map[string]time.Duration{"ahead": 10 * time.Minute, "behind": -10 * time.Minute} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newReal(t)
			h.clock.SetTime(h.clock.Now().Add(-off)) // the server goes by the real time
			p := h.idp(v1.GrantDeviceCode)
			h.provide(p)
			h.expectProvider(p, ready)
			h.login(h.till(), "anna")
			s, began := h.get("till-1"), h.clock.Now().UTC().Truncate(time.Second)
			if got := s.Status.Token; !got.IssuedAt.UTC().Equal(began) || got.ExpiresAt.Sub(began).Round(time.Minute) != month {
				t.Errorf("it is issued at %s and expires at %s, want %s and a month later, by our clock", got.IssuedAt, got.ExpiresAt, began)
			}
			if got, want := s.Status.Token.RenewAt, lifecycle.RenewalTime(s, began, s.Status.Token.ExpiresAt.Time); !got.UTC().Equal(want) {
				t.Errorf("it is renewed at %s, want %s", got, want)
			}

			// It rests, and nobody is asked for anything.
			h.wire.taken()
			for range 24 {
				h.step(time.Hour)
				h.settle("till-1")
			}
			h.expectWrites()
			h.expectCalls()
			h.untilRenewal("till-1")
			h.settle("till-1")
			h.expect("till-1", established)
			h.expectCalls("Renew")
			if got := h.get("till-1").Status.Token; got.Renewals != 1 || got.ExpiresAt.Sub(h.clock.Now()).Round(time.Minute) != month {
				t.Errorf("the token was renewed %d times and expires at %s", got.Renewals, got.ExpiresAt)
			}
			h.settle("till-1")
			h.expectCalls()
			h.expectNothingShown()
		})
		t.Run(name+", and it judges what we sign by it", func(t *testing.T) {
			t.Parallel()
			h := newReal(t)
			h.clock.SetTime(h.clock.Now().Add(-off))
			h.key(t)
			p := h.idp(v1.GrantDeviceCode, signing)
			h.provide(p)
			h.expectProvider(p, ready)
			h.apply(h.till())
			h.settle("till-1")
			h.expect("till-1", confirming)
			h.expectNothingShown()
		})
	}
}
