package controllers

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/internal/provider"
	"terminals.dev/session-controller/internal/telemetry"
)

// asker makes calls to one provider whose time the test sets.
type asker struct {
	t     *testing.T
	clock *clocktesting.FakePassiveClock
	to    resolved
	calls calls
	// came is how many have come: each is another session.
	came int
}

func newAsker(t *testing.T, spec v1.RateLimit) *asker {
	t.Helper()
	providers, clock := at(time.Now())
	obj := limited("a", spec)
	obj.Name = "idp"
	return &asker{t: t, clock: clock, to: resolved{
		remote: providers.remote(obj), limit: providers.limiter(obj), name: nameOf(obj), version: "1", clock: clock,
	}}
}

func (a *asker) comes() *v1.TerminalSession {
	a.came++
	s := &v1.TerminalSession{}
	s.Name = fmt.Sprint(a.came)
	return s
}

// ask makes one call that takes a while and ends so.
func (a *asker) ask(answer error, took time.Duration) error {
	return a.calls.make(context.Background(), a.comes(), 0, a.to, only(func(context.Context) error {
		a.step(took)
		return answer
	}))
}

// only is a call that takes nothing, and of which nobody wants to know what comes late.
func only(ask func(context.Context) error) asked {
	return asked{
		read: func(context.Context) error { return nil },
		ask:  ask,
		late: func(error) {},
	}
}

func (a *asker) step(d time.Duration) { a.clock.SetTime(a.clock.Now().Add(d)) }

func (a *asker) state() telemetry.Circuit {
	a.to.remote.gate.mu.Lock()
	defer a.to.remote.gate.mu.Unlock()
	return a.to.remote.gate.breaker.state(a.clock.Now())
}

// begin begins a call that goes on until it is told how it ends.
func (a *asker) begin() func(error, bool) {
	a.t.Helper()
	left, err := a.to.enter(comer{key: client.ObjectKeyFromObject(a.comes())})
	if err != nil {
		a.t.Fatalf("there is no leave: %v", err)
	}
	return left
}

// leftAlone checks that the provider is not asked, and tells for how long.
func (a *asker) leftAlone(kind provider.Kind) *provider.Error {
	a.t.Helper()
	err := a.calls.make(context.Background(), a.comes(), 0, a.to, only(func(context.Context) error {
		a.t.Error("the provider is asked")
		return nil
	}))
	var alone *provider.Error
	if !errors.As(err, &alone) || alone.Kind != kind || !errors.Is(err, errNotAsked) {
		a.t.Fatalf("the error is %v, want one of kind %s", err, kind)
	}
	return alone
}

func failing(kind provider.Kind) error { return &provider.Error{Kind: kind, Message: "it does not go"} }

// open has it fail until it is left alone.
func (a *asker) open() {
	a.t.Helper()
	for range failuresToOpen {
		if a.state() != telemetry.CircuitClosed {
			a.t.Fatal("it is left alone too soon")
		}
		_ = a.ask(failing(provider.Unavailable), time.Millisecond)
	}
}

func TestAProviderThatFailsFiveTimesInARowIsLeftAloneForAPauseThatDoubles(t *testing.T) {
	t.Parallel()
	a := newAsker(t, roomy)
	a.open()
	for _, pause := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
		pause *= time.Second
		alone := a.leftAlone(provider.Unavailable)
		if alone.RetryAfter != pause || a.state() != telemetry.CircuitOpen {
			t.Fatalf("it is to be asked again in %s, want %s, and its state is %d", alone.RetryAfter, pause, a.state())
		}
		if !strings.Contains(alone.Message, "SessionProvider idp was left alone after ") {
			t.Errorf("the message is %q", alone.Message)
		}
		a.step(pause - time.Millisecond)
		_ = a.leftAlone(provider.Unavailable)
		a.step(time.Millisecond)
		if a.state() != telemetry.CircuitHalfOpen {
			t.Errorf("after the pause the state is %d", a.state())
		}
		if err := a.ask(failing(provider.Unavailable), 0); provider.AsError(err).Message != "it does not go" {
			t.Fatalf("after the pause it is not asked: %v", err)
		}
	}
}

func TestAProviderThatWasLeftAloneIsAskedByOneAtATimeUntilOneSucceeds(t *testing.T) {
	t.Parallel()
	a := newAsker(t, roomy)
	a.open()
	a.step(time.Second)
	for range 3 {
		probe := a.begin()
		for range 10 {
			var full *noRoom
			if _, err := a.to.enter(comer{key: client.ObjectKeyFromObject(a.comes())}); !errors.As(err, &full) || full.wait < time.Second || full.wait > farthestPlace {
				t.Fatalf("those who wait for the one get %v", err)
			}
		}
		probe(failing(provider.Unavailable), true) // given up, which tells nothing
	}
	a.begin()(nil, false)

	if a.state() != telemetry.CircuitClosed {
		t.Errorf("after a success the state is %d", a.state())
	}
	for range 20 {
		a.begin()
	}
}

