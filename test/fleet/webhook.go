package main

import (
	"context"
	"errors"
	"fmt"
)

// webhook compares logins where the provider is asked over the network. The bare client asks nobody.
func (b *bench) webhook(ctx context.Context) (err error) {
	h, err := b.hooked(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.unhooked(ctx, h)) }()
	like, err := b.sampleOf(ctx, external)
	if err != nil {
		return err
	}
	var logins comparison
	for round := range b.rounds {
		b.say("round %d of %d: the bare client", round+1, b.rounds)
		if err := b.floorRound(ctx, like, &logins, nil); err != nil {
			return err
		}
		b.say("round %d of %d: the product", round+1, b.rounds)
		if err := b.productRound(ctx, external, fmt.Sprintf("webhook round %d", round+1), &logins, nil); err != nil {
			return err
		}
	}
	b.report.compare("webhook", "logins", logins)
	return nil
}
