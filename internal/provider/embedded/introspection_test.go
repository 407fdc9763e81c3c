package embedded_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"terminals.dev/session-controller/internal/provider/embedded"
)

const form = "application/x-www-form-urlencoded"

func (s *server) introspect(t *testing.T, token string) answer {
	t.Helper()
	return s.post(t, form, url.Values{"token": {token}, "token_type_hint": {"access_token"}}.Encode())
}

func (s *server) post(t *testing.T, contentType, body string) answer {
	t.Helper()
	return s.send(t, http.MethodPost, "/clusterproviders/default/introspect", http.Header{"Content-Type": {contentType}}, body)
}

func (a answer) wantFields(t *testing.T, want map[string]any) {
	t.Helper()
	a.want(t, http.StatusOK)
	a.wantHeader(t, "Content-Type", "application/json")
	a.wantHeader(t, "Cache-Control", "no-store")
	var got map[string]any
	a.decode(t, &got)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("answer is %v\nwant %v", got, want)
	}
}

func TestIntrospectionTellsAllOfAnActiveToken(t *testing.T) {
	s, w := newServer(t), newWorld(t)
	issuer := s.add(w, "", "default")
	var asked embedded.Claims
	s.Active = func(_ context.Context, claims embedded.Claims) (bool, error) {
		asked = claims
		return true, nil
	}
	token := login(t, issuer, request()).Value
	claims, err := issuer.Verify(t.Context(), token)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"active": true, "token_type": "Bearer", "username": "anna@acme.example",
		"iss": s.URL + "/clusterproviders/default", "sub": "anna@acme.example",
		"aud": []any{"https://pay.example", "https://stock.example"},
		"exp": float64(claims.ExpiresAt), "iat": float64(claims.IssuedAt), "jti": claims.ID,
		"client_id": "T-0042", "scope": "payments refunds", "sid": "0197f3d2-0000-7000-8000-000000000007",
		"merchant_id": "merchant-1", "tsn": "SN-93AX", "namespace": "acme", "purpose": "Registration",
	}
	s.introspect(t, token).wantFields(t, want)
	if !reflect.DeepEqual(asked, claims) {
		t.Errorf("Active was asked about %+v, want %+v", asked, claims)
	}

	req := request()
	req.Session.UserEmail = ""
	want["sub"] = "terminal:T-0042"
	delete(want, "username")
	s.introspect(t, login(t, issuer, req).Value).wantFields(t, want)
}

func TestIntrospectionTellsNothingOfAnyOtherToken(t *testing.T) {
	// Each makes something that is not active of a good token of the world's issuer.
	tests := map[string]func(t *testing.T, s *server, w *world, good string) string{
		"the session is over": func(_ *testing.T, s *server, _ *world, good string) string {
			s.Active = func(context.Context, embedded.Claims) (bool, error) { return false, nil }
			return good
		},
		"expired": func(_ *testing.T, _ *server, w *world, good string) string {
			w.advance(720 * time.Hour)
			return good
		},
		"its key is gone": func(t *testing.T, _ *server, w *world, good string) string {
			w.use(newKey(t))
			return good
		},
		"a changed signature": func(_ *testing.T, _ *server, _ *world, good string) string {
			return good[:len(good)-8] + "AAAAAAAA"
		},
		"another issuer's": func(t *testing.T, s *server, _ *world, _ string) string {
			return login(t, s.add(newWorld(t), "acme", "other"), request()).Value
		},
		"another issuer's with the same key": func(t *testing.T, s *server, w *world, _ string) string {
			return login(t, s.add(w, "acme", "other"), request()).Value
		},
		"no token":              func(*testing.T, *server, *world, string) string { return "mF_9.B5f-4.1JqM" },
		"longer than any token": func(*testing.T, *server, *world, string) string { return strings.Repeat("a", 20<<10) },
	}
	for name, spoil := range tests {
		t.Run(name, func(t *testing.T) {
			s, w := newServer(t), newWorld(t)
			token := spoil(t, s, w, login(t, s.add(w, "", "default"), request()).Value)
			s.introspect(t, token).wantFields(t, map[string]any{"active": false})
		})
	}
}

