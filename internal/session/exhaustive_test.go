package session_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/internal/session"
)

// The input space is cut into classes, one list for each thing that is observed. What cannot be together is left out: a token's Secret
// where there is no token, say.

// today is when everything is looked at.
var today = start.Add(100 * 24 * time.Hour)

// A class makes one kind of world out of another.
type class struct {
	name string
	make func(*world)
}

// withoutToken are the statuses of sessions that have none.
var withoutToken = []class{
	{"fresh", nothing},
	{"stalled by its provider", func(w *world) {
		w.stalls(v1.ReasonProviderNotReady)
		w.look()
		w.provider = session.Provider{Version: provider}
	}},
	{"stalled by its Secret's name", func(w *world) { takeName(w); w.look(); w.secrets = [2]secret{} }},
	{"logged out", func(w *world) { desire(w, v1.LoggedOut); w.look() }},
	{"Establishing, grant dead", func(w *world) { w.fails(session.FailureBusy); w.look(); w.s.Status.Attempt.NotBefore = nil }},
	{"Establishing, waiting", func(w *world) { busy(w); notBefore(w, time.Minute) }},
	{"Establishing, wait over", func(w *world) { busy(w); notBefore(w, -time.Minute) }},
	{"Establishing, waiting for another provider", func(w *world) { busy(w); notBefore(w, time.Minute); w.s.Status.Attempt.ProviderVersion = "provider-0" }},
	{"Establishing, waiting with another spec", func(w *world) { busy(w); notBefore(w, time.Minute); w.s.Generation++ }},
	{"misconfigured, waiting", func(w *world) { w.fails(session.FailureMisconfigured); w.look(); notBefore(w, time.Minute) }},
	{"Terminated", func(w *world) { barred(w) }},
	{"SignedOut", heldAs(v1.HoldSignedOut)},
	{"Invalidated", heldAs(v1.HoldInvalidated)},
	{"Finished", heldAs(v1.HoldFinished)},
	{"Aborted", heldAs(v1.HoldAborted)},
	{"Rejected", func(w *world) { refused(w) }},
	{"Rejected by another provider", func(w *world) { refused(w); w.s.Status.Attempt.ProviderVersion = "provider-0" }},
	{"Terminated by a ban", byBan},
	{"Terminated by a ban, barred before", sequence(barred, byBan)},
	{"Terminated by a ban, SignedOut", sequence(heldAs(v1.HoldSignedOut), byBan)},
	{"Terminated by a ban, Rejected", sequence(refused, byBan)},
	{"waiting for its terminal", linkLost},
	{"waiting for its terminal, which is heard of again", sequence(linkLost, heard)},
}

// tokens are the statuses of sessions that have one, and renewals what is known of its renewals.
var (
	tokens = []class{
		{"token fresh", func(w *world) { loginAt(w, today.Add(-time.Hour)) }},
		{"token due", func(w *world) { loginAt(w, today.Add(-28*24*time.Hour)) }},
		{"token expired", func(w *world) { loginAt(w, today.Add(-31*24*time.Hour)) }},
		{"token expired and seen to be", func(w *world) {
			loginAt(w, today.Add(-31*24*time.Hour))
			w.s.Status.Phase = v1.PhaseTokenExpired
			ready(w, v1.ReasonTokenExpired)
		}},
	}
	renewals = []class{
		{"never failed", nothing},
		{"renewal failed, waiting", func(w *world) { failed(w); notBefore(w, time.Minute) }},
		{"renewal failed, wait over", func(w *world) { failed(w); notBefore(w, -time.Minute) }},
		{"renewal failed, waiting for another provider", func(w *world) {
			failed(w)
			notBefore(w, time.Minute)
			w.s.Status.Attempt.ProviderVersion = "provider-0"
		}},
		{"renewal failed, waiting with another spec", func(w *world) { failed(w); notBefore(w, time.Minute); w.s.Generation++ }},
		{"grant died lately", func(w *world) {
			w.s.Status.Recent = []v1.RecentSession{{SessionID: "session-0", To: metav1.NewTime(today.Add(-24 * time.Hour)), End: v1.ReasonGrantDead}}
		}},
	}
)

// newSecrets is what may be found where a session's first token is to be.
var newSecrets = []class{
	{"Secret absent", nothing},
	{"Secret newer", func(w *world) { foundNewer(w, place, today.Add(-time.Minute), anna, "session-new") }},
	{"Secret newer and expired", func(w *world) { foundNewer(w, place, today.Add(-31*24*time.Hour), anna, "session-new") }},
	{"Secret newer, somebody else's token", func(w *world) { foundNewer(w, place, today.Add(-time.Minute), "carol@acme.example", "session-new") }},
	{"Secret altered", func(w *world) { foundNewer(w, place, today, anna, "session-new"); w.find(place).altered = true }},
	{"Secret taken", func(w *world) { takeName(w) }},
}

// keptSecrets is what may be found where a session's token was.
var keptSecrets = []class{
	{"Secret current", nothing},
	{"Secret current, refreshable", refreshable},
	{"Secret absent", deleteSecret},
	{"Secret absent, refreshable", sequence(deleteSecret, refreshable)},
	{"Secret altered", alterSecret},
	{"Secret altered, refreshable", sequence(alterSecret, refreshable)},
	{"Secret touched", func(w *world) { w.touch(place) }},
	{"Secret newer, same session", func(w *world) { foundNewer(w, place, today.Add(-time.Minute), anna, w.s.Status.SessionID) }},
	{"Secret newer, another session", func(w *world) { foundNewer(w, place, today.Add(-time.Minute), anna, "session-new") }},
	{"Secret newer, somebody else's token", func(w *world) {
		foundNewer(w, place, today.Add(-time.Minute), "carol@acme.example", "session-new")
	}},
	{"Secret taken", func(w *world) { *w.find(place) = secret{name: place, version: "theirs", foreign: true} }},
	{"Secret taken, refreshable", func(w *world) {
		*w.find(place) = secret{name: place, version: "theirs", foreign: true}
		refreshable(w)
	}},
}

