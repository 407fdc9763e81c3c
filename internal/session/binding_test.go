package session_test

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/internal/session"
)

// reports is what the gateway writes when the terminal tells of itself.
func reports(client v1.ClientStatus) func(*world) {
	return func(w *world) {
		w.s = w.s.DeepCopy()
		w.s.Status.Client = &client
	}
}

// told is a terminal that has told everything of itself before it was logged in.
var told = v1.ClientStatus{InstanceID: "app-1", PaymentAppVersion: "4.2.0", PaymentAppInstanceID: "pay-1"}

func withHeartbeat(w *world) {
	w.s.Spec.Heartbeat = &v1.Heartbeat{Timeout: &metav1.Duration{Duration: 5 * time.Minute}}
}

func quietFor(duration time.Duration) func(*world) { return func(w *world) { w.silence = duration } }
func heard(w *world) {
	w.silence, w.lastActive = 0, w.now
}

func TestHandover(t *testing.T) {
	for what, change := range map[string]func(*v1.TerminalSessionSpec){
		"user":          func(s *v1.TerminalSessionSpec) { s.User = &v1.User{Email: bob} },
		"no user":       func(s *v1.TerminalSessionSpec) { s.User = nil },
		"merchant":      func(s *v1.TerminalSessionSpec) { s.MerchantID = "bakery" },
		"terminal":      func(s *v1.TerminalSessionSpec) { s.Terminal.ID = "T-0043" },
		"serial number": func(s *v1.TerminalSessionSpec) { s.Terminal.SerialNumber = "SN-2" },
		"provider":      func(s *v1.TerminalSessionSpec) { s.ProviderRef.Name = "another" },
		"type":          func(s *v1.TerminalSessionSpec) { s.Type = v1.OneShot },
		"purpose":       func(s *v1.TerminalSessionSpec) { s.Purpose = v1.PurposeAppLogin },
		"scopes":        func(s *v1.TerminalSessionSpec) { s.Token.Scopes = []string{"payments"} },
		"audiences":     func(s *v1.TerminalSessionSpec) { s.Token.Audiences = []string{"https://pay.example"} },
	} {
		t.Run("the old session has ended before the new one is established when spec asks for another "+what, func(t *testing.T) {
			w := newWorld()
			w.look()
			w.edit(change)
			w.email = ""
			first := w.look()
			if !first.ended || w.find(place) != nil || state(&w.s.Status) != "Establishing" || w.s.Status.SessionID != "" {
				t.Fatalf("the first step is %s and leaves %s", first.decision.Action, show(w.s.Status))
			}
			w.rest(t)
			if state(&w.s.Status) != "Established" || w.s.Status.SessionID != "session-2" || w.logins != 2 {
				t.Errorf("%d logins lead to %s", w.logins, show(w.s.Status))
			}
			ended(v1.ReasonHandedOver)(t, w, first)
			tokenIn(place)(t, w, first)
		})
	}
}

func TestNoHandover(t *testing.T) {
	for what, change := range map[string]func(*v1.TerminalSessionSpec){
		"the user's e-mail is written in other case": func(s *v1.TerminalSessionSpec) { s.User.Email = "Anna@ACME.example" },
		"the user's name changes":                    func(s *v1.TerminalSessionSpec) { s.User.Name = "Anna R." },
		"scopes come in another order":               func(s *v1.TerminalSessionSpec) { s.Token.Scopes = []string{"refunds", "payments"} },
		"the lifetime changes":                       func(s *v1.TerminalSessionSpec) { s.Token.Lifetime = &metav1.Duration{Duration: time.Hour} },
		"display texts change":                       func(s *v1.TerminalSessionSpec) { s.Display = &v1.Display{Session: "Till 7"} },
	} {
		t.Run("the session goes on when "+what, func(t *testing.T) {
			w := newWorld(func(s *v1.TerminalSession) { s.Spec.Token.Scopes = []string{"payments", "refunds"} })
			w.look()
			w.edit(change)
			w.rest(t)
			if w.s.Status.SessionID != "session-1" || w.logins != 1 {
				t.Errorf("after %d logins status is %s", w.logins, show(w.s.Status))
			}
		})
	}
}

