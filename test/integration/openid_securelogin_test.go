package integration_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/internal/provider"
	"terminals.dev/session-controller/test/identityenv"
)

// exchange is a session at the real server by token exchange, with secure login, and something in between that notes what is asked for.
type exchange struct {
	*realServer
	*identityenv.Front
	provider *v1.SessionProvider
	mu       sync.Mutex
	forms    []url.Values
}

// newExchange puts a Front before the server. It calls itself the issuer, which it can as long as nobody asks for an ID token; and it hands
// out a refresh token, which that server does not for this grant.
func newExchange(t *testing.T) *exchange {
	t.Helper()
	h := &exchange{realServer: newReal(t), Front: identityenv.StartFront()}
	t.Cleanup(h.Close)
	err := h.To("https://"+openID.Address, openID.CA, func(p *httputil.ReverseProxy) { p.ModifyResponse = h.answered })
	if err != nil {
		t.Fatal(err)
	}
	h.Instead(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/oauth/token" {
			body, _ := io.ReadAll(r.Body)
			form, _ := url.ParseQuery(string(body))
			h.mu.Lock()
			h.forms = append(h.forms, form)
			h.mu.Unlock()
			r.Body = io.NopCloser(bytes.NewReader(body))
		}
		return false
	})
	h.provider = h.idp(v1.GrantTokenExchange, scopes("email"), func(o *v1.OAuth2Provider) { o.IssuerURL, o.CABundle = h.URL, h.CA })
	h.provider.Spec.SecureLogin = new(true)
	h.provide(h.provider)
	h.expectProvider(h.provider, ready)
	h.apply(h.till(withAuthToken("anna-auth")))
	return h
}

func (h *exchange) answered(resp *http.Response) error {
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	body = bytes.ReplaceAll(body, []byte(openID.Issuer), []byte(h.URL))
	var token map[string]any
	if resp.Request.URL.Path == "/oauth/token" && json.Unmarshal(body, &token) == nil && token["access_token"] != nil {
		token["refresh_token"] = "refresh-token-of-" + marker
		if body, err = json.Marshal(token); err != nil {
			return err
		}
	}
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	resp.Header.Set("Content-Length", strconv.Itoa(len(body)))
	return nil
}

// authToken is a token that anna has from some other application.
func (h *exchange) authToken() string {
	h.t.Helper()
	token, err := openID.Token(h.ctx, "anna", "openid")
	if err != nil {
		h.t.Fatal(err)
	}
	return token
}

// expectExchanged checks what was asked of the token endpoint since the last time: the exchange of some auth tokens, and nothing else.
func (h *exchange) expectExchanged(want ...string) {
	h.t.Helper()
	h.mu.Lock()
	forms := h.forms
	h.forms = nil
	h.mu.Unlock()
	if len(forms) != len(want) {
		h.t.Fatalf("the token endpoint was asked %d times, want %d", len(forms), len(want))
	}
	for i, form := range forms {
		if form.Get("grant_type") != "urn:ietf:params:oauth:grant-type:token-exchange" || form.Get("subject_token") != want[i] || form.Has("refresh_token") {
			h.t.Errorf("it was asked with a grant of %s, the right auth token: %v, a refresh token: %v",
				form.Get("grant_type"), form.Get("subject_token") == want[i], form.Has("refresh_token"))
		}
	}
}

// expectPutOff checks that a session waits ten minutes or more for an auth token, and asks nobody meanwhile.
func (h *exchange) expectPutOff(phase string, says ...string) {
	h.t.Helper()
	h.expect("till-1", phase+": Reconciling (AuthTokenMissing)")
	h.expectMessage(h.get("till-1"), says...)
	a := h.get("till-1").Status.Attempt
	if a.NotBefore == nil || a.NotBefore.Sub(h.clock.Now()) < 10*time.Minute || a.NotBefore.Sub(h.clock.Now()) > 12*time.Minute {
		h.t.Errorf("the attempt is %+v, want it to be put off by ten minutes", a)
	}
	h.expectProvider(h.provider, ready)
	h.mu.Lock()
	h.forms = nil
	h.mu.Unlock()
	h.step(10*time.Minute - time.Second)
	h.settle("till-1")
	h.expect("till-1", phase+": Reconciling (AuthTokenMissing)")
	h.expectExchanged()
	h.expectNothingShown()
}

// overdue is a JWT that has expired: the server's own would live for a month.
func overdue() string {
	part := func(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }
	claims := fmt.Sprintf(`{"sub": "anna", "exp": %d}`, time.Now().Add(-time.Minute).Unix())
	return part(`{"alg":"RS256"}`) + "." + part(claims) + "." + part("signature-of-"+marker)
}