// targets is what may be found where spec wants the token, when that is another place.
var targets = []class{
	{"no other place", nothing},
	{"target absent", wantElsewhere},
	{"target newer", func(w *world) {
		issued := session.Issued{SessionID: w.s.Status.SessionID, Attempt: 1, IssuedAt: w.s.Status.Token.IssuedAt.Time, ExpiresAt: w.s.Status.Token.ExpiresAt.Time, UserEmail: anna}
		w.put(another, issued)
		wantElsewhere(w)
	}},
	{"target altered", func(w *world) {
		foundNewer(w, another, today, anna, "session-new")
		w.find(another).altered = true
		wantElsewhere(w)
	}},
	{"target taken", func(w *world) {
		w.secrets[1] = secret{name: another, version: "theirs", foreign: true}
		wantElsewhere(w)
	}},
}

var (
	kinds = []class{
		{"Continuous", nothing},
		{"Continuous, OnRequest", onRequest},
		{"OneShot", oneShot},
	}
	desires = []class{
		{"LoggedIn", func(w *world) { desire(w, v1.LoggedIn) }},
		{"LoggedOut", func(w *world) { desire(w, v1.LoggedOut) }},
	}
	problems = []class{
		{"provider fine", nothing},
		{"provider not ready", func(w *world) { w.stalls(v1.ReasonProviderNotReady) }},
		{"provider pending", func(w *world) { w.stalls(v1.ReasonProviderPending) }},
	}
	requests = []class{
		{"no request", nothing},
		{"login requested", func(w *world) { w.s.Annotations[v1.AnnotationLoginRequested] = "now" }},
		{"renewal requested", func(w *world) { w.s.Annotations[v1.AnnotationRenewRequested] = "now" }},
		{"both requested", func(w *world) {
			w.s.Annotations = map[string]string{v1.AnnotationLoginRequested: "now", v1.AnnotationRenewRequested: "now"}
		}},
	}
	users = []class{
		{"same user", nothing},
		{"another user", func(w *world) { w.s.Spec.User = &v1.User{Email: bob}; w.s.Generation++; w.email = bob }},
	}
	anyUsers = append(users[:2:2], class{"spec names nobody", func(w *world) { w.s.Spec.User = nil; w.s.Generation++ }})
	goings   = []class{
		{"deleted", deleteSession},
		{"deleted, with the finalizer", sequence(finalizer, deleteSession)},
		{"namespace ending", endNamespace},
		{"namespace ending, with the finalizer", sequence(finalizer, endNamespace)},
	}
)

// What stands beside a session: bans and logouts, what its terminal has told, another spec, and the time that it has when it is finished.
var (
	orders = []class{
		{"no order", nothing},
		{"a ban", ban(terminalBan)},
		{"another ban", ban(userBan)},
		{"a logout", signOut},
		{"a ban and a logout", sequence(ban(terminalBan), signOut)},
		{"a logout that has signed it out before", sequence(signOut, func(w *world) { w.s.Status.LastLogoutUID = string(w.logout.UID) })},
	}
	lates = []class{
		{"a ban comes late", late(ban(terminalBan))},
		{"a logout comes late", late(signOut)},
		{"a ban and a logout come late", late(sequence(ban(userBan), signOut))},
	}
	telling  = []class{{"the terminal tells of itself", sequence(withHeartbeat, reports(told))}}
	reported = []class{
		{"reported as before", nothing},
		{"another version of the payment app", tells(func(c *v1.ClientStatus) { c.PaymentAppVersion = "4.3.0" })},
		{"another instance of the payment app", tells(func(c *v1.ClientStatus) { c.PaymentAppInstanceID = "pay-2" })},
		{"another instance of the terminal's app", tells(func(c *v1.ClientStatus) { c.InstanceID = "app-2" })},
		{"less than before", reports(v1.ClientStatus{})},
		{"silent, not for too long", quietFor(5*time.Minute - time.Second)},
		{"silent for too long", quietFor(5 * time.Minute)},
		{"silent for too long, and everything is another", sequence(
			quietFor(time.Hour), reports(v1.ClientStatus{InstanceID: "a", PaymentAppVersion: "b", PaymentAppInstanceID: "c"}),
		)},
	}
	specs = []class{
		{"same spec", nothing},
		{"another merchant", func(w *world) { w.s.Spec.MerchantID = "bakery"; w.s.Generation++ }},
	}
	times = []class{
		{"time over", finishedBefore(time.Hour, 60)},
		{"time not over", finishedBefore(time.Hour, 7200)},
		{"no time at all", finishedBefore(0, 0)},
	}
)

// What there is where a person has to confirm the login, and what may be found in a grant's Secret.
var (
	persons = []class{
		{"a person must confirm", func(w *world) { w.person = true }},
		{"a person must confirm, and a refresh token comes along", func(w *world) { w.person, w.refreshes = true, true }},
	}
	// flows are the statuses of sessions whose login waits for a person.
	flows = []class{
		{"waiting for a person", waitingSince(5 * time.Minute)},
		{"waiting for a person, over its time", waitingSince(time.Hour)},
		{"waiting for a person, poll failed, waiting", pollFailed(5*time.Minute, time.Minute)},
		{"waiting for a person, poll failed, wait over", pollFailed(5*time.Minute, -time.Minute)},
		{"waiting for a person, over its time, poll failed", pollFailed(time.Hour, time.Minute)},
		{"waiting for a person, stalled by its provider before", sequence(waitingSince(5*time.Minute), func(w *world) {
			w.stalls(v1.ReasonProviderNotReady)
			w.look()
			w.provider = session.Provider{Version: provider}
		})},
	}
	nextPolls = []class{
		{"poll due", nothing},
		{"poll not due", func(w *world) { w.nextPoll = today.Add(3 * time.Second) }},
		{"restarted", (*world).restart},
	}
	// newGrants is what may be found beside a session that has no token, and keptGrants beside one that has.
	newGrants = []class{
		{"grant as it was", nothing},
		{"no grant", noGrant},
		{"device code of an earlier attempt", grantOf(session.GrantDeviceCode, -1, -1)},
		{"device code unrecorded", grantOf(session.GrantDeviceCode, 1, 1)},
		{"refresh token unrecorded", grantOf(session.GrantRefreshToken, 0, 1)},
		{"refresh token of before", grantOf(session.GrantRefreshToken, 0, 0)},
	}
	keptGrants = []class{
		{"no grant", noGrant},
		{"refresh token", refreshable},
		{"refresh token, secure login", sequence(refreshable, func(w *world) { w.secureLogin = true })},
		{"refresh token of an earlier session", grantOf(session.GrantRefreshToken, -1, -1)},
		{"refresh token unrecorded", func(w *world) { refreshable(w); w.grant.Attempt++ }},
		{"refresh token unrecorded, of another session", grantOf(session.GrantRefreshToken, 1, 1)},
		{"device code that was used", grantOf(session.GrantDeviceCode, 0, 0)},
		{"device code unrecorded", grantOf(session.GrantDeviceCode, 1, 1)},
	}
	dueChecks = []class{
		{"no check due", nothing},
		{"check due", func(w *world) { w.checkDue = true }},
	}
)

