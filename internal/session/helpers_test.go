package session_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/internal/session"
)

const (
	anna     = "anna@acme.example"
	bob      = "bob@acme.example"
	month    = 720 * time.Hour
	provider = "provider-1" // the version of the provider in most tests
	name     = "till-07"
	place    = "till-07-token"     // where the token is kept
	another  = "till-07-elsewhere" // where spec may want it instead
)

var start = time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)

// fresh is a session as the API server makes it: with the defaults of the schema, seen by nobody yet.
func fresh() *v1.TerminalSession {
	return &v1.TerminalSession{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: name, UID: "5f0c1e5c-3f1c-4f6e-9a55-0d6a3c1b7e21", Generation: 1, CreationTimestamp: metav1.NewTime(start),
		},
		Spec: v1.TerminalSessionSpec{
			Terminal: v1.Terminal{ID: "T-0042"}, MerchantID: "acme", User: &v1.User{Email: anna},
			ProviderRef:  v1.ProviderReference{Kind: v1.KindClusterSessionProvider, Name: "default"},
			DesiredState: v1.LoggedIn, Type: v1.Continuous, Purpose: v1.PurposeLogin, Relogin: v1.ReloginAutomatic,
			Token: v1.TokenSpec{Lifetime: &metav1.Duration{Duration: month}},
		},
		Status: v1.TerminalSessionStatus{ObservedGeneration: -1, Phase: v1.PhaseNotLoggedIn},
	}
}

// secret is a Secret of the world.
type secret struct {
	name, version string
	// foreign ones are not the session's; altered ones are, but somebody has changed what is in them.
	foreign, altered bool
	issued           session.Issued
}

// world is a session with what is around it: the part of the controller that observes and acts, without an API server. It deletes and
// creates, and counts what it asks the provider.
type world struct {
	s        *v1.TerminalSession
	now      time.Time
	provider session.Provider
	// answer is what the provider fails with; nil for a token.
	answer *session.Failure
	// lifetime is that of the tokens that the provider gives, and email whom it logs in.
	lifetime time.Duration
	email    string
	// namespaceEnding is whether the namespace is being deleted, and secureLogin whether the provider renews nothing without an auth token.
	namespaceEnding, secureLogin bool
	// kept and wanted are the Secrets under the name where the token is, and under the one that spec gives where that is another.
	secrets [2]secret
	version int
	// grant is the session's grant Secret. Its kind is empty where there is none.
	grant session.Grant

	// person is whether the provider has logins confirmed by a person, confirmed whether one has, and refreshes whether tokens come with
	// refresh tokens.
	person, confirmed, refreshes bool
	// polled is the attempt after which this process knows to ask, and nextPoll when it may. A restart forgets both.
	polled   int64
	nextPoll time.Time
	// checkDue is whether it is time to ask whether the provider still honours the token.
	checkDue bool

	// silence is for how long nothing was heard of the terminal, and lastActive when it was heard of last.
	silence    time.Duration
	lastActive time.Time

	// bans and logout are what stands beside the session; late is what comes up while the provider is asked.
	bans   []v1.Ban
	logout *v1.SessionLogout
	late   func(*world)

	logins, renewals, polls, checks int
	// overtaken is whether the token that was just given was discarded, since something had come up by then.
	overtaken bool
	// removed is whether the object has been deleted because its time was over.
	removed bool
}

func newWorld(edits ...func(*v1.TerminalSession)) *world {
	w := &world{s: fresh(), now: start, provider: session.Provider{Version: provider}, lifetime: month, email: anna}
	for _, edit := range edits {
		edit(w.s)
	}
	return w
}

// clone is a world of its own, to try something in.
func (w *world) clone() *world {
	c := *w
	c.s = w.s.DeepCopy()
	return &c
}

func (w *world) asked() int { return w.logins + w.renewals + w.polls + w.checks }

// wake is when the reconciler looks again: when status says, or when it is to poll.
func (w *world) wake() time.Time {
	wake := session.WakeTime(w.s, w.now)
	if at := w.pollAt(); w.now.Before(at) && (wake.IsZero() || at.Before(wake)) {
		return at
	}
	return wake
}

// pollAt is when the provider may be asked again after the login that status tells of; zero where this process does not know.
func (w *world) pollAt() time.Time {
	if session.Confirming(w.s) && w.s.Status.Attempt != nil && w.s.Status.Attempt.Number == w.polled {
		return w.nextPoll
	}
	return time.Time{}
}

// restart forgets what a process knows by itself.
func (w *world) restart() { w.polled, w.nextPoll = 0, time.Time{} }

