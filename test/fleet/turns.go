package main

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/types"
)

// outcome is how one turn of the bare client or the product went.
type outcome struct {
	pace
	costs
	sessions int
}

// bareTurn has the bare client do its chores, one after the other for each session, and watches the sessions.
func (b *bench) bareTurn(ctx context.Context, what string, workers int, chores [][]write, is func(sight) bool) (outcome, error) {
	n := len(chores)
	v, err := b.watch(ctx, sessionsOf(ofFloor), asJSON)
	if err != nil {
		return outcome{}, err
	}
	defer v.stop()
	spent, err := b.meter(ctx)
	if err != nil {
		return outcome{}, err
	}
	bar := b.bar(n, "floor: %s, %d workers", what, workers)
	profiled := b.profiled(ctx, "floor "+what)
	var times []time.Time
	start := time.Now()
	group, turn := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		times, err = v.first(turn, n, is, bar)
		return err
	})
	group.Go(func() error {
		return each(turn, workers, 0, n, nil, func(ctx context.Context, i int) error {
			for _, w := range chores[i] {
				if err := b.do(ctx, w); err != nil {
					return err
				}
			}
			return nil
		})
	})
	if err := group.Wait(); err != nil {
		return outcome{}, err
	}
	cost, err := spent(ctx)
	if err != nil {
		return outcome{}, err
	}
	return outcome{paceOf(start, times), cost, n}, profiled()
}

// productTurn starts the manager, for which there is work for n sessions, and watches them. The clock starts when the manager has read its
// caches, or when the first session is done, whichever is seen first. What is spent is counted from the process's start until all is
// quiet, less what a start takes where there are no sessions.
func (b *bench) productTurn(ctx context.Context, what string, n int, is func(sight) bool) (outcome, error) {
	v, err := b.watch(ctx, sessionsOf(ofProduct), asJSON)
	if err != nil {
		return outcome{}, err
	}
	defer v.stop()
	spent, err := b.meter(ctx)
	if err != nil {
		return outcome{}, err
	}
	bar := b.bar(n, "product: %s", what)
	if err := b.startManager(ctx); err != nil {
		return outcome{}, err
	}
	start := time.Now()
	profiled := b.profiled(ctx, what)
	times, err := v.first(ctx, n, is, bar)
	if err != nil {
		return outcome{}, err
	}
	if times[0].Before(start) {
		start = times[0]
	}
	if _, err := b.settled(ctx); err != nil {
		return outcome{}, err
	}
	cost, err := spent(ctx)
	if err != nil {
		return outcome{}, err
	}
	cost.Manager -= b.begin
	return outcome{paceOf(start, times), cost, n}, profiled()
}

// chores are what the bare client is to do for the sessions of the floor.
func (b *bench) chores(ctx context.Context, of func(number int, uid types.UID) []write) ([][]write, error) {
	sessions, err := b.metadata(ctx, sessionKind, ofFloor)
	if err != nil {
		return nil, err
	}
	chores := make([][]write, b.n)
	for number := range b.n {
		chores[number] = of(number, sessions[name(number)].UID)
	}
	return chores, nil
}

// findWorkers finds with how many workers the bare client is fastest, each tried with a quarter of a fleet.
func (b *bench) findWorkers(ctx context.Context, chores [][]write) error {
	fastest, quarter := 0.0, len(chores)/4
	for i, workers := range []int{1, 4, 16, 32} {
		got, err := b.bareTurn(ctx, fmt.Sprintf("login by %d", workers), workers, chores[i*quarter:(i+1)*quarter], established)
		if err != nil {
			return err
		}
		if got.Overall > fastest {
			fastest, b.workers = got.Overall, workers
		}
	}
	return nil
}
