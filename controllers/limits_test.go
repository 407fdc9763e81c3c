package controllers

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"

	v1 "terminals.dev/session-controller/api/v1"
)

// begun is the context of a call that has leave.
func begun() context.Context {
	return context.WithValue(context.Background(), firstRequest{}, new(atomic.Bool))
}

func limited(uid types.UID, spec v1.RateLimit) *v1.SessionProvider {
	p := &v1.SessionProvider{}
	p.UID, p.Spec.RateLimit = uid, spec
	return p
}

// at is a Providers whose clock the test sets.
func at(now time.Time) (*Providers, *clocktesting.FakePassiveClock) {
	clock := clocktesting.NewFakePassiveClock(now)
	return &Providers{Clock: clock}, clock
}

// enterAll enters as often as there is leave, and leaves at once.
func enterAll(l *limit, now time.Time) (n int) {
	for {
		leave, _ := l.enter(now, 0)
		if leave == nil {
			return n
		}
		leave(false)
		n++
	}
}

func TestInNoSecondMoreIsAskedThanTheBurstAndTheRate(t *testing.T) {
	t.Parallel()
	start := time.Now()
	providers, clock := at(start)
	const rate, burst = 40, 25
	p := limited("a", v1.RateLimit{RequestsPerSecond: rate, Burst: burst, Concurrent: 1000})
	var asked []time.Time
	for step := range 5000 {
		now := start.Add(time.Duration(step) * time.Millisecond)
		clock.SetTime(now)
		for range enterAll(providers.limiter(p), now) {
			asked = append(asked, now)
		}
	}
	for i, from := range asked {
		n := 0
		for _, at := range asked[i:] {
			if at.Sub(from) < time.Second {
				n++
			}
		}
		if n > burst+rate {
			t.Fatalf("%d calls within a second, want at most %d", n, burst+rate)
		}
	}
	if want := burst + 5*rate; len(asked) < want-1 || len(asked) > want {
		t.Errorf("%d calls in five seconds, want %d", len(asked), want)
	}
}

func TestNoMoreCallsAreUnderWayThanThereMayBe(t *testing.T) {
	t.Parallel()
	now := time.Now()
	providers, _ := at(now)
	l := providers.limiter(limited("a", v1.RateLimit{Concurrent: 2}))
	first, _ := l.enter(now, 0)
	second, _ := l.enter(now, 0)
	if first == nil || second == nil {
		t.Fatal("there is no leave for two")
	}
	if leave, wait := l.enter(now, 0); leave != nil || wait <= 0 {
		t.Errorf("a third has leave, or is to come back in %s", wait)
	}
	first(false)
	if leave, _ := l.enter(now, 0); leave == nil {
		t.Error("nobody may follow the first")
	}
}

// Whoever holds a place in the future keeps out those who are more urgent.
func TestWhoIsSentAwayHoldsNoPlace(t *testing.T) {
	t.Parallel()
	now := time.Now()
	providers, _ := at(now)
	l := providers.limiter(limited("a", v1.RateLimit{RequestsPerSecond: 10, Burst: 1}))
	enterAll(l, now)
	for range 1000 {
		if _, wait := l.enter(now, 0); wait != 100*time.Millisecond {
			t.Fatalf("the wait is %s, want that for one token", wait)
		}
	}
	if n := enterAll(l, now.Add(100*time.Millisecond)); n != 1 {
		t.Errorf("%d have leave after the time for one token", n)
	}
}

func TestALimitFollowsTheSpecAndGrantsNoNewBurst(t *testing.T) {
	t.Parallel()
	now := time.Now()
	providers, clock := at(now)
	if n := enterAll(providers.limiter(limited("a", v1.RateLimit{})), now); n != defaultBurst {
		t.Errorf("the burst is %d, want the default of %d", n, defaultBurst)
	}
	if n := enterAll(providers.limiter(limited("a", v1.RateLimit{RequestsPerSecond: 7, Burst: 500})), now); n != 0 {
		t.Errorf("the change of spec let %d more through", n)
	}
	if n := enterAll(providers.limiter(limited("b", v1.RateLimit{Burst: 3})), now); n != 3 {
		t.Errorf("another provider has a burst of %d, want 3", n)
	}
	now = now.Add(time.Second)
	clock.SetTime(now)
	if n := enterAll(providers.limiter(limited("a", v1.RateLimit{RequestsPerSecond: 7, Burst: 500})), now); n != 7 {
		t.Errorf("%d in a second, want 7", n)
	}
}