func TestATokenThatWasAskedForByAnotherSpecIsNotAdopted(t *testing.T) {
	w := newWorld()
	before := w.s.Status
	w.look()
	w.s.Status = before // the manager was killed between Secret and status
	w.edit(func(s *v1.TerminalSessionSpec) { s.MerchantID = "bakery" })
	w.rest(t)
	if w.s.Status.SessionID == "" || w.logins != 2 || w.find(place).issued.Request != session.RequestOf(w.s) {
		t.Errorf("after %d logins status is %s", w.logins, show(w.s.Status))
	}
}

func TestInvalidation(t *testing.T) {
	changed := func(change func(*v1.ClientStatus)) func(*world) {
		client := told
		change(&client)
		return reports(client)
	}
	for _, test := range []struct {
		what, reason string
		given        []func(*world)
		event        func(*world)
	}{
		{"the payment app is updated", v1.ReasonPaymentAppUpdated, nil, changed(func(c *v1.ClientStatus) { c.PaymentAppVersion = "4.3.0" })},
		{"the payment app is restarted", v1.ReasonPaymentAppRestarted, nil, changed(func(c *v1.ClientStatus) { c.PaymentAppInstanceID = "pay-2" })},
		{"the terminal's own app is restarted", v1.ReasonClientRestarted, nil, changed(func(c *v1.ClientStatus) { c.InstanceID = "app-2" })},
		{"the link is lost", v1.ReasonLinkLost, []func(*world){withHeartbeat}, quietFor(5 * time.Minute)},
	} {
		begin := func() *world {
			w := newWorld()
			w.s.Status.Client = told.DeepCopy()
			for _, given := range test.given {
				given(w)
			}
			w.look()
			return w
		}
		t.Run(test.what+": with relogin Automatic a new session follows", func(t *testing.T) {
			w := begin()
			test.event(w)
			first := w.look()
			noSecret(t, w, first)
			ended(test.reason)(t, w, first)
			if test.reason == v1.ReasonLinkLost {
				heard(w)
			}
			w.rest(t)
			if w.s.Status.SessionID != "session-2" || readiness(&w.s.Status) != "True Established" {
				t.Errorf("status is %s", show(w.s.Status))
			}
		})
		t.Run(test.what+": with relogin OnRequest it is held as Invalidated", func(t *testing.T) {
			w := begin()
			onRequest(w)
			test.event(w)
			first := w.rest(t)
			noSecret(t, w, first)
			ended(test.reason)(t, w, first)
			if state(&w.s.Status) != "NotLoggedIn, Invalidated" || readiness(&w.s.Status) != "True "+test.reason || w.logins != 1 {
				t.Errorf("after %d logins status is %s", w.logins, show(w.s.Status))
			}
			askForLogin(w)
			quietFor(0)(w) // the silence of another session
			w.rest(t)
			if w.s.Status.SessionID != "session-2" {
				t.Errorf("a login request leads to %s", show(w.s.Status))
			}
		})
	}
}

func TestWhatATerminalTellsFirstBindsAndDoesNotInvalidate(t *testing.T) {
	w := newWorld()
	w.look()
	reports(told)(w)
	w.rest(t)
	b := w.s.Status.Binding
	if w.s.Status.SessionID != "session-1" || b.InstanceID != "app-1" || b.PaymentAppVersion != "4.2.0" || b.PaymentAppInstanceID != "pay-1" {
		t.Errorf("status is %s", show(w.s.Status))
	}
	reports(v1.ClientStatus{Platform: "Toaster"})(w) // it tells less, and something unheard of
	w.rest(t)
	if w.s.Status.SessionID != "session-1" || w.s.Status.Client.Platform != "Toaster" {
		t.Errorf("status is %s", show(w.s.Status))
	}
}

