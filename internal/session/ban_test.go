package session_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/internal/session"
)

// asUser is a session as whose user the provider has named somebody.
func asUser(email string) func(*v1.TerminalSession) {
	return func(s *v1.TerminalSession) { s.Status.User = &v1.UserStatus{Email: email} }
}

func forNobody(s *v1.TerminalSession) { s.Spec.User = nil }

func TestEverythingThatABanGivesMustFit(t *testing.T) {
	device := func(s *v1.TerminalSession) { s.Spec.Terminal.SerialNumber = "SN-1" }
	for name, test := range map[string]struct {
		match v1.BanMatch
		given []func(*v1.TerminalSession)
		fits  bool
	}{
		"the user whom spec names":                   {match: v1.BanMatch{User: anna}, fits: true},
		"the user, in other case":                    {match: v1.BanMatch{User: "ANNA@Acme.Example"}, fits: true},
		"another user":                               {match: v1.BanMatch{User: bob}},
		"a user of whose name this is the beginning": {match: v1.BanMatch{User: anna + ".org"}},
		"a letter that only Unicode takes for the same": {
			match: v1.BanMatch{User: "anna@acme.eſample"}, given: []func(*v1.TerminalSession){forNobody, asUser("anna@acme.esample")},
		},
		"whoever is logged in, where spec names nobody": {
			match: v1.BanMatch{User: "Anna@acme.example"}, given: []func(*v1.TerminalSession){forNobody, asUser(anna)}, fits: true,
		},
		"nobody knows yet who it is":                      {match: v1.BanMatch{User: anna}, given: []func(*v1.TerminalSession){forNobody}},
		"who is logged in, and spec names another by now": {match: v1.BanMatch{User: bob}, given: []func(*v1.TerminalSession){asUser(bob)}},
		"whom spec names by now, and another is still there": {
			match: v1.BanMatch{User: anna}, given: []func(*v1.TerminalSession){asUser(bob)}, fits: true,
		},
		"the terminal":                {match: v1.BanMatch{TerminalID: "T-0042"}, fits: true},
		"another terminal":            {match: v1.BanMatch{TerminalID: "T-0043"}},
		"the terminal, in other case": {match: v1.BanMatch{TerminalID: "t-0042"}},
		"the serial number": {
			match: v1.BanMatch{SerialNumber: "SN-1"}, given: []func(*v1.TerminalSession){device}, fits: true,
		},
		"another serial number": {
			match: v1.BanMatch{SerialNumber: "SN-2"}, given: []func(*v1.TerminalSession){device},
		},
		"a serial number, of a terminal that has none": {match: v1.BanMatch{SerialNumber: "SN-1"}},
		"the merchant":     {match: v1.BanMatch{MerchantID: "acme"}, fits: true},
		"another merchant": {match: v1.BanMatch{MerchantID: "bakery"}},
		"all four": {
			match: v1.BanMatch{User: anna, TerminalID: "T-0042", SerialNumber: "SN-1", MerchantID: "acme"},
			given: []func(*v1.TerminalSession){device}, fits: true,
		},
		"all but the user": {
			match: v1.BanMatch{User: bob, TerminalID: "T-0042", SerialNumber: "SN-1", MerchantID: "acme"},
			given: []func(*v1.TerminalSession){device},
		},
		"all but the terminal": {
			match: v1.BanMatch{User: anna, TerminalID: "T-1", SerialNumber: "SN-1", MerchantID: "acme"},
			given: []func(*v1.TerminalSession){device},
		},
		"all but the serial number": {
			match: v1.BanMatch{User: anna, TerminalID: "T-0042", SerialNumber: "SN-2", MerchantID: "acme"},
			given: []func(*v1.TerminalSession){device},
		},
		"all but the merchant": {
			match: v1.BanMatch{User: anna, TerminalID: "T-0042", SerialNumber: "SN-1", MerchantID: "bakery"},
			given: []func(*v1.TerminalSession){device},
		},
		"a serial number that is another terminal's id as well": {match: v1.BanMatch{SerialNumber: "T-0042"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newWorld(test.given...).s
			if got := session.Matches(&test.match, s); got != test.fits {
				t.Errorf("it matches: %t, want %t", got, test.fits)
			}
			if key := session.KeyOf(&test.match); test.fits && !slices.Contains(session.Keys(s), key) {
				t.Errorf("it matches, and is not found: its key is %s, and the session's are %v", key, session.Keys(s))
			}
		})
	}
}

