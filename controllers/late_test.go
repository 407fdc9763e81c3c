package controllers

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/internal/provider"
	"terminals.dev/session-controller/internal/telemetry"
)

// slow is a call that is answered when the test says so.
type slow struct {
	session *v1.TerminalSession
	answer  chan error
	// ended has how it ended for its session, and late what came of it without.
	ended, late chan error
}

// slowly begins a call, and returns once the provider is being asked.
func (a *asker) slowly() slow {
	call := slow{a.comes(), make(chan error), make(chan error, 1), make(chan error, 1)}
	do := only(func(ctx context.Context) error {
		select {
		case err := <-call.answer:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	do.late = func(err error) { call.late <- err }
	go func() { call.ended <- a.calls.make(context.Background(), call.session, 0, a.to, do) }()
	synctest.Wait()
	return call
}

func (a *asker) callOff(call slow) { a.calls.callOff(client.ObjectKeyFromObject(call.session)) }

func TestASessionThatIsToEndDoesNotWaitForItsProviderAndNothingThatIsGivenIsLost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newAsker(t, roomy)
		call := a.slowly()
		a.callOff(call)
		if err := <-call.ended; !errors.Is(err, errCalledOff) {
			t.Fatalf("its session ends with %v", err)
		}
		if len(a.calls.underway) != 1 {
			t.Error("the provider is asked, and has room for another call")
		}
		call.answer <- nil
		if err := <-call.late; err != nil {
			t.Errorf("what came of it is %v", err)
		}
		synctest.Wait()
		if len(a.calls.underway) != 0 {
			t.Error("the call is over, and keeps its room")
		}
	})
}

func TestAnAnswerThatWasThereBeforeTheSessionIsToEndIsItsOwn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newAsker(t, roomy)
		call := a.slowly()
		call.answer <- nil
		synctest.Wait()
		a.callOff(call)
		if err := <-call.ended; err != nil || len(call.late) != 0 {
			t.Errorf("it ends with %v, and %d times without its session", err, len(call.late))
		}
	})
}

func TestACallThatIsCalledOffBeforeItIsMadeIsNotMade(t *testing.T) {
	t.Parallel()
	a, s := newAsker(t, roomy), &v1.TerminalSession{}
	err := a.calls.make(context.Background(), s, 0, a.to, asked{
		read: func(ctx context.Context) error {
			a.calls.callOff(client.ObjectKeyFromObject(s))
			return ctx.Err()
		},
		ask: func(context.Context) error { t.Error("the provider is asked"); return nil },
	})
	if !errors.Is(err, errCalledOff) || !errors.Is(err, errNotAsked) || len(a.calls.underway) != 0 {
		t.Errorf("it ends with %v, and there are %d calls", err, len(a.calls.underway))
	}
}

func TestACallThatIsCalledOffTellsOfTheProviderWhenItIsAnswered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newAsker(t, roomy)
		for range failuresToOpen {
			if a.state() != telemetry.CircuitClosed {
				t.Fatal("it is left alone too soon")
			}
			call := a.slowly()
			a.callOff(call)
			if err := <-call.ended; !errors.Is(err, errCalledOff) {
				t.Fatalf("its session ends with %v", err)
			}
			call.answer <- failing(provider.Unavailable)
			synctest.Wait()
		}
		if a.state() == telemetry.CircuitClosed {
			t.Error("it fails and fails, and is asked")
		}
	})
}

func TestAProcessThatEndsWaitsForTheCallsThatWereCalledOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newAsker(t, roomy)
		before, after := a.slowly(), a.slowly()
		a.callOff(before)
		if err := <-before.ended; !errors.Is(err, errCalledOff) {
			t.Fatalf("its session ends with %v", err)
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- a.calls.end(ctx) }()
		stop()
		synctest.Wait()
		if len(ended) > 0 {
			t.Error("it does not wait")
		}
		a.callOff(after) // of whom nobody would know any more
		synctest.Wait()
		if len(after.ended) > 0 {
			t.Error("a call is left to itself while the process ends")
		}
		before.answer <- nil
		after.answer <- nil
		if err := <-ended; err != nil || len(before.late) != 1 {
			t.Errorf("it ends with %v, and what came of %d calls", err, len(before.late))
		}
		if err := <-after.ended; err != nil {
			t.Errorf("the other ends with %v", err)
		}
	})
}

func TestACallThatWasCalledOffEndsInTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newAsker(t, roomy)
		call, began := a.slowly(), time.Now()
		a.callOff(call)
		if err := <-call.late; !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != callTimeout {
			t.Errorf("it ends after %s with %v", time.Since(began), err)
		}
	})
}

func TestALibraryThatPanicsInACallThatWasCalledOffEndsNoProcess(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, s, off := newAsker(t, roomy), &v1.TerminalSession{}, make(chan struct{})
		late := make(chan error, 1)
		do := only(func(context.Context) error { <-off; panic("a library's") })
		do.late = func(err error) { late <- err; panic("another's") }
		go func() {
			if err := a.calls.make(context.Background(), s, 0, a.to, do); !errors.Is(err, errCalledOff) {
				t.Errorf("its session ends with %v", err)
			}
		}()
		synctest.Wait()
		a.calls.callOff(client.ObjectKeyFromObject(s))
		synctest.Wait()
		close(off)
		if err := <-late; err == nil {
			t.Error("it ends well")
		}
		synctest.Wait()
		if len(a.calls.underway) != 0 {
			t.Error("the call keeps its room")
		}
	})
}

func TestAnAttemptThatWasCalledOffIsSpentUntilStatusTellsOfIt(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		then func(*v1.TerminalSession)
		want bool
	}{
		"nothing is told yet":      {func(*v1.TerminalSession) {}, true},
		"status tells of it":       {func(s *v1.TerminalSession) { s.Status.Attempt = &v1.Attempt{Number: 1} }, false},
		"it is another session":    {func(s *v1.TerminalSession) { s.UID = "2" }, false},
		"it is of another session": {func(s *v1.TerminalSession) { s.Name = "till-2" }, false},
	} {
		var p spent
		s := &v1.TerminalSession{}
		s.Name, s.UID = "till-1", "1"
		p.note(s)
		test.then(s)
		if got := p.is(s); got != test.want {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}
}