// discovering is a limit of a provider whose calls may have to wait for each other before their first request.
func discovering(spec v1.RateLimit) (*limit, *clocktesting.FakePassiveClock) {
	providers, clock := at(time.Now())
	p := limited("a", spec)
	p.Spec.OAuth2 = &v1.OAuth2Provider{}
	return providers.limiter(p), clock
}

// Sixteen calls that have leave wait for one discovery: when it is done, they and those who come then are not more than the burst.
func TestWhatWasNotSentYetMakesNoRoomForOthers(t *testing.T) {
	t.Parallel()
	l, clock := discovering(v1.RateLimit{RequestsPerSecond: 100, Burst: 20, Concurrent: 1000})
	var held []context.Context
	for range 16 {
		if leave, _ := l.enter(clock.Now(), 0); leave == nil {
			t.Fatal("there is no leave")
		}
		held = append(held, begun())
	}
	clock.SetTime(clock.Now().Add(time.Minute))
	sent := 0
	for {
		if leave, _ := l.enter(clock.Now(), 0); leave == nil {
			break
		}
		held = append(held, begun())
	}
	for _, ctx := range held {
		if err := l.pay(ctx, clock); err != nil {
			t.Fatal(err)
		}
		sent++
	}
	if sent != 20 {
		t.Errorf("%d requests go out at once, want the burst of 20", sent)
	}
	if leave, _ := l.enter(clock.Now(), 0); leave != nil {
		t.Error("there is leave for one more")
	}
}

func TestTheFirstRequestOfACallIsPaidAndEachFurtherOneIsNot(t *testing.T) {
	t.Parallel()
	l, clock := discovering(v1.RateLimit{RequestsPerSecond: 1, Burst: 3, Concurrent: 10})
	leave, _ := l.enter(clock.Now(), 0)
	call := begun()
	for range 3 {
		if err := l.pay(call, clock); err != nil {
			t.Fatal(err)
		}
	}
	leave(false)
	if _, wait := l.enter(clock.Now(), 0); wait != time.Second {
		t.Errorf("the next is to wait for %s, want a second", wait)
	}
}

func TestARequestThatIsGivenUpWhileItWaitsTakesNothing(t *testing.T) {
	t.Parallel()
	l, clock := discovering(v1.RateLimit{RequestsPerSecond: 1, Burst: 1, Concurrent: 10})
	enterAll(l, clock.Now())
	ended, end := context.WithCancel(context.Background())
	end()
	for range 100 {
		if err := l.pay(ended, clock); !errors.Is(err, errThrottled) {
			t.Fatalf("the error is %v", err)
		}
	}
	if _, wait := l.enter(clock.Now(), 0); wait != time.Second {
		t.Errorf("the next is to wait for %s, want a second", wait)
	}
}

func TestARequestThatWouldWaitForLongerThanACallMayIsNotBegun(t *testing.T) {
	t.Parallel()
	l, clock := discovering(v1.RateLimit{RequestsPerSecond: 1, Burst: 1, Concurrent: 10})
	l.bucket.tokens = -20
	if err := l.pay(context.Background(), clock); !errors.Is(err, errThrottled) {
		t.Errorf("the error is %v", err)
	}
	if l.bucket.tokens != -20 || l.queued != 0 {
		t.Errorf("it has taken a place: %v tokens, %d in the queue", l.bucket.tokens, l.queued)
	}
}

func TestACallThatMadeNoRequestKeepsNoRoom(t *testing.T) {
	t.Parallel()
	l, clock := discovering(v1.RateLimit{RequestsPerSecond: 1, Burst: 2, Concurrent: 10})
	for range 2 {
		leave, _ := l.enter(clock.Now(), 0)
		leave(false)
	}
	clock.SetTime(clock.Now().Add(time.Minute))
	if n := enterAll(l, clock.Now()); n != 2 {
		t.Errorf("%d have leave a minute later, want 2", n)
	}
}
