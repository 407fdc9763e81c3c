package webhook_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/internal/provider"
	"terminals.dev/session-controller/internal/provider/webhook"
)

// operations calls each of a provider's by the name that it has in a review.
var operations = map[v1.SessionReviewOperation]func(context.Context, provider.Provider, provider.Request) (any, error){
	v1.ReviewLogin: func(ctx context.Context, p provider.Provider, req provider.Request) (any, error) {
		return p.Login(ctx, req)
	},
	v1.ReviewRenew: func(ctx context.Context, p provider.Provider, req provider.Request) (any, error) {
		return p.Renew(ctx, req)
	},
	v1.ReviewLogout: func(ctx context.Context, p provider.Provider, req provider.Request) (any, error) {
		return nil, p.Revoke(ctx, req)
	},
	v1.ReviewCheck: func(ctx context.Context, p provider.Provider, req provider.Request) (any, error) {
		return p.Check(ctx, req)
	},
}

func TestAReviewCarriesWhatItsOperationNeedsAndNoMore(t *testing.T) {
	h := newHook(t)
	p := h.client(t)
	req := established()
	whole := v1.SessionReviewRequest{
		UID: req.IdempotencyKey, Token: req.Token, RefreshToken: req.RefreshToken, AuthToken: req.AuthToken,
		Session: v1.SessionReviewSession{
			Namespace: "shop", Name: "till-07", SessionID: req.Session.ID, Terminal: v1.Terminal{ID: "T-0042", SerialNumber: "SN-93AX"},
			MerchantID: "merchant-1", User: &v1.User{Email: "anna@acme.example", Name: "Anna Ruiz"}, Purpose: "Registration", Type: "Continuous",
			Scopes: []string{"payments", "refunds"}, Audiences: []string{"https://pay.example", "https://stock.example"},
			LifetimeSeconds: 2592000, Announce: "Confirm the login for till 7",
		},
	}
	without := map[v1.SessionReviewOperation]func(*v1.SessionReviewRequest){
		v1.ReviewLogin:  func(q *v1.SessionReviewRequest) { q.Token, q.RefreshToken = "", "" },
		v1.ReviewRenew:  func(*v1.SessionReviewRequest) {},
		v1.ReviewLogout: func(q *v1.SessionReviewRequest) { q.AuthToken = "" },
		v1.ReviewCheck:  func(q *v1.SessionReviewRequest) { q.AuthToken, q.RefreshToken = "", "" },
	}
	for operation, call := range operations {
		_, _ = call(t.Context(), p, req)
		want := whole
		want.Operation = operation
		without[operation](&want)
		var got v1.SessionReview
		if err := json.Unmarshal(h.last.body, &got); err != nil {
			t.Fatal(err)
		}
		if got.GroupVersionKind() != v1.GroupVersion.WithKind(v1.KindSessionReview) || got.Response != nil {
			t.Errorf("%s: %s is not a review with a request alone", operation, h.last.body)
		}
		if diff := cmp.Diff(&want, got.Request); diff != "" {
			t.Errorf("%s:\n%s", operation, diff)
		}
		for name, value := range map[string]string{"Content-Type": "application/json", "Authorization": "Bearer " + bearer} {
			if h.last.header.Get(name) != value {
				t.Errorf("%s: %s is %q, want %q", operation, name, h.last.header.Get(name), value)
			}
		}
	}
}

func TestAttemptsWithoutAKeyAreAttemptsOfTheirOwn(t *testing.T) {
	h := newHook(t)
	p := h.client(t)
	req := request()
	req.IdempotencyKey = ""
	if first := login(t, p, req); first.Value == login(t, p, req).Value {
		t.Error("two requests without a key have the same token")
	}
}

