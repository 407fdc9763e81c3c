package controllers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/internal/provider"
	"terminals.dev/session-controller/internal/session"
	"terminals.dev/session-controller/internal/stores"
	"terminals.dev/session-controller/internal/telemetry"
)

// Kinds of providers, as metrics name them.
const (
	kindEmbedded = "embedded"
	kindOAuth2   = "oauth2"
	kindWebhook  = "webhook"
)

// readTimeout bounds the reading of credentials.
const readTimeout = 10 * time.Second

// resolved is a provider that can be asked.
type resolved struct {
	provider.Provider
	// Kind is embedded, oauth2 or webhook.
	Kind string
	// SecureLogin is whether nothing is to be asked without an auth token.
	SecureLogin bool
	// NamesUsers is whether the provider has to say who logged in where spec asks for somebody.
	NamesUsers bool
	// CheckEvery is how often it is to be asked whether a session's token still holds; zero stands for never.
	CheckEvery time.Duration

	// remote and the rest are for calls; an embedded provider makes none.
	remote        *remote
	limit         *limit
	name, version string
	clock         clock.PassiveClock
	// timeout is what a call may take; zero for what all may.
	timeout time.Duration
}

// remote is what is kept of a provider that is asked over the network, for as long as its object lives.
type remote struct {
	limit limit
	gate  gate
	// reached is when it last answered anything, in nanoseconds since 1970; zero for never.
	reached atomic.Int64
	health  health

	mu    sync.Mutex
	built *built
}

// closable is what adapters make.
type closable interface {
	provider.Provider
	Close()
}

// built is a client, or why there is none, of one generation of a provider with certain versions of its credentials.
type built struct {
	generation int64
	// as are the versions of the credentials in the cache when it was built, and as they were read: the cache may have been behind.
	as, read string
	// done is closed when the rest is there.
	done    chan struct{}
	client  closable
	problem *notReady
	err     error
}

// remote returns what is kept of a provider.
func (p *Providers) remote(obj v1.Provider) *remote {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.remotes == nil {
		p.remotes = map[types.UID]*remote{}
	}
	if p.remotes[obj.GetUID()] == nil {
		p.remotes[obj.GetUID()] = &remote{}
	}
	return p.remotes[obj.GetUID()]
}

// clientOf returns what a provider is asked through, or why it cannot be. A client that nobody has asked through yet is built when somebody
// does: so a restart reads no credentials while nothing is due.
func (p *Providers) clientOf(ctx context.Context, obj v1.Provider) (resolved, session.Problem, error) {
	seen, err := p.credentials(ctx, obj)
	if err != nil {
		return resolved{}, session.Problem{}, err
	}
	return p.clientWith(ctx, obj, seen)
}

// clientWith is clientOf for whoever has looked up the provider's credentials.
func (p *Providers) clientWith(ctx context.Context, obj v1.Provider, seen credentialsSeen) (resolved, session.Problem, error) {
	spec := obj.ProviderSpec()
	to := resolved{Kind: kindEmbedded, SecureLogin: spec.SecureLogin != nil && *spec.SecureLogin}
	if spec.Embedded != nil {
		to.Provider = p.issuer(obj)
	} else {
		r := p.remote(obj)
		b := r.current()
		if b != nil && !b.fits(obj, seen.version) || seen.missing {
			var err error
			if b, err = p.build(ctx, obj); err != nil {
				return resolved{}, session.Problem{}, err
			}
		}
		if wrong := b.wrong(obj); wrong.Reason != "" {
			return resolved{}, wrong, nil
		}
		to.Provider = &asking{providers: p, remote: r, obj: obj}
		to.remote, to.limit, to.name, to.clock = r, p.limiter(obj), nameOf(obj), p.Clock
		to.version = versionOf(obj, seen)
		to.Kind, to.CheckEvery = kindWebhook, checkEvery(spec)
		if spec.Webhook != nil { // which has a limit of its own, and something to say when that is over
			to.timeout = time.Duration(spec.Webhook.TimeoutSeconds)*time.Second + time.Second
		}
		if spec.OAuth2 != nil {
			to.Kind, to.NamesUsers = kindOAuth2, spec.OAuth2.Grant != v1.GrantClientCredentials && spec.OAuth2.Grant != ""
		}
	}
	if p.Wrap != nil {
		to.Provider = p.Wrap(obj, to.Provider)
	}
	if !to.Capabilities().Introspects {
		to.CheckEvery = 0
	}
	return to, session.Problem{}, nil
}