// find returns the Secret of a name, or nil.
func (w *world) find(name string) *secret {
	for i := range w.secrets {
		if w.secrets[i].name == name {
			return &w.secrets[i]
		}
	}
	return nil
}

func (w *world) delete(name string) {
	if found := w.find(name); found != nil {
		*found = secret{}
	}
}

// put writes a token under a name, as a new version.
func (w *world) put(name string, issued session.Issued) session.Issued {
	found := w.find(name)
	if found == nil {
		found = w.find("")
	}
	w.version++
	issued.SecretName, issued.SecretVersion = name, versionName(w.version)
	*found = secret{name: name, version: issued.SecretVersion, issued: issued}
	return issued
}

// touch makes a new version of a Secret, as any change of its metadata does.
func (w *world) touch(name string) {
	w.version++
	found := w.find(name)
	found.version = versionName(w.version)
	found.issued.SecretVersion = found.version
}

func versionName(n int) string {
	if n < len(versionNames) {
		return versionNames[n]
	}
	return fmt.Sprint("v", n)
}

var versionNames = [...]string{"v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7"}

// wherever is where the token is or, without one, where it is to be.
func (w *world) wherever() string {
	if w.s.Status.Token != nil {
		return w.s.Status.Token.SecretName
	}
	return session.SecretName(w.s)
}

// observe is what a decision rests on.
func (w *world) observe() session.Input {
	if w.s.Status.Token == nil {
		w.silence = 0 // it is that of a session
	}
	in := session.Input{Session: w.s, NamespaceEnding: w.namespaceEnding, Provider: w.provider, Silence: w.silence, LastActive: w.lastActive}
	w.ordered(&in, "")
	expected := ""
	if w.s.Status.Token != nil {
		expected = w.s.Status.Token.SecretVersion
	}
	in.Secret = w.observeSecret(w.wherever(), expected)
	if wanted := session.SecretName(w.s); wanted != w.wherever() {
		in.Target = w.observeSecret(wanted, "")
	}
	if !w.grant.Stale(w.s) { // else it is a stray
		in.Grant = w.grant
	}
	in.Secret.Refreshable = in.Grant.Refreshes(w.s) && !w.secureLogin
	in.NextPoll, in.CheckDue = w.pollAt(), w.checkDue
	return in
}

// ordered tells what bans and logouts ask for. Where spec names nobody, it is for whom the provider has just named.
func (w *world) ordered(in *session.Input, email string) {
	if len(w.bans) > 0 {
		s := w.s
		if s.Spec.User == nil && email != "" {
			s = s.DeepCopy()
			s.Status.User = &v1.UserStatus{Email: email}
		}
		in.Ban = session.InForce(w.bans, s, nil, w.now)
	}
	if w.logout != nil && session.SignsOut(w.logout, w.s) {
		in.Logout = session.LogoutOf(w.logout)
	}
}

func (w *world) observeSecret(name, expected string) session.Secret {
	found := w.find(name)
	switch {
	case found == nil:
		return session.Secret{State: session.SecretAbsent}
	case found.foreign:
		return session.Secret{State: session.SecretTaken, Holder: "not the session's own"}
	case expected != "" && found.version == expected:
		return session.Secret{State: session.SecretCurrent}
	case found.altered:
		return session.Secret{State: session.SecretAltered}
	}
	t := w.s.Status.Token
	same := t != nil && found.issued.SessionID == w.s.Status.SessionID && found.issued.IssuedAt.Equal(t.IssuedAt.Time)
	if found.issued.Attempt >= session.NextAttempt(w.s) || same {
		return session.Secret{State: session.SecretNewer, Issued: found.issued}
	}
	return session.Secret{State: session.SecretAltered}
}

// step is one pass of the reconciler, or two where the first deletes Secrets: then the second reports.
type step struct {
	in       session.Input
	decision session.Decision
	outcome  session.Outcome
	// seen is what was observed first, and call what the provider was asked for, if it was.
	seen session.Input
	call session.Action
	// ended is whether Secrets were deleted first, and discarded whether a token came late.
	ended, discarded bool
	// counted is the attempt that was recorded before, where one was.
	counted int64
	// after is the status that came of it, and touched whether a Secret was written or deleted last, which is heard of.
	after   v1.TerminalSessionStatus
	touched bool
}