// Each operation is answered with each result.
func TestEveryResultMeansOneThing(t *testing.T) {
	const (
		fits  = "an answer"
		wrong = string(provider.Misconfigured)
		later = string(provider.AuthTokenMissing)
	)
	want := map[v1.SessionReviewResult]map[v1.SessionReviewOperation]string{
		v1.ReviewIssued:    {v1.ReviewLogin: fits, v1.ReviewRenew: fits, v1.ReviewLogout: wrong, v1.ReviewCheck: wrong},
		v1.ReviewPending:   {v1.ReviewLogin: fits, v1.ReviewRenew: wrong, v1.ReviewLogout: wrong, v1.ReviewCheck: wrong},
		v1.ReviewPostponed: {v1.ReviewLogin: later, v1.ReviewRenew: later, v1.ReviewLogout: wrong, v1.ReviewCheck: wrong},
		v1.ReviewBusy:      {v1.ReviewLogin: "Busy", v1.ReviewRenew: "Busy", v1.ReviewLogout: "Busy", v1.ReviewCheck: "Busy"},
		v1.ReviewRejected:  {v1.ReviewLogin: "Rejected", v1.ReviewRenew: "Rejected", v1.ReviewLogout: "Rejected", v1.ReviewCheck: wrong},
		v1.ReviewBanned:    {v1.ReviewLogin: "Banned", v1.ReviewRenew: "Banned", v1.ReviewLogout: "Banned", v1.ReviewCheck: fits},
		v1.ReviewActive:    {v1.ReviewLogin: wrong, v1.ReviewRenew: wrong, v1.ReviewLogout: wrong, v1.ReviewCheck: fits},
		v1.ReviewEnded:     {v1.ReviewLogin: wrong, v1.ReviewRenew: "GrantDead", v1.ReviewLogout: fits, v1.ReviewCheck: fits},
		v1.ReviewDone:      {v1.ReviewLogin: wrong, v1.ReviewRenew: wrong, v1.ReviewLogout: fits, v1.ReviewCheck: wrong},
		"Granted":          {v1.ReviewLogin: wrong, v1.ReviewRenew: wrong, v1.ReviewLogout: wrong, v1.ReviewCheck: wrong},
		"":                 {v1.ReviewLogin: wrong, v1.ReviewRenew: wrong, v1.ReviewLogout: wrong, v1.ReviewCheck: wrong},
	}
	token := provider.Token{
		Value: "a-token", ExpiresIn: time.Hour, RefreshToken: "a-refresh-token",
		Identity: provider.Identity{Email: "anna@acme.example", Subject: "u-1"},
	}
	answers := map[string]any{
		"Login Issued": provider.Result{Token: &token},
		"Login Pending": provider.Result{Pending: &provider.Pending{
			VerificationURI: "https://id.example/device", UserCode: "ABCD-EFGH", ExpiresIn: 10 * time.Minute, Interval: time.Minute,
		}},
		"Renew Issued": token,
		"Logout Done":  nil, "Logout Ended": nil,
		"Check Active": provider.Status{Active: true, Code: "Code1"},
		"Check Ended":  provider.Status{Code: "Code1"},
		"Check Banned": provider.Status{Banned: true, Code: "Code1"},
	}
	h := newHook(t)
	p := h.client(t)
	for result, row := range want {
		for operation, want := range row {
			t.Run(string(operation)+" "+string(result), func(t *testing.T) {
				h.result(v1.SessionReviewResponse{
					Result: result, RetryAfterSeconds: 60, Error: &v1.SessionReviewError{Code: "Code1", Message: "Ask the manager."},
					Token:       &v1.SessionReviewToken{Value: "a-token", ExpiresInSeconds: 3600, RefreshToken: "a-refresh-token"},
					User:        &v1.UserStatus{Email: "anna@acme.example", Subject: "u-1"},
					Interaction: &v1.SessionReviewInteraction{VerificationURI: "https://id.example/device", UserCode: "ABCD-EFGH", ExpiresInSeconds: 600},
				})(t)
				req := established()
				got, err := operations[operation](t.Context(), p, req)
				if want == fits {
					if err != nil {
						t.Fatal(err)
					}
					expected := answers[string(operation)+" "+string(result)]
					if of, ok := expected.(provider.Result); ok && of.Pending != nil {
						of.Pending.Handle = req.IdempotencyKey
					}
					if diff := cmp.Diff(expected, got); diff != "" {
						t.Error(diff)
					}
					return
				}
				e := wantKind(t, err, provider.Kind(want))
				switch e.Kind {
				case provider.Misconfigured:
				case provider.Busy, provider.AuthTokenMissing:
					if e.RetryAfter != time.Minute || e.Message != "the webhook says: Ask the manager." {
						t.Errorf("error is %+v, want one that says why, and to wait a minute", e)
					}
				default:
					if e.Code != "Code1" || e.Message != "the webhook says: Ask the manager." {
						t.Errorf("error is %+v, want one with the handler's own words", e)
					}
				}
			})
		}
	}
}

