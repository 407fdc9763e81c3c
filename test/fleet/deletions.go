package main

import (
	"context"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/types"
)

// deletions has the bare client delete as many Secrets as the fleet has, which it makes before, with the manager stopped.
func (b *bench) deletions(ctx context.Context) (pace, error) {
	like, err := b.sampleOf(ctx, embedded)
	if err != nil {
		return pace{}, err
	}
	err = each(ctx, crowd, 0, b.n, b.bar(b.n, "making Secrets"), func(ctx context.Context, number int) error {
		return b.do(ctx, write{http.MethodPost, secretsOf(ofFloor), asJSON, like.copied(like.secret, number, types.UID(like.uid))})
	})
	if err != nil {
		return pace{}, err
	}
	v, err := b.watch(ctx, secretsOf(ofFloor), asMetadata)
	if err != nil {
		return pace{}, err
	}
	defer v.stop()
	bar := b.bar(b.n, "floor: deletions, %d workers", b.workers)
	var times []time.Time
	begin := time.Now()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		times, err = v.first(ctx, b.n, gone, bar)
		return err
	})
	group.Go(func() error {
		return each(ctx, b.workers, 0, b.n, nil, func(ctx context.Context, number int) error {
			return b.do(ctx, write{verb: http.MethodDelete, path: secretsOf(ofFloor) + "/" + tokenOf(name(number)), media: asJSON})
		})
	})
	if err := group.Wait(); err != nil {
		return pace{}, err
	}
	return paceOf(begin, times), nil
}
