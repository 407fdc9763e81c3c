package integration_test

import (
	"strings"
	"testing"
	"time"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/internal/provider"
	"terminals.dev/session-controller/test/identityenv"
)

func TestAPersonConfirmsALoginAtARealServer(t *testing.T) {
	t.Parallel()
	h := newReal(t)
	h.provide(h.idp(v1.GrantDeviceCode))
	h.apply(h.till())
	h.settle("till-1")
	h.expect("till-1", confirming)
	flow := h.get("till-1").Status.Flow
	if !strings.HasPrefix(flow.VerificationURI, openID.Issuer) || flow.UserCode == "" || !strings.Contains(flow.VerificationURIComplete, flow.UserCode) {
		t.Errorf("a person is told %+v", flow)
	}
	h.expectMessage(h.get("till-1"), "A person must confirm the login at "+flow.VerificationURI+" with the code "+flow.UserCode)
	if page, err := openID.Page(h.ctx, flow.UserCode); err != nil || !strings.Contains(page, "Terminal T-0042 (SN-93AX)") {
		t.Errorf("the person reads %q there, %v, which does not name the terminal", page, err)
	}
	h.polled("till-1")
	h.expect("till-1", confirming)
	h.expectNo("till-1-token")

	h.approve("anna")
	h.polled("till-1")
	h.expect("till-1", established)
	if user := h.get("till-1").Status.User; user == nil || user.Email != "anna@acme.example" || user.Subject != "anna" {
		t.Errorf("who is logged in is %+v", user)
	}
	if there, err := openID.Introspect(h.ctx, h.token("till-1-token")); err != nil || !there.Active {
		t.Errorf("the server says of the token %+v, %v", there, err)
	}

	// A refresh token is used once, and is replaced.
	before, refresh := h.get("till-1").Status, string(h.secret("till-1-grant").Data["refreshToken"])
	h.heard.taken()
	for n := range 3 {
		h.untilRenewal("till-1")
		h.settle("till-1")
		h.expect("till-1", established)
		h.expectCalls("Renew")
		after, now := h.get("till-1").Status, string(h.secret("till-1-grant").Data["refreshToken"])
		if after.SessionID != before.SessionID || after.Token.Renewals != int32(n)+1 || now == refresh || now == "" || after.User == nil || *after.User != *before.User {
			t.Errorf("renewal %d: session %+v, refresh token replaced: %v", n, after, now != refresh)
		}
		refresh = now
	}
	h.expectNothingShown()

	// With the refresh token everything goes that came of the login.
	last := h.token("till-1-token")
	h.delete(h.get("till-1"))
	h.settle("till-1")
	h.expectGrants(0)
	if there, err := openID.Introspect(h.ctx, last); err != nil || there.Active {
		t.Errorf("of the token of a session that is gone the server says %+v, %v", there, err)
	}
}

// An ID token that comes with a renewal has the subject alone, and bans go by the address.
func TestARenewalDoesNotForgetWhoIsLoggedIn(t *testing.T) {
	t.Parallel()
	h := newReal(t)
	h.provide(h.idp(v1.GrantDeviceCode))
	h.person()
	h.login(h.till(nobodyInParticular), h.namespace)
	before := h.get("till-1").Status.User
	h.annotate("till-1", v1.AnnotationRenewRequested, "1") // now, while the ID token is one of this time
	h.settle("till-1")
	h.expectCalls("Renew")
	h.expect("till-1", established)
	if after := h.get("till-1").Status.User; after == nil || *after != *before || after.Email != h.namespace+"@acme.example" {
		t.Errorf("who is logged in is %+v, and was %+v", after, before)
	}
	h.apply(ban("anna", func(b *v1.SessionBanSpec) { b.Match.User = h.namespace + "@acme.example" }))
	h.settle("till-1")
	h.expect("till-1", "Terminated: Ready (BanInForce)")
}