// What is found by index is all that there is.
func TestWhateverABanMatchesIsFoundByItsKey(t *testing.T) {
	r := seeded()
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	emails := []string{"", anna, "Anna@Acme.Example", bob, "BOB@acme.example"}
	matches := 0
	for range 200_000 {
		s := fresh()
		s.Spec.User = nil
		if email := pick(emails...); email != "" {
			s.Spec.User = &v1.User{Email: email}
		}
		if email := pick(emails...); email != "" {
			asUser(email)(s)
		}
		s.Spec.Terminal = v1.Terminal{ID: pick("1", "2", "a"), SerialNumber: pick("", "1", "a")}
		s.Spec.MerchantID = pick("", "1", "a")
		m := v1.BanMatch{User: pick(emails...), TerminalID: pick("", "1", "a"), SerialNumber: pick("", "1", "a"), MerchantID: pick("", "1", "a")}
		if m == (v1.BanMatch{}) || !session.Matches(&m, s) {
			continue
		}
		matches++
		if key := session.KeyOf(&m); !slices.Contains(session.Keys(s), key) {
			t.Fatalf("%+v matches and is not found: its key is %s, and those of %s are %v", m, key, show(s), session.Keys(s))
		}
	}
	if matches < 1000 {
		t.Errorf("only %d pairs have matched", matches)
	}
}

func TestABanIsFoundByWhatFitsTheFewest(t *testing.T) {
	m := v1.BanMatch{User: "Anna@acme.example", SerialNumber: "SN-1", TerminalID: "T-1", MerchantID: "acme"}
	for _, want := range []string{"user/anna@acme.example", "serial/SN-1", "terminal/T-1", "merchant/acme"} {
		if got := session.KeyOf(&m); got != want {
			t.Errorf("the key is %s, want %s", got, want)
		}
		switch {
		case m.User != "":
			m.User = ""
		case m.SerialNumber != "":
			m.SerialNumber = ""
		default:
			m.TerminalID = ""
		}
	}
}

// order makes bans of a few words: where, when, which name, and until when.
type banned struct {
	cluster bool
	name    string
	age     time.Duration
	left    time.Duration // zero for ever
	match   v1.BanMatch
	labels  map[string]string
}

func (b banned) make(now time.Time) v1.Ban {
	spec := v1.SessionBanSpec{Match: b.match, Code: "Code" + b.name, Reason: "because"}
	if spec.Match == (v1.BanMatch{}) {
		spec.Match.User = anna
	}
	if b.left != 0 {
		spec.ExpiresAt = new(metav1.NewTime(now.Add(b.left)))
	}
	made := metav1.ObjectMeta{Name: b.name, Generation: 1, CreationTimestamp: metav1.NewTime(now.Add(-b.age))}
	if !b.cluster {
		made.Namespace = "shop"
		return &v1.SessionBan{ObjectMeta: made, Spec: spec}
	}
	c := &v1.ClusterSessionBan{ObjectMeta: made, Spec: v1.ClusterSessionBanSpec{SessionBanSpec: spec}}
	if b.labels != nil {
		c.Spec.NamespaceSelector = &metav1.LabelSelector{MatchLabels: b.labels}
	}
	return c
}