// look does what the reconciler does until it reports: where Secrets are deleted that is at the next look, and where a token comes late
// another decision follows. What is known of a late token is kept until it is reported.
func (w *world) look() step {
	in := w.observe()
	st := step{seen: in}
	for {
		st.in, st.decision = in, session.Decide(in, w.now)
		asked := w.asked()
		outcome, touched := w.act(st.decision)
		if w.asked() > asked {
			st.call = st.decision.Action
		}
		st.outcome, st.touched = outcome, st.touched || touched
		if w.overtaken {
			w.overtaken, st.discarded = false, true
			w.ordered(&in, w.email)
			in.Discarded = &session.Discarded{UserEmail: w.email}
			continue
		}
		if st.decision.Action == session.ActionCount { // which is reported, and looked at again at once
			after := session.Report(in, st.decision, st.outcome, w.now)
			st.counted = after.Attempt.Number
			w.s = &v1.TerminalSession{TypeMeta: w.s.TypeMeta, ObjectMeta: w.s.ObjectMeta, Spec: w.s.Spec, Status: after}
			discarded := in.Discarded
			if in = w.observe(); in.Ban != nil || in.Logout != nil { // else status tells of it now
				in.Discarded = discarded
			}
			continue
		}
		if st.decision.Action != session.ActionEnd || st.decision.Silent || st.ended {
			break
		}
		discarded := in.Discarded
		st.ended, st.touched, in = true, false, w.observe() // that they are gone has been heard
		in.Discarded = discarded
	}
	st.after = session.Report(in, st.decision, st.outcome, w.now)
	before := w.s
	w.s = &v1.TerminalSession{TypeMeta: before.TypeMeta, ObjectMeta: before.ObjectMeta, Spec: before.Spec, Status: st.after}
	return st
}

// rest looks until nothing more happens at this time, and returns the first step.
func (w *world) rest(t testing.TB) step {
	t.Helper()
	first := w.look()
	for range 6 {
		before := w.s
		if st := w.look(); st.decision.Action == session.ActionNone && same(&before.Status, &st.after) {
			return first
		}
	}
	t.Fatalf("it does not come to rest: %s", show(w.s.Status))
	return first
}

// act does one thing, and tells whether that changed a Secret.
func (w *world) act(d session.Decision) (session.Outcome, bool) {
	tidied := w.tidy()
	out, touched := w.do(d)
	return out, touched || tidied
}

func (w *world) do(d session.Decision) (session.Outcome, bool) {
	switch d.Action {
	case session.ActionLogin:
		w.logins++
		if w.person && w.answer == nil {
			return w.wait(), true
		}
		return w.obtain(sessionName(session.NextAttempt(w.s)), session.SecretName(w.s))
	case session.ActionPoll:
		return w.poll()
	case session.ActionCheck:
		w.checks++
		w.checkDue = false
		if f := w.answer; f != nil && (f.Kind == session.FailureGrantDead || f.Kind == session.FailureBanned) { // what else goes wrong says nothing of the session
			return session.Outcome{Failure: f}, w.end()
		}
		return session.Outcome{}, false
	case session.ActionRenew:
		w.renewals++
		out, touched := w.obtain(w.s.Status.SessionID, w.s.Status.Token.SecretName)
		if out.Failure.EndsSession() {
			return out, w.end()
		}
		return out, touched
	case session.ActionMove:
		issued := w.put(session.SecretName(w.s), w.find(w.s.Status.Token.SecretName).issued)
		return session.Outcome{Issued: &issued}, true
	case session.ActionEnd:
		return session.Outcome{}, w.end()
	case session.ActionRelease:
		w.s = w.s.DeepCopy()
		w.s.Finalizers = nil
		return session.Outcome{}, true
	case session.ActionDelete:
		w.removed = true
	}
	return session.Outcome{}, false
}

// tidy deletes the session's Secrets under other names than those that it has to do with, and a grant that is of no more use.
func (w *world) tidy() (done bool) {
	for i := range w.secrets {
		if s := &w.secrets[i]; s.name != "" && !s.foreign && s.name != w.wherever() && s.name != session.SecretName(w.s) {
			*s, done = secret{}, true
		}
	}
	if w.grant.Stale(w.s) {
		w.grant, done = session.Grant{}, true
	}
	return done
}

func (w *world) end() bool {
	done := w.grant.Kind != ""
	w.grant = session.Grant{}
	for i := range w.secrets {
		if s := &w.secrets[i]; s.name != "" && !s.foreign {
			*s, done = secret{}, true
		}
	}
	return done
}

// obtain gets a token and puts it into the Secret. What renews it is kept first.
func (w *world) obtain(sessionID, where string) (session.Outcome, bool) {
	refresh := func() bool {
		if w.refreshes {
			w.grant = session.Grant{Kind: session.GrantRefreshToken, SessionID: sessionID, Attempt: session.NextAttempt(w.s)}
		}
		return w.refreshes
	}
	if w.answer != nil {
		return session.Outcome{Failure: w.answer}, w.answer.Kind == session.FailureSecretRefused && refresh()
	}
	if late := w.late; late != nil {
		w.late, w.overtaken = nil, true
		late(w)
		return session.Outcome{}, false
	}
	at := w.now.Truncate(time.Second)
	refresh()
	issued := w.put(where, session.Issued{
		SessionID: sessionID, Attempt: session.NextAttempt(w.s), IssuedAt: at, ExpiresAt: at.Add(w.lifetime), UserEmail: w.email, UserSubject: "subject",
		Request: session.RequestOf(w.s),
	})
	issued.Refreshable = w.refreshes
	return session.Outcome{Issued: &issued}, true
}

