package session_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/internal/session"
)

// running is a logout of everybody that began at a time, with some changes.
func running(at time.Time, changes ...func(*v1.SessionLogout)) *v1.SessionLogout {
	l := everybodyOut.DeepCopy()
	l.Generation = 1
	l.Status = v1.SessionLogoutStatus{StartedAt: new(metav1.NewTime(at))}
	for _, change := range changes {
		change(l)
	}
	return l
}

func selecting(selector v1.LogoutSelector) func(*v1.SessionLogout) {
	return func(l *v1.SessionLogout) { l.Spec.All, l.Spec.Selector = nil, &selector }
}

func TestALogoutSignsOutWhoIsInOrWillBeWithoutBeingAskedFor(t *testing.T) {
	for name, test := range map[string]struct {
		given []func(*world)
		out   bool
	}{
		"established":                      {[]func(*world){loggedIn}, true},
		"token expired":                    {[]func(*world){tokenExpired}, true},
		"new":                              {nil, true},
		"establishing":                     {[]func(*world){busy}, true},
		"stalled by its provider":          {[]func(*world){stalling(v1.ReasonProviderNotFound), loggedIn}, true},
		"refused: the provider may change": {[]func(*world){refused}, true},
		"signed out":                       {[]func(*world){heldAs(v1.HoldSignedOut)}, false},
		"invalidated":                      {[]func(*world){heldAs(v1.HoldInvalidated)}, false},
		"finished":                         {[]func(*world){finishedOneShot}, false},
		"aborted":                          {[]func(*world){heldAs(v1.HoldAborted)}, false},
		"signed out, and a login is asked for while the logout is at it": {[]func(*world){heldAs(v1.HoldSignedOut), askForLogin}, false},
		"logged out as spec asks":                  {[]func(*world){loggedIn, wantLoggedOut}, false},
		"terminated by the provider":               {[]func(*world){barred}, false},
		"terminated by a ban, which may be lifted": {[]func(*world){byBan}, true},
		"being deleted":                            {[]func(*world){loggedIn, deleteSession}, false},
		"signed out by this one before, and logged in again": {[]func(*world){loggedIn, func(w *world) {
			w.s.Status.LastLogoutUID = string(everybodyOut.UID)
		}}, false},
		"signed out by another one before, and logged in again": {[]func(*world){loggedIn, func(w *world) {
			w.s.Status.LastLogoutUID = "logout-0"
		}}, true},
		"of another namespace": {[]func(*world){loggedIn, func(w *world) { w.s.Namespace = "kiosk" }}, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			for _, given := range test.given {
				given(w)
			}
			if got := session.SignsOut(running(w.now), w.s); got != test.out {
				t.Errorf("it is signed out: %t, want %t", got, test.out)
			}
		})
	}
}

func TestALogoutLeavesAloneWhoHasComeSinceItsTime(t *testing.T) {
	written := func(at time.Time) func(*v1.SessionLogout) {
		return func(l *v1.SessionLogout) { l.Spec.EstablishedBefore = new(metav1.NewTime(at)) }
	}
	late := func(l *v1.SessionLogout) { l.Status.StartedAt = nil }
	for name, test := range map[string]struct {
		given   []func(*world)
		changes []func(*v1.SessionLogout)
		began   time.Duration // after the session
		out     bool
	}{
		"established a second before it began":       {[]func(*world){loggedIn}, nil, time.Second, true},
		"established in the second that it began in": {[]func(*world){loggedIn}, nil, 0, true},
		"established a second after it began":        {[]func(*world){loggedIn}, nil, -time.Second, false},
		"it has not begun yet":                       {[]func(*world){loggedIn}, []func(*v1.SessionLogout){late}, -time.Hour, true},
		"established before the time that is given": {
			[]func(*world){loggedIn}, []func(*v1.SessionLogout){written(start.Add(time.Second))}, time.Hour, true,
		},
		"established at the time that is given": {[]func(*world){loggedIn}, []func(*v1.SessionLogout){written(start)}, time.Hour, false},
		"established after the time that is given": {
			[]func(*world){loggedIn}, []func(*v1.SessionLogout){written(start.Add(-time.Second))}, time.Hour, false,
		},
		"waiting since before it began": {[]func(*world){busy}, nil, time.Second, true},
		"waiting since after it began":  {[]func(*world){busy}, nil, -time.Second, false},
		"waiting since before the time that is given": {
			[]func(*world){busy}, []func(*v1.SessionLogout){written(start.Add(time.Second))}, time.Hour, true,
		},
		"waiting since the time that is given":         {[]func(*world){busy}, []func(*v1.SessionLogout){written(start)}, time.Hour, false},
		"made before it began, and seen by nobody yet": {nil, nil, time.Second, true},
		"made after it began, and seen by nobody yet":  {nil, nil, -time.Second, false},
		"renewed since: established before all the same": {
			[]func(*world){loggedIn, renewalDue, loggedIn, func(w *world) { w.now = start }}, nil, time.Hour, true,
		},
		"waiting anew since its session was lost": {[]func(*world){loggedIn, func(w *world) {
			w.now = w.now.Add(time.Hour)
			deleteSecret(w)
			busy(w)
			w.now = start
		}}, nil, 30 * time.Minute, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			for _, given := range test.given {
				given(w)
			}
			if got := session.SignsOut(running(w.now.Add(test.began), test.changes...), w.s); got != test.out {
				t.Errorf("it is signed out: %t, want %t", got, test.out)
			}
		})
	}
}

