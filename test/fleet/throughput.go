package main

import (
	"context"
	"fmt"

	v1 "terminals.dev/session-controller/api/v1"
)

// comparison is what the bare client and the product have done in turns. The bare client has had one more: the first and the last.
type comparison struct{ floor, product []outcome }

// throughput compares logins, and on the fleets that they leave renewals.
func (b *bench) throughput(ctx context.Context) error {
	like, err := b.sampleOf(ctx, embedded)
	if err != nil {
		return err
	}
	var logins, renewals comparison
	if err := b.inTurns(ctx, like, embedded, "", &logins, &renewals); err != nil {
		return err
	}
	b.report.compare("login", "logins", logins)
	b.report.compare("renewal", "renewals", renewals)
	b.report.add("floor.workers", "workers with which the bare client is fastest, of 1, 4, 16 and 32", float64(b.workers), "")
	return nil
}

// inTurns has the bare client and the product take turns, the bare client before each of the product's and after the last. renewals is nil where they
// are not compared.
func (b *bench) inTurns(ctx context.Context, like *sample, provider v1.ProviderReference, what string, logins, renewals *comparison) error {
	for round := range b.rounds {
		turn := fmt.Sprintf("%sround %d", what, round+1)
		b.say("round %d of %d: the bare client", round+1, b.rounds)
		if err := b.floorRound(ctx, like, turn, logins, renewals); err != nil {
			return err
		}
		b.say("round %d of %d: the product", round+1, b.rounds)
		if err := b.productRound(ctx, provider, turn, logins, renewals); err != nil {
			return err
		}
	}
	b.say("after the last round: the bare client")
	return b.floorRound(ctx, like, what+"last round", logins, renewals)
}

// sampleOf takes a sample with nothing else about, and finds the bare client's best number of workers where nobody has yet.
func (b *bench) sampleOf(ctx context.Context, provider v1.ProviderReference) (*sample, error) {
	if err := b.clear(ctx, ofProduct); err != nil {
		return nil, err
	}
	if err := b.startManager(ctx); err != nil {
		return nil, err
	}
	like, err := b.sample(ctx, provider)
	if err != nil {
		return nil, err
	}
	if err := b.clear(ctx, ofProduct); err != nil || b.workers > 0 {
		return like, err
	}
	if err := b.clear(ctx, ofFloor); err != nil {
		return nil, err
	}
	if err := b.apply(ctx, ofFloor, 0, b.n, provider); err != nil {
		return nil, err
	}
	chores, err := b.chores(ctx, like.login)
	if err != nil {
		return nil, err
	}
	if err := b.findWorkers(ctx, chores); err != nil {
		return nil, err
	}
	return like, b.clear(ctx, ofFloor)
}

// floorRound is one turn of the bare client.
func (b *bench) floorRound(ctx context.Context, like *sample, what string, logins, renewals *comparison) error {
	if err := b.apply(ctx, ofFloor, 0, b.n, embedded); err != nil {
		return err
	}
	chores, err := b.chores(ctx, like.login)
	if err != nil {
		return err
	}
	got, err := b.bareTurn(ctx, "login "+what, b.workers, chores, established)
	if err != nil {
		return err
	}
	logins.floor = append(logins.floor, got)
	if renewals != nil {
		if err := b.floorRenewal(ctx, like, what, renewals); err != nil {
			return err
		}
	}
	return b.clear(ctx, ofFloor)
}

// productRound is one turn of the product.
func (b *bench) productRound(ctx context.Context, provider v1.ProviderReference, what string, logins, renewals *comparison) error {
	if err := b.apply(ctx, ofProduct, 0, b.n, provider); err != nil {
		return err
	}
	got, err := b.productTurn(ctx, "login "+what, b.n, established)
	if err != nil {
		return err
	}
	logins.product = append(logins.product, got)
	if renewals != nil {
		if err := b.productRenewal(ctx, what, renewals); err != nil {
			return err
		}
	}
	return b.clear(ctx, ofProduct)
}