func TestAFailureNeedsNoWords(t *testing.T) {
	h := newHook(t)
	p := h.client(t)
	for result, kind := range map[v1.SessionReviewResult]provider.Kind{
		v1.ReviewBusy: provider.Busy, v1.ReviewPostponed: provider.AuthTokenMissing, v1.ReviewRejected: provider.Rejected,
		v1.ReviewBanned: provider.Banned, v1.ReviewEnded: provider.GrantDead,
	} {
		h.result(v1.SessionReviewResponse{Result: result})(t)
		_, err := p.Renew(t.Context(), established())
		if e := wantKind(t, err, kind, "the webhook at 127.0.0.1"); e.Code != "" || e.RetryAfter != 0 {
			t.Errorf("%s: error is %+v", result, e)
		}
	}
}

func TestAnswersThatAreNoneAreMisconfiguredAndNotShown(t *testing.T) {
	const envelope = `{"apiVersion":"terminals.dev/v1","kind":"SessionReview","response":{"uid":"UID",`
	const issued, pending = envelope + `"result":"Issued",`, envelope + `"result":"Pending","interaction":`
	tests := map[string]struct{ body, says string }{
		"nothing":     {``, "something else than JSON"},
		"HTML":        {`<!doctype html><p>please log in: secret`, "page of HTML"},
		"text":        {`secret`, "something else than JSON"},
		"half of it":  {`{"kind":"SessionReview","secret`, "something else than JSON"},
		"two of them": {envelope + `"result":"Done"}}{"secret":1}`, "something else than JSON"},
		"a list":      {`["secret"]`, "something else than JSON"},
		"null":        {`null`, "something else than a SessionReview of terminals.dev/v1"},
		"another kind": {
			`{"apiVersion":"terminals.dev/v1","kind":"secret"}`,
			"something else than a SessionReview of terminals.dev/v1",
		},
		"another version": {
			`{"apiVersion":"terminals.dev/v9","kind":"SessionReview","response":{"uid":"UID"}}`,
			"of terminals.dev/v1",
		},
		"no version":  {`{"kind":"SessionReview","response":{"uid":"UID"}}`, "of terminals.dev/v1"},
		"no response": {`{"apiVersion":"terminals.dev/v1","kind":"SessionReview"}`, "has no response"},
		"another uid": {
			strings.Replace(issued, "UID", "secret", 1) + `"token":{"value":"secret","expiresInSeconds":60}}}`,
			"another uid",
		},
		"no uid": {
			`{"apiVersion":"terminals.dev/v1","kind":"SessionReview","response":{"result":"Done"}}`,
			"another uid",
		},
		"no token":       {envelope + `"result":"Issued"}}`, "Issued without a token"},
		"an empty token": {issued + `"token":{"value":"","expiresInSeconds":60}}}`, "Issued without a token"},
		"no expiry":      {issued + `"token":{"value":"secret"}}}`, "expiresInSeconds is missing or below 1"},
		"an expiry of 0": {
			issued + `"token":{"value":"secret","expiresInSeconds":0}}}`,
			"expiresInSeconds is missing or below 1",
		},
		"an expiry of -1": {
			issued + `"token":{"value":"secret","expiresInSeconds":-1}}}`,
			"expiresInSeconds is missing or below 1",
		},
		"an expiry in a string": {
			issued + `"token":{"value":"secret","expiresInSeconds":"60"}}}`,
			"response.token.expiresInSeconds is of the wrong type",
		},
		"an expiry beyond counting": {
			issued + `"token":{"value":"secret","expiresInSeconds":1e300}}}`,
			"response.token.expiresInSeconds is of the wrong type",
		},
		"a token that is none": {issued + `"token":"secret"}}`, "response.token is of the wrong type"},
		"a user nobody can store": {
			issued + `"token":{"value":"secret","expiresInSeconds":60},"user":{"subject":"` + strings.Repeat("s", 257) + `"}}}`,
			"longer than",
		},
		"nobody to ask": {envelope + `"result":"Pending"}}`, "verificationURI"},
		"a link that is a script": {
			pending + `{"verificationURI":"javascript:alert('secret')","userCode":"A","expiresInSeconds":60}}}`,
			"verificationURI",
		},
		"a second link of http": {
			pending + `{"verificationURI":"https://a.example","verificationURIComplete":"http://a.example/secret",` +
				`"userCode":"A","expiresInSeconds":60}}}`,
			"verificationURI",
		},
		"no code": {pending + `{"verificationURI":"https://a.example","expiresInSeconds":60}}}`, "userCode"},
		"no time": {pending + `{"verificationURI":"https://a.example","userCode":"A"}}}`, "expiresInSeconds"},
	}
	h := newHook(t)
	p := h.client(t)
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			h.says(t, test.body)
			_, err := p.Login(t.Context(), request())
			e := wantKind(t, err, provider.Misconfigured, test.says, "look at its url and at the handler")
			if strings.Contains(fmt.Sprintf("%v %+v", err, e.Err), "secret") {
				t.Errorf("%q shows the answer", err)
			}
		})
	}
}