// terminalBan and userBan are two bans: one on the terminal, and one on the user who has the session, but for another.
var (
	terminalBan = &v1.SessionBan{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "stolen", CreationTimestamp: metav1.NewTime(start)},
		Spec:       v1.SessionBanSpec{Match: v1.BanMatch{TerminalID: "T-0042"}, Code: "TerminalStolen", Reason: "stolen"},
	}
	userBan = &v1.ClusterSessionBan{
		ObjectMeta: metav1.ObjectMeta{Name: "anna", CreationTimestamp: metav1.NewTime(start)},
		Spec: v1.ClusterSessionBanSpec{
			SessionBanSpec: v1.SessionBanSpec{Match: v1.BanMatch{User: "Anna@acme.example"}, Code: "UserBanned"},
		},
	}
	everybodyOut = &v1.SessionLogout{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "out", UID: "logout-1", CreationTimestamp: metav1.NewTime(today)},
		Spec:       v1.SessionLogoutSpec{All: new(true), Reason: "end of shift", RequestedBy: "carol@acme.example"},
		Status:     v1.SessionLogoutStatus{StartedAt: new(metav1.NewTime(today))},
	}
)

// waitingSince began a login that a person has to confirm, that long ago.
func waitingSince(ago time.Duration) func(*world) {
	return func(w *world) { w.person = true; loginAt(w, today.Add(-ago)); w.nextPoll = today }
}

func pollFailed(ago, wait time.Duration) func(*world) {
	return func(w *world) {
		waitingSince(ago)(w)
		w.now, w.nextPoll = today.Add(time.Minute-ago), time.Time{}
		busy(w)
		notBefore(w, wait)
		w.nextPoll = today
	}
}

func noGrant(w *world) { w.grant = session.Grant{} }

// grantOf puts a grant there whose session and attempt are so far from those that status tells of.
func grantOf(kind session.GrantKind, sessions, attempts int64) func(*world) {
	return func(w *world) {
		number := session.NextAttempt(w.s) - 1
		w.grant = session.Grant{Kind: kind, SessionID: sessionName(number + sessions), Attempt: max(number+attempts, 0)}
	}
}

// some are those of the classes that have one of the names.
func some(classes []class, names ...string) []class {
	return slices.DeleteFunc(slices.Clone(classes), func(c class) bool { return !slices.Contains(names, c.name) })
}

func ban(b v1.Ban) func(*world) { return func(w *world) { w.bans = []v1.Ban{b} } }
func signOut(w *world)          { w.logout = everybodyOut }
func unban(w *world)            { w.bans = nil }
func byBan(w *world)            { w.answer = nil; ban(terminalBan)(w); w.look(); unban(w) }
func finalizer(w *world)        { w.s.Finalizers = []string{v1.Finalizer} }
func late(comes func(*world)) func(*world) {
	return func(w *world) { w.late = comes }
}

func linkLost(w *world) {
	withHeartbeat(w)
	loginAt(w, today.Add(-time.Hour))
	w.lastActive = today.Add(-time.Hour)
	quietFor(time.Hour)(w)
	w.look()
}

func tells(change func(*v1.ClientStatus)) func(*world) {
	client := told
	change(&client)
	return reports(client)
}

// finishedBefore gives a finished session a time, and has it finished that long ago.
func finishedBefore(ago time.Duration, seconds int32) func(*world) {
	return func(w *world) {
		w.s.Spec.TTLSecondsAfterFinished = &seconds
		at := metav1.NewTime(today.Add(-ago))
		if w.s.Status.Hold != nil {
			w.s.Status.Hold.At = at
		}
		if e := w.s.Status.Error; e != nil && e.At != nil {
			e.At = &at
		}
	}
}

// answers are what the provider may say: a token, or one of the kinds of failure.
var answers = []*session.Failure{
	nil,
	{Kind: session.FailureBusy, RetryAfter: time.Minute},
	{Kind: session.FailureUnavailable},
	{Kind: session.FailureRejected, Code: "Refused", Message: "no"},
	{Kind: session.FailureGrantDead},
	{Kind: session.FailureBanned, Code: "UserBanned", Message: "no"},
	{Kind: session.FailureAuthTokenMissing},
	{Kind: session.FailureMisconfigured},
	{Kind: session.FailureIdentity},
	{Kind: session.FailureSecretRefused},
	{Kind: "SomethingNew"},
}

func desire(w *world, state v1.DesiredState) {
	if w.s.Spec.DesiredState != state {
		w.s.Spec.DesiredState = state
		w.s.Generation++
	}
}

func loginAt(w *world, at time.Time) {
	w.now = at
	w.look()
	w.now = today
}

func notBefore(w *world, in time.Duration) {
	w.now, w.answer = today, nil
	at := metav1.NewTime(today.Add(in))
	w.s.Status.Attempt.NotBefore = &at
}

// failed: the last renewal has.
func failed(w *world) {
	w.s.Status.Attempt = &v1.Attempt{Number: 3, Failures: 2, ProviderVersion: provider}
	w.s.Status.Error = &v1.SessionError{Code: "Busy", Message: "busy"}
	ready(w, v1.ReasonProviderBusy)
}

// ready makes the condition Ready a False of that reason.
func ready(w *world, reason string) {
	for _, kind := range []string{v1.ConditionReady, v1.ConditionReconciling} {
		status := metav1.ConditionFalse
		if kind == v1.ConditionReconciling {
			status = metav1.ConditionTrue
		}
		meta.SetStatusCondition(&w.s.Status.Conditions, metav1.Condition{Type: kind, Status: status, Reason: reason, Message: "because", ObservedGeneration: w.s.Generation})
	}
}