func TestAReportThatCannotBeShownDoesNotDifferFromItself(t *testing.T) {
	odd := v1.ClientStatus{InstanceID: "app\t1", PaymentAppVersion: "4.2\u202e", PaymentAppInstanceID: "\x00"}
	w := newWorld()
	w.s.Status.Client = odd.DeepCopy()
	w.look()
	for range 3 {
		reports(odd)(w)
		w.rest(t)
	}
	if w.s.Status.SessionID != "session-1" || w.logins != 1 {
		t.Errorf("after %d logins status is %s", w.logins, show(w.s.Status))
	}
}

func TestAfterALostLinkTheLoginWaitsUntilTheTerminalIsHeardOfAgain(t *testing.T) {
	for name, last := range map[string]time.Time{"a terminal that was heard of before": start, "a terminal that never reported": {}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			withHeartbeat(w)
			w.lastActive = last
			w.look()
			w.now = w.now.Add(10 * time.Minute)
			quietFor(10 * time.Minute)(w)
			w.rest(t)
			quietFor(0)(w)
			for range 3 {
				w.now = w.now.Add(24 * time.Hour)
				w.rest(t)
			}
			if readiness(&w.s.Status) != "False Reconciling LinkLost" || state(&w.s.Status) != "Establishing" || w.logins != 1 {
				t.Fatalf("after %d logins status is %s", w.logins, show(w.s.Status))
			}
			if wake := session.WakeTime(w.s, w.now); !wake.IsZero() {
				t.Errorf("it is looked at again in %s, and only the terminal can change anything", wake.Sub(w.now))
			}
			heard(w)
			w.rest(t)
			if w.s.Status.SessionID != "session-2" || w.s.Status.Binding.SilentSince != nil {
				t.Errorf("status is %s", show(w.s.Status))
			}
		})
	}
}

func TestSilenceEndsNothingBeforeTheTimeoutOrWithoutOne(t *testing.T) {
	w := newWorld()
	w.look()
	quietFor(1000 * time.Hour)(w)
	w.rest(t)
	if left := session.SilenceEnds(w.s, w.silence); left != 0 || w.s.Status.SessionID != "session-1" {
		t.Errorf("without a heartbeat silence ends it in %s: %s", left, show(w.s.Status))
	}
	withHeartbeat(w)
	quietFor(5*time.Minute - time.Second)(w)
	w.rest(t)
	if left := session.SilenceEnds(w.s, w.silence); left != time.Second || w.s.Status.SessionID != "session-1" {
		t.Errorf("silence ends it in %s: %s", left, show(w.s.Status))
	}
}

func TestAFinishedSessionIsRemovedAfterItsTime(t *testing.T) {
	ttl := func(w *world) { w.s.Spec.TTLSecondsAfterFinished = new(int32(60)) }
	for name, test := range map[string]struct {
		given []func(*world)
		goes  bool
	}{
		"signed out":                  {[]func(*world){heldAs(v1.HoldSignedOut)}, true},
		"finished":                    {[]func(*world){finishedOneShot}, true},
		"terminated by the provider":  {[]func(*world){barred}, true},
		"invalidated":                 {[]func(*world){heldAs(v1.HoldInvalidated)}, false},
		"refused":                     {[]func(*world){refused}, false},
		"established":                 {[]func(*world){loggedIn}, false},
		"logged out as spec asks":     {[]func(*world){loggedIn, wantLoggedOut}, false},
		"signed out, of another user": {[]func(*world){heldAs(v1.HoldSignedOut), changeUser}, false},
		"barred, of another user":     {[]func(*world){barred, healthy, changeUser}, false},
		"signed out, and asked again": {[]func(*world){heldAs(v1.HoldSignedOut), askForLogin}, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			ttl(w)
			for _, given := range test.given {
				given(w)
			}
			at := session.WakeTime(w.s, w.now)
			w.now = w.now.Add(59 * time.Second)
			w.look()
			if w.removed {
				t.Fatal("it is removed too early")
			}
			w.now = w.now.Add(time.Second)
			w.look()
			if w.removed != test.goes {
				t.Errorf("removed: %t, want %t (%s)", w.removed, test.goes, show(w.s.Status))
			}
			if test.goes && !at.Equal(w.now) {
				t.Errorf("it would be looked at again at %s, want %s", at, w.now)
			}
		})
	}
}
