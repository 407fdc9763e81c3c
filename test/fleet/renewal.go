package main

import "context"

// floorRenewal has the bare client renew the fleet that it has logged in.
func (b *bench) floorRenewal(ctx context.Context, like *sample, what string, renewals *comparison) error {
	chores, err := b.chores(ctx, like.renewal)
	if err != nil {
		return err
	}
	got, err := b.bareTurn(ctx, "renewal "+what, b.workers, chores, renewed)
	renewals.floor = append(renewals.floor, got)
	return err
}

// productRenewal asks for a renewal of every session while the manager is away, so that all are due when it comes back.
func (b *bench) productRenewal(ctx context.Context, what string, renewals *comparison) error {
	if err := b.stopManager(ctx); err != nil {
		return err
	}
	if err := b.askForRenewal(ctx, 0, b.n, what); err != nil {
		return err
	}
	got, err := b.productTurn(ctx, "renewal "+what, b.n, renewed)
	renewals.product = append(renewals.product, got)
	return err
}