// foundNewer puts a token into a Secret that status knows nothing of.
func foundNewer(w *world, name string, issuedAt time.Time, email, sessionID string) {
	w.put(name, session.Issued{SessionID: sessionID, Attempt: session.NextAttempt(w.s), IssuedAt: issuedAt, ExpiresAt: issuedAt.Add(month), UserEmail: email})
}

func wantElsewhere(w *world) {
	w.s.Spec.Token.SecretName = another
	w.s.Generation++
}

// TestEveryInput decides and reports for every combination of the classes and every answer of the provider, goes on until nothing more
// happens, and holds the promises of the lifecycle against each step.
func TestEveryInput(t *testing.T) {
	if raceEnabled {
		t.Log("with the race detector, one input in 29 is looked at: there is nothing concurrent here")
	}
	found := some(newSecrets, "Secret absent", "Secret newer", "Secret altered")
	kept := some(keptSecrets, "Secret current", "Secret absent", "Secret altered", "Secret newer, same session", "Secret newer, another session", "Secret taken")
	nobody := []class{{"spec names anna", nothing}, {"spec names nobody", func(w *world) { w.s.Spec.User = nil }}}
	var all []*checker
	t.Run("of sessions", func(t *testing.T) {
		run := func(name string, dimensions ...[]class) {
			c := &checker{reached: map[string]int{}, broken: map[string]int{}}
			all = append(all, c)
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				c.enumerate(t, base(), nil, dimensions...)
				t.Logf("%d inputs, %d cases (an input and an answer), %d steps until at rest, at most %d for one", c.inputs, c.cases, c.steps, c.longest)
			})
		}
		run("without a token", kinds, withoutToken, desires, newSecrets, problems, requests, users)
		run("with a token, Continuous", kinds[:1], tokens, renewals, desires[:1], keptSecrets, targets, problems, requests, users)
		run("with a token, Continuous, OnRequest", kinds[1:2], tokens, renewals, desires[:1], keptSecrets, targets, problems, requests, users)
		// A OneShot session has no renewals, unless it was a Continuous one before.
		run("with a token, OneShot", kinds[2:], tokens, renewals[:2], desires[:1], keptSecrets, targets, problems, requests, users)
		// Nothing of the provider, the user or the type counts where there is to be no session.
		run("with a token, to be logged out", kinds[:1], tokens, renewals, desires[1:], keptSecrets, targets, problems[:2], requests, users[:1])
		run("without a token, going", kinds[:1], withoutToken, desires, newSecrets, problems[:2], requests[3:], users[:1], orders, goings)
		run("with a token, going", kinds[:1], tokens, renewals[:2], desires, keptSecrets, targets, problems[:1], requests[3:], users[:1],
			orders[:4], goings)
		// A ban and a sign-out leave nothing to what a session is of; for whom it is may lift them.
		run("without a token, under orders", kinds[:1], withoutToken, desires, newSecrets, problems[:2], requests, anyUsers, orders[1:])
		run("with a token, under orders", kinds[:1], tokens, renewals[:2], desires, keptSecrets, targets[:3], problems[:1], requests, anyUsers,
			orders[1:])
		// An order that comes while the provider is asked meets those for whom it is asked.
		run("without a token, with late orders", kinds[:1], withoutToken, desires[:1], newSecrets[:1], problems[:1], requests, anyUsers, lates)
		run("with a token, with late orders", kinds, tokens, renewals, desires[:1], keptSecrets, targets[:2], problems[:1], requests, users[:1],
			lates)
		// What a terminal tells, or does not tell any more, counts as long as there is a token; orders and another spec come first.
		run("bound", telling, kinds, tokens, renewals[:2], keptSecrets[:7], targets[:2], problems[:2], requests, reported, specs)
		run("bound, under orders", telling, kinds[:2], tokens[:2], keptSecrets[:3], desires, requests, reported, specs, orders)
		// What is removed is finished, so the provider is asked for nothing; but for what makes it another session's.
		run("finished", kinds[:1], withoutToken, desires, newSecrets, problems[:1], requests, anyUsers, times, orders[:2])
		run("finished now", kinds, tokens, desires, keptSecrets, requests, orders, times[2:])
		run("finished before it began", kinds[:1], withoutToken, desires, newSecrets, problems[:1], requests, users, orders[1:], times[2:])
		// A login that waits for a person is one more thing that may stand where there is no token, and a grant lies beside the other Secrets.
		run("waiting for a person", kinds[:1], flows, newSecrets, problems, requests, users, newGrants, nextPolls, persons)
		run("waiting for a person, OnRequest and OneShot", kinds[1:], flows, newSecrets[:2], problems[:1], requests, newGrants, nextPolls, persons)
		run("waiting for a person, under orders", kinds[:1], flows, desires, found, requests, anyUsers, orders[1:], newGrants, nextPolls[:1])
		run("waiting for a person, with late orders", kinds[:1], nobody, flows, requests, orders[:1], lates, newGrants, nextPolls, persons)
		run("waiting for a person, going", kinds[:1], flows, desires, newSecrets, orders[:4], goings, newGrants, nextPolls[:1])
		run("a grant without a session", kinds[:1], withoutToken, desires, found, problems[:2], requests, newGrants[1:], persons)
		run("a grant without a session, going", kinds[:1], withoutToken, orders[:4], goings, newGrants[1:])
		run("a grant beside a token", kinds[:1], tokens, renewals[:3], desires[:1], kept, targets[:2], problems[:2], requests, keptGrants, dueChecks, persons[:1])
		run("a grant beside a token, OnRequest and OneShot", kinds[1:], tokens, renewals[:2], desires[:1], kept, problems[:2], requests, keptGrants, dueChecks)
		run("a grant beside a token, under orders", kinds[:1], tokens, desires, kept, requests[3:], orders, specs, keptGrants, dueChecks)
		run("a grant beside a token, going", kinds[:1], tokens[:1], kept, goings, keptGrants)
	})

	total := checker{reached: map[string]int{}}
	for _, c := range all {
		total.inputs, total.cases, total.steps = total.inputs+c.inputs, total.cases+c.cases, total.steps+c.steps
		for state, n := range c.reached {
			total.reached[state] += n
		}
	}
	t.Logf("%d inputs, %d cases, %d steps", total.inputs, total.cases, total.steps)
	for _, state := range []string{
		"NotLoggedIn", "Establishing", "Established", "TokenExpired", "Terminated",
		"NotLoggedIn, SignedOut", "NotLoggedIn, Invalidated", "NotLoggedIn, Finished", "NotLoggedIn, Aborted", "NotLoggedIn, Rejected",
		// Holds stay beside a ban in force.
		"Terminated, SignedOut", "Terminated, Invalidated", "Terminated, Finished", "Terminated, Aborted", "Terminated, Rejected",
		"removed", waitsForPerson,
	} {
		if total.reached[state] == 0 && !t.Failed() {
			t.Errorf("no case leads to %s", state)
		}
		t.Logf("%7d steps led to %s", total.reached[state], state)
		delete(total.reached, state)
	}
	for state := range total.reached {
		t.Errorf("%s is no state", state)
	}
}