func TestIntrospectionRefusesBadRequests(t *testing.T) {
	tests := map[string]struct {
		contentType, body string
		status            int
	}{
		"no token":        {form, "token_type_hint=access_token", http.StatusBadRequest},
		"empty token":     {form, "token=", http.StatusBadRequest},
		"two tokens":      {form, "token=a&token=b", http.StatusBadRequest},
		"broken escape":   {form, "token=%zz", http.StatusBadRequest},
		"JSON":            {"application/json", `{"token":"a"}`, http.StatusBadRequest},
		"no content type": {"", "token=a", http.StatusBadRequest},
		"a body too big":  {form, "token=" + strings.Repeat("a", 64<<10), http.StatusRequestEntityTooLarge},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			s.add(newWorld(t), "", "default")
			s.post(t, test.contentType, test.body).wantError(t, test.status, "invalid_request")
		})
	}
}

func TestIntrospectionTakesNoTokenFromTheURL(t *testing.T) {
	s, w := newServer(t), newWorld(t)
	token := login(t, s.add(w, "", "default"), request()).Value
	place := "/clusterproviders/default/introspect?token=" + token
	s.send(t, http.MethodPost, place, http.Header{"Content-Type": {form}}, "").wantError(t, http.StatusBadRequest, "invalid_request")
}

// A wrong {"active":false} would log a terminal out, and a wrong true let one in.
func TestIntrospectionThatCannotKnowDoesNotAnswer(t *testing.T) {
	tests := map[string]func(s *server, w *world){
		"the session cannot be looked up": func(s *server, _ *world) {
			s.Active = func(context.Context, embedded.Claims) (bool, error) {
				return true, errors.New("cache till-07 is not synced")
			}
		},
		"the keys cannot be read": func(_ *server, w *world) { w.set(embedded.KeySet{}, errors.New("secret till-07 is gone")) },
		"the issuer cannot be looked up": func(s *server, _ *world) {
			s.Lookup = func(context.Context, string) (*embedded.Issuer, error) {
				return nil, errors.New("cache till-07 is not synced")
			}
		},
	}
	for name, breaks := range tests {
		t.Run(name, func(t *testing.T) {
			s, w := newServer(t), newWorld(t)
			token := login(t, s.add(w, "", "default"), request()).Value
			breaks(s, w)
			answer := s.introspect(t, token)
			answer.wantError(t, http.StatusServiceUnavailable, "temporarily_unavailable")
			answer.wantHeader(t, "Retry-After", "10")
			if strings.Contains(answer.body, "till-07") {
				t.Errorf("body %s tells the cause", answer.body)
			}
		})
	}
}

func TestAuthorizationGuardsIntrospectionAlone(t *testing.T) {
	s, w := newServer(t), newWorld(t)
	token := login(t, s.add(w, "", "default"), request()).Value
	s.Authorize = func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") == "" {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
	refused := s.introspect(t, token)
	refused.want(t, http.StatusUnauthorized)
	refused.wantHeader(t, "Cache-Control", "no-store")
	if refused.body != "" {
		t.Errorf("body is %s, want none", refused.body)
	}
	for _, open := range []string{"/jwks", "/.well-known/openid-configuration"} {
		s.get(t, "/clusterproviders/default"+open).want(t, http.StatusOK)
	}
	header := http.Header{"Content-Type": {form}, "Authorization": {"Bearer of-the-caller"}}
	granted := s.send(t, http.MethodPost, "/clusterproviders/default/introspect", header, "token="+token)
	granted.want(t, http.StatusOK)
	if !strings.Contains(granted.body, `"active":true`) {
		t.Errorf("body is %s, want an active token", granted.body)
	}
}
