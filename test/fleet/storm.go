package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "terminals.dev/session-controller/api/v1"
)

// squall is a storm: when it is, and what the provider allows.
type squall struct {
	expires time.Time
	limit   v1.RateLimit
}

const (
	// share is the part of a token's life that is left when the first of a fleet that was logged in at once is renewed: a third, and a tenth
	// by which renewals are spread.
	share = 1.0/3 + 1.0/10
	// spare is by how much the provider's rate is above what just suffices.
	spare = 1.1
	// highest is the rate, in renewals a second, above which the storm is made longer instead; and shortest is the shortest one.
	highest  = 100.0
	shortest = 30 * time.Second
	// slowest is how many logins a second are counted on where none were measured.
	slowest = 20.0
)

// lifetime is how long before the common end of all tokens the last session has to be logged in.
func lifetime(sessions int) time.Duration {
	return max(time.Duration(spare*float64(sessions)/(share*highest)*float64(time.Second)), shortest)
}

// storm logs the fleet in by a webhook whose tokens all expire in the same second, and then limits the webhook to a rate that just suffices to
// renew them in time.
func (b *bench) storm(ctx context.Context) (err error) {
	if err := b.clear(ctx, ofProduct); err != nil {
		return err
	}
	h, err := b.hooked(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.unhooked(ctx, h)) }()
	if err := b.apply(ctx, ofProduct, 0, b.n, external); err != nil {
		return err
	}
	v, err := b.watch(ctx, sessionsOf(ofProduct), asJSON)
	if err != nil {
		return err
	}
	defer v.stop()
	life := lifetime(b.n)
	s := squall{expires: time.Now().Add(life + b.loginsTake()).Truncate(time.Second)}
	h.expireAt(s.expires)
	if err := b.startManager(ctx); err != nil {
		return err
	}
	if _, err := v.first(ctx, b.n, established, b.bar(b.n, "waiting until they are established")); err != nil {
		return err
	}
	left := time.Until(s.expires)
	if left < life {
		return fmt.Errorf("the logins took longer than the %s that were left for them", b.loginsTake())
	}
	rate := int32(math.Ceil(spare * float64(b.n) / (share * left.Seconds())))
	s.limit = v1.RateLimit{RequestsPerSecond: rate, Burst: max(rate/10, 1), Concurrent: 8}
	if err := b.limit(ctx, s.limit); err != nil {
		return err
	}
	profiled := b.profiled(ctx, "storm")
	late, err := b.weather(ctx, v, s.expires)
	if err != nil {
		return err
	}
	if err := profiled(); err != nil {
		return err
	}
	b.report.storm(s, late, h.arrivals(v1.ReviewRenew))
	return b.clear(ctx, ofProduct)
}

// loginsTake is how long the logins are given: twice as long as they took before, if that was measured.
func (b *bench) loginsTake() time.Duration {
	rate := slowest
	if measured := b.report.figure("webhook.perSecond"); measured != nil {
		rate = measured.Value / 2
	}
	return time.Duration(float64(b.n) / rate * float64(time.Second))
}

// limit bounds what the webhook is asked.
func (b *bench) limit(ctx context.Context, limit v1.RateLimit) error {
	provider := &v1.SessionProvider{}
	if err := b.api.Get(ctx, client.ObjectKey{Namespace: ofProduct, Name: external.Name}, provider); err != nil {
		return fmt.Errorf("limiting the webhook: %w", err)
	}
	before := provider.DeepCopy()
	provider.Spec.RateLimit = limit
	if err := b.api.Patch(ctx, provider, client.MergeFrom(before)); err != nil {
		return fmt.Errorf("limiting the webhook: %w", err)
	}
	return nil
}

// weather waits until all are renewed, and returns how many were not in time.
func (b *bench) weather(ctx context.Context, v *view, expires time.Time) (late int, err error) {
	const grace = time.Minute // for those who are late
	v.patience = time.Until(expires) + grace
	seen, bar := map[string]bool{}, b.bar(b.n, "waiting for the renewals")
	expired := map[string]bool{}
	err = v.until(ctx, func(s sight) bool {
		if s.phase == v1.PhaseTokenExpired {
			expired[s.name] = true
		}
		if renewed(s) && !seen[s.name] {
			seen[s.name] = true
			if s.at.After(expires) {
				expired[s.name] = true
			}
			bar.at(len(seen))
		}
		return len(seen) == b.n
	})
	if err != nil {
		return 0, fmt.Errorf("%d of %d are renewed: %w", len(seen), b.n, err)
	}
	return len(expired), nil
}

func (r *report) storm(s squall, late int, arrivals []time.Time) {
	// What arrives within a second has left within it, too, but for what was under way when it began.
	allowed := s.limit.RequestsPerSecond + s.limit.Burst + s.limit.Concurrent
	r.add("storm.expired", "tokens that expired before they were renewed", float64(late), "")
	r.add("storm.ofLimit", "requests in the busiest second, of what the limit, its burst and those under way come to", float64(busiest(arrivals))/float64(allowed), "")
	r.add("storm.busiest", "    requests in the busiest second", float64(busiest(arrivals)), "")
	r.add("storm.rate", "    the provider's limit", float64(s.limit.RequestsPerSecond), "/s")
	r.add("storm.burst", "    its burst", float64(s.limit.Burst), "")
	r.add("storm.concurrent", "    how many may be under way", float64(s.limit.Concurrent), "")
	r.add("storm.calls", "requests for a renewal, each", float64(len(arrivals))/float64(r.Sessions), "")
	r.add("storm.unevenness", "unevenness: deviation over ten slices of the time, of their mean", unevenness(arrivals, 10), "")
	r.add("storm.spare", "time left when the last was asked for", s.expires.Sub(arrivals[len(arrivals)-1]).Seconds(), "s")
}