// base is what all classes start from. It has annotations that were handled before.
func base() *world {
	w := newWorld()
	w.now = today
	w.s.Annotations = map[string]string{v1.AnnotationLoginRequested: "done", v1.AnnotationRenewRequested: "done"}
	w.s.Status.LastHandledLoginRequest, w.s.Status.LastHandledRenewRequest = "done", "done"
	return w
}

type checker struct {
	inputs, cases, steps, longest int
	reached, broken               map[string]int
}

// enumerate makes every combination of the dimensions, and checks each.
func (c *checker) enumerate(t *testing.T, w *world, names []string, dimensions ...[]class) {
	if len(dimensions) == 0 {
		c.input(t, w, names)
		return
	}
	for _, class := range dimensions[0] {
		next := w.clone()
		class.make(next)
		next.now, next.answer, next.logins, next.renewals, next.polls, next.checks = today, nil, 0, 0, 0, 0
		c.enumerate(t, next, append(names, class.name), dimensions[1:]...)
	}
}

// input checks one input with every answer that the provider may give.
func (c *checker) input(t *testing.T, w *world, names []string) {
	c.inputs++
	if raceEnabled && c.inputs%29 != 0 {
		return
	}
	for _, answer := range w.answers() {
		if w.s.Spec.Relogin == v1.ReloginOnRequest && answer != nil && answer != confirmed && answer.Kind != session.FailureGrantDead {
			continue // what relogin says is asked for a dead grant alone
		}
		try := *w
		try.answer = answer
		if answer == confirmed {
			try.answer, try.confirmed = nil, true
		}
		c.cases++
		if problem := c.walk(&try, answer == nil); problem != "" {
			what := "a token, or that a person must confirm"
			if answer != nil {
				what = string(answer.Kind)
			}
			c.broken[problem]++ // one example of each is enough
			if c.broken[problem] == 1 && len(c.broken) <= 10 {
				t.Errorf("%s; the provider answers %s:\n%s\nfrom %s\nto %s",
					strings.Join(names, "; "), what, problem, show(w.s.Status), show(try.s.Status))
			}
		}
		if try.asked() == 0 {
			return // nobody was asked, so the other answers would make no difference
		}
	}
}

// confirmed stands for a token that comes since a person has confirmed the login.
var confirmed = &session.Failure{Kind: "confirmed"}

// answers are what the provider may say.
func (w *world) answers() []*session.Failure {
	if w.person {
		return append(answers[:len(answers):len(answers)], confirmed)
	}
	return answers
}

// waitsForPerson names, beside the states, that of a login which a person has to confirm.
const waitsForPerson = "Establishing, waiting for a person"

// walk goes on until nothing more happens, and returns what is wrong.
func (c *checker) walk(w *world, first bool) string {
	going := w.namespaceEnding || !w.s.DeletionTimestamp.IsZero()
	heard, been := true, [6]string{}
	for n := 1; ; n++ {
		before := w.s
		wake := session.WakeTime(before, w.now)
		if first && n == 1 {
			if problem := pure(w); problem != "" {
				return problem
			}
		}
		st := w.look()
		c.steps++
		c.longest = max(c.longest, n)
		if problem := broken(before, w, &st, going); problem != "" {
			return fmt.Sprintf("step %d, %s (%s): %s", n, st.decision.Action, st.decision.Phase, problem)
		}
		atRest := st.decision.Action == session.ActionNone && same(&before.Status, &st.after)
		// While the session waits for its next attempt, what needs no provider may wait with it.
		harmless := st.decision.Action == session.ActionNone || st.decision.Action == session.ActionMove
		waiting := before.Status.Attempt != nil && before.Status.Attempt.NotBefore != nil && wake.Equal(before.Status.Attempt.NotBefore.Time)
		paced := st.decision.Action == session.ActionCheck || st.decision.Action == session.ActionPoll // by the reconciler
		woken := !wake.IsZero() && !wake.After(w.now.Add(time.Second)) || harmless && waiting || paced
		if !atRest && !heard && !woken {
			return fmt.Sprintf("step %d, %s, is due at once, and nothing makes anybody look: the session is looked at again at %v", n, st.decision.Action, wake)
		}
		if w.removed {
			c.reached["removed"]++
			return ""
		}
		if !going {
			c.reached[state(&st.after)]++
			if interaction(&st.after) {
				c.reached[waitsForPerson]++
			}
		}
		if atRest && going {
			return ""
		}
		if atRest {
			return unrest(w, before)
		}
		// The reconciler looks for orders once more where its report may have brought the session under one.
		next := w.observe()
		heard = st.touched || next.Ban != nil && !session.Enforced(w.s) || next.Logout != nil
		if n == len(been) {
			return "it does not come to rest"
		}
		been[n] = st.after.SessionID + state(&st.after) + readiness(&st.after) + codeIn(&st.after)
		if !going && n > 2 && been[n] == been[n-2] && been[n] != been[n-1] {
			return "it goes to and fro between " + been[n-1] + " and " + been[n]
		}
	}
}