func TestALoginAtARealServerThatDoesNotComeAboutSaysWhy(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		change func(*v1.OAuth2Provider)
		act    func(h *realServer) error
		is     string
		says   []string
	}{
		{
			"denied", nil, func(h *realServer) error { return openID.Deny(h.ctx, h.code()) },
			"NotLoggedIn, held Aborted: Ready (Aborted)", []string{"the login was denied at the server"},
		},
		{
			"not confirmed in time", nil, func(h *realServer) error { return openID.Expire(h.ctx, h.code()) },
			"NotLoggedIn, held Aborted: Ready (Aborted)", []string{"nobody confirmed the login in time"},
		},
		{
			"confirmed by somebody else", nil, func(h *realServer) error { return openID.Approve(h.ctx, h.code(), "mallory") },
			"NotLoggedIn, held Rejected: Stalled (IdentityMismatch)", []string{"The provider logged in somebody else than spec.user; that token was discarded"},
		},
		{
			"confirmed by somebody who only claims the address", nil, func(h *realServer) error { return openID.Approve(h.ctx, h.code(), "eve") },
			"NotLoggedIn, held Aborted: Ready (Aborted)", []string{"the server has not verified the e-mail address of the user who logged in"},
		},
		{
			"confirmed, and the server does not say by whom", scopes("offline_access"), func(h *realServer) error { return openID.Approve(h.ctx, h.code(), "anna") },
			"NotLoggedIn, held Rejected: Stalled (IdentityMismatch)", []string{"does not say who logged in", "Add the scopes openid and email to the provider's spec.oauth2.scopes"},
		},
		{
			"confirmed, and the server says a name, but no address", scopes("openid", "offline_access"),
			func(h *realServer) error { return openID.Approve(h.ctx, h.code(), "anna") },
			"NotLoggedIn, held Rejected: Stalled (IdentityMismatch)", []string{"does not say who logged in", "Add the scopes openid and email to the provider's spec.oauth2.scopes"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			h := newReal(t)
			p := h.idp(v1.GrantDeviceCode)
			if test.change != nil {
				test.change(p.Spec.OAuth2)
			}
			h.provide(p)
			h.apply(h.till())
			h.settle("till-1")
			h.expect("till-1", confirming)
			shown := h.tokens()
			if err := test.act(h); err != nil {
				t.Fatal(err)
			}
			h.polled("till-1")
			h.expect("till-1", test.is)
			h.expectMessage(h.get("till-1"), test.says...)
			h.expectNo("till-1-token")
			h.expectNo("till-1-grant")
			h.expectProvider(p, ready)
			h.expectNothingShown(shown...)
			h.expectGrants(0)

			// It is not asked again until somebody wants it to be.
			h.heard.taken()
			h.step(24 * time.Hour)
			h.settle("till-1")
			h.expectCalls()
			if test.change != nil {
				change(h.harness, h.provider("remote"), func(p *v1.SessionProvider) { p.Spec.OAuth2.Scopes = []string{"openid", "email", "offline_access"} })
				h.look(p)
			}
			h.clock.SetTime(time.Now()) // the server's
			h.annotate("till-1", v1.AnnotationLoginRequested, "again")
			h.settle("till-1")
			h.expect("till-1", confirming)
			h.approve("anna")
			h.polled("till-1")
			h.expect("till-1", established)
		})
	}
}

// What is done at the server is found out at the next renewal, or by asking after the token, whichever comes first.
func TestWhatIsDoneAtARealServerIsFoundOut(t *testing.T) {
	t.Parallel()
	disabled := func(o *v1.OAuth2Provider) {
		o.Errors = []v1.ErrorMapping{{Error: "user_disabled", As: v1.ErrorMeaning("Banned"), Code: "UserBanned"}}
	}
	onRequest := func(s *v1.TerminalSessionSpec) { s.Relogin = v1.ReloginOnRequest }
	for _, test := range []struct {
		name    string
		change  func(*v1.OAuth2Provider)
		session func(*v1.TerminalSessionSpec)
		done    func(h *realServer)
		// until lets time pass until the controller asks, and call is what it asks.
		until func(h *realServer)
		calls []string
		is    string
		says  string
		end   string
	}{
		{
			"a ban, at the renewal", disabled, nil, func(h *realServer) { h.setUser(true) }, func(h *realServer) { h.untilRenewal("till-1") }, []string{"Renew"},
			"Terminated: Stalled (Banned)", "refused (user_disabled)", v1.ReasonBanned,
		},
		{
			"a ban, by introspection", checkedEvery(time.Minute), nil, func(h *realServer) { h.setUser(true) }, aMinute, []string{"Check", "Login"},
			confirming, "A person must confirm", v1.ReasonGrantDead,
		},
		{
			"a sign-out, by introspection", checkedEvery(time.Minute), nil, signOutThere, aMinute, []string{"Check", "Login"},
			confirming, "A person must confirm", v1.ReasonGrantDead,
		},
		{
			"a sign-out, by introspection, and nobody is logged in unasked", checkedEvery(time.Minute), onRequest, signOutThere, aMinute, []string{"Check"},
			"NotLoggedIn, held Invalidated: Ready (GrantDead)", "no longer honours the token", v1.ReasonGrantDead,
		},
		{
			"a refresh token that was revoked, at the renewal", nil, nil,
			func(h *realServer) {
				h.revokeThere(provider.Request{RefreshToken: string(h.secret("till-1-grant").Data["refreshToken"])})
			},
			func(h *realServer) { h.untilRenewal("till-1") }, []string{"Renew", "Login"},
			confirming, "A person must confirm", v1.ReasonGrantDead,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			h := newReal(t)
			p := h.idp(v1.GrantDeviceCode)
			if test.change != nil {
				test.change(p.Spec.OAuth2)
			}
			h.provide(p)
			s := h.till(h.person())
			if test.session != nil {
				test.session(&s.Spec)
			}
			h.login(s, h.namespace)
			before, shown := h.get("till-1").Status, h.tokens()
			h.settle("till-1")
			h.expectCalls()

			test.done(h)
			h.heard.taken()
			test.until(h)
			h.settle("till-1")
			h.expectCalls(test.calls...)
			h.expect("till-1", test.is)
			h.expectMessage(h.get("till-1"), test.says)
			h.expectNo("till-1-token")
			after := h.get("till-1").Status
			if recent := after.Recent; len(recent) != 1 || recent[0].SessionID != before.SessionID || recent[0].End != test.end || recent[0].User != before.User.Email {
				t.Errorf("of what was there is told %+v, want an end by %s", recent, test.end)
			}
			if test.end == v1.ReasonBanned && (after.Error == nil || after.Error.Code != "UserBanned") {
				t.Errorf("the error is %+v", after.Error)
			}
			h.expectNothingShown(shown...)
			h.expectGrants(0)

			// Whoever may log in goes on.
			h.setUser(false)
			h.heard.taken()
			if test.is != confirming {
				h.step(time.Hour)
				h.settle("till-1")
				h.expectCalls()
				h.annotate("till-1", v1.AnnotationLoginRequested, "again")
				h.settle("till-1")
			}
			h.expect("till-1", confirming)
		})
	}
}

