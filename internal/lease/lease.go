// Package lease has a leader act no longer than its lease lasts. Leader election alone leaves a gap: who stood still, by SIGSTOP or for want of
// CPU, goes on where it stopped, and tries for up to RenewDeadline for a lease that is another's by then.
package lease

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/utils/clock"
)

// The times of the election, which are those that are customary.
const (
	// Duration is how long others wait, after they have seen the lease renewed, before they take it.
	Duration = 15 * time.Second
	// RenewDeadline is how long ago the lease may have been renewed by who still acts. See Lease.Held.
	RenewDeadline = 10 * time.Second
	// RetryPeriod is how often the lease is renewed, or asked for.
	RetryPeriod = 2 * time.Second
)

// ErrLost is how leading ends where another replica has taken the lease.
var ErrLost = errors.New("leader election lost: another replica leads")

// Lease is the lock of an election that knows whether its holder may act. As a manager's Runnable it ends the manager when another replica
// has taken the lease.
type Lease struct {
	resourcelock.Interface
	clock clock.PassiveClock

	// renewed is when the write was sent that made this replica the leader, or kept it so; nil while it is not.
	renewed atomic.Pointer[time.Time]
	lost    chan struct{}
	lose    func()
}

// Watch makes a Lease of a lock.
func Watch(lock resourcelock.Interface, c clock.PassiveClock) *Lease {
	l := &Lease{Interface: lock, clock: c, lost: make(chan struct{})}
	l.lose = sync.OnceFunc(func() { close(l.lost) })
	return l
}

// Held is whether this replica may act as the leader: it has sent the last renewal that succeeded less than RenewDeadline ago. Nobody else
// can have the lease before Duration has passed since then, as they count from when they have seen it renewed. What is between the two is for
// what was begun at the last moment, and for clocks that do not go equally fast.
//
// It costs the reading of a clock. That is the monotonic one, which goes on while the process is stopped, but on Linux not while the whole
// machine is suspended or a virtual one paused. After that it is true until the next try to renew, RetryPeriod later at most, finds whose the
// lease is.
func (l *Lease) Held() bool {
	at := l.renewed.Load()
	return at != nil && l.clock.Since(*at) < RenewDeadline
}

// Get implements resourcelock.Interface. A leader that finds the lease another's, or given back by another, leads no more.
func (l *Lease) Get(ctx context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	record, raw, err := l.Interface.Get(ctx)
	if err == nil && record.HolderIdentity != l.Identity() && l.renewed.Swap(nil) != nil {
		l.lose()
	}
	return record, raw, err
}

// Create implements resourcelock.Interface.
func (l *Lease) Create(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	return l.write(record, func() error { return l.Interface.Create(ctx, record) })
}

// Update implements resourcelock.Interface.
func (l *Lease) Update(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	return l.write(record, func() error { return l.Interface.Update(ctx, record) })
}

// write takes the lease, renews it, or gives it back. Once it is lost it is not taken again: the process is about to end, and what it has in
// hand is of a time in which it led.
func (l *Lease) write(record resourcelock.LeaderElectionRecord, write func() error) error {
	select {
	case <-l.lost:
		return ErrLost
	default:
	}
	if record.HolderIdentity != l.Identity() {
		l.renewed.Store(nil) // before it is sent: others may act as soon as it has arrived
		return write()
	}
	sent := l.clock.Now() // by the time of the answer others may have waited for long
	err := write()
	if err == nil {
		l.renewed.Store(&sent)
	}
	return err
}

// Start implements manager.Runnable. It waits until another replica has taken the lease, which is an error, or ctx is done.
func (l *Lease) Start(ctx context.Context) error {
	select {
	case <-l.lost:
		return ErrLost
	case <-ctx.Done():
		return nil
	}
}

// NeedLeaderElection says no: it is to be there from the beginning.
func (*Lease) NeedLeaderElection() bool { return false }