func TestALogoutSelectsByEverythingThatItGives(t *testing.T) {
	except := func(names ...string) func(*v1.SessionLogout) {
		return func(l *v1.SessionLogout) { l.Spec.Except = &v1.LogoutExcept{Names: names} }
	}
	byLabel := func(key, value string) v1.LogoutSelector {
		return v1.LogoutSelector{LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{key: value}}}
	}
	none := &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Is"}}}
	for name, test := range map[string]struct {
		changes []func(*v1.SessionLogout)
		given   []func(*v1.TerminalSession)
		out     bool
	}{
		"all":                        {out: true},
		"all but this one":           {changes: []func(*v1.SessionLogout){except("a", name)}},
		"all but others":             {changes: []func(*v1.SessionLogout){except("a", "b")}, out: true},
		"neither all nor a selector": {changes: []func(*v1.SessionLogout){func(l *v1.SessionLogout) { l.Spec.All = nil }}},
		"all: false":                 {changes: []func(*v1.SessionLogout){func(l *v1.SessionLogout) { l.Spec.All = new(false) }}},
		"the user":                   {changes: []func(*v1.SessionLogout){selecting(v1.LogoutSelector{User: "Anna@acme.example"})}, out: true},
		"another user":               {changes: []func(*v1.SessionLogout){selecting(v1.LogoutSelector{User: bob})}},
		"whoever is logged in, where spec names nobody": {
			changes: []func(*v1.SessionLogout){selecting(v1.LogoutSelector{User: bob})},
			given:   []func(*v1.TerminalSession){forNobody, asUser(bob)}, out: true,
		},
		"the user, but for this one": {changes: []func(*v1.SessionLogout){selecting(v1.LogoutSelector{User: anna}), except(name)}},
		"the name":                   {changes: []func(*v1.SessionLogout){selecting(v1.LogoutSelector{Names: []string{"a", name}})}, out: true},
		"other names":                {changes: []func(*v1.SessionLogout){selecting(v1.LogoutSelector{Names: []string{"a"}})}},
		"the terminal":               {changes: []func(*v1.SessionLogout){selecting(v1.LogoutSelector{TerminalID: "T-0042"})}, out: true},
		"another terminal":           {changes: []func(*v1.SessionLogout){selecting(v1.LogoutSelector{TerminalID: "T-1"})}},
		"another serial number":      {changes: []func(*v1.SessionLogout){selecting(v1.LogoutSelector{SerialNumber: "SN-1"})}},
		"the merchant":               {changes: []func(*v1.SessionLogout){selecting(v1.LogoutSelector{MerchantID: "acme"})}, out: true},
		"another merchant":           {changes: []func(*v1.SessionLogout){selecting(v1.LogoutSelector{MerchantID: "bakery"})}},
		"the label":                  {changes: []func(*v1.SessionLogout){selecting(byLabel("floor", "1"))}, out: true},
		"another label":              {changes: []func(*v1.SessionLogout){selecting(byLabel("floor", "2"))}},
		"labels that are none":       {changes: []func(*v1.SessionLogout){selecting(v1.LogoutSelector{LabelSelector: none})}},
		"the name and another user":  {changes: []func(*v1.SessionLogout){selecting(v1.LogoutSelector{Names: []string{name}, User: bob})}},
		"the label and another terminal": {changes: []func(*v1.SessionLogout){selecting(byLabel("floor", "1")), func(l *v1.SessionLogout) {
			l.Spec.Selector.TerminalID = "T-1"
		}}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(test.given...)
			w.s.Labels = map[string]string{"floor": "1"}
			if got := session.SignsOut(running(w.now, test.changes...), w.s); got != test.out {
				t.Errorf("it is signed out: %t, want %t", got, test.out)
			}
		})
	}
}