func TestFieldsThatAreNotKnownAreIgnored(t *testing.T) {
	h := newHook(t)
	h.says(t, `{"apiVersion":"terminals.dev/v1","kind":"SessionReview","metadata":{},"request":{"uid":"another","since":"v2"},
		"response":{"uid":"UID","since":["v2"],"result":"Issued","token":{"value":"a-token","expiresInSeconds":60,"since":{"v":2}}}}`)
	if diff := cmp.Diff(provider.Token{Value: "a-token", ExpiresIn: time.Minute}, login(t, h.client(t), request())); diff != "" {
		t.Error(diff)
	}
}

func TestNumbersFromOutsideHaveLimits(t *testing.T) {
	h := newHook(t)
	p := h.client(t)
	for _, test := range []struct {
		said int64
		want time.Duration
	}{
		{1, time.Second}, {31536000, 8760 * time.Hour}, {31536001, 8760 * time.Hour}, {1 << 62, 8760 * time.Hour},
	} {
		h.result(v1.SessionReviewResponse{Result: v1.ReviewIssued, Token: &v1.SessionReviewToken{Value: "t", ExpiresInSeconds: test.said}})(t)
		if got := login(t, p, request()).ExpiresIn; got != test.want {
			t.Errorf("a token of %d seconds lives for %s, want %s", test.said, got, test.want)
		}
	}
	for said, want := range map[int64]time.Duration{-5: 0, 0: 0, 30: 30 * time.Second, 1 << 62: 24 * time.Hour} {
		h.result(v1.SessionReviewResponse{Result: v1.ReviewBusy, RetryAfterSeconds: said})(t)
		_, err := p.Renew(t.Context(), established())
		if e := wantKind(t, err, provider.Busy); e.RetryAfter != want {
			t.Errorf("busy for %d seconds is %s, want %s", said, e.RetryAfter, want)
		}
	}
	for said, want := range map[int64]time.Duration{-5: 5 * time.Second, 0: 5 * time.Second, 30: 30 * time.Second, 1 << 62: time.Hour} {
		h.result(v1.SessionReviewResponse{
			Result: v1.ReviewPending, RetryAfterSeconds: said,
			Interaction: &v1.SessionReviewInteraction{VerificationURI: "https://a.example", UserCode: "A", ExpiresInSeconds: 1 << 62},
		})(t)
		result, err := p.Login(t.Context(), request())
		if err != nil || result.Pending == nil {
			t.Fatalf("Login answered %+v, %v", result, err)
		}
		if result.Pending.Interval != want || result.Pending.ExpiresIn != 24*time.Hour {
			t.Errorf("pending for %d seconds is %s of %s, want %s of a day", said, result.Pending.Interval, result.Pending.ExpiresIn, want)
		}
	}
}

func TestATokenOf64KiBIsTakenAndAnAnswerOverAMebibyteIsNot(t *testing.T) {
	h := newHook(t)
	p := h.client(t)
	long := strings.Repeat("t", 64<<10)
	h.result(v1.SessionReviewResponse{Result: v1.ReviewIssued, Token: &v1.SessionReviewToken{Value: long, ExpiresInSeconds: 60}})(t)
	if login(t, p, request()).Value != long {
		t.Error("a token of 64 KiB is another")
	}
	const valid = `{"apiVersion":"terminals.dev/v1","kind":"SessionReview","response":{"uid":"UID","result":"Active"}}`
	req := established()
	exact := strings.ReplaceAll(valid, "UID", req.IdempotencyKey)
	h.says(t, exact+strings.Repeat(" ", 1<<20-len(exact)))
	if _, err := p.Check(t.Context(), req); err != nil {
		t.Errorf("an answer of exactly 1 MiB: %v", err)
	}
	h.says(t, exact+strings.Repeat(" ", 1<<20-len(exact)+1))
	_, err := p.Check(t.Context(), req)
	wantKind(t, err, provider.Misconfigured, "more than 1 MiB")
}

