package controllers

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/internal/provider"
	"terminals.dev/session-controller/internal/provider/oauth2"
)

const (
	// providersAtOnce is how many providers of a kind are looked at at a time: one that hangs holds up no other.
	providersAtOnce = 8
	// discoverTimeout bounds one look at a server. It is longer than any one request may take, so that what is said is which had no answer.
	discoverTimeout = callTimeout
	// discoverEvery is how often a server that is in order is looked at.
	discoverEvery = 10 * time.Minute
	// A server that is not in order is looked at again after retryBase, which doubles up to retryCap.
	retryBase, retryCap = 2 * time.Second, 30 * time.Second
)

// health is what this process knows of how a provider is.
type health struct {
	mu sync.Mutex
	// version is that of the provider and its credentials which the rest is about; empty before the first look.
	version string
	// why is what was wrong at the last look, and failures how often in a row something was.
	why      *notReady
	failures int
	// last and next are when it was looked at, and when it is to be; next is zero where only a change makes another look worth it.
	last, next time.Time
	// doubted is whether a call has failed since in a way that concerns the provider as a whole.
	doubted bool
}

// doubt has a provider looked at, since a call to it has failed in a way that concerns it as a whole.
func (p *Providers) doubt(obj v1.Provider) {
	h := &p.remote(obj).health
	h.mu.Lock()
	known := h.doubted
	h.doubted = true
	h.mu.Unlock()
	p.mu.Lock()
	wake := p.doubts[kindOf(obj)]
	p.mu.Unlock()
	if !known && wake != nil {
		wake(client.ObjectKeyFromObject(obj))
	}
}

// doubted is a source of the providers of a kind that there is doubt about.
func (p *Providers) doubted(kind v1.ProviderKind) source.Source {
	return source.Func(func(_ context.Context, q workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.doubts == nil {
			p.doubts = map[v1.ProviderKind]func(types.NamespacedName){}
		}
		p.doubts[kind] = func(key types.NamespacedName) { q.Add(reconcile.Request{NamespacedName: key}) }
		return nil
	})
}

// reach makes sure that a provider can be asked, writes what it found into the status of obj, and tells when to look again. One that status
// says is ready is believed at the first look of a process, so that a restart asks nobody; and what was found is not asked for again before
// its time, or a change.
func (r *SessionProviderReconciler) reach(ctx context.Context, obj v1.Provider) (time.Time, error) {
	seen, err := r.Providers.credentials(ctx, obj)
	if err != nil {
		return time.Time{}, err
	}
	status, h, ready, now := obj.ProviderStatus(), &r.Providers.remote(obj).health, issues(obj), r.Clock.Now()
	status.IssuerURL = ""
	if obj.GetGeneration() != status.ObservedGeneration {
		status.Supports = nil
	}
	version := versionOf(obj, seen)
	h.mu.Lock()
	first, known := h.version == "", h.version == version
	if first && ready && !seen.missing && !h.doubted {
		h.found(version, nil, now, nextLook(obj, now))
	}
	rested := h.version == version && (h.next.IsZero() || now.Before(h.next)) && (ready || h.why != nil)
	if rested && h.doubted && h.why == nil {
		h.next = h.last.Add(retryBase) // not more often, whatever fails
		rested = now.Before(h.next)
	}
	why, next := h.why, h.next
	if !rested {
		h.doubted = false
	}
	if !known {
		h.failures = 0
	}
	h.mu.Unlock()
	if rested {
		return next, whyOrNil(why)
	}

	supports, err := r.ask(ctx, obj)
	why = nil
	if err != nil && !errors.As(err, &why) {
		return time.Time{}, err
	}
	if why == nil {
		// Whether there are refresh tokens shows with the first of them, which a restart does not take back.
		if slices.Contains(status.Supports, v1.FeatureRefreshToken) && !slices.Contains(supports, v1.FeatureRefreshToken) {
			supports = append(supports, v1.FeatureRefreshToken)
		}
		status.Supports = supports
	}
	now = r.Clock.Now() // it may have taken a while
	h.mu.Lock()
	defer h.mu.Unlock()
	h.found(version, why, now, nextLook(obj, now))
	return h.next, whyOrNil(why)
}

