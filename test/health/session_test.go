package health_test

import (
	"slices"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/internal/session"
)

const (
	anna  = "anna@acme.example"
	month = 720 * time.Hour
)

var start = time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)

// life is a session with what the controller finds around it. The token's Secret is where status says.
type life struct {
	s         *v1.TerminalSession
	now       time.Time
	provider  session.Provider
	nameTaken bool
	// ended is whether the token's Secret is gone while status still tells of it.
	ended   bool
	silence time.Duration
	ban     *session.Ban
	logout  *session.Logout
	// answer is what the provider fails with; nil for a token.
	answer *session.Failure
}

// look is a pass of the controller, and another where the first has deleted the Secret.
func (l *life) look() {
	in := l.observe()
	d := session.Decide(in, l.now)
	if d.Action == session.ActionEnd {
		l.ended = true
		in = l.observe()
		d = session.Decide(in, l.now)
	}
	l.s.Status = session.Report(in, d, l.ask(d.Action), l.now)
	l.ended = false
}

func (l *life) observe() session.Input {
	in := session.Input{Session: l.s, Provider: l.provider, Silence: l.silence, Ban: l.ban, Logout: l.logout}
	switch {
	case l.s.Status.Token != nil && !l.ended:
		in.Secret.State = session.SecretCurrent
	case l.nameTaken:
		in.Secret = session.Secret{State: session.SecretTaken, Holder: "not the session's own"}
	}
	return in
}

// ask asks the provider where an action does so.
func (l *life) ask(action session.Action) session.Outcome {
	if action != session.ActionLogin && action != session.ActionRenew {
		return session.Outcome{}
	}
	if l.answer != nil {
		return session.Outcome{Failure: l.answer}
	}
	id := l.s.Status.SessionID
	if action == session.ActionLogin {
		id = "0197f3d2-0000-7000-8000-000000000001"
	}
	return session.Outcome{Issued: &session.Issued{
		SecretName: session.SecretName(l.s), SecretVersion: "1", SessionID: id, Attempt: session.NextAttempt(l.s),
		IssuedAt: l.now, ExpiresAt: l.now.Add(month), UserEmail: anna, UserSubject: "subject", Request: session.RequestOf(l.s),
	}}
}

// rest looks until nothing more happens at this time.
func (l *life) rest(t *testing.T) {
	t.Helper()
	for range 8 {
		before := l.s.Status.DeepCopy()
		if l.look(); equality.Semantic.DeepEqual(before, &l.s.Status) {
			return
		}
	}
	t.Fatalf("it does not come to rest:\n%s", show(l.s.Status))
}

// What happens in a life.
type event func(*life)

func looked(l *life)     { l.look() }
func renewalDue(l *life) { l.now = l.s.Status.Token.RenewAt.Time }
func expired(l *life)    { l.now = l.s.Status.Token.ExpiresAt.Time }
func nameTaken(l *life)  { l.nameTaken = true }
func silent(l *life)     { l.silence = time.Hour }
func lifted(l *life)     { l.ban = nil }
func banned(l *life) {
	l.ban = &session.Ban{Kind: "SessionBan", Name: "mallory", Code: "UserBanned", Reason: "card skimmer found"}
}

func signedOut(l *life) {
	l.logout = &session.Logout{UID: "0197f3d2", Name: "evening", By: "shift-lead", Reason: "end of shift"}
	l.look()
	l.logout = nil
}

func fails(kind session.FailureKind) event {
	return func(l *life) {
		l.answer = &session.Failure{Kind: kind, Code: string(kind) + "Code", Message: "The provider says " + string(kind) + "."}
	}
}

func stalls(reason string) event {
	return func(l *life) {
		l.provider.Problem = session.Problem{Reason: reason, Message: "The provider cannot be asked."}
	}
}

// held is held by what is not in this world, a person; the controller looks at it afterwards.
func held(reason v1.HoldReason, message string) event {
	return func(l *life) {
		st := &l.s.Status
		st.Phase = v1.PhaseNotLoggedIn
		st.Hold = &v1.Hold{Reason: reason, At: metav1.NewTime(start), By: "shift-lead", User: anna, Message: message}
		meta.SetStatusCondition(&st.Conditions, metav1.Condition{
			Type: v1.ConditionReady, Status: "True", Reason: string(reason), Message: message,
		})
	}
}

func newSession(edits ...func(*v1.TerminalSessionSpec)) *v1.TerminalSession {
	s := &v1.TerminalSession{Spec: v1.TerminalSessionSpec{
		Terminal: v1.Terminal{ID: "T-0042"}, MerchantID: "acme", User: &v1.User{Email: anna},
	}}
	for _, edit := range edits {
		edit(&s.Spec)
	}
	return s
}

func oneShot(s *v1.TerminalSessionSpec)   { s.Type = v1.OneShot }
func loggedOut(s *v1.TerminalSessionSpec) { s.DesiredState = v1.LoggedOut }
func onRequest(s *v1.TerminalSessionSpec) { s.Relogin = v1.ReloginOnRequest }
func heartbeat(s *v1.TerminalSessionSpec) {
	s.Heartbeat = &v1.Heartbeat{Timeout: &metav1.Duration{Duration: 5 * time.Minute}}
}