func TestARenewalKeepsARefreshTokenThatIsNotReplaced(t *testing.T) {
	h := newHook(t)
	p := h.client(t)
	req := established()
	for given, want := range map[string]string{"": req.RefreshToken, "another": "another"} {
		h.result(v1.SessionReviewResponse{
			Result: v1.ReviewIssued, Token: &v1.SessionReviewToken{Value: "t", ExpiresInSeconds: 60, RefreshToken: given},
		})(t)
		if token, err := p.Renew(t.Context(), req); err != nil || token.RefreshToken != want {
			t.Errorf("given %q the refresh token is %q, %v, want %q", given, token.RefreshToken, err, want)
		}
	}
}

func TestEveryStatusMeansOneThing(t *testing.T) {
	// The server's clock is ten minutes fast: that is no reason to come back late or early.
	now := time.Now().Add(10 * time.Minute).UTC()
	at := func(d time.Duration) string { return now.Add(d).Format(http.TimeFormat) }
	tests := []struct {
		status     int
		retryAfter string
		kind       provider.Kind
		wait       time.Duration
		says       string
	}{
		{429, "", provider.Busy, 0, "busy"},
		{429, "30", provider.Busy, 30 * time.Second, "busy"},
		{429, at(2 * time.Minute), provider.Busy, 2 * time.Minute, "busy"},
		{429, at(-2 * time.Minute), provider.Busy, 0, "busy"},
		{429, "99999999999", provider.Busy, 24 * time.Hour, "busy"},
		{429, "99999999999999999999", provider.Busy, 0, "busy"},
		{429, "-1", provider.Busy, 0, "busy"},
		{429, "soon", provider.Busy, 0, "busy"},
		{503, "", provider.Unavailable, 0, "503"},
		{503, "30", provider.Unavailable, 30 * time.Second, "503"},
		{503, at(2 * time.Minute), provider.Unavailable, 2 * time.Minute, "503"},
		{500, "", provider.Unavailable, 0, "500"},
		{502, "5", provider.Unavailable, 5 * time.Second, "502"},
		{408, "", provider.Unavailable, 0, "408"},
		{401, "30", provider.Misconfigured, 0, "refuses the controller's credentials"},
		{403, "", provider.Misconfigured, 0, "refuses the controller's credentials"},
		{400, "", provider.Misconfigured, 0, "400"},
		{404, "", provider.Misconfigured, 0, "404"},
		{413, "", provider.Misconfigured, 0, "413"},
		{301, "", provider.Misconfigured, 0, "redirects elsewhere"},
		{307, "", provider.Misconfigured, 0, "redirects elsewhere"},
		{201, "", provider.Misconfigured, 0, "201"},
		{204, "", provider.Misconfigured, 0, "204"},
	}
	h := newHook(t)
	p := h.client(t)
	for _, test := range tests {
		t.Run(fmt.Sprint(test.status, " ", test.retryAfter), func(t *testing.T) {
			h.does(t, func(w http.ResponseWriter, _ *http.Request, _ v1.SessionReview) bool {
				w.Header().Set("Date", at(0))
				if test.retryAfter != "" {
					w.Header().Set("Retry-After", test.retryAfter)
				}
				w.WriteHeader(test.status)
				return true
			})
			_, err := p.Renew(t.Context(), established())
			if e := wantKind(t, err, test.kind, test.says); e.RetryAfter != test.wait {
				t.Errorf("the error says to wait %s, want %s", e.RetryAfter, test.wait)
			}
		})
	}
}

func TestCredentialsDoNotFollowARedirect(t *testing.T) {
	h, other := newHook(t), newHook(t)
	other.authority = h.authority
	other.certificate = h.authority.pair(t, host, time.Now().Add(time.Hour))
	for _, to := range []string{other.URL + "/sessions?shop=7", h.URL + "/elsewhere"} {
		h.does(t, func(w http.ResponseWriter, r *http.Request, _ v1.SessionReview) bool {
			http.Redirect(w, r, to, http.StatusPermanentRedirect)
			return true
		})
		before := h.calls.Load()
		_, err := h.client(t).Login(t.Context(), request())
		wantKind(t, err, provider.Misconfigured, "redirects elsewhere")
		if h.calls.Load() != before+1 || other.calls.Load() != 0 {
			t.Error("a redirect was followed")
		}
	}
}

