package embedded_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"terminals.dev/session-controller/internal/provider/embedded"
)

const day = 24 * time.Hour

func info(id string, createdAt time.Time) embedded.KeyInfo {
	return embedded.KeyInfo{ID: id, CreatedAt: createdAt}
}

func TestSchedule(t *testing.T) {
	const interval = 90 * day // and so a lead of a day
	tests := map[string]struct {
		keys     []embedded.KeyInfo
		interval time.Duration
		now      time.Time
		want     embedded.Plan
	}{
		"without a key the first is made": {
			interval: interval, now: start,
			want: embedded.Plan{CreateNext: true},
		},
		"the first key signs at once": {
			keys: []embedded.KeyInfo{info("a", start)}, interval: interval, now: start,
			want: embedded.Plan{Active: "a", Next: start.Add(89 * day)},
		},
		"nothing happens before the next key is due": {
			keys: []embedded.KeyInfo{info("a", start)}, interval: interval, now: start.Add(89*day - 1),
			want: embedded.Plan{Active: "a", Next: start.Add(89 * day)},
		},
		"the next key is made a lead before the interval is over": {
			keys: []embedded.KeyInfo{info("a", start)}, interval: interval, now: start.Add(89 * day),
			want: embedded.Plan{Active: "a", CreateNext: true},
		},
		"the next key does not sign within its lead": {
			keys:     []embedded.KeyInfo{info("a", start), info("b", start.Add(89*day))},
			interval: interval, now: start.Add(90*day - 1),
			want: embedded.Plan{Active: "a", Next: start.Add(90 * day)},
		},
		"the next key signs after its lead": {
			keys:     []embedded.KeyInfo{info("a", start), info("b", start.Add(89*day))},
			interval: interval, now: start.Add(90 * day),
			want: embedded.Plan{Active: "b", Next: start.Add(178 * day)},
		},
		"a key stays as long as its last token": {
			keys:     []embedded.KeyInfo{info("a", start), info("b", start.Add(89*day)), info("c", start.Add(454*day))},
			interval: interval, now: start.Add(455*day - 1),
			want: embedded.Plan{Active: "b", Next: start.Add(455 * day)},
		},
		"a key goes with its last token": {
			keys:     []embedded.KeyInfo{info("a", start), info("b", start.Add(89*day)), info("c", start.Add(454*day))},
			interval: interval, now: start.Add(455 * day),
			want: embedded.Plan{Active: "c", Retire: []string{"a"}, Next: start.Add(543 * day)},
		},
		"a short interval has a lead of its tenth": {
			keys:     []embedded.KeyInfo{info("a", start), info("b", start.Add(9*time.Hour))},
			interval: 10 * time.Hour, now: start.Add(10*time.Hour - 1),
			want: embedded.Plan{Active: "a", Next: start.Add(10 * time.Hour)},
		},
		"keys of the same moment are taken by ID": {
			keys:     []embedded.KeyInfo{info("b", start), info("a", start), info("c", start)},
			interval: interval, now: start,
			want: embedded.Plan{Active: "a", Next: start.Add(day)},
		},
		"a key from the future is waited for": {
			keys:     []embedded.KeyInfo{info("a", start.Add(time.Hour))},
			interval: interval, now: start,
			want: embedded.Plan{Active: "a", Next: start.Add(89*day + time.Hour)},
		},
		"without an interval nothing ever happens": {
			keys: []embedded.KeyInfo{info("a", start)}, now: start.Add(10 * 365 * day),
			want: embedded.Plan{Active: "a"},
		},
		"without an interval a key still has its lead": {
			keys: []embedded.KeyInfo{info("a", start), info("b", start)}, now: start.Add(day - 1),
			want: embedded.Plan{Active: "a", Next: start.Add(day)},
		},
		"without an interval old keys still go": {
			keys: []embedded.KeyInfo{info("a", start), info("b", start)}, now: start.Add(366 * day),
			want: embedded.Plan{Active: "b", Retire: []string{"a"}},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := embedded.Schedule(test.keys, test.interval, test.now); !reflect.DeepEqual(got, test.want) {
				t.Errorf("got  %+v\nwant %+v", got, test.want)
			}
		})
	}
}

// Whatever the keys, the interval and the clock are like, a plan is of use.
func TestScheduleHoldsItsPromisesForAnyKeys(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	intervals := []time.Duration{math.MinInt64, -1, 0, 1, 9, time.Second, day, 90 * day, 365 * day, math.MaxInt64}
	for range 5000 {
		keys := make([]embedded.KeyInfo, 1+random.IntN(6))
		for i := range keys {
			keys[i] = info(fmt.Sprintf("%c", 'a'+i), start.Add(time.Duration(random.IntN(1600)-1200)*day))
		}
		interval := intervals[random.IntN(len(intervals))]
		before := slices.Clone(keys)
		plan := embedded.Schedule(keys, interval, start)
		fail := func(format string, args ...any) {
			t.Helper()
			t.Fatalf("%s\nkeys %v\ninterval %s\nplan %+v", fmt.Sprintf(format, args...), keys, interval, plan)
		}

		if !slices.Equal(keys, before) {
			fail("the keys were changed, from %v", before)
		}
		if !slices.ContainsFunc(keys, func(k embedded.KeyInfo) bool { return k.ID == plan.Active }) {
			fail("no key signs")
		}
		if slices.Contains(plan.Retire, plan.Active) {
			fail("the key that signs is retired")
		}
		if !plan.Next.IsZero() && !plan.Next.After(start) {
			fail("Next is not ahead")
		}
		random.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
		if again := embedded.Schedule(keys, interval, start); !reflect.DeepEqual(again, plan) {
			fail("in another order the plan is %+v", again)
		}
		if plan.Next.IsZero() {
			if later := embedded.Schedule(keys, interval, start.Add(100*365*day)); !reflect.DeepEqual(later, plan) {
				fail("without Next the plan has become %+v", later)
			}
			continue
		}
		if until := embedded.Schedule(keys, interval, plan.Next.Add(-1)); !reflect.DeepEqual(until, plan) {
			fail("before Next the plan has become %+v", until)
		}
		if then := embedded.Schedule(keys, interval, plan.Next); reflect.DeepEqual(then, plan) {
			fail("at Next the plan is still the same")
		}
	}
}