// advanced takes a logout one look further, and returns how it stands: "Complete AllSignedOut, 2 of 2".
func advanced(l *v1.SessionLogout, affected []string, signedOut int, now time.Time) string {
	var sessions []*v1.TerminalSession
	for _, name := range affected {
		s := fresh()
		s.Name = name
		sessions = append(sessions, s)
	}
	l.Status = session.LogoutStatus(l, sessions, signedOut, now)
	var is []string
	reason := ""
	for _, c := range l.Status.Conditions {
		is, reason = append(is, c.Type), c.Reason
		if c.Status != metav1.ConditionTrue || c.ObservedGeneration != l.Generation || c.Message == "" {
			return fmt.Sprintf("%+v", c)
		}
	}
	slices.Sort(is)
	return fmt.Sprintf("%s %s, %d of %d", strings.Join(is, " and "), reason, *l.Status.SignedOut, *l.Status.Matched)
}

func tills(n int) []string {
	var names []string
	for i := range n {
		names = append(names, fmt.Sprintf("till-%03d", n-i)) // in no order
	}
	return names
}

func TestALogoutTellsHowFarItIs(t *testing.T) {
	fresh := func(changes ...func(*v1.SessionLogout)) *v1.SessionLogout {
		l := running(start, changes...)
		l.Status = v1.SessionLogoutStatus{ObservedGeneration: -1}
		return l
	}
	t.Run("from its beginning to its end", func(t *testing.T) {
		l := fresh()
		if session.Running(l) || session.Finished(l) {
			t.Error("before anybody has looked at it, it runs or is finished")
		}
		at := start
		for i, look := range []struct {
			left, done int
			want       string
		}{
			{3, 0, "Reconciling SigningOut, 0 of 3"},
			{2, 1, "Reconciling SigningOut, 1 of 3"},
			{2, 0, "Reconciling SigningOut, 1 of 3"}, // one that was signed out is deleted
			{1, 1, "Reconciling SigningOut, 1 of 3"},
			{0, 2, "Complete SomeSignedOut, 2 of 3"},
		} {
			if session.Finished(l) || i > 0 && !session.Running(l) {
				t.Errorf("at look %d it is finished, or does not run", i)
			}
			at = at.Add(1500 * time.Millisecond)
			if got := advanced(l, tills(look.left), look.done, at); got != look.want {
				t.Errorf("at look %d it is %s, want %s", i, got, look.want)
			}
		}
		st := l.Status
		began, over := start.Add(time.Second), start.Add(7*time.Second)
		if !session.Finished(l) || session.Running(l) || !st.StartedAt.Time.Equal(began) || !st.CompletedAt.Time.Equal(over) ||
			!slices.Equal(st.Names, []string{"till-001", "till-002", "till-003"}) || st.ObservedGeneration != 1 {
			t.Errorf("it is %s", show(st))
		}
	})
	for name, test := range map[string]struct {
		change   func(*v1.SessionLogout)
		affected int
		want     string
		says     string
	}{
		"nothing to do": {func(*v1.SessionLogout) {}, 0, "Complete NothingMatched, 0 of 0", "there was nothing to do"},
		"a dry run": {
			func(l *v1.SessionLogout) { l.Spec.DryRun = new(true) }, 2, "Complete DryRun, 0 of 2",
			"2 sessions would be signed out: nothing was changed",
		},
		"a dry run of nothing": {
			func(l *v1.SessionLogout) { l.Spec.DryRun = new(true) }, 0, "Complete DryRun, 0 of 0", "0 sessions would be signed out",
		},
		"dryRun: false": {
			func(l *v1.SessionLogout) { l.Spec.DryRun = new(false) }, 2, "Reconciling SigningOut, 0 of 2", "still to be signed out",
		},
		"as many as it may": {
			func(l *v1.SessionLogout) { l.Spec.MaxAffected = 2 }, 2, "Reconciling SigningOut, 0 of 2", "still to be signed out",
		},
		"more than it may": {
			func(l *v1.SessionLogout) { l.Spec.MaxAffected = 1 }, 2, "Failed and Stalled TooManyAffected, 0 of 2",
			"2 sessions would be signed out, more than spec.maxAffected (1): nothing was changed",
		},
		"a dry run of more": {func(l *v1.SessionLogout) {
			l.Spec.DryRun, l.Spec.MaxAffected = new(true), 1
		}, 2, "Complete DryRun, 0 of 2", "more than spec.maxAffected (1), so it would fail"},
		"labels that are none": {selecting(v1.LogoutSelector{LabelSelector: &metav1.LabelSelector{
			MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Is"}},
		}}), 0, "Failed and Stalled SelectorInvalid, 0 of 0", "spec.selector.labelSelector"},
	} {
		t.Run(name, func(t *testing.T) {
			l := fresh(test.change)
			if got := advanced(l, tills(test.affected), 0, start); got != test.want || !strings.Contains(l.Status.Conditions[0].Message, test.says) {
				t.Errorf("it is %s (%s), want %s (%s)", got, l.Status.Conditions[0].Message, test.want, test.says)
			}
			if over := !strings.HasPrefix(test.want, "Reconciling"); session.Finished(l) != over || session.Running(l) == over {
				t.Errorf("finished: %t, running: %t", session.Finished(l), session.Running(l))
			}
		})
	}
	t.Run("its status names the first hundred", func(t *testing.T) {
		l := fresh()
		if got := advanced(l, tills(250), 0, start); got != "Reconciling SigningOut, 0 of 250" || len(l.Status.Names) != 100 ||
			l.Status.Names[0] != "till-001" || l.Status.Names[99] != "till-100" {
			t.Errorf("it is %s of %v", got, l.Status.Names)
		}
	})
	t.Run("progress never goes back", func(t *testing.T) {
		r := seeded()
		l, last := fresh(), int32(0)
		for range 1000 {
			advanced(l, tills(1+r.IntN(5)), r.IntN(50), start)
			if *l.Status.SignedOut < last || session.Finished(l) {
				t.Fatalf("after %d it is %s", last, show(l.Status))
			}
			last = *l.Status.SignedOut
		}
	})
	t.Run("one that is being deleted does not run any more", func(t *testing.T) {
		l := running(start, func(l *v1.SessionLogout) { l.DeletionTimestamp = new(metav1.NewTime(start)) })
		if session.Running(l) {
			t.Error("it runs")
		}
	})
}

