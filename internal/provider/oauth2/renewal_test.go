package oauth2_test

import (
	"net/url"
	"testing"
	"time"

	"terminals.dev/session-controller/internal/provider"
	"terminals.dev/session-controller/internal/provider/oauth2"
)

func TestRefreshTokenComesBeforeAnythingElse(t *testing.T) {
	for _, g := range []oauth2.Grant{oauth2.ClientCredentials, oauth2.DeviceCode, oauth2.TokenExchange, oauth2.JWTBearer} {
		s := newIDP(t)
		req := session()
		req.RefreshToken = refreshToken
		if _, err := s.provider(t, grant(g)).Renew(t.Context(), req); err != nil {
			t.Fatal(err)
		}
		want(t, "form", s.last(t, "/token").form, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refreshToken}})
		want(t, "requests", len(s.asked), 2)
	}
}

func TestRefreshTokenIsReplacedByTheNewOne(t *testing.T) {
	s := newIDP(t)
	p := s.provider(t, grant(oauth2.DeviceCode))
	req := session()
	req.RefreshToken = refreshToken
	for answered, kept := range map[string]string{"": refreshToken, "SECRET-next": "SECRET-next"} {
		s.on("/token", gives(token(fields{"refresh_token": answered})))
		got, err := p.Renew(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		want(t, "token", got, provider.Token{Value: accessToken, RefreshToken: kept, ExpiresIn: 720 * time.Hour})
	}
	want(t, "refreshes", p.Capabilities().Refreshes, true)
}

func TestDeviceLoginWithoutRefreshTokenCannotBeRenewed(t *testing.T) {
	s := newIDP(t)
	_, err := s.provider(t, grant(oauth2.DeviceCode)).Renew(t.Context(), session())
	wantError(t, err, provider.GrantDead, "")
	want(t, "requests", len(s.asked), 0)
}

// The old refresh token may be spent, so a session must not die of what is only told beside the new one.
func TestRenewalDoesNotFailForTheIdentity(t *testing.T) {
	for name, spoil := range map[string]func(*idp) fields{
		"no keys for now": func(s *idp) fields {
			s.on("/jwks", says(500, "text/html", said))
			return fields{"id_token": s.idToken(t, nil)}
		},
		"an ID token of others": func(*idp) fields { return fields{"id_token": said} },
		"an e-mail not verified": func(s *idp) fields {
			return fields{"id_token": s.idToken(t, fields{"email": "anna@acme.example", "email_verified": false})}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newIDP(t)
			s.on("/token", gives(token(spoil(s), fields{"refresh_token": "SECRET-next"})))
			req := session()
			req.RefreshToken = refreshToken
			got, err := s.provider(t, grant(oauth2.DeviceCode)).Renew(t.Context(), req)
			if err != nil {
				t.Fatal(err)
			}
			want(t, "token", got, provider.Token{Value: accessToken, RefreshToken: "SECRET-next", ExpiresIn: 720 * time.Hour})
			want(t, "given back", len(s.to("/revoke")), 0)
		})
	}
}

// What was there before is still the session's.
func TestRenewalThatCannotBeUsedGivesBackOnlyWhatIsNew(t *testing.T) {
	for name, test := range map[string]struct {
		answered string
		back     []string
	}{
		"the old refresh token holds": {"", []string{"access_token SECRET-new"}},
		"rotated":                     {"SECRET-next", []string{"refresh_token SECRET-next", "access_token SECRET-new"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newIDP(t)
			s.on("/token", gives(fields{"access_token": "SECRET-new", "refresh_token": test.answered, "expires_in": -1}))
			req := session()
			req.RefreshToken = refreshToken
			_, err := s.provider(t, grant(oauth2.DeviceCode)).Renew(t.Context(), req)
			wantError(t, err, provider.Misconfigured, "")
			var back []string
			for _, r := range s.to("/revoke") {
				back = append(back, r.form.Get("token_type_hint")+" "+r.form.Get("token"))
			}
			want(t, "given back", back, test.back)
		})
	}
}
