package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "terminals.dev/session-controller/api/v1"
)

// crowd is how many the bench applies with at a time, where that is not what is measured.
const crowd = 16

// each does something for the numbers from one to below another, by so many workers.
func each(ctx context.Context, workers, from, to int, bar *progress, do func(context.Context, int) error) error {
	group, ctx := errgroup.WithContext(ctx)
	var begun, done atomic.Int64
	for range workers {
		group.Go(func() error {
			for ctx.Err() == nil {
				number := from + int(begun.Add(1)) - 1
				if number >= to {
					return nil
				}
				if err := do(ctx, number); err != nil {
					return err
				}
				bar.at(int(done.Add(1)))
			}
			return ctx.Err()
		})
	}
	return group.Wait()
}

// apply makes the sessions of these numbers.
func (b *bench) apply(ctx context.Context, namespace string, from, to int, provider v1.ProviderReference) error {
	bar := b.bar(to-from, "applying sessions in %s", namespace)
	return each(ctx, crowd, from, to, bar, func(ctx context.Context, number int) error {
		return b.api.Create(ctx, newSession(namespace, number, provider))
	})
}

// patch makes the same change to the sessions of these numbers.
func (b *bench) patch(ctx context.Context, what, namespace string, from, to int, change string) error {
	return each(ctx, crowd, from, to, b.bar(to-from, "%s", what), func(ctx context.Context, number int) error {
		s := &v1.TerminalSession{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name(number)}}
		return b.api.Patch(ctx, s, client.RawPatch(types.MergePatchType, []byte(change)))
	})
}

// askForRenewal asks for a renewal of the sessions of these numbers; the value has to be another one each time.
func (b *bench) askForRenewal(ctx context.Context, from, to int, value string) error {
	change := fmt.Sprintf(`{"metadata": {"annotations": {%q: %q}}}`, v1.AnnotationRenewRequested, value)
	return b.patch(ctx, "asking for renewals", ofProduct, from, to, change)
}

// metadata is that of all objects of a kind in a namespace, by name.
func (p *plane) metadata(ctx context.Context, kind schema.GroupVersionKind, namespace string) (map[string]metav1.ObjectMeta, error) {
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(kind)
	if err := p.api.List(ctx, list, client.InNamespace(namespace)); err != nil {
		return nil, fmt.Errorf("listing the %s of %s: %w", kind.Kind, namespace, err)
	}
	found := make(map[string]metav1.ObjectMeta, len(list.Items))
	for _, item := range list.Items {
		found[item.Name] = item.ObjectMeta
	}
	return found, nil
}

var (
	sessionKind = v1.GroupVersion.WithKind("TerminalSession")
	banKind     = v1.GroupVersion.WithKind("SessionBan")
	logoutKind  = v1.GroupVersion.WithKind("SessionLogout")
	secretKind  = corev1.SchemeGroupVersion.WithKind("Secret")
)

// clear takes a fleet away, finalizers and all. The manager is stopped before, or it would do what they stand for.
func (b *bench) clear(ctx context.Context, namespace string) error {
	if err := b.stopManager(ctx); err != nil {
		return err
	}
	for _, kind := range []schema.GroupVersionKind{banKind, logoutKind, sessionKind, secretKind} {
		if err := b.remove(ctx, kind, namespace); err != nil {
			return fmt.Errorf("tidying %s: %w", namespace, err)
		}
	}
	return nil
}

// remove deletes all objects of a kind in a namespace, one by one: of so many, a collection would take longer than a request may.
func (b *bench) remove(ctx context.Context, kind schema.GroupVersionKind, namespace string) error {
	found, err := b.metadata(ctx, kind, namespace)
	if err != nil || len(found) == 0 {
		return err
	}
	all := slices.Collect(maps.Values(found))
	bar := b.bar(len(all), "tidying %s in %s", kind.Kind, namespace)
	return each(ctx, crowd, 0, len(all), bar, func(ctx context.Context, i int) error {
		object := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: all[i].Name}}
		object.SetGroupVersionKind(kind)
		if len(all[i].Finalizers) > 0 {
			free := client.RawPatch(types.MergePatchType, []byte(`{"metadata": {"finalizers": null}}`))
			if err := b.api.Patch(ctx, object, free); err != nil {
				return err
			}
		}
		return b.api.Delete(ctx, object)
	})
}

// ensure has a fleet of n sessions at rest, with the manager running.
func (b *bench) ensure(ctx context.Context, n int) error {
	sessions, err := b.metadata(ctx, sessionKind, ofProduct)
	if err != nil {
		return err
	}
	if len(sessions) == n && b.manager != nil {
		return nil
	}
	if err := b.clear(ctx, ofProduct); err != nil {
		return err
	}
	if err := b.startManager(ctx); err != nil {
		return err
	}
	return b.grow(ctx, 0, n)
}

// grow adds the sessions of these numbers, and returns when the fleet is at rest.
func (b *bench) grow(ctx context.Context, from, to int) error {
	v, err := b.watch(ctx, sessionsOf(ofProduct), asJSON)
	if err != nil {
		return err
	}
	defer v.stop()
	if err := b.apply(ctx, ofProduct, from, to, embedded); err != nil {
		return err
	}
	if _, err := v.first(ctx, to-from, established, b.bar(to-from, "waiting until they are established")); err != nil {
		return err
	}
	_, err = b.settled(ctx)
	return err
}
