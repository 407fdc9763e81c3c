package main

import (
	"context"
	"fmt"
	"time"
)

const (
	kib = 1 << 10
	mib = 1 << 20
)

// stage is how the manager is at rest with a fleet of a size, and what each session cost that was added to come there.
type stage struct {
	Sessions int      `json:"sessions"`
	Resident resident `json:"resident"`
	Live     int64    `json:"live"`
	// Manager, Server and Etcd are milliseconds of CPU a session; the server's are with the session being applied.
	Manager  float64 `json:"managerMilliseconds"`
	Server   float64 `json:"serverMilliseconds"`
	Etcd     float64 `json:"etcdMilliseconds"`
	Requests float64 `json:"requests"`
}

// memory has a fleet grow to a quarter, half and the whole of its size.
func (b *bench) memory(ctx context.Context) error {
	if err := b.clear(ctx, ofProduct); err != nil {
		return err
	}
	if err := b.startManager(ctx); err != nil {
		return err
	}
	if _, err := b.settled(ctx); err != nil {
		return err
	}
	empty, err := b.rested(ctx)
	if err != nil {
		return err
	}
	var stages []stage
	from := 0
	for _, to := range []int{b.n / 4, b.n / 2, b.n} {
		s, err := b.stage(ctx, from, to)
		if err != nil {
			return err
		}
		stages, from = append(stages, s), to
	}
	b.report.Growth = stages
	b.report.memory(empty, stages)
	if err := b.restarted(ctx); err != nil {
		return err
	}
	return b.sizes(ctx)
}

// stage adds the sessions of these numbers.
func (b *bench) stage(ctx context.Context, from, to int) (stage, error) {
	spent, err := b.meter(ctx)
	if err != nil {
		return stage{}, err
	}
	profiled := b.profiled(ctx, fmt.Sprintf("memory %d", to))
	if err := b.grow(ctx, from, to); err != nil {
		return stage{}, err
	}
	cost, err := spent(ctx)
	if err != nil {
		return stage{}, err
	}
	if err := profiled(); err != nil {
		return stage{}, err
	}
	added := float64(to - from)
	each := func(d time.Duration) float64 { return d.Seconds() * 1000 / added }
	s := stage{
		Sessions: to, Manager: each(cost.Manager), Server: each(cost.Server), Etcd: each(cost.Etcd),
		Requests: float64(cost.Requests.Total())/added - 1, // the one is that which applies it
	}
	s.Resident, s.Live, err = b.inUse(ctx)
	return s, err
}

// inUse is the memory that the manager has at rest: what is resident, before anybody makes it collect its garbage, and what is live.
func (b *bench) inUse(ctx context.Context) (resident, int64, error) {
	r, err := b.rested(ctx)
	if err != nil {
		return r, 0, err
	}
	h, err := b.heapOf(ctx, true)
	return r, h.Live, err
}

// resting is for how long the manager must not have given memory back to count as at rest: it does so some seconds after a burst.
const resting = 15 * time.Second

// rested waits until the manager is at rest, and returns what is resident then.
func (b *bench) rested(ctx context.Context) (resident, error) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var least int64
	var since time.Time
	for {
		r, err := rss(b.manager.PID())
		if err != nil {
			return r, err
		}
		if since.IsZero() || least-r.RSS > mib/4 {
			least, since = r.RSS, time.Now()
		}
		if time.Since(since) >= resting {
			return r, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return r, fmt.Errorf("waiting until the manager is at rest: %w", ctx.Err())
		}
	}
}

// memory reports what the stages have come to.
func (r *report) memory(empty resident, stages []stage) {
	var sizes, residents, lives []float64
	for _, s := range stages {
		sizes = append(sizes, float64(s.Sessions))
		residents, lives = append(residents, float64(s.Resident.RSS)), append(lives, float64(s.Live))
	}
	each, at0 := slope(sizes, residents)
	live, _ := slope(sizes, lives)
	r.add("memory.at1000", "RSS with 1,000 sessions, by the line through all sizes", (at0+1000*each)/mib, "MiB")
	r.add("memory.each", "RSS of each session more", each/kib, "KiB")
	r.add("memory.live.each", "live heap of each session more", live/kib, "KiB")
	r.add("memory.empty", "RSS without a session", float64(empty.RSS)/mib, "MiB")
	for _, s := range stages {
		r.add(fmt.Sprintf("memory.%d.rss", s.Sessions), fmt.Sprintf("RSS with %d", s.Sessions), float64(s.Resident.RSS)/mib, "MiB")
		r.add(fmt.Sprintf("memory.%d.anon", s.Sessions), "    its own", float64(s.Resident.Anon)/mib, "MiB")
		r.add(fmt.Sprintf("memory.%d.file", s.Sessions), "    mapped from files", float64(s.Resident.File)/mib, "MiB")
		r.add(fmt.Sprintf("memory.%d.live", s.Sessions), "    live heap", float64(s.Live)/mib, "MiB")
		r.add(fmt.Sprintf("memory.%d.cpu", s.Sessions), "    CPU of the manager for each added", s.Manager, "ms")
		r.add(fmt.Sprintf("memory.%d.requests", s.Sessions), "    API requests for each added", s.Requests, "")
	}
}

// restarted reports the memory of a manager that has only read the fleet.
func (b *bench) restarted(ctx context.Context) error {
	if err := b.restartManager(ctx); err != nil {
		return err
	}
	if _, err := b.settled(ctx); err != nil {
		return err
	}
	r, live, err := b.inUse(ctx)
	if err != nil {
		return err
	}
	b.report.add("memory.restarted.rss", "RSS after a restart", float64(r.RSS)/mib, "MiB")
	b.report.add("memory.restarted.anon", "    its own", float64(r.Anon)/mib, "MiB")
	b.report.add("memory.restarted.live", "    live heap", float64(live)/mib, "MiB")
	return nil
}

// sizes reports how large the objects are in etcd.
func (b *bench) sizes(ctx context.Context) error {
	session, err := b.stored(ctx, "/registry/terminals.dev/terminalsessions/"+ofProduct+"/")
	if err != nil {
		return err
	}
	secret, err := b.stored(ctx, "/registry/secrets/"+ofProduct+"/")
	if err != nil {
		return err
	}
	b.report.add("memory.session", "a session in etcd", session, "bytes")
	b.report.add("memory.secret", "its Secret in etcd", secret, "bytes")
	return nil
}
