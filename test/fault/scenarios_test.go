package fault_test

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "terminals.dev/session-controller/api/v1"
)

// scenario is something that people do, and what is to come of it whatever goes wrong meanwhile.
type scenario struct {
	name string
	// provider is where tokens come from.
	provider func(*run) v1.SessionProviderSpec
	// session changes the session that every scenario is about.
	session func(*v1.TerminalSessionSpec)
	// bring brings about what is there before; act is what people do then, one after the other, each once the one before has come to rest.
	bring []act
	act   []act
	// meanwhile, where it is set, is what people do while the provider is asked for a token for the first time then.
	meanwhile func(*run)
	// idempotent is whether the provider knows a login again: then no orphan is excused.
	idempotent bool
	want       end
}

// act is what people do, and for how long they look on; zero stands for until everything is at rest.
type act struct {
	do   func(*run)
	look time.Duration
}

// end is how a scenario ends.
type end struct {
	// gone is whether the session's object is.
	gone  bool
	phase v1.Phase
	// ready is the reason of the condition Ready.
	ready string
	// tokens and grants are how many Secrets of each kind there are.
	tokens, grants int
}

const (
	theSession  = "till-1"
	theProvider = "idp"
	authSecret  = "anna"
)

var (
	established = end{phase: v1.PhaseEstablished, ready: v1.ReasonEstablished, tokens: 1}
	loggedOut   = end{phase: v1.PhaseNotLoggedIn, ready: v1.ReasonLoggedOut}
	gone        = end{gone: true}
)

var scenarios = []scenario{
	{name: "login", provider: oauth2, act: []act{{do: logIn}}, want: established},
	{name: "login_webhook", provider: webhook, idempotent: true, act: []act{{do: logIn}}, want: established},
	{name: "login_embedded", provider: embedded, idempotent: true, act: []act{{do: logIn}}, want: established},
	{name: "renewal", provider: oauth2, bring: []act{{do: logIn}}, act: []act{{do: renewalDue}}, want: established},
	{
		name: "renewal_webhook", provider: webhook, idempotent: true, bring: []act{{do: logIn}}, act: []act{{do: renewalDue}},
		want: established,
	},
	{
		name: "renewal_embedded", provider: embedded, idempotent: true, bring: []act{{do: logIn}}, act: []act{{do: renewalDue}},
		want: established,
	},
	{
		name: "rotation", provider: rotating, session: withAuthToken, bring: []act{{do: logIn}}, act: []act{{do: renewalDue}},
		want: refreshable(established),
	},
	{name: "handover", provider: oauth2, bring: []act{{do: logIn}}, act: []act{{do: handOver}}, want: established},
	{
		name: "handover_rotating", provider: rotating, session: withAuthToken, bring: []act{{do: logIn}}, act: []act{{do: handOverTerminal}},
		want: refreshable(established),
	},
	{name: "logout", provider: oauth2, bring: []act{{do: logIn}}, act: []act{{do: logOut}}, want: loggedOut},
	{
		name: "sessionlogout", provider: rotating, session: withAuthToken, bring: []act{{do: logIn}}, act: []act{{do: signOut}},
		want: end{phase: v1.PhaseNotLoggedIn, ready: v1.ReasonSignedOut},
	},
	{name: "ban", provider: oauth2, bring: []act{{do: logIn}}, act: []act{{do: ban}}, want: banned},
	{name: "ban_embedded", provider: embedded, idempotent: true, bring: []act{{do: logIn}}, act: []act{{do: ban}}, want: banned},
	{name: "ban_while_logging_in", provider: oauth2, act: []act{{do: both(logIn, ban)}}, want: banned},
	{name: "ban_while_asking", provider: oauth2, act: []act{{do: logIn}}, meanwhile: ban, want: banned},
	{
		name: "ban_while_renewing", provider: rotating, session: withAuthToken, bring: []act{{do: logIn}}, act: []act{{do: renewalDue}},
		meanwhile: ban, want: banned,
	},
	{name: "logout_while_asking", provider: oauth2, act: []act{{do: logIn}}, meanwhile: logOut, want: loggedOut},
	{name: "delete_while_asking", provider: oauth2, act: []act{{do: logIn}}, meanwhile: remove, want: gone},
	{name: "delete", provider: oauth2, bring: []act{{do: logIn}}, act: []act{{do: remove}}, want: gone},
	{
		name: "delete_rotating", provider: rotating, session: withAuthToken, bring: []act{{do: logIn}}, act: []act{{do: remove}}, want: gone,
	},
	{name: "delete_embedded", provider: embedded, idempotent: true, bring: []act{{do: logIn}}, act: []act{{do: remove}}, want: gone},
	{
		name: "delete_while_down", provider: oauth2, bring: []act{{do: logIn}},
		act: []act{{do: both(providerDown, remove), look: 2 * time.Minute}, {do: providerUp}}, want: gone,
	},
	{
		name: "delete_while_down_webhook", provider: webhook, idempotent: true, bring: []act{{do: logIn}},
		act: []act{{do: both(providerDown, remove), look: 2 * time.Minute}, {do: providerUp}}, want: gone,
	},
	{
		name: "recreate", provider: embedded, idempotent: true, bring: []act{{do: logIn}}, act: []act{{do: both(remove, logIn)}},
		want: established,
	},
}