// proofs are the ways in which an auth token is not to be had. Each puts it into that state, and says what is to be read.
var proofs = []struct {
	name  string
	spoil func(h *exchange)
	says  []string
}{
	{"missing", func(*exchange) {}, []string{"have spec.authTokenSecretRef name a Secret, and put the user's auth token into it"}},
	{"empty", func(h *exchange) { h.apply(opaque("anna-auth", "token", "")) }, []string{"put the user's auth token into it"}},
	{"nothing but white space", func(h *exchange) { h.apply(opaque("anna-auth", "token", " \n")) }, []string{"put the user's auth token into it"}},
	{"under another key", func(h *exchange) { h.apply(opaque("anna-auth", "other", h.authToken())) }, []string{"put the user's auth token into it"}},
	{"expired", func(h *exchange) { h.apply(opaque("anna-auth", "token", overdue())) }, []string{"the auth token has expired", "a fresh one is needed"}},
	{
		"revoked", func(h *exchange) {
			token := h.authToken()
			h.revokeThere(provider.Request{Token: token})
			h.apply(opaque("anna-auth", "token", token))
		}, []string{"the server refused the auth token", "a fresh one is needed"},
	},
	{"another server's", func(h *exchange) { h.apply(opaque("anna-auth", "token", "proof-of-anna")) }, []string{"the server refused the auth token", "a fresh one is needed"}},
}

func TestSecureLoginAtARealServerWaitsForTheAuthTokenAndTakesItAtOnce(t *testing.T) {
	t.Parallel()
	for _, test := range proofs {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			h := newExchange(t)
			test.spoil(h)
			h.settle("till-1")
			h.expectPutOff("Establishing", test.says...)
			h.expectNo("till-1-token")

			token := h.authToken()
			h.proveWith(token)
			h.settle("till-1")
			h.expect("till-1", established)
			h.expectExchanged(token)
			if user := h.get("till-1").Status.User; user == nil || user.Email != "anna@acme.example" {
				t.Errorf("who is logged in is %+v", user)
			}
			h.expectNothingShown(token)
			h.expectGrants(1)
		})
	}
}

func TestSecureLoginAtARealServerProvesTheUserAnewAtEachRenewal(t *testing.T) {
	t.Parallel()
	for _, test := range proofs {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			h := newExchange(t)
			first := h.authToken()
			h.proveWith(first)
			h.settle("till-1")
			h.expect("till-1", established)
			h.expectExchanged(first)
			if grant := h.secret("till-1-grant"); grant == nil || len(grant.Data["refreshToken"]) == 0 {
				t.Fatal("there is no refresh token that could be used instead")
			}
			kept := h.token("till-1-token")

			h.delete(h.secret("anna-auth"))
			test.spoil(h)
			h.untilRenewal("till-1")
			h.settle("till-1")
			h.expectPutOff("Established", test.says...)
			if h.token("till-1-token") != kept {
				t.Error("the token that is there did not stay")
			}

			second := h.authToken()
			h.proveWith(second)
			h.settle("till-1")
			h.expect("till-1", established)
			h.expectExchanged(second)
			if st := h.get("till-1").Status; st.Token.Renewals != 1 || h.token("till-1-token") == kept {
				t.Errorf("the token was renewed %d times", st.Token.Renewals)
			}
			h.expectNothingShown(first, second)
		})
	}
}

// Mallory's own auth token proves that she is mallory.
func TestAnotherUsersAuthTokenLogsNobodyIn(t *testing.T) {
	t.Parallel()
	h := newExchange(t)
	token, err := openID.Token(h.ctx, "mallory", "openid")
	if err != nil {
		t.Fatal(err)
	}
	h.proveWith(token)
	h.settle("till-1")
	h.expect("till-1", "NotLoggedIn, held Rejected: Stalled (IdentityMismatch)")
	h.expectMessage(h.get("till-1"), "The provider logged in somebody else than spec.user; that token was discarded")
	h.expectNo("till-1-token")
	h.expectNothingShown()
	h.expectGrants(0)

	h.proveWith(h.authToken())
	h.settle("till-1")
	h.expect("till-1", established)
}

// proveWith puts an auth token into its Secret.
func (h *exchange) proveWith(token string) {
	h.t.Helper()
	if there := h.secret("anna-auth"); there != nil {
		change(h.harness, there, func(s *corev1.Secret) { s.Data = map[string][]byte{"token": []byte(token)} })
		return
	}
	h.apply(opaque("anna-auth", "token", token))
}
