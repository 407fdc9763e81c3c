package lease_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/utils/clock"

	"terminals.dev/session-controller/internal/lease"
)

// elect has a replica stand for election, until ctx is done.
func elect(ctx context.Context, t *testing.T, l *lease.Lease) (stopped <-chan struct{}) {
	t.Helper()
	over := make(chan struct{})
	e, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: l, LeaseDuration: lease.Duration, RenewDeadline: lease.RenewDeadline, RetryPeriod: lease.RetryPeriod, ReleaseOnCancel: true,
		Callbacks: leaderelection.LeaderCallbacks{OnStartedLeading: func(context.Context) {}, OnStoppedLeading: func() { close(over) }},
	})
	if err != nil {
		t.Fatal(err)
	}
	go e.Run(ctx)
	return over
}

func TestALeaderWhoseLeaseAnotherHasTakenIsToldWithinARetry(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		o := &object{}
		l := lease.Watch(&lock{object: o, id: "me"}, clock.RealClock{})
		stopped := elect(ctx, t, l)
		for range 100 { // as long as nobody takes it
			time.Sleep(time.Second)
			if !l.Held() {
				t.Fatal("a leader that renews its lease must not act")
			}
		}
		o.takenBy("another") // while it stood still
		began := time.Now()
		if err := l.Start(ctx); !errors.Is(err, lease.ErrLost) || l.Held() {
			t.Errorf("held: %t, ended with: %v", l.Held(), err)
		}
		if took := time.Since(began); took > lease.RetryPeriod {
			t.Errorf("it was told %s after it went on, want %s at most", took, lease.RetryPeriod)
		}
		cancel()
		<-stopped
		if is := o.holder(); is != "another" {
			t.Errorf("the lease of another was given away: it is of %q", is)
		}
	})
}

func TestALeaderThatCannotRenewActsNoMoreWhenOthersMay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		o := &object{}
		l, other := lease.Watch(&lock{object: o, id: "me"}, clock.RealClock{}), lease.Watch(&lock{object: o, id: "another"}, clock.RealClock{})
		stopped := elect(ctx, t, l)
		synctest.Wait()
		otherStopped := elect(ctx, t, other)
		time.Sleep(time.Minute)
		if !l.Held() || other.Held() {
			t.Fatalf("of two, the first leads: %t, the other: %t", l.Held(), other.Held())
		}
		o.writing(func() error { return errors.New("the API server is away") })
		time.Sleep(lease.RenewDeadline)
		if l.Held() {
			t.Error("it has not renewed the lease for as long as that, and may act")
		}
		<-stopped // and could not give it back
		o.writing(nil)
		for began := time.Now(); !other.Held(); time.Sleep(lease.RetryPeriod) {
			if time.Since(began) > lease.Duration+2*lease.RetryPeriod {
				t.Fatal("nobody leads")
			}
		}
		cancel()
		<-otherStopped
	})
}