// lives is a status that comes of a life with these events.
func lives(events ...event) func(*testing.T, client.Object) {
	return func(t *testing.T, obj client.Object) {
		t.Helper()
		l := &life{s: obj.(*v1.TerminalSession), now: start, provider: session.Provider{Version: "provider-1"}}
		for _, happens := range events {
			happens(l)
		}
		l.rest(t)
	}
}

// sessionRows are the rows of the table of Ready, with every phase and hold.
func sessionRows() []row {
	plain := newSession()
	return []row{
		// Ready is True.
		{"established", plain, lives(), current, v1.ReasonEstablished},
		{"established, OneShot", newSession(oneShot), lives(), current, v1.ReasonEstablished},
		{"established, and renewed", plain, lives(looked, renewalDue), current, v1.ReasonEstablished},
		{"logged out as wanted", newSession(loggedOut), lives(), current, v1.ReasonLoggedOut},
		{"logged out as wanted, without a provider", newSession(loggedOut),
			lives(stalls(v1.ReasonProviderNotFound)), current, v1.ReasonLoggedOut},
		{"terminated by a ban in force", plain, lives(looked, banned), current, v1.ReasonBanInForce},
		{"held as SignedOut", plain, lives(looked, signedOut), current, v1.ReasonSignedOut},
		{"held as Invalidated", newSession(onRequest),
			lives(looked, renewalDue, fails(session.FailureGrantDead)), current, v1.ReasonGrantDead},
		{"held as Invalidated, by silence", newSession(onRequest, heartbeat), lives(looked, silent), current, v1.ReasonLinkLost},
		{"held as Finished", newSession(oneShot), lives(looked, expired), current, "Finished"},
		{"held as Aborted", plain, lives(held(v1.HoldAborted, "The login was denied.")), current, "Aborted"},

		// Ready is False, and the controller is at it.
		{"establishing: the provider is busy", plain, lives(fails(session.FailureBusy)), inProgress, v1.ReasonProviderBusy},
		{"establishing: the provider is out of reach", plain, lives(fails(session.FailureUnavailable)), inProgress, v1.ReasonProviderUnavailable},
		{"establishing: the auth token is missing", plain, lives(fails(session.FailureAuthTokenMissing)), inProgress, v1.ReasonAuthTokenMissing},
		{"establishing: the link was lost, and the terminal is still silent", newSession(heartbeat),
			lives(looked, silent), inProgress, v1.ReasonLinkLost},
		{"the token has expired, and its renewal is still being tried", plain,
			lives(looked, renewalDue, fails(session.FailureUnavailable), looked, expired), inProgress, v1.ReasonProviderUnavailable},
		{"the token has expired while nobody was there to renew it", plain,
			lives(looked, fails(session.FailureBusy), expired), inProgress, v1.ReasonProviderBusy},
		{"backoff before a renewal of a token that is still valid", plain,
			lives(looked, renewalDue, fails(session.FailureBusy)), inProgress, v1.ReasonProviderBusy},
		{"nobody has looked at the provider yet", plain, lives(stalls(v1.ReasonProviderPending)), inProgress, v1.ReasonProviderPending},

		// Ready is False, and only people can mend it.
		{"the provider is missing", plain, lives(stalls(v1.ReasonProviderNotFound)), failed, v1.ReasonProviderNotFound},
		{"the provider is not ready", plain, lives(stalls(v1.ReasonProviderNotReady)), failed, v1.ReasonProviderNotReady},
		{"the provider does not allow this session", plain, lives(stalls(v1.ReasonProviderNotAllowed)), failed, v1.ReasonProviderNotAllowed},
		{"the provider is misconfigured", plain, lives(fails(session.FailureMisconfigured)), failed, v1.ReasonProviderMisconfigured},
		{"the Secret's name is taken", plain, lives(nameTaken), failed, v1.ReasonSecretNameTaken},
		{"the API server refuses the Secret", plain, lives(fails(session.FailureSecretRefused)), failed, v1.ReasonSecretRefused},
		{"the renewal is refused, and the token still valid", plain,
			lives(looked, renewalDue, fails(session.FailureRejected)), failed, v1.ReasonRenewalRejected},
		{"the renewal is refused, and the token has expired", plain,
			lives(looked, renewalDue, fails(session.FailureRejected), looked, expired), failed, v1.ReasonRenewalRejected},
		{"the provider has gone, and the token has expired", plain,
			lives(looked, stalls(v1.ReasonProviderNotFound), expired), failed, v1.ReasonProviderNotFound},
		{"held as Rejected", plain, lives(fails(session.FailureRejected)), failed, v1.ReasonRejected},
		{"held as Rejected, since somebody else was logged in", plain, lives(fails(session.FailureIdentity)), failed, v1.ReasonIdentityMismatch},
		{"banned or deleted by the provider", plain, lives(fails(session.FailureBanned)), failed, v1.ReasonBanned},
		{"banned or deleted by the provider at a renewal", plain,
			lives(looked, renewalDue, fails(session.FailureBanned)), failed, v1.ReasonBanned},
	}
}