// build returns the client of a provider as it is now. It is built once for each version; many who ask at once wait for one, and nobody who
// asks for another provider waits at all. What was built before is closed, which hurts no call that is under way.
func (p *Providers) build(ctx context.Context, obj v1.Provider) (*built, error) {
	seen, err := p.credentials(ctx, obj)
	if err != nil {
		return nil, err
	}
	r := p.remote(obj)
	r.mu.Lock()
	b := r.built
	if b != nil && b.fits(obj, seen.version) {
		r.mu.Unlock()
		select {
		case <-b.done:
			return b, b.err
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for the client of %s: %w", nameOf(obj), ctx.Err())
		}
	}
	b = &built{generation: obj.GetGeneration(), as: seen.version, done: make(chan struct{})}
	before := r.built
	r.built = b
	r.mu.Unlock()
	before.close()

	// Others wait for it as well, so it does not end with whatever asked first.
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), readTimeout)
	defer cancel()
	client, read, err := p.newClient(limited, obj, r)
	r.mu.Lock()
	defer r.mu.Unlock()
	b.client, b.read = client, read
	if errors.As(err, &b.problem) {
		b.problem.local = true
	} else if err != nil {
		b.err = err
		if r.built == b {
			r.built = nil // the API server has failed: whoever comes next tries again
		}
	}
	close(b.done)
	if r.built != b {
		b.close()
	}
	return b, b.err
}

// fits is whether a client is the one for what is seen of its provider. Who sees an older generation is behind. It is asked under the lock.
func (b *built) fits(obj v1.Provider, version string) bool {
	return obj.GetGeneration() < b.generation || obj.GetGeneration() == b.generation && (version == b.as || b.isDone() && version == b.read)
}

func (b *built) isDone() bool {
	select {
	case <-b.done:
		return true
	default:
		return false
	}
}

// wrong is why there is no client, if there is none that could be asked through.
func (b *built) wrong(of v1.Provider) session.Problem {
	if b == nil || b.problem == nil {
		return session.Problem{}
	}
	return notReadyProblem(kindOf(of), of.GetName(), b.problem.reason, b.problem.message)
}

// close lets go of a client's idle connections. One that is still being built is closed by whoever builds it.
func (b *built) close() {
	if b != nil && b.isDone() && b.client != nil {
		b.client.Close()
	}
}

// current is the client that was built last, or nil.
func (r *remote) current() *built {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.built == nil || !r.built.isDone() {
		return nil
	}
	return r.built
}

// forget drops the clients and limits of providers that are gone.
func (p *Providers) forget(ctx context.Context) error {
	all, err := p.all(ctx)
	if err != nil {
		return err
	}
	gone := func(uid types.UID) bool {
		return !slices.ContainsFunc(all, func(o v1.Provider) bool { return o.GetUID() == uid })
	}
	var left []*remote
	p.mu.Lock()
	for uid := range p.issuers {
		if gone(uid) {
			delete(p.issuers, uid)
		}
	}
	for uid, r := range p.remotes {
		if gone(uid) {
			left = append(left, r)
			delete(p.remotes, uid)
		}
	}
	p.mu.Unlock()
	for _, r := range left {
		r.mu.Lock()
		before := r.built
		r.built = nil
		r.mu.Unlock()
		before.close()
	}
	return nil
}

// Health is how the providers that are asked over the network are, for metrics.
func (p *Providers) Health(ctx context.Context) ([]telemetry.ProviderHealth, error) {
	all, err := p.all(ctx)
	if err != nil {
		return nil, err
	}
	var found []telemetry.ProviderHealth
	for _, obj := range all {
		if obj.ProviderSpec().Embedded != nil {
			continue
		}
		r, now := p.remote(obj), p.Clock.Now()
		of := telemetry.ProviderHealth{Kind: string(kindOf(obj)), Namespace: obj.GetNamespace(), Name: obj.GetName()}
		r.gate.mu.Lock()
		of.Circuit = r.gate.breaker.state(now)
		r.gate.mu.Unlock()
		if at := r.reached.Load(); at != 0 {
			of.Reached = time.Unix(0, at)
		}
		found = append(found, of)
	}
	return found, nil
}

// naming lists the providers that have credentials in a Secret.
func (p *Providers) naming(ctx context.Context, secret client.Object) ([]v1.Provider, error) {
	by := stores.Where(indexCredentials, secret.GetName())
	list := &v1.SessionProviderList{}
	if err := p.Reader.List(ctx, list, client.InNamespace(secret.GetNamespace()), by, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing the SessionProviders that name Secret %s: %w", secret.GetName(), err)
	}
	var found []v1.Provider
	for i := range list.Items {
		found = append(found, &list.Items[i])
	}
	if p.clusterWide() && secret.GetNamespace() == p.Namespace {
		cluster := &v1.ClusterSessionProviderList{}
		if err := p.Reader.List(ctx, cluster, by, client.UnsafeDisableDeepCopy); err != nil {
			return nil, fmt.Errorf("listing the ClusterSessionProviders that name Secret %s: %w", secret.GetName(), err)
		}
		for i := range cluster.Items {
			found = append(found, &cluster.Items[i])
		}
	}
	return found, nil
}
