package controllers

import (
	"cmp"
	"sync"
	"time"

	"golang.org/x/time/rate"
	"k8s.io/apimachinery/pkg/types"

	v1 "terminals.dev/session-controller/api/v1"
)

// What a provider may be asked where its spec does not say: the schema's own defaults.
const (
	defaultRate       = 50
	defaultBurst      = 100
	defaultConcurrent = 16
)

// limit bounds what one provider is asked, by whomever: so many calls a second, and so many at once. It keeps nobody waiting: who cannot
// go is told how long it takes at least, and comes back.
type limit struct {
	mu                   sync.Mutex
	bucket               *rate.Limiter
	concurrent, underway int
}

// limiter returns the limit of a provider: the same one for as long as the provider lives, with the figures that its spec has now. A change
// of them grants no new burst.
func (p *Providers) limiter(obj v1.Provider) *limit {
	spec, now := obj.ProviderSpec().RateLimit, p.Clock.Now()
	persecond, burst := rate.Limit(cmp.Or(spec.RequestsPerSecond, defaultRate)), int(cmp.Or(spec.Burst, defaultBurst))

	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.limits[obj.GetUID()]
	if l == nil {
		if p.limits == nil {
			p.limits = map[types.UID]*limit{}
		}
		l = &limit{bucket: rate.NewLimiter(persecond, burst)}
		p.limits[obj.GetUID()] = l
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.bucket.Limit() != persecond {
		l.bucket.SetLimitAt(now, persecond)
	}
	if l.bucket.Burst() != burst {
		l.bucket.SetBurstAt(now, burst)
	}
	l.concurrent = int(cmp.Or(spec.Concurrent, defaultConcurrent))
	return l
}

// enter asks for leave to make one call. Where it is given, leave is to be called when the call is over; else leave is nil, and there is no
// place before wait has passed.
func (l *limit) enter(now time.Time) (leave func(), wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.underway >= l.concurrent {
		return nil, l.interval()
	}
	// One that does not fit is given back at once: who holds a place in the future would keep out those who are more urgent.
	place := l.bucket.ReserveN(now, 1)
	if wait := place.DelayFrom(now); wait > 0 {
		place.CancelAt(now)
		return nil, max(wait, time.Millisecond)
	}
	l.underway++
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.underway--
	}, 0
}

// interval is the time between two calls over time.
func (l *limit) interval() time.Duration {
	return time.Duration(float64(time.Second) / float64(l.bucket.Limit()))
}