func TestOfSeveralBansClusterComesBeforeNamespaceAndOlderBeforeYoungerThenByName(t *testing.T) {
	hour := time.Hour
	for name, test := range map[string]struct {
		bans []banned
		want string
	}{
		"none": {want: ""},
		"one":  {bans: []banned{{name: "A"}}, want: "SessionBan A"},
		"cluster before namespace": {
			bans: []banned{{name: "A", age: 2 * hour}, {name: "B", cluster: true, age: hour}}, want: "ClusterSessionBan B",
		},
		"older before younger": {bans: []banned{{name: "A", age: hour}, {name: "B", age: 2 * hour}}, want: "SessionBan B"},
		"older before younger in the cluster": {
			bans: []banned{{name: "A", cluster: true, age: hour}, {name: "B", cluster: true, age: 2 * hour}}, want: "ClusterSessionBan B",
		},
		"then by name": {bans: []banned{{name: "B", age: hour}, {name: "A", age: hour}}, want: "SessionBan A"},
		"one that is over does not count": {
			bans: []banned{{name: "A", cluster: true, left: -hour}, {name: "B", left: hour}}, want: "SessionBan B",
		},
		"one that matches somebody else does not count": {
			bans: []banned{{name: "A", cluster: true, match: v1.BanMatch{User: bob}}, {name: "B"}}, want: "SessionBan B",
		},
		"one for other namespaces does not count": {
			bans: []banned{{name: "A", cluster: true, labels: map[string]string{"tier": "test"}}, {name: "B"}}, want: "SessionBan B",
		},
		"one for namespaces like this one counts": {
			bans: []banned{{name: "A", cluster: true, labels: map[string]string{"tier": "live"}}, {name: "B"}}, want: "ClusterSessionBan A",
		},
		"one for every namespace, by an empty selector": {
			bans: []banned{{name: "A", cluster: true, labels: map[string]string{}}}, want: "ClusterSessionBan A",
		},
		"all are over": {bans: []banned{{name: "A", left: -hour}, {name: "B", cluster: true, left: -time.Nanosecond}}, want: ""},
		"one is over at the very moment that it names": {bans: []banned{{name: "A", left: time.Nanosecond}}, want: "SessionBan A"},
		"the code is that of the first and of no other": {
			bans: []banned{{name: "C", age: 3 * hour}, {name: "B", age: 2 * hour}, {name: "A", age: hour}}, want: "SessionBan C",
		},
		"a young one of the cluster before the oldest of here": {
			bans: []banned{{name: "A", age: 1000 * hour}, {name: "Z", cluster: true}}, want: "ClusterSessionBan Z",
		},
	} {
		t.Run(name, func(t *testing.T) {
			for range 6 { // in whatever order they are listed
				rand.Shuffle(len(test.bans), func(i, j int) { test.bans[i], test.bans[j] = test.bans[j], test.bans[i] })
				var bans []v1.Ban
				for _, b := range test.bans {
					bans = append(bans, b.make(start))
				}
				got := ""
				if b := session.InForce(bans, fresh(), map[string]string{"tier": "live"}, start); b != nil {
					got = b.Kind + " " + b.Name
					if b.Code != "Code"+b.Name || b.Reason != "because" {
						t.Errorf("it is %+v", b)
					}
				}
				if got != test.want {
					t.Errorf("in force is %q, want %q", got, test.want)
				}
			}
		})
	}
	none := banned{name: "A", cluster: true, labels: map[string]string{}}.make(start).(*v1.ClusterSessionBan)
	none.Spec.NamespaceSelector.MatchExpressions = []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Is"}}
	if b := session.InForce([]v1.Ban{none}, fresh(), nil, start); b != nil {
		t.Errorf("a selector that is none selects a namespace: %+v", b)
	}
}

func TestABanIsOverAtTheMomentThatItNames(t *testing.T) {
	b := banned{name: "A", left: time.Hour}.make(start)
	for at, want := range map[time.Duration]bool{time.Hour - time.Nanosecond: false, time.Hour: true, 2 * time.Hour: true} {
		if session.Expired(b, start.Add(at)) != want || (session.InForce([]v1.Ban{b}, fresh(), nil, start.Add(at)) == nil) != want {
			t.Errorf("after %s it is over: %t", at, !want)
		}
	}
}