func TestTheHandlersWordsAreShownOnOneLineAndWithoutSecrets(t *testing.T) {
	tests := map[string]struct{ code, message, wantCode, want string }{
		"words":                {"ShopClosed", "The shop opens at 8:00.", "ShopClosed", "the webhook says: The shop opens at 8:00."},
		"several lines":        {"Closed", " The shop\r\n\topens\x00\u202e at 8:00. ", "Closed", "the webhook says: The shop opens at 8:00."},
		"too many words":       {"ShopClosed", strings.Repeat("ä", 400), "ShopClosed", "the webhook says: " + strings.Repeat("ä", 237) + "…"},
		"a code that is none":  {"shop closed", "Later.", "", "the webhook says: Later."},
		"a code that is long":  {"S" + strings.Repeat("x", 64), "Later.", "", "the webhook says: Later."},
		"the access token":     {"Denied", "no: access-token-6e9b4d3e8d5c2f6f", "Denied", "the webhook at HOST refuses the session"},
		"a part of it":         {"Denied", "no: ss-token-6e9b", "Denied", "the webhook at HOST refuses the session"},
		"the refresh token":    {"Denied", "refresh-token-0f8f0a4e6e9b4d3e", "Denied", "the webhook at HOST refuses the session"},
		"the auth token":       {"Denied", "auth-token-4d3e8d5c2f6f0c1a", "Denied", "the webhook at HOST refuses the session"},
		"the bearer token":     {"Denied", "you sent " + bearer, "Denied", "the webhook at HOST refuses the session"},
		"a token of its own":   {"NEWTOKEN0123456789", "see NEWTOKEN0123456789", "", "the webhook at HOST refuses the session"},
		"only what is not ink": {"Denied", "\n\t ", "Denied", "the webhook at HOST refuses the session"},
	}
	h := newHook(t)
	p := h.client(t)
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			h.result(v1.SessionReviewResponse{
				Result: v1.ReviewRejected, Error: &v1.SessionReviewError{Code: test.code, Message: test.message},
				Token: &v1.SessionReviewToken{Value: "NEWTOKEN0123456789", ExpiresInSeconds: 60},
			})(t)
			_, err := p.Renew(t.Context(), established())
			e := wantKind(t, err, provider.Rejected)
			if want := strings.ReplaceAll(test.want, "HOST", h.Listener.Addr().String()); e.Code != test.wantCode || e.Message != want {
				t.Errorf("error is %q, %q, want %q, %q", e.Code, e.Message, test.wantCode, want)
			}
		})
	}
}

func TestConnectionsAreUsedAgain(t *testing.T) {
	h := newHook(t)
	p := h.client(t)
	for i := range 30 {
		h.change(t, func() { h.behave = nil })
		if i%3 == 1 {
			h.status(http.StatusServiceUnavailable, "")(t)
		}
		_, _ = p.Login(t.Context(), request())
	}
	if n := h.connections.Load(); n != 1 {
		t.Errorf("30 calls took %d connections, want 1", n)
	}
	// A connection that died while nobody used it is no failure.
	h.change(t, func() { h.behave = nil })
	for range 5 {
		h.CloseClientConnections()
		login(t, p, request())
	}
	p.Close()
	login(t, p, request())
}

func TestAConnectionThatBreaksOffIsUnavailable(t *testing.T) {
	h := newHook(t)
	for name, write := range map[string]string{
		"before the answer": "",
		"in the answer":     "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{\"kind\":",
		"no HTTP":           "secret secret secret\r\n\r\n",
		"a broken header":   "HTTP/1.1 200 OK\r\nsecret\r\n\r\n",
		"an endless header": "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("secret", 20_000) + "\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			h.does(t, func(w http.ResponseWriter, _ *http.Request, _ v1.SessionReview) bool {
				conn, _, err := w.(http.Hijacker).Hijack()
				if err != nil {
					t.Error(err)
					return true
				}
				_, _ = io.WriteString(conn, write)
				_ = conn.Close()
				return true
			})
			_, err := h.client(t).Login(t.Context(), request())
			e := wantKind(t, err, provider.Unavailable)
			if strings.Contains(fmt.Sprintf("%v %+v", err, e.Err), "secret") {
				t.Errorf("%q shows the answer", err)
			}
		})
	}
}