// pure holds the promise that the same input gives the same answer and is not changed.
func pure(w *world) string {
	in, copied := w.observe(), w.observe()
	copied.Session = in.Session.DeepCopy()
	d := session.Decide(in, w.now)
	if session.Decide(copied, w.now) != d {
		return "two decisions on one input"
	}
	out := session.Outcome{}
	if d.Action == session.ActionEnd || d.Silent {
		if st := session.Report(in, d, out, w.now); !same(&st, &in.Session.Status) {
			return "something is reported before the Secrets are gone, or of what is going"
		}
		return ""
	}
	switch d.Action {
	case session.ActionLogin, session.ActionRenew, session.ActionMove, session.ActionPoll:
		out.Failure = answers[1]
	}
	if one, two := session.Report(in, d, out, w.now), session.Report(copied, d, out, w.now); !same(&one, &two) {
		return "two reports on one input"
	}
	if !same(&in.Session.Status, &copied.Session.Status) {
		return "the input was changed"
	}
	return ""
}

// unrest tells when a session at rest is looked at again at another time than one that status names.
func unrest(w *world, s *v1.TerminalSession) string {
	wake := session.WakeTime(s, w.now)
	if at := removal(s); !at.IsZero() && !w.now.Before(at) {
		return "it is finished and its time is over, and it is not removed"
	}
	if problem := leftGrant(w, &s.Status); problem != "" {
		return problem
	}
	if interaction(&s.Status) && !wake.IsZero() && wake.After(s.Status.Flow.ExpiresAt.Time) || interaction(&s.Status) && wake.IsZero() && s.Spec.DesiredState == v1.LoggedIn {
		return "nobody looks when the code is over"
	}
	if wake.IsZero() {
		return ""
	}
	named := []time.Time{removal(s)}
	if interaction(&s.Status) {
		named = append(named, s.Status.Flow.ExpiresAt.Time)
	}
	if a := s.Status.Attempt; a != nil && a.NotBefore != nil {
		named = append(named, a.NotBefore.Time)
	}
	if token := s.Status.Token; token != nil {
		named = append(named, token.ExpiresAt.Time)
		if token.RenewAt != nil {
			named = append(named, token.RenewAt.Time)
		}
	}
	if !wake.After(w.now) || !slices.ContainsFunc(named, wake.Equal) {
		return fmt.Sprintf("at rest, and looked at again at %v", wake)
	}
	return ""
}

// refreshable is whether there is a refresh token of the session.
func (w *world) refreshable() bool {
	return w.grant.Kind == session.GrantRefreshToken && w.grant.SessionID == w.s.Status.SessionID
}

// owns is whether a Secret of the session's is there, and ownsToken whether one for a token is.
func (w *world) owns() bool { return w.grant.Kind != "" || w.ownsToken() }

func (w *world) ownsToken() bool {
	return slices.ContainsFunc(w.secrets[:], func(s secret) bool { return s.name != "" && !s.foreign })
}

// broken is the promise that one step has broken, if it has.
func broken(before *v1.TerminalSession, w *world, st *step, going bool) string {
	promises := []func(*v1.TerminalSession, *world, *step) string{
		asking, pacing, ending, ordered, taking, leaving, shape, waitsFor, checked, counting, remembering, conditions, limits,
	}
	switch {
	case going:
		promises = promises[:0:0]
		promises = append(promises, gone)
	case w.removed:
		promises = append(promises[:0:0], removed)
	}
	for _, promise := range promises {
		if problem := promise(before, w, st); problem != "" {
			return problem
		}
	}
	return ""
}

func open(s *v1.TerminalSession, annotation, handled string) bool {
	return s.Annotations[annotation] != "" && s.Annotations[annotation] != handled
}

// asking: who is not to be asked for.
func asking(before *v1.TerminalSession, w *world, st *step) string {
	was := &before.Status
	if st.call == "" {
		return ""
	}
	requested := open(before, v1.AnnotationLoginRequested, was.LastHandledLoginRequest)
	switch {
	case st.seen.Ban != nil:
		return "the provider is asked though a ban is in force"
	case before.Spec.DesiredState == v1.LoggedOut:
		return "the provider is asked though LoggedOut is wanted"
	case st.seen.Logout != nil:
		return "the provider is asked for somebody who is being signed out"
	case w.provider.Problem.Reason != "":
		return "a provider is asked that cannot be"
	case was.Phase == v1.PhaseTerminated && readiness(was) != "True BanInForce" && !requested && before.Spec.User.Email == was.User.Email:
		return "the provider is asked for somebody whom it has barred"
	case held(before, w.provider.Version):
		return "the provider is asked in spite of a hold"
	case waitsForTerminal(&st.seen) && !requested:
		return "the provider is asked before a silent terminal is heard of again"
	case st.call == session.ActionRenew && (before.Spec.Type == v1.OneShot || was.Token == nil):
		return "a renewal of what is not to be renewed"
	case st.call == session.ActionRenew && st.seen.Secret.State == session.SecretCurrent && w.now.Before(was.Token.RenewAt.Time) &&
		!open(before, v1.AnnotationRenewRequested, was.LastHandledRenewRequest) && was.Attempt.Failures == 0:
		return "a renewal before its time"
	case st.call == session.ActionLogin && was.Token != nil && st.seen.Secret.State == session.SecretCurrent:
		return "a login beside a session that is there"
	case st.call == session.ActionLogin && isAwaited(before, w, st) && !requested:
		return "a login beside one that a person may still confirm"
	case w.asked() > 2:
		return "the provider is asked again and again"
	}
	return ""
}

// ending: what must be over.
func ending(before *v1.TerminalSession, w *world, st *step) string {
	now := &st.after
	switch {
	case now.Token == nil && w.owns() && !w.awaits(now) && !unkept(st):
		return "a Secret is left without its session, or the login that it is for"
	case before.Spec.DesiredState == v1.LoggedOut && st.in.Ban == nil && (state(now) != "NotLoggedIn" || readiness(now) != "True LoggedOut"):
		return "LoggedOut is wanted, and it is not"
	case now.Token != nil && before.Spec.Type == v1.OneShot && !w.now.Before(now.Token.ExpiresAt.Time) && st.decision.Action != session.ActionAdopt && st.decision.Action != session.ActionMove:
		return "a OneShot session outlives its token"
	case now.Token != nil && !w.refreshable() && w.find(now.Token.SecretName) == nil:
		return "a session without its Secret"
	}
	return ""
}