func TestTheHealthOfASessionIsWhatItsReadinessSays(t *testing.T) { judgeRows(t, sessionRows()) }

func TestEveryPhaseAndHoldIsJudged(t *testing.T) {
	all := crds(t)
	sessions := all[slices.IndexFunc(all, func(c crd) bool { return c.Spec.Names.Kind == "TerminalSession" })]
	missing := append(sessions.enum("status", "phase"), sessions.enum("status", "hold", "reason")...)
	if len(missing) < 10 {
		t.Fatalf("the schema has only these phases and holds: %v", missing)
	}
	for _, r := range sessionRows() {
		obj := r.object.DeepCopyObject().(*v1.TerminalSession)
		obj.Name, obj.Generation = "till-07", 1
		r.status(t, obj)
		missing = slices.DeleteFunc(missing, func(s string) bool {
			return s == string(obj.Status.Phase) || obj.Status.Hold != nil && s == string(obj.Status.Hold.Reason)
		})
	}
	if len(missing) > 0 {
		t.Errorf("no row has %v", missing)
	}
}

// whatever is everything that can happen to a session here; what needs a token waits for long enough.
var whatever = []event{
	looked, nameTaken, silent, banned, lifted, signedOut,
	func(l *life) { l.now = l.now.Add(month * 2 / 3) },
	func(l *life) { l.now = l.now.Add(month) },
	func(l *life) { l.answer, l.provider.Problem, l.silence = nil, session.Problem{}, 0 },
	func(l *life) { l.s.Annotations = map[string]string{v1.AnnotationLoginRequested: l.now.String()} },
	edit(func(s *v1.TerminalSessionSpec) { s.User = &v1.User{Email: "bob@acme.example"} }),
	edit(loggedOut), edit(oneShot), edit(onRequest), edit(heartbeat),
	edit(func(s *v1.TerminalSessionSpec) { s.DesiredState = v1.LoggedIn }),
	fails(session.FailureBusy), fails(session.FailureRejected), fails(session.FailureGrantDead), fails(session.FailureBanned),
	fails(session.FailureMisconfigured), fails(session.FailureIdentity),
	stalls(v1.ReasonProviderPending), stalls(v1.ReasonProviderNotFound),
}

func edit(change func(*v1.TerminalSessionSpec)) event {
	return func(l *life) {
		l.s.Generation++
		change(&l.s.Spec)
	}
}

// Whatever has happened: what the controller reports as Ready, and nothing else, is Current and Healthy, and all that is not is the same
// to both.
func TestKstatusAndArgoCDAgreeWhateverHasHappened(t *testing.T) {
	seen, looks := map[string]bool{}, 0
	var walk func(l life, steps int)
	walk = func(l life, steps int) {
		for _, happens := range whatever {
			next := l
			next.s = l.s.DeepCopy()
			happens(&next)
			next.look()
			looks++
			if key := outline(next.s); !seen[key] {
				seen[key] = true
				agree(t, next.s)
			}
			if steps > 1 {
				walk(next, steps-1)
			}
		}
	}
	s := newSession()
	s.Name, s.UID, s.Generation = "till-07", "5f0c1e5c-3f1c-4f6e-9a55-0d6a3c1b7e21", 1
	s.Status = v1.TerminalSessionStatus{ObservedGeneration: -1, Phase: v1.PhaseNotLoggedIn}
	walk(life{s: s, now: start, provider: session.Provider{Version: "provider-1"}}, 4)
	t.Logf("judged %d different statuses of %d", len(seen), looks)
	if len(seen) < 20 {
		t.Error("too few to tell anything")
	}
}

// outline is what a status is judged by.
func outline(s *v1.TerminalSession) string {
	text := string(s.Status.Phase)
	if s.Status.Hold != nil {
		text += " " + string(s.Status.Hold.Reason)
	}
	for _, c := range s.Status.Conditions {
		text += " " + c.Type + "=" + string(c.Status) + " " + c.Reason
	}
	return text
}

func agree(t *testing.T, s *v1.TerminalSession) {
	t.Helper()
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(s)
	if err != nil {
		t.Fatal(err)
	}
	obj := &unstructured.Unstructured{Object: content}
	obj.SetGroupVersionKind(v1.GroupVersion.WithKind("TerminalSession"))
	got, _ := judged(t, obj)
	if got != current && got != inProgress && got != failed {
		t.Errorf("kstatus says %s and Argo CD %s\n%s", got.kstatus, got.argo, show(s.Status))
	}
	if ready := meta.IsStatusConditionTrue(s.Status.Conditions, v1.ConditionReady); ready != (got == current) {
		t.Errorf("kstatus says %s\n%s", got.kstatus, show(s.Status))
	}
}
