package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	v1 "terminals.dev/session-controller/api/v1"
)

// restart starts the manager anew beside a fleet at rest: with nothing to do, with a ban to enforce, and with renewals that are due.
func (b *bench) restart(ctx context.Context) error {
	if err := b.ensure(ctx, b.n); err != nil {
		return err
	}
	if err := b.nothingToDo(ctx); err != nil {
		return err
	}
	if err := b.banMeanwhile(ctx); err != nil {
		return err
	}
	return b.renewalsDue(ctx)
}

// nothingToDo reports what it takes until the manager has looked at every session.
func (b *bench) nothingToDo(ctx context.Context) error {
	if err := b.stopManager(ctx); err != nil {
		return err
	}
	spent, err := b.meter(ctx)
	if err != nil {
		return err
	}
	b.say("restarting the manager")
	if err := b.startManager(ctx); err != nil {
		return err
	}
	profiled := b.profiled(ctx, "restart")
	ready := time.Since(b.manager.Started)
	quiet, err := b.settled(ctx)
	if err != nil {
		return err
	}
	cost, err := spent(ctx)
	if err != nil {
		return err
	}
	if err := profiled(); err != nil {
		return err
	}
	figures, err := b.figures(ctx)
	if err != nil {
		return err
	}
	if figures.Queued > 0 || figures.Looked < b.n {
		return fmt.Errorf("the manager is quiet, and has looked %d times at %d sessions, with %d in its queue", figures.Looked, b.n, figures.Queued)
	}
	thousands := float64(b.n) / 1000
	b.report.add("restart.writes", "API writes", float64(cost.writes()), "")
	b.report.add("restart.reads", "API reads: the pages of the caches' first lists", float64(cost.reads()), "")
	b.report.add("restart.calls", "calls to providers", float64(figures.Calls), "")
	b.report.add("restart.cpu", "CPU of the manager for 1,000 sessions, without that of an empty start", (cost.Manager-b.begin).Seconds()/thousands, "s")
	b.report.add("restart.cpu.all", "CPU of the manager, all of it", cost.Manager.Seconds(), "s")
	b.report.add("restart.cpu.empty", "CPU of an empty start", b.begin.Seconds(), "s")
	b.report.add("restart.ready", "from the process's start until its caches are read", ready.Seconds(), "s")
	b.report.add("restart.quiet", "until its queue is drained", quiet.Sub(b.manager.Started).Seconds(), "s")
	return nil
}

// banMeanwhile bans a terminal while the manager is away, and reports how long after the process's start the Secret is gone, at the most.
func (b *bench) banMeanwhile(ctx context.Context) error {
	var each []float64
	for round := range b.rounds {
		if err := b.stopManager(ctx); err != nil {
			return err
		}
		v, err := b.watch(ctx, secretsOf(ofProduct), asMetadata)
		if err != nil {
			return err
		}
		banned := name(round)
		if err := b.api.Create(ctx, newBan(banned, v1.BanMatch{TerminalID: terminalOf(banned)})); err != nil {
			return fmt.Errorf("banning a terminal: %w", err)
		}
		b.say("restarting the manager with a ban to enforce")
		if err := b.startManager(ctx); err != nil {
			return err
		}
		var at time.Time
		err = v.until(ctx, func(s sight) bool { at = s.at; return s.deleted && s.name == tokenOf(banned) })
		v.stop()
		if err != nil {
			return fmt.Errorf("waiting until the banned terminal has no token: %w", err)
		}
		each = append(each, at.Sub(b.manager.Started).Seconds())
	}
	b.report.add("restart.ban", "from the process's start until a Secret is gone whose terminal was banned meanwhile, at the most",
		slices.Max(each), "s").Each = each
	_, err := b.settled(ctx)
	return err
}

// renewalsDue asks for the renewal of a twentieth of the fleet, and for as many new sessions, while the manager is away, and reports whether
// the renewals are done first.
func (b *bench) renewalsDue(ctx context.Context) error {
	if err := b.stopManager(ctx); err != nil {
		return err
	}
	share := b.n / 20
	from := b.n - share
	if err := b.askForRenewal(ctx, from, b.n, "restart"); err != nil {
		return err
	}
	if err := b.apply(ctx, ofProduct, b.n, b.n+share, embedded); err != nil {
		return err
	}
	v, err := b.watch(ctx, sessionsOf(ofProduct), asJSON)
	if err != nil {
		return err
	}
	defer v.stop()
	b.say("restarting the manager with renewals and logins to do")
	if err := b.startManager(ctx); err != nil {
		return err
	}
	renewals, logins := map[string]sight{}, map[string]sight{}
	err = v.until(ctx, func(s sight) bool {
		switch {
		case s.name >= name(b.n) && established(s):
			note(logins, s)
		case s.name >= name(from) && renewed(s):
			note(renewals, s)
		}
		return len(renewals) == share && len(logins) == share
	})
	if err != nil {
		return fmt.Errorf("waiting for %d renewals and logins, of which %d and %d are done: %w", share, len(renewals), len(logins), err)
	}
	last := time.Time{}
	for _, s := range renewals {
		if s.at.After(last) {
			last = s.at
		}
	}
	b.report.add("restart.renewals.overtaken", fmt.Sprintf("of %d renewals that are due, reported after the first of as many logins", share),
		float64(overtaken(renewals, logins)), "")
	b.report.add("restart.renewals", "from the process's start until the last of them", last.Sub(b.manager.Started).Seconds(), "s")
	_, err = b.settled(ctx)
	return err
}

// note keeps the first sight of each object.
func note(seen map[string]sight, s sight) {
	if _, known := seen[s.name]; !known {
		seen[s.name] = s
	}
}

// overtaken is how many of some objects were written after the first of others, by their versions.
func overtaken(some, others map[string]sight) (late int) {
	first := ^uint64(0)
	for _, s := range others {
		first = min(first, s.version)
	}
	for _, s := range some {
		if s.version > first {
			late++
		}
	}
	return late
}