func TestCallsThatWereUnderWayTogetherWhenItOpenedCountOnce(t *testing.T) {
	t.Parallel()
	a := newAsker(t, roomy)
	var under []func(error, bool)
	for range 16 {
		under = append(under, a.begin())
	}
	a.step(15 * time.Second)
	for _, left := range under {
		left(failing(provider.Unavailable), false)
		a.step(time.Microsecond)
	}
	if rest := a.leftAlone(provider.Unavailable).RetryAfter; rest > time.Second {
		t.Errorf("it is left alone for %s, want a second", rest)
	}
}

func TestWhateverAProviderAnswersShowsThatItIsThere(t *testing.T) {
	t.Parallel()
	for _, kind := range []provider.Kind{
		provider.Rejected, provider.GrantDead, provider.Banned, provider.AuthTokenMissing, provider.Misconfigured, provider.Busy, "",
	} {
		a := newAsker(t, roomy)
		for range 3 {
			for range failuresToOpen - 1 {
				_ = a.ask(failing(provider.Unavailable), 0)
			}
			var answer error
			if kind != "" {
				answer = failing(kind)
			}
			_ = a.ask(answer, 0)
			if a.state() != telemetry.CircuitClosed {
				t.Errorf("after an answer %q the state is %d", kind, a.state())
			}
		}
	}
}

func TestABusyProviderIsLeftAloneForAsLongAsItAsksAndAMinuteAtMost(t *testing.T) {
	t.Parallel()
	for asks, want := range map[time.Duration]time.Duration{20 * time.Second: 20 * time.Second, time.Hour: time.Minute} {
		a := newAsker(t, roomy)
		_ = a.ask(&provider.Error{Kind: provider.Busy, RetryAfter: asks}, 0)
		if rest := a.leftAlone(provider.Busy).RetryAfter; rest != want {
			t.Errorf("it is left alone for %s, want %s", rest, want)
		}
		a.step(want)
		for range 20 { // and not one at a time
			a.begin()
		}
	}
}

func TestANewVersionOfAProviderIsAskedAtOnce(t *testing.T) {
	t.Parallel()
	a := newAsker(t, roomy)
	late := a.begin()
	a.open()
	_ = a.leftAlone(provider.Unavailable)
	a.to.version = "2"
	a.begin()(nil, false)
	late(failing(provider.Unavailable), false) // of the old one
	if a.state() != telemetry.CircuitClosed {
		t.Errorf("its state is %d", a.state())
	}
}

func TestThoseWhoHaveNoRoomComeBackInALineOfAFewSeconds(t *testing.T) {
	t.Parallel()
	a := newAsker(t, v1.RateLimit{RequestsPerSecond: 100, Burst: 1, Concurrent: 16})
	if err := a.ask(nil, 0); err != nil {
		t.Fatal(err)
	}
	for i := range 2000 {
		err := a.ask(nil, 0)
		var full *noRoom
		if !errors.As(err, &full) {
			t.Fatalf("the error is %v", err)
		}
		if want := min(time.Duration(i+1)*10*time.Millisecond, farthestPlace); full.wait != want {
			t.Fatalf("number %d comes back after %s, want %s", i, full.wait, want)
		}
	}
	a.step(10 * time.Millisecond)
	if err := a.ask(nil, 0); err != nil {
		t.Errorf("whoever comes when there is room has none: %v", err)
	}
}

func TestNoMoreCallsOfSessionsAreUnderWayThanThereMayBe(t *testing.T) {
	t.Parallel()
	a := newAsker(t, v1.RateLimit{RequestsPerSecond: 100, Burst: 100, Concurrent: 3})
	for range 2 {
		a.begin()
	}
	left := a.begin()
	_, err := a.to.enter(comer{key: client.ObjectKeyFromObject(a.comes())})
	var full *noRoom
	if !errors.As(err, &full) || full.wait <= 0 {
		t.Fatalf("the error is %v", err)
	}
	left(nil, false)
	a.begin()
}

func TestAnEmbeddedProviderHasNoLimit(t *testing.T) {
	t.Parallel()
	for range 1000 {
		if _, err := (resolved{}).enter(comer{}); err != nil {
			t.Fatal(err)
		}
	}
}