// A session is looked at again when what is in force may be another: when the first of the bans ends.
func TestASessionUnderABanIsLookedAtAgainWhenOneEnds(t *testing.T) {
	for name, test := range map[string]struct {
		bans []banned
		want time.Duration
	}{
		"one for ever":  {bans: []banned{{name: "A"}}},
		"one that ends": {bans: []banned{{name: "A", left: time.Hour}}, want: time.Hour},
		"the one in force ends first": {
			bans: []banned{{name: "A", cluster: true, left: time.Hour}, {name: "B", left: 2 * time.Hour}}, want: time.Hour,
		},
		"the one in force is for ever": {
			bans: []banned{{name: "A", cluster: true}, {name: "B", left: 2 * time.Hour}}, want: 2 * time.Hour,
		},
		"one is over already": {
			bans: []banned{{name: "A", left: -time.Hour}, {name: "B", left: 2 * time.Hour}}, want: 2 * time.Hour,
		},
		"one that comes after the one in force ends": {
			bans: []banned{{name: "A", age: time.Hour, left: 3 * time.Hour}, {name: "B", left: 2 * time.Hour}}, want: 2 * time.Hour,
		},
	} {
		t.Run(name, func(t *testing.T) {
			var bans []v1.Ban
			for _, b := range test.bans {
				bans = append(bans, b.make(start))
			}
			at := session.InForce(bans, fresh(), nil, start).ExpiresAt
			if test.want == 0 && !at.IsZero() || test.want != 0 && !at.Equal(start.Add(test.want)) {
				t.Errorf("it is looked at again at %v, want in %v", at, test.want)
			}
		})
	}
}

func TestABansStatusTellsHowItStands(t *testing.T) {
	invalid := banned{name: "A", cluster: true, labels: map[string]string{}}.make(start)
	invalid.(*v1.ClusterSessionBan).Spec.NamespaceSelector.MatchExpressions = []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Is"}}
	for name, test := range map[string]struct {
		ban               v1.Ban
		matched, enforced int
		want, says        string
	}{
		"nothing matches": {
			banned{name: "A"}.make(start), 0, 0, "True NothingMatched 0 of 0", "Whichever comes will be terminated",
		},
		"some are still to be terminated": {banned{name: "A"}.make(start), 3, 2, "False Reconciling Enforcing 2 of 3", "still to be terminated"},
		"all are terminated": {
			banned{name: "A"}.make(start), 3, 3, "True Enforced 3 of 3", "Each session that matches is terminated",
		},
		"it is over": {
			banned{name: "A", left: -time.Hour}.make(start), 3, 3, "False Expired 0 of 0", "set another spec.expiresAt",
		},
		"its selector is none": {invalid, 3, 3, "False Stalled SelectorInvalid 0 of 0", "spec.namespaceSelector"},
	} {
		t.Run(name, func(t *testing.T) {
			*test.ban.BanStatus() = v1.SessionBanStatus{ObservedGeneration: -1}
			st := session.BanStatus(test.ban, test.matched, test.enforced, start)
			c := meta.FindStatusCondition(st.Conditions, v1.ConditionEnforced)
			words := []string{string(c.Status)}
			for _, kind := range []string{v1.ConditionReconciling, v1.ConditionStalled} {
				if meta.IsStatusConditionTrue(st.Conditions, kind) {
					words = append(words, kind)
				}
			}
			got := fmt.Sprintf("%s %s %d of %d", strings.Join(words, " "), c.Reason, *st.Enforced, *st.Matched)
			if got != test.want || !strings.Contains(c.Message, test.says) || st.ObservedGeneration != 1 || c.ObservedGeneration != 1 {
				t.Errorf("it is %s (%s), want %s (%s)", got, c.Message, test.want, test.says)
			}
			*test.ban.BanStatus() = st
			if again := session.BanStatus(test.ban, test.matched, test.enforced, start.Add(time.Hour)); show(again) != show(st) {
				t.Errorf("another look changes it to %s", show(again))
			}
		})
	}
}

func TestABanSaysWhichItIsAndWhy(t *testing.T) {
	for reason, want := range map[string]string{
		"":                "SessionBan stolen is in force.",
		"it was stolen":   "SessionBan stolen is in force: it was stolen.",
		"it was stolen..": "SessionBan stolen is in force: it was stolen.",
	} {
		w := newWorld()
		b := terminalBan.DeepCopy()
		b.Spec.Reason = reason
		ban(b)(w)
		w.look()
		if got := w.s.Status.Error; got.Code != "TerminalStolen" || got.Message != want {
			t.Errorf("status.error is %s, want %q", show(got), want)
		}
	}
}