// found notes what a look has found. next is when to look again where all is in order.
func (h *health) found(version string, why *notReady, now, next time.Time) {
	h.version, h.why, h.last, h.next = version, why, now, next
	switch {
	case why == nil:
		h.failures = 0
	case why.local:
		h.next = time.Time{}
	default:
		h.failures++
		h.next = now.Add(max(doubled(retryBase, h.failures, retryCap), min(why.rest, discoverEvery)))
	}
}

// ask builds the provider's client, asks the server what it can do, and returns it. An error may be *notReady.
func (r *SessionProviderReconciler) ask(ctx context.Context, obj v1.Provider) ([]v1.ProviderFeature, error) {
	b, err := r.Providers.build(ctx, obj)
	if err != nil {
		return nil, err
	}
	if b.problem != nil {
		return nil, b.problem
	}
	server, discovers := b.client.(*oauth2.Provider)
	if !discovers {
		return featuresOf(b.client.Capabilities()), nil
	}
	limited, cancel := context.WithTimeout(ctx, discoverTimeout)
	defer cancel()
	_, err = server.Discover(r.Providers.heard(limited, r.Providers.remote(obj)))
	if ctx.Err() != nil {
		return nil, ctx.Err() // the manager is stopping, and the provider has done nothing wrong
	}
	if errors.Is(err, errNoTurn) {
		return nil, fmt.Errorf("looking at the server of %s: %w", nameOf(obj), err) // which may be in order
	}
	if err != nil {
		return nil, whyNotReady(err)
	}
	return featuresOf(server.Capabilities()), nil
}

func featuresOf(can provider.Capabilities) []v1.ProviderFeature {
	var all []v1.ProviderFeature
	for _, feature := range []struct {
		there bool
		is    v1.ProviderFeature
	}{
		{can.Idempotent, v1.FeatureIdempotency},
		{can.RevokesByToken || can.RevokesBySession, v1.FeatureRevocation},
		{can.Introspects, v1.FeatureIntrospection},
		{can.DeviceCode, v1.FeatureDeviceCode},
		{can.Refreshes, v1.FeatureRefreshToken},
	} {
		if feature.there {
			all = append(all, feature.is)
		}
	}
	return all
}

// whyNotReady says what an adapter's error means for the provider as a whole.
func whyNotReady(err error) *notReady {
	failed := provider.AsError(err)
	why := &notReady{message: failed.Message, rest: failed.RetryAfter, waits: failed.Kind == provider.Unavailable || failed.Kind == provider.Busy}
	switch {
	case errors.Is(err, oauth2.ErrCertificate):
		why.reason = v1.ReasonCertificateUnknown
	case errors.Is(err, oauth2.ErrCredentials):
		why.reason = v1.ReasonCredentialsRefused
	case errors.Is(err, oauth2.ErrDiscovery):
		why.reason = v1.ReasonDiscoveryFailed
	case why.waits:
		why.reason = v1.ReasonProviderUnavailable
	default:
		why.reason = v1.ReasonProviderMisconfigured
	}
	return why
}

// nextLook is when a provider that is in order is looked at again: not all of them at once after a restart. A webhook has nothing to
// discover.
func nextLook(obj v1.Provider, now time.Time) time.Time {
	if obj.ProviderSpec().OAuth2 == nil {
		return time.Time{}
	}
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(obj.GetUID()))
	return now.Add(discoverEvery - time.Duration(hash.Sum32()%60)*time.Second)
}

func whyOrNil(why *notReady) error {
	if why == nil {
		return nil // and not one of a type
	}
	return why
}