// What a login that a person has to confirm comes with.
const (
	codeLife     = 15 * time.Minute
	pollInterval = 5 * time.Second
)

// wait begins such a login: what to ask with is kept first.
func (w *world) wait() session.Outcome {
	attempt := session.NextAttempt(w.s)
	w.grant = session.Grant{Kind: session.GrantDeviceCode, SessionID: sessionName(attempt), Attempt: attempt}
	w.polled, w.nextPoll = attempt, w.now.Add(pollInterval)
	return session.Outcome{Pending: &session.Pending{
		VerificationURI: "https://login.acme.example/device", VerificationURIComplete: "https://login.acme.example/device?code=" + codeOf(attempt),
		UserCode: codeOf(attempt), ExpiresAt: w.now.Add(codeLife),
	}}
}

// codeOf is what the person types in, another for each login.
func codeOf(attempt int64) string { return fmt.Sprintf("WDJB-%04d", attempt) }

// poll asks whether the person has confirmed it. A process that has just begun waits first: another may have asked a moment ago.
func (w *world) poll() (session.Outcome, bool) {
	attempt := w.s.Status.Attempt.Number
	known := w.polled == attempt
	w.polled, w.nextPoll = attempt, w.now.Add(pollInterval)
	if !known {
		return session.Outcome{}, false
	}
	w.polls++
	if w.answer == nil && !w.confirmed {
		return session.Outcome{Pending: &session.Pending{}}, false
	}
	out, touched := w.obtain(sessionName(attempt), session.SecretName(w.s))
	switch {
	case out.Failure.EndsLogin():
		return out, w.end()
	case out.Issued != nil && !out.Issued.Refreshable:
		w.grant = session.Grant{}
	}
	return out, touched
}

func sessionName(attempt int64) string {
	if attempt >= 0 && attempt < int64(len(sessionNames)) {
		return sessionNames[attempt]
	}
	return fmt.Sprint("session-", attempt)
}

var sessionNames = [...]string{
	"session-0", "session-1", "session-2", "session-3", "session-4", "session-5", "session-6", "session-7", "session-8", "session-9",
}

// edit is a change of spec by a person.
func (w *world) edit(change func(*v1.TerminalSessionSpec)) {
	w.s = w.s.DeepCopy()
	w.s.Generation++
	change(&w.s.Spec)
}

// request sets an annotation.
func (w *world) request(annotation, value string) {
	w.s = w.s.DeepCopy()
	metav1.SetMetaDataAnnotation(&w.s.ObjectMeta, annotation, value)
}

// fails makes the provider fail from now on.
func (w *world) fails(kind session.FailureKind) {
	w.answer = &session.Failure{Kind: kind, Code: string(kind) + "Code", Message: "The provider says " + string(kind) + "."}
}

// stalls makes the provider one that cannot be asked.
func (w *world) stalls(reason string) {
	w.provider.Problem = session.Problem{Reason: reason, Message: "The provider cannot be asked."}
	switch reason {
	case v1.ReasonProviderNotFound:
		w.provider.Version = ""
	case v1.ReasonProviderNotReady:
		w.provider.Version = "provider-stalled"
	}
}

// state is what people look at first: the phase, and the hold if there is one.
func state(st *v1.TerminalSessionStatus) string {
	if st.Hold != nil {
		return string(st.Phase) + ", " + string(st.Hold.Reason)
	}
	return string(st.Phase)
}

// readiness is Ready as kstatus reads it, and its reason.
func readiness(st *v1.TerminalSessionStatus) string {
	ready := meta.FindStatusCondition(st.Conditions, v1.ConditionReady)
	if ready == nil {
		return "unknown"
	}
	words := []string{string(ready.Status)}
	for _, kind := range []string{v1.ConditionReconciling, v1.ConditionStalled} {
		if meta.IsStatusConditionTrue(st.Conditions, kind) {
			words = append(words, kind)
		}
	}
	return strings.Join(append(words, ready.Reason), " ")
}

func show(value any) string {
	text, err := json.MarshalIndent(value, "", " ")
	if err != nil {
		return err.Error()
	}
	return string(text)
}

func duration(d time.Duration) *metav1.Duration { return &metav1.Duration{Duration: d} }
