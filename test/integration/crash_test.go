package integration_test

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "terminals.dev/session-controller/api/v1"
)

// changes are what sessions go through: what is so before, and what is so when it is done.
var changes = []struct {
	name string
	// bring gets a session to where the change is due.
	bring func(h *harness)
	// is what the session is afterwards, in which Secret, after how many attempts and renewals.
	is       string
	secret   string
	attempts int64
	renewals int32
	// call is what the provider is asked for.
	call string
}{
	{
		name:  "login",
		bring: func(h *harness) { h.apply(session("till-1")) },
		is:    "Established: Ready (Established)", secret: "till-1-token", attempts: 1, call: "Login",
	},
	{
		name: "renewal",
		bring: func(h *harness) {
			h.loggedIn(session("till-1"))
			h.untilRenewal("till-1")
		},
		is: "Established: Ready (Established)", secret: "till-1-token", attempts: 2, renewals: 1, call: "Renew",
	},
	{
		name: "late renewal",
		bring: func(h *harness) {
			h.loggedIn(session("till-1"))
			h.step(month)
			h.answers.say(unavailable)
			h.settle("till-1")
			h.answers.say(nil)
			h.answers.taken()
			h.untilBackoffIsOver("till-1")
		},
		is: "Established: Ready (Established)", secret: "till-1-token", attempts: 3, renewals: 1, call: "Renew",
	},
	{
		name: "move",
		bring: func(h *harness) {
			h.loggedIn(session("till-1"))
			h.edit("till-1", to(inSecret("moved")))
		},
		is: "Established: Ready (Established)", secret: "moved", attempts: 1,
	},
	{
		name: "end by a logout",
		bring: func(h *harness) {
			h.loggedIn(session("till-1"))
			h.edit("till-1", to(loggedOut))
		},
		is: "NotLoggedIn: Ready (LoggedOut)", attempts: 1,
	},
	{
		name: "end by a ban",
		bring: func(h *harness) {
			h.loggedIn(session("till-1"))
			h.apply(ban("anna"))
		},
		is: "Terminated: Ready (BanInForce)", attempts: 1,
	},
	{
		name: "end by a sign-out",
		bring: func(h *harness) {
			h.loggedIn(session("till-1"))
			l := logout("out")
			h.apply(l)
			h.advance(l)
			h.wire.taken()
		},
		is: "NotLoggedIn, held SignedOut: Ready (SignedOut)", attempts: 1,
	},
	{
		name: "end by expiry",
		bring: func(h *harness) {
			h.loggedIn(session("till-1", oneShot))
			h.step(month)
		},
		is: "NotLoggedIn, held Finished: Ready (Finished)", attempts: 1,
	},
	{
		name: "login after the Secret was deleted by hand",
		bring: func(h *harness) {
			h.loggedIn(session("till-1"))
			h.delete(h.secret("till-1-token"))
		},
		is: "Established: Ready (Established)", secret: "till-1-token", attempts: 2, call: "Login",
	},
	{
		name: "login after the Secret was altered by hand",
		bring: func(h *harness) {
			h.loggedIn(session("till-1"))
			change(h, h.secret("till-1-token"), putting("token", "forged"))
		},
		is: "Established: Ready (Established)", secret: "till-1-token", attempts: 2, call: "Login",
	},
	{
		name: "login of an object made anew",
		bring: func(h *harness) {
			h.loggedIn(session("till-1"))
			h.delete(h.get("till-1"))
			h.apply(session("till-1"))
		},
		is: "Established: Ready (Established)", secret: "till-1-token", attempts: 1, call: "Login",
	},
	{
		name: "login after a logout",
		bring: func(h *harness) {
			h.loggedIn(session("till-1"))
			h.edit("till-1", to(loggedOut))
			h.settle("till-1")
			h.edit("till-1", func(s *v1.TerminalSession) { s.Spec.DesiredState = v1.LoggedIn })
		},
		is: "Established: Ready (Established)", secret: "till-1-token", attempts: 2, call: "Login",
	},
}

func TestAControllerThatIsKilledLosesAndRepeatsNothing(t *testing.T) {
	t.Parallel()
	for _, change := range changes {
		t.Run(change.name, func(t *testing.T) {
			t.Parallel()
			for write := 1; ; write++ {
				for _, after := range []bool{false, true} {
					h := newHarness(t)
					change.bring(h)
					at := moment{write, after}
					if !h.killed(at, func() { h.settle("till-1") }) {
						if write == 1 {
							t.Fatal("nothing is written at all")
						}
						return // it takes no more writes than that
					}
					t.Log("killed", at)
					calls := h.answers.taken()
					inSecret := len(calls) > 0 && h.kept(h.answers.tokens[len(h.answers.tokens)-1])

					h.restart()
					h.step(time.Second) // by when it is up again
					h.settle("till-1")

					h.expect("till-1", change.is)
					h.expectOnly(change.secret)
					st := h.get("till-1").Status
					if st.Attempt == nil || st.Attempt.Number != change.attempts {
						t.Errorf("the attempt is %+v, want number %d", st.Attempt, change.attempts)
					}
					if st.Token != nil && st.Token.Renewals != change.renewals {
						t.Errorf("%d renewals, want %d", st.Token.Renewals, change.renewals)
					}
					switch {
					case change.call == "":
						h.expectCalls()
					case inSecret:
						h.expectCalls() // its token is adopted
					default:
						h.expectCalls(change.call)
					}
					if all := h.answers.attempts; len(calls) > 0 && !inSecret && all[len(all)-1] != all[len(all)-2] {
						t.Errorf("the attempt is made again as another: %v", all)
					}
					if change.secret != "" && change.call != "" && h.token(change.secret) != h.answers.tokens[len(h.answers.tokens)-1] {
						t.Error("the Secret does not hold the token that was given last")
					}
				}
			}
		})
	}
}

// kept is whether some Secret of the test holds a token.
func (h *harness) kept(token string) bool {
	h.t.Helper()
	for _, s := range h.tokenSecrets() {
		if string(s.Data["token"]) == token {
			return true
		}
	}
	return false
}

// expectOnly checks that there is one token Secret, or with an empty name none.
func (h *harness) expectOnly(name string) {
	h.t.Helper()
	var names []string
	for _, s := range h.tokenSecrets() {
		names = append(names, s.Name)
	}
	if name == "" && len(names) > 0 || name != "" && (len(names) != 1 || names[0] != name) {
		h.t.Errorf("the token Secrets are %v, want only %q", names, name)
	}
}

func (h *harness) tokenSecrets() []corev1.Secret {
	h.t.Helper()
	list := &corev1.SecretList{}
	err := h.api.List(h.ctx, list, client.InNamespace(h.namespace), client.MatchingFields{"type": "terminals.dev/token"})
	if err != nil {
		h.t.Fatal(err)
	}
	return list.Items
}
