package lease_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	clocktesting "k8s.io/utils/clock/testing"

	"terminals.dev/session-controller/internal/lease"
)

// object is a Lease as the API server would have it.
type object struct {
	mu      sync.Mutex
	record  resourcelock.LeaderElectionRecord
	version int
	// during, where it is set, is what happens while it is being written; an error refuses the write.
	during func() error
}

// takenBy is the lease of somebody; of nobody, it was given back.
func (o *object) takenBy(id string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.record, o.version = record(id), o.version+1
}

// writing sets what happens while it is being written.
func (o *object) writing(during func() error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.during = during
}

func (o *object) holder() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.record.HolderIdentity
}

func record(id string) resourcelock.LeaderElectionRecord {
	return resourcelock.LeaderElectionRecord{HolderIdentity: id, LeaseDurationSeconds: int(lease.Duration / time.Second)}
}

// lock is one replica's, which writes against the version that it has read.
type lock struct {
	*object
	id   string
	seen int
}

var leases = schema.GroupResource{Group: "coordination.k8s.io", Resource: "leases"}

func (l *lock) Get(context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.version == 0 {
		return nil, nil, apierrors.NewNotFound(leases, "lease")
	}
	l.seen = l.version
	return new(l.record), []byte(l.record.HolderIdentity + l.record.RenewTime.String()), nil
}

func (l *lock) Create(ctx context.Context, r resourcelock.LeaderElectionRecord) error {
	return l.Update(ctx, r)
}

func (l *lock) Update(_ context.Context, r resourcelock.LeaderElectionRecord) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.during != nil {
		if err := l.during(); err != nil {
			return err
		}
	}
	if l.seen != l.version {
		return apierrors.NewConflict(leases, "lease", errors.New("it was written by another"))
	}
	l.record, l.version, l.seen = r, l.version+1, l.version+1
	return nil
}

func (l *lock) RecordEvent(string) {}
func (l *lock) Identity() string   { return l.id }
func (l *lock) Describe() string   { return "lease" }

// replica is one that leads, by a clock of the test's own.
func replica(t *testing.T) (*lease.Lease, *object, *clocktesting.FakePassiveClock) {
	t.Helper()
	o, clock := &object{}, clocktesting.NewFakePassiveClock(time.Now())
	l := lease.Watch(&lock{object: o, id: "me"}, clock)
	if l.Held() {
		t.Error("a lease that nobody has asked for is held")
	}
	if err := l.Create(t.Context(), record("me")); err != nil {
		t.Fatal(err)
	}
	if !l.Held() {
		t.Error("a lease that was just taken is not held")
	}
	return l, o, clock
}

// ended is how leading has ended; nil is that it has not, or in order. It is asked in a synctest bubble.
func ended(t *testing.T, l *lease.Lease) (err error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan struct{})
	go func() {
		err = l.Start(ctx)
		close(over)
	}()
	synctest.Wait()
	cancel()
	<-over
	return err
}

func TestALeaderActsForTheRenewDeadlineAfterEachRenewal(t *testing.T) {
	t.Parallel()
	l, o, clock := replica(t)
	step := func(d time.Duration, want bool) {
		t.Helper()
		clock.SetTime(clock.Now().Add(d))
		if got := l.Held(); got != want {
			t.Errorf("held: %t, want %t", got, want)
		}
	}
	renew := func() error { return l.Update(t.Context(), record("me")) }
	step(lease.RenewDeadline-1, true)
	if err := renew(); err != nil {
		t.Fatal(err)
	}
	step(lease.RenewDeadline-1, true)
	o.writing(func() error { return errors.New("the API server is away") })
	if err := renew(); err == nil {
		t.Error("what the API server says was kept back")
	}
	step(1, false)
	o.writing(nil)
	if err := renew(); err != nil { // nobody has taken it meanwhile
		t.Fatal(err)
	}
	step(0, true)
}

func TestARenewalCountsFromWhenItWasSent(t *testing.T) {
	t.Parallel()
	l, o, clock := replica(t)
	o.writing(func() error {
		clock.SetTime(clock.Now().Add(lease.RenewDeadline))
		return nil
	})
	if err := l.Update(t.Context(), record("me")); err != nil {
		t.Fatal(err)
	}
	if l.Held() {
		t.Error("the answer came when others may have waited for as long as that, and the lease is held")
	}
}

func TestALeaderThatFindsTheLeaseAnothersLeadsNoMore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for whose, id := range map[string]string{"another's": "another", "given back by another": ""} {
			l, o, _ := replica(t)
			o.takenBy(id)
			if _, _, err := l.Get(t.Context()); err != nil {
				t.Fatal(err)
			}
			if l.Held() {
				t.Errorf("the lease is %s, and held", whose)
			}
			if err := ended(t, l); !errors.Is(err, lease.ErrLost) {
				t.Errorf("the lease is %s, and leading ended with: %v", whose, err)
			}
			if err := l.Update(t.Context(), record("me")); !errors.Is(err, lease.ErrLost) || o.holder() != id || l.Held() {
				t.Errorf("the lease was %s, and is taken again by who is about to end (%v)", whose, err)
			}
		}
	})
}

func TestALeaseThatIsGivenBackIsHeldNoMoreFromWhenThatIsSent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, o, _ := replica(t)
		o.writing(func() error {
			if l.Held() {
				t.Error("others may have the lease by now, and it is held")
			}
			return nil
		})
		if err := l.Update(t.Context(), record("")); err != nil {
			t.Fatal(err)
		}
		o.takenBy("another")
		if _, _, err := l.Get(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := ended(t, l); err != nil {
			t.Errorf("the lease was given back in order, and leading ended with: %v", err)
		}
	})
}

func TestWhoStandsByWaitsForTheLeaseOfAnother(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := &object{}
		o.takenBy("another")
		l := lease.Watch(&lock{object: o, id: "me"}, clocktesting.NewFakePassiveClock(time.Now()))
		if _, _, err := l.Get(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := ended(t, l); err != nil || l.Held() {
			t.Errorf("held: %t, ended with: %v", l.Held(), err)
		}
	})
}