var banned = end{phase: v1.PhaseTerminated, ready: v1.ReasonBanInForce}

// refreshable is an end with a refresh token.
func refreshable(e end) end { e.grants = 1; return e }

// Providers.

func oauth2(r *run) v1.SessionProviderSpec {
	return v1.SessionProviderSpec{OAuth2: &v1.OAuth2Provider{
		IssuerURL: r.issuer.url, ClientID: "till-fleet", CABundle: plane.identity.ca(), Introspection: never(),
	}}
}

// rotating is one whose refresh tokens work once.
func rotating(r *run) v1.SessionProviderSpec {
	spec := oauth2(r)
	if r.leading > 0 { // two leaders that refresh at the same moment end the session at the server, which only that can tell
		spec.OAuth2.Introspection = v1.Introspection{Interval: &metav1.Duration{Duration: 5 * time.Minute}}
	}
	spec.OAuth2.Grant = v1.GrantTokenExchange
	return spec
}

func webhook(r *run) v1.SessionProviderSpec {
	return v1.SessionProviderSpec{Webhook: &v1.WebhookProvider{
		URL: r.issuer.url + "/" + pathWebhook, CABundle: plane.identity.ca(), Introspection: never(),
	}}
}

func embedded(*run) v1.SessionProviderSpec {
	return v1.SessionProviderSpec{Embedded: &v1.EmbeddedProvider{}}
}

// never has nobody asked whether tokens still hold: no run is long enough for that to matter, and it would never be at rest.
func never() v1.Introspection { return v1.Introspection{Interval: &metav1.Duration{}} }

func withAuthToken(s *v1.TerminalSessionSpec) {
	s.User = nil // such a server does not say who logged in
	s.AuthTokenSecretRef = &v1.TokenKeyReference{Name: authSecret, Key: "token"}
}

// What people do.

func logIn(r *run) {
	s := &v1.TerminalSession{
		ObjectMeta: metav1.ObjectMeta{Name: theSession},
		Spec: v1.TerminalSessionSpec{
			Terminal:    v1.Terminal{ID: "T-0042", SerialNumber: "SN-93AX"},
			MerchantID:  "acme",
			User:        &v1.User{Email: "anna@acme.example"},
			ProviderRef: v1.ProviderReference{Kind: v1.KindSessionProvider, Name: theProvider},
			Token:       v1.TokenSpec{Lifetime: &metav1.Duration{Duration: lifetime}},
		},
	}
	if r.scenario.session != nil {
		r.scenario.session(&s.Spec)
	}
	r.apply(s, "terminalsessions")
}

func editSession(r *run, change func(*v1.TerminalSession)) {
	edit(r, &v1.TerminalSession{ObjectMeta: metav1.ObjectMeta{Name: theSession}}, "terminalsessions", change)
}

func renewalDue(r *run) {
	s := r.session()
	r.note("the renewal is due")
	r.stepTo(s.Status.Token.RenewAt.Time)
}

func handOver(r *run) {
	editSession(r, func(s *v1.TerminalSession) { s.Spec.User.Email = "ben@acme.example" })
}

func handOverTerminal(r *run) {
	editSession(r, func(s *v1.TerminalSession) { s.Spec.Terminal.ID = "T-0043" })
}

func logOut(r *run) {
	editSession(r, func(s *v1.TerminalSession) { s.Spec.DesiredState = v1.LoggedOut })
}

func signOut(r *run) {
	r.apply(&v1.SessionLogout{
		ObjectMeta: metav1.ObjectMeta{Name: "all"}, Spec: v1.SessionLogoutSpec{All: new(true)},
	}, "sessionlogouts")
}

func ban(r *run) {
	r.apply(&v1.SessionBan{
		ObjectMeta: metav1.ObjectMeta{Name: "stolen"}, Spec: v1.SessionBanSpec{Match: v1.BanMatch{TerminalID: "T-0042"}, Code: "TerminalStolen"},
	}, "sessionbans")
}

func remove(r *run) {
	r.delete(&v1.TerminalSession{ObjectMeta: metav1.ObjectMeta{Name: theSession}}, "terminalsessions")
}

func providerDown(r *run) {
	r.note("the provider goes down")
	r.issuer.setDown(true)
}

func providerUp(r *run) {
	r.note("the provider comes back")
	r.issuer.setDown(false)
}

func both(first, second func(*run)) func(*run) {
	return func(r *run) {
		first(r)
		second(r)
	}
}

// provide creates the provider, and whatever logins need.
func (r *run) provide() {
	r.t.Helper()
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: authSecret}, Data: map[string][]byte{"token": []byte("annas-own")}}
	r.apply(secret, secrets)
	r.apply(&v1.SessionProvider{ObjectMeta: metav1.ObjectMeta{Name: theProvider}, Spec: r.scenario.provider(r)}, "sessionproviders")
}