func TestAFinishedLogoutIsRemovedAfterItsTime(t *testing.T) {
	ttl := func(seconds int32) func(*v1.SessionLogout) {
		return func(l *v1.SessionLogout) { l.Spec.TTLSecondsAfterFinished = &seconds }
	}
	over := func(l *v1.SessionLogout) { l.Status.CompletedAt = new(metav1.NewTime(start.Add(time.Minute))) }
	for name, test := range map[string]struct {
		changes []func(*v1.SessionLogout)
		want    time.Time
	}{
		"running":             {[]func(*v1.SessionLogout){ttl(60)}, time.Time{}},
		"without a time":      {[]func(*v1.SessionLogout){over}, time.Time{}},
		"with a time":         {[]func(*v1.SessionLogout){over, ttl(60)}, start.Add(2 * time.Minute)},
		"with no time at all": {[]func(*v1.SessionLogout){over, ttl(0)}, start.Add(time.Minute)},
	} {
		t.Run(name, func(t *testing.T) {
			if got := session.LogoutRemoval(running(start, test.changes...)); !got.Equal(test.want) {
				t.Errorf("it is removed at %v, want %v", got, test.want)
			}
		})
	}
}

func TestASessionLearnsWhoSignedItOutAndWhy(t *testing.T) {
	for reason, want := range map[string]string{
		"":               "Signed out by SessionLogout out. A login request lifts this.",
		"end of shift":   "Signed out by SessionLogout out: end of shift. A login request lifts this.",
		"end of shift..": "Signed out by SessionLogout out: end of shift. A login request lifts this.",
	} {
		w := newWorld()
		w.look()
		w.logout = running(w.now, func(l *v1.SessionLogout) { l.Spec.Reason = reason })
		w.rest(t)
		got := *w.s.Status.Hold
		got.At = metav1.Time{}
		if wanted := (v1.Hold{Reason: v1.HoldSignedOut, By: "carol@acme.example", Message: want, User: anna}); got != wanted {
			t.Errorf("the hold is %s, want %s", show(got), show(wanted))
		}
	}
}