// Over years of rotation, carried out late and at odd times, every token verifies until it expires.
func TestRotationNeverBreaksAToken(t *testing.T) {
	for _, interval := range []time.Duration{7 * day, 30 * day, 90 * day, 365 * day, 800 * day} {
		t.Run(interval.String(), func(t *testing.T) {
			t.Parallel()
			const step = 4 * day
			random := rand.New(rand.NewPCG(3, uint64(interval)))
			s := &simulation{T: t, world: &world{now: start}, interval: interval, everPublished: map[string]time.Time{}}
			s.issuer = s.world.issuer(issuerURL)
			lead := min(interval/10, day)
			bound := int((embedded.MaxTokenLifetime+lead+step)/(interval-lead)) + 3

			for end := start.Add(4 * 365 * day); s.world.Now().Before(end); {
				s.rotate()
				s.checkActive(lead)
				if len(s.keys) > bound {
					t.Fatalf("%d keys are published, want at most %d", len(s.keys), bound)
				}
				s.sign(embedded.MaxTokenLifetime)
				s.sign(time.Minute + time.Duration(random.Int64N(int64(embedded.MaxTokenLifetime))))
				ahead := time.Duration(1 + random.Int64N(int64(step)))
				s.checkTokens(ahead)
				s.world.advance(ahead)
			}
			if want := int(3 * 365 * day / interval); len(s.everPublished) < want {
				t.Errorf("only %d keys were made, want at least %d", len(s.everPublished), want)
			}
		})
	}
}

type simulation struct {
	*testing.T
	world         *world
	issuer        *embedded.Issuer
	interval      time.Duration
	keys          []embedded.Key
	active        string
	everPublished map[string]time.Time
	tokens        []signed
}

type signed struct {
	raw, keyID string
	expiresAt  time.Time
}

// rotate does what the controller does with a plan.
func (s *simulation) rotate() {
	now := s.world.Now()
	plan := s.plan(now)
	if plan.CreateNext {
		key, err := embedded.NewKey(now)
		if err != nil {
			s.Fatal(err)
		}
		s.keys = append(s.keys, key)
		s.everPublished[key.ID] = now
	}
	s.keys = slices.DeleteFunc(s.keys, func(k embedded.Key) bool { return slices.Contains(plan.Retire, k.ID) })
	s.active = s.plan(now).Active
	s.world.set(embedded.KeySet{Active: s.active, Keys: slices.Clone(s.keys)}, nil)
}

func (s *simulation) plan(now time.Time) embedded.Plan {
	infos := make([]embedded.KeyInfo, 0, len(s.keys))
	for _, key := range s.keys {
		infos = append(infos, key.KeyInfo)
	}
	return embedded.Schedule(infos, s.interval, now)
}

func (s *simulation) checkActive(lead time.Duration) {
	published, ok := s.everPublished[s.active]
	if !ok {
		s.Fatalf("key %q signs and was never published", s.active)
	}
	if age := s.world.Now().Sub(published); age < lead && len(s.everPublished) > 1 {
		s.Fatalf("a key signs %s after it was published, want at least %s", age, lead)
	}
}

func (s *simulation) sign(lifetime time.Duration) {
	req := request()
	req.Session.Lifetime = min(lifetime, embedded.MaxTokenLifetime)
	token := login(s.T, s.issuer, req)
	expiresAt := s.world.Now().Truncate(time.Second).Add(token.ExpiresIn)
	s.tokens = append(s.tokens, signed{raw: token.Value, keyID: s.active, expiresAt: expiresAt})
}

// checkTokens verifies the newest token and those in their last moments. Of the others it looks only at whether their key is there,
// as the cryptography gives the same answer each time.
func (s *simulation) checkTokens(ahead time.Duration) {
	now := s.world.Now()
	s.tokens = slices.DeleteFunc(s.tokens, func(token signed) bool { return !now.Before(token.expiresAt) })
	for i, token := range s.tokens {
		if !slices.ContainsFunc(s.keys, func(k embedded.Key) bool { return k.ID == token.keyID }) {
			s.Fatalf("a token with %s to live has lost its key", token.expiresAt.Sub(now))
		}
		if i < len(s.tokens)-1 && token.expiresAt.After(now.Add(ahead)) {
			continue
		}
		if _, err := s.issuer.Verify(s.Context(), token.raw); err != nil {
			s.Fatalf("a token with %s to live: %v", token.expiresAt.Sub(now), err)
		}
	}
}