// shape: what stands together in status.
func shape(before *v1.TerminalSession, w *world, st *step) string {
	now := &st.after
	alive := now.Phase == v1.PhaseEstablished || now.Phase == v1.PhaseTokenExpired
	switch {
	case now.Hold != nil && now.Phase != v1.PhaseNotLoggedIn && readiness(now) != "True BanInForce":
		return "a hold beside phase " + string(now.Phase)
	case (now.Token != nil) != alive:
		return "token does not fit phase " + string(now.Phase)
	case (now.SessionID != "") != alive, (now.EstablishedAt != nil) != alive:
		return "sessionID or establishedAt does not fit phase " + string(now.Phase)
	case alive && (now.Phase == v1.PhaseEstablished) != w.now.Before(now.Token.ExpiresAt.Time):
		return "phase " + string(now.Phase) + " does not fit the token's expiry"
	case alive && (now.Token.RenewAt == nil) != (before.Spec.Type == v1.OneShot):
		return "renewAt does not fit the type"
	case now.User != nil && !alive && now.Phase != v1.PhaseTerminated:
		return "a user who is not logged in"
	case now.Phase == v1.PhaseTerminated && now.Error == nil:
		return "Terminated without an error code"
	case now.Hold != nil && (now.Hold.At.IsZero() || now.Phase == v1.PhaseNotLoggedIn && !strings.EqualFold(now.Hold.User, named(before))):
		return "a hold without its time, or of another user"
	}
	flow, history := v1.FlowStarting, v1.History("")
	switch state(now) {
	case "Established", "TokenExpired":
		flow, history = v1.FlowActive, v1.HistoryLoggedIn
		if before.Spec.Type == v1.OneShot {
			history = v1.HistoryLoggedInOneShot
		}
	case "NotLoggedIn, Rejected":
		flow, history = v1.FlowError, v1.HistoryError
	case "NotLoggedIn, Aborted":
		flow, history = v1.FlowError, v1.HistoryAborted
	case "NotLoggedIn, SignedOut", "NotLoggedIn, Invalidated", "NotLoggedIn, Finished":
		flow, history = v1.FlowDone, v1.HistoryLoggedOut
	case "NotLoggedIn":
		if before.Spec.DesiredState == v1.LoggedOut {
			flow, history = v1.FlowDone, v1.HistoryLoggedOut
		}
	}
	if now.Phase == v1.PhaseTerminated {
		flow, history = v1.FlowError, v1.HistoryError
	}
	if now.Phase == v1.PhaseEstablishing && interaction(now) {
		flow = v1.FlowUserInteraction
	}
	if now.Flow == nil || now.Flow.State != flow || now.History != history {
		return fmt.Sprintf("flow and history are not %s and %q", flow, history)
	}
	return ""
}

// counting: attempts and requests.
func counting(before *v1.TerminalSession, w *world, st *step) string {
	number := max(session.NextAttempt(before)-1, st.counted)
	if token := st.seen.Secret; st.ended && !st.decision.Silent && token.State == session.SecretNewer && number < token.Issued.Attempt {
		return "a token's Secret goes, and its attempt is not counted: the next would have its number"
	}
	if st.ended && !st.decision.Silent && number < st.seen.Grant.Attempt {
		return "a grant goes, and its attempt is not counted: the next would have its number"
	}
	failed := st.outcome.Failure
	switch {
	case st.call == session.ActionCheck && failed == nil:
	case st.call == session.ActionPoll && !st.discarded && (st.outcome.Pending != nil || failed != nil && !failed.EndsLogin()):
	case st.call != "": // a token that comes late counts as well
		number++
	case st.decision.Action == session.ActionAdopt:
		newer := st.in.Secret
		if st.in.Target.State == session.SecretNewer {
			newer = st.in.Target
		}
		number = max(number, newer.Issued.Attempt)
	}
	now := &st.after
	if got := session.NextAttempt(&v1.TerminalSession{Status: *now}) - 1; got != number {
		return fmt.Sprintf("attempt.number is %d, want %d", got, number)
	}
	if failed != nil && now.Attempt.NotBefore != nil {
		if wait := now.Attempt.NotBefore.Sub(w.now); wait < time.Second || wait < failed.RetryAfter {
			return fmt.Sprintf("after %s the next attempt is due in %s", failed.Kind, wait)
		}
	}
	for _, r := range []struct{ annotation, was, now string }{
		{v1.AnnotationLoginRequested, before.Status.LastHandledLoginRequest, now.LastHandledLoginRequest},
		{v1.AnnotationRenewRequested, before.Status.LastHandledRenewRequest, now.LastHandledRenewRequest},
	} {
		if r.now != r.was && r.now != before.Annotations[r.annotation] {
			return "a request is handled that nobody made"
		}
	}
	asked := st.call != ""
	if asked && (open(before, v1.AnnotationLoginRequested, now.LastHandledLoginRequest) || open(before, v1.AnnotationRenewRequested, now.LastHandledRenewRequest)) {
		return "a request stays open after the provider was asked"
	}
	over := readiness(now) == "True BanInForce" || readiness(now) == "True SignedOut" || readiness(now) == "True LoggedOut"
	if !asked && st.decision.Action != session.ActionAdopt && before.Spec.Type != v1.OneShot && !over &&
		now.LastHandledRenewRequest != before.Status.LastHandledRenewRequest {
		return "a renewal request is handled without a renewal"
	}
	return ""
}

// remembering: what becomes of a session that ends.
func remembering(before *v1.TerminalSession, w *world, st *step) string {
	was, now := &before.Status, &st.after
	switch {
	case len(now.Recent) > 3:
		return "more than three sessions are remembered"
	case was.SessionID == now.SessionID || was.SessionID == "":
		if len(now.Recent) != len(was.Recent) {
			return "a session is remembered that has not ended"
		}
	case len(now.Recent) == 0 || now.Recent[0].SessionID != was.SessionID || now.Recent[0].End == "" || now.Recent[0].User != was.User.Email ||
		!now.Recent[0].To.Time.Equal(w.now.Truncate(time.Second)) || now.Recent[0].From == nil:
		return "the session that ended is not remembered"
	}
	if was.SessionID != "" && was.SessionID == now.SessionID && !was.EstablishedAt.Equal(now.EstablishedAt) {
		return "the session's beginning has changed"
	}
	return ""
}

