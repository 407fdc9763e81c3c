package main

import (
	"context"
	"errors"
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
	if err := b.inTurns(ctx, like, external, "webhook ", &logins, nil); err != nil {
		return err
	}
	b.report.compare("webhook", "logins", logins)
	return nil
}
