package main

import (
	"context"
	"fmt"
	"time"
)

// atRest watches the fleet while nothing happens, and then has every tenth session looked at without a reason.
func (b *bench) atRest(ctx context.Context) error {
	if err := b.ensure(ctx, b.n); err != nil {
		return err
	}
	if err := b.nothing(ctx); err != nil {
		return err
	}
	return b.looks(ctx)
}

// nothing measures what the fleet costs for a while, and reports it by the minute.
func (b *bench) nothing(ctx context.Context) error {
	first, err := b.heapOf(ctx, false)
	if err != nil {
		return err
	}
	before, err := b.heapOf(ctx, false) // what lies between the two is what asking costs
	if err != nil {
		return err
	}
	spent, err := b.meter(ctx)
	if err != nil {
		return err
	}
	b.say("at rest for %s", b.idle)
	profiled := b.profiled(ctx, "idle")
	select {
	case <-time.After(b.idle): // what is measured is a time in which nothing happens
	case <-ctx.Done():
		return ctx.Err()
	}
	cost, err := spent(ctx)
	if err != nil {
		return err
	}
	after, err := b.heapOf(ctx, false)
	if err != nil {
		return err
	}
	if err := profiled(); err != nil {
		return err
	}
	minute := func(value float64) float64 { return value * float64(time.Minute) / float64(b.idle) }
	garbage := (after.Total - before.Total) - (before.Total - first.Total)
	b.report.add("idle.writes", "API writes a minute", minute(float64(cost.writes())), "")
	b.report.add("idle.reads", "API reads a minute, watches left aside", minute(float64(cost.reads())), "")
	b.report.add("idle.cpu", "CPU of the manager a minute", minute(cost.Manager.Seconds()*1000), "ms")
	b.report.add("idle.garbage", "memory that the manager asks for a minute", minute(float64(garbage)/kib), "KiB")
	b.report.add("idle.collections", "garbage collections a minute", minute(float64(after.Collections-before.Collections)), "")
	return nil
}

// looks changes a label of every tenth session: an event to which there is nothing to do, as those of a resync are.
func (b *bench) looks(ctx context.Context) error {
	spent, err := b.meter(ctx)
	if err != nil {
		return err
	}
	tenth := b.n / 10
	change := fmt.Sprintf(`{"metadata": {"labels": {"looked-at": "%d"}}}`, time.Now().Unix())
	if err := b.patch(ctx, "having a tenth looked at", ofProduct, 0, tenth, change); err != nil {
		return err
	}
	if _, err := b.settled(ctx); err != nil {
		return err
	}
	cost, err := spent(ctx)
	if err != nil {
		return err
	}
	b.report.add("idle.looks.writes", "API writes for a look without a reason, each", float64(cost.writes()-tenth)/float64(tenth), "")
	b.report.add("idle.looks.cpu", "CPU of the manager for it, each", cost.Manager.Seconds()*1000/float64(tenth), "ms")
	return nil
}