// aMinute passes, in which each token is asked after.
func aMinute(h *realServer) { h.step(time.Minute) }

// signOutThere ends the token at the server, as some other application does where the user signs out.
func signOutThere(h *realServer) { h.revokeThere(provider.Request{Token: h.token("till-1-token")}) }

func TestARealServerThatIsAskedWrongSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name              string
		spoil             func(h *realServer, o *v1.OAuth2Provider)
		provider, session string
		says              string
		mend              func(h *realServer, p *v1.SessionProvider)
	}{
		{
			"a wrong client secret", func(h *realServer, _ *v1.OAuth2Provider) {
				change(h.harness, h.secret("idp"), putting("secret", "hunter2-which-is-wrong"))
			}, "False (CredentialsRefused)", providerNotReady, "refused the client's credentials (invalid_client): check client ID, method and secret",
			func(h *realServer, _ *v1.SessionProvider) {
				change(h.harness, h.secret("idp"), putting("secret", identityenv.ClientSecret))
			},
		},
		{
			"an unknown client", func(_ *realServer, o *v1.OAuth2Provider) { o.ClientID = "nobody-knows" },
			"False (CredentialsRefused)", providerNotReady, "refused the client's credentials (invalid_client): check client ID, method and secret",
			func(h *realServer, p *v1.SessionProvider) {
				change(h.harness, p, func(p *v1.SessionProvider) { p.Spec.OAuth2.ClientID = identityenv.ClientBasic })
			},
		},
		{
			"an unknown scope", func(_ *realServer, o *v1.OAuth2Provider) { o.Scopes = []string{"unknown"} },
			ready, "NotLoggedIn, held Rejected: Stalled (Rejected)", "refused the scopes (invalid_scope): check those of session and provider",
			func(h *realServer, p *v1.SessionProvider) {
				change(h.harness, p, func(p *v1.SessionProvider) { p.Spec.OAuth2.Scopes = nil })
			},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			h := newReal(t)
			p := h.idp(v1.GrantClientCredentials)
			test.spoil(h, p.Spec.OAuth2)
			h.provide(p)
			h.apply(h.till(nobodyInParticular))
			h.settle("till-1")
			h.expectTrouble(p, test.provider, test.session, test.says)
			if result := h.look(p); test.provider != ready && result.RequeueAfter == 0 {
				t.Error("nobody looks whether the server has been put in order")
			}
			h.expectNothingShown(identityenv.ClientSecret)
			h.expectGrants(0)

			test.mend(h, p)
			h.look(p)
			h.settle("till-1")
			h.expectProvider(p, ready)
			h.expect("till-1", established)
			h.expectGrants(1)
		})
	}
}