// conditions: the table of Ready.
func conditions(before *v1.TerminalSession, _ *world, st *step) string {
	now := &st.after
	if now.ObservedGeneration != before.Generation {
		return "observedGeneration lags"
	}
	seen := map[string]metav1.ConditionStatus{}
	for i := range now.Conditions {
		c := &now.Conditions[i]
		if _, twice := seen[c.Type]; twice || c.ObservedGeneration != before.Generation || c.LastTransitionTime.IsZero() {
			return "a condition twice, of another generation, or without a time: " + c.Type
		}
		seen[c.Type] = c.Status
	}
	readyStatus, reconciling, stalled := seen[v1.ConditionReady], seen[v1.ConditionReconciling], seen[v1.ConditionStalled]
	if n := count(readyStatus == metav1.ConditionTrue, reconciling == metav1.ConditionTrue, stalled == metav1.ConditionTrue); n != 1 {
		return fmt.Sprintf("%d of Ready, Reconciling and Stalled are True", n)
	}
	if reconciling == metav1.ConditionFalse || stalled == metav1.ConditionFalse || readyStatus == metav1.ConditionUnknown || len(seen) != 2+count(reconciling != "", stalled != "") {
		return "conditions that do not belong there"
	}
	if established := seen[v1.ConditionEstablished] == metav1.ConditionTrue; established != (now.Phase == v1.PhaseEstablished) {
		return "the condition Established does not fit the phase"
	}
	reason := meta.FindStatusCondition(now.Conditions, v1.ConditionReady).Reason
	is, fits := readiness(now), false
	switch state(now) {
	case "Established":
		fits = is == "True Established" || is != "True "+reason && reason != v1.ReasonEstablished
	case "NotLoggedIn, SignedOut", "NotLoggedIn, Invalidated", "NotLoggedIn, Finished", "NotLoggedIn, Aborted":
		fits = readyStatus == metav1.ConditionTrue
	case "NotLoggedIn, Rejected":
		fits = stalled != ""
	case "Terminated":
		fits = is == "True BanInForce" || stalled != ""
	case "Terminated, SignedOut", "Terminated, Invalidated", "Terminated, Finished", "Terminated, Aborted", "Terminated, Rejected":
		fits = is == "True BanInForce"
	case "Establishing":
		fits = reconciling != "" && reason != v1.ReasonEstablished && reason != v1.ReasonLoggedOut && (reason != v1.ReasonUserInteraction || interaction(now))
	case "TokenExpired":
		fits = readyStatus == metav1.ConditionFalse && reason != v1.ReasonEstablished
	case "NotLoggedIn":
		fits = is == "True LoggedOut" && before.Spec.DesiredState == v1.LoggedOut ||
			readyStatus == metav1.ConditionFalse && reason != v1.ReasonEstablished && reason != v1.ReasonLoggedOut
	}
	if !fits {
		return state(now) + " and Ready " + is
	}
	if st.outcome.Failure != nil && readyStatus == metav1.ConditionTrue && (now.Hold == nil || now.Hold.Reason != v1.HoldInvalidated && now.Hold.Reason != v1.HoldAborted) {
		return "Ready though the provider has just failed"
	}
	return ""
}

func count(all ...bool) int {
	n := 0
	for _, one := range all {
		if one {
			n++
		}
	}
	return n
}

// limits: what the schema checks.
func limits(_ *v1.TerminalSession, _ *world, st *step) string {
	now := &st.after
	return beyond(now)
}

// beyond is what in a status is longer than the schema allows, or is missing though the schema wants it.
func beyond(st *v1.TerminalSessionStatus) string {
	var wrong string
	text := func(field, value string, most int, required bool) {
		if !utf8.ValidString(value) || utf8.RuneCountInString(value) > most || required && value == "" {
			wrong = fmt.Sprintf("%s is %q", field, value)
		}
	}
	text("sessionID", st.SessionID, 64, false)
	text("lastHandledLoginRequest", st.LastHandledLoginRequest, 256, false)
	text("lastHandledRenewRequest", st.LastHandledRenewRequest, 256, false)
	if u := st.User; u != nil {
		text("user.email", u.Email, 254, false)
		text("user.subject", u.Subject, 256, false)
		if *u == (v1.UserStatus{}) {
			wrong = "user is empty"
		}
	}
	if h := st.Hold; h != nil {
		text("hold.reason", string(h.Reason), 64, true)
		text("hold.by", h.By, 256, false)
		text("hold.message", h.Message, 256, false)
		text("hold.user", h.User, 254, false)
	}
	if e := st.Error; e != nil {
		text("error.code", e.Code, 64, true)
		text("error.message", e.Message, 256, false)
	}
	if f := st.Flow; f != nil {
		text("flow.verificationURI", f.VerificationURI, 2048, false)
		text("flow.verificationURIComplete", f.VerificationURIComplete, 2048, false)
		text("flow.userCode", f.UserCode, 64, false)
		text("flow.display", f.Display, 512, false)
		if f.ExpiresAt != nil && f.ExpiresAt.Nanosecond() != 0 {
			wrong = "flow is " + show(f)
		}
	}
	if t := st.Token; t != nil {
		text("token.secretName", t.SecretName, 253, true)
		text("token.secretVersion", t.SecretVersion, 64, false)
		if !t.ExpiresAt.After(t.IssuedAt.Time) || t.Renewals < 0 {
			wrong = "token ends before it begins"
		}
		if at := t.RenewAt; at != nil && (at.Nanosecond() != 0 || at.Before(&t.IssuedAt) || !at.Before(&t.ExpiresAt)) {
			wrong = fmt.Sprintf("token.renewAt is %v", at)
		}
	}
	if a := st.Attempt; a != nil {
		text("attempt.providerVersion", a.ProviderVersion, 64, false)
		if a.Number < 1 || a.Failures < 0 || a.NotBefore != nil && a.NotBefore.Nanosecond() != 0 {
			wrong = "attempt is " + show(a)
		}
	}
	for i := range st.Recent {
		text("recent.sessionID", st.Recent[i].SessionID, 64, true)
		text("recent.user", st.Recent[i].User, 254, false)
		text("recent.end", st.Recent[i].End, 64, true)
	}
	for i := range st.Conditions {
		text("condition.reason", st.Conditions[i].Reason, 64, true)
		text("condition.message", st.Conditions[i].Message, 512, true)
	}
	return wrong
}
