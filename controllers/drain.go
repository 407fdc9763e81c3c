package controllers

import (
	"context"
	"sync"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/log"

	"terminals.dev/session-controller/internal/tokenstore"
)

const (
	// retryAfterCap bounds what a provider may ask for.
	retryAfterCap = 24 * time.Hour
	// lineCap is how far a line may reach into the future. Those at its end come back together: then the most urgent is first again.
	lineCap = time.Minute
)

// drain paces the revocations of one provider. While the provider fails it is left alone, and then asked with one token: the others follow
// when that one succeeds. Nobody waits in it: who cannot go is told when to come back, each at a time of its own.
type drain struct {
	// label stands for the provider, also before anybody has seen it.
	label string

	mu sync.Mutex
	of tokenstore.ProviderReference
	// underway are the calls that are being made, and took is what the last one took.
	underway int
	took     time.Duration
	// line has those who wait.
	line line
	// The version is that of the provider's object.
	breaker
	// told is what the log has last said of it.
	told string
}

// answer is what came of a leave to ask.
type answer struct {
	// unasked is whether it tells nothing of the provider, and unsent whether no request went out.
	unasked, unsent bool
	// began and took are of the call, and version is of the provider that was asked.
	began   time.Time
	took    time.Duration
	version string
	// failed is whether the provider is to be left alone, for a pause at least.
	failed bool
	pause  time.Duration
}

// enter asks for leave to make one call to the provider, whose object has a version. Where it is given, leave is to be called with what
// came of it; else leave is nil, and wait is when to come back.
func (d *drain) enter(now time.Time, version string, l *limit) (leave func(answer), wait time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.renew(version)
	share := revokersOfOne
	if d.open() {
		share = 1
	}
	every := max(l.interval(), d.took/time.Duration(share))
	if paused := d.paused(now); paused > 0 {
		return nil, d.line.place(now, paused, every, lineCap)
	}
	if d.underway >= share {
		return nil, d.line.place(now, every, every, lineCap)
	}
	free, wait := l.enter(now, 0)
	if free == nil && wait <= every/8 {
		return nil, wait // its turn has come but for a trifle, and at the end of the line it would lose it
	}
	if free == nil {
		return nil, d.line.place(now, wait, every, lineCap)
	}
	d.underway++
	return func(said answer) {
		free(said.unsent)
		d.left(said)
	}, 0
}

func (d *drain) left(said answer) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.underway--
	if said.unasked {
		return
	}
	d.took = said.took
	if said.version != d.version {
		return // it is another provider by now
	}
	if !said.failed {
		d.answered()
		d.told = ""
		return
	}
	d.failed(said.began, said.began.Add(said.took), said.pause)
}

// tell logs why a provider's revocations wait, once for each reason.
func (d *drain) tell(ctx context.Context, why string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.told != why {
		d.told = why
		log.FromContext(ctx).Info("revocations wait", "provider", d.of, "label", d.label, "reason", why)
	}
}

// reference is the provider, once it has been seen.
func (d *drain) reference() (tokenstore.ProviderReference, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.of, d.of.Name != ""
}

func (d *drain) refer(of tokenstore.ProviderReference) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.of = of
}

// doubled is a wait that doubles with each failure.
func doubled(base time.Duration, failures int, most time.Duration) time.Duration {
	if failures < 1 || failures > 20 {
		return most
	}
	return min(base<<(failures-1), most)
}