func TestATimeLimitHoldsForAllOfACall(t *testing.T) {
	h := newHook(t)
	limited := func(t *testing.T, change ...func(*webhook.Config)) {
		t.Helper()
		_, err := h.client(t, append(change, hasty)...).Login(t.Context(), request())
		if wantKind(t, err, provider.Unavailable, "did not answer within 300ms"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v is not one of time", err)
		}
	}
	t.Run("dialling", func(t *testing.T) {
		done := make(chan struct{})
		limited(t, func(config *webhook.Config) {
			config.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
				defer close(done)
				<-ctx.Done()
				return nil, ctx.Err()
			}
		})
		<-done // and nobody goes on dialling
	})
	t.Run("shaking hands", func(t *testing.T) {
		listener, err := net.Listen("tcp", host+":0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = listener.Close() }) // connections wait in its queue, and nobody takes them
		limited(t, func(config *webhook.Config) { config.URL = "https://" + listener.Addr().String() })
	})
	t.Run("the body", func(t *testing.T) {
		h.does(t, func(w http.ResponseWriter, r *http.Request, _ v1.SessionReview) bool {
			_, _ = io.WriteString(w, "{")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
			return true
		})
		limited(t)
	})
}

func TestACallThatIsGivenUpSaysSo(t *testing.T) {
	h := newHook(t)
	ctx, cancel := context.WithCancel(t.Context())
	h.does(t, func(_ http.ResponseWriter, r *http.Request, _ v1.SessionReview) bool {
		cancel()
		<-r.Context().Done()
		return true
	})
	_, err := h.client(t).Login(ctx, request())
	if wantKind(t, err, provider.Unavailable, "was given up"); !errors.Is(err, context.Canceled) {
		t.Errorf("%v does not wrap the context's end", err)
	}
}

func TestEveryConnectionIsDialledByTheCaller(t *testing.T) {
	h := newHook(t)
	var asked []string
	refusal := &provider.Error{Kind: provider.Misconfigured, Message: "10.0.0.1 is a private address"}
	p := h.client(t, func(config *webhook.Config) {
		config.URL = "https://handler.example/sessions"
		config.DialContext = func(_ context.Context, network, address string) (net.Conn, error) {
			asked = append(asked, network+" "+address)
			return nil, fmt.Errorf("dialling: %w", refusal)
		}
	})
	_, err := p.Login(t.Context(), request())
	if provider.AsError(err) != refusal {
		t.Errorf("error is %v, want the dialler's own", err)
	}
	if want := []string{"tcp handler.example:443"}; !slices.Equal(asked, want) {
		t.Errorf("%q was dialled, want %q", asked, want)
	}
}

func TestAServerProvesWhoItIs(t *testing.T) {
	hour := time.Now().Add(time.Hour)
	shows := func(by *authority, name string, notAfter time.Time) func(*hook, *tls.Config) {
		return func(h *hook, _ *tls.Config) {
			if by == nil {
				by = h.authority
			}
			h.certificate = by.pair(t, name, notAfter)
		}
	}
	old := func(_ *hook, config *tls.Config) {
		config.MinVersion, config.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	}
	asks := func(_ *hook, config *tls.Config) {
		config.ClientAuth, config.MaxVersion = tls.RequireAnyClientCert, tls.VersionTLS12
	}
	tests := map[string]struct {
		change func(*hook, *tls.Config)
		says   string
	}{
		"another authority":   {shows(newAuthority(t), host, hour), "put its certificate into caBundle"},
		"another name":        {shows(nil, "other.example", hour), "is for another name"},
		"another address":     {shows(nil, "127.0.0.2", hour), "is for another name"},
		"expired":             {shows(nil, host, time.Now().Add(-time.Hour)), "has expired"},
		"TLS older than 1.2":  {old, "protocol version"},
		"a certificate asked": {asks, "look at the client certificate"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			h := newHook(t, test.change)
			_, err := h.client(t).Login(t.Context(), request())
			wantKind(t, err, provider.Misconfigured, test.says)
			if h.calls.Load() != 0 {
				t.Error("the server was sent a review")
			}
		})
	}
	t.Run("no TLS", func(t *testing.T) {
		plain := httptest.NewUnstartedServer(http.NotFoundHandler())
		plain.Config.ErrorLog = log.New(io.Discard, "", 0)
		plain.Start()
		defer plain.Close()
		p, err := webhook.New(webhook.Config{URL: "https://" + plain.Listener.Addr().String()})
		if err != nil {
			t.Fatal(err)
		}
		_, err = p.Login(t.Context(), request())
		wantKind(t, err, provider.Misconfigured, "does not speak TLS")
	})
	t.Run("nobody is there", func(t *testing.T) {
		p, err := webhook.New(webhook.Config{URL: "https://" + host + ":1"})
		if err != nil {
			t.Fatal(err)
		}
		_, err = p.Login(t.Context(), request())
		wantKind(t, err, provider.Unavailable, "refuses connections")
	})
}

func TestAClientProvesWhoItIsByCertificate(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		var shown string
		clients := newAuthority(t)
		h := newHook(t, func(_ *hook, config *tls.Config) {
			config.ClientAuth, config.MaxVersion = tls.RequireAnyClientCert, version
		})
		h.does(t, func(_ http.ResponseWriter, r *http.Request, _ v1.SessionReview) bool {
			shown = r.TLS.PeerCertificates[0].Subject.CommonName
			return false
		})
		for _, name := range []string{"controller-1", "controller-2"} { // whoever sees it rotated makes another client
			certificate, key := clients.sign(t, name, time.Now().Add(time.Hour))
			login(t, h.client(t, func(config *webhook.Config) {
				config.BearerToken, config.ClientCertificate, config.ClientKey = "", certificate, key
			}), request())
			if shown != name || h.last.header.Get("Authorization") != "" {
				t.Errorf("%s has proved itself as %q, with the header %q", name, shown, h.last.header.Get("Authorization"))
			}
		}
	}
}

func TestABearerTokenMayEndInALineBreak(t *testing.T) {
	h := newHook(t)
	login(t, h.client(t, func(config *webhook.Config) { config.BearerToken += "\r\n" }), request())
	if got, want := h.last.header.Get("Authorization"), "Bearer "+bearer; got != want {
		t.Errorf("the header is %q, want %q", got, want)
	}
}

func TestWhatCannotWorkIsRefusedWithoutACall(t *testing.T) {
	h := newHook(t)
	certificate, key := h.authority.sign(t, "controller", time.Now().Add(time.Hour))
	_, other := h.authority.sign(t, "controller", time.Now().Add(time.Hour))
	tests := map[string]struct {
		change func(*webhook.Config)
		says   string
	}{
		"no URL":                 {func(c *webhook.Config) { c.URL = "" }, "https URL"},
		"plain HTTP":             {func(c *webhook.Config) { c.URL = "http://handler.example" }, "https URL"},
		"no host":                {func(c *webhook.Config) { c.URL = "https:///sessions" }, "https URL"},
		"a fragment":             {func(c *webhook.Config) { c.URL = "https://handler.example/#secret-secret" }, "https URL"},
		"no URL at all":          {func(c *webhook.Config) { c.URL = "https://secret-secret\x7f/%zz" }, "https URL"},
		"a user":                 {func(c *webhook.Config) { c.URL = "https://anna:secret-secret@handler.example" }, "bearer token's Secret"},
		"a bundle of nothing":    {func(c *webhook.Config) { c.CABundle = []byte("secret-secret") }, "caBundle"},
		"a key alone":            {func(c *webhook.Config) { c.ClientKey = key }, "client certificate"},
		"a certificate alone":    {func(c *webhook.Config) { c.ClientCertificate = certificate }, "client certificate"},
		"another's key":          {func(c *webhook.Config) { c.ClientCertificate, c.ClientKey = certificate, other }, "client certificate"},
		"a token of white space": {func(c *webhook.Config) { c.BearerToken = " \n" }, "bearer token"},
		"a token of two lines":   {func(c *webhook.Config) { c.BearerToken = "secret-secret\r\nX-Evil: 1" }, "bearer token"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			config := h.config()
			test.change(&config)
			_, err := webhook.New(config)
			e := wantKind(t, err, provider.Misconfigured, test.says)
			if strings.Contains(err.Error(), "secret-secret") || e.Err != nil {
				t.Errorf("%q shows what is wrong, and not only that it is", err)
			}
		})
	}
	if h.calls.Load()+h.connections.Load() != 0 {
		t.Error("the server was asked")
	}
}

func TestTextsAreTheSameEachTime(t *testing.T) {
	h := newHook(t)
	h.change(t, func() { h.down = true })
	var texts [][]byte
	for range 2 {
		_, err := h.client(t).Login(t.Context(), request())
		texts = append(texts, []byte(wantKind(t, err, provider.Unavailable).Message))
	}
	if !bytes.Equal(texts[0], texts[1]) {
		t.Errorf("%q is not %q: status would be written each time", texts[0], texts[1])
	}
}
