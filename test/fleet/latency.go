package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "terminals.dev/session-controller/api/v1"
)

// latency measures bans and logouts from before they are applied until the Secret is gone.
func (b *bench) latency(ctx context.Context) error {
	floor, err := b.deletions(ctx)
	if err != nil {
		return err
	}
	if err := b.clear(ctx, ofProduct); err != nil {
		return err
	}
	if err := b.ensure(ctx, b.n); err != nil {
		return err
	}
	v, err := b.watch(ctx, secretsOf(ofProduct), asMetadata)
	if err != nil {
		return err
	}
	defer v.stop()
	tries := min(50, b.n/10)
	if err := b.alone(ctx, v, tries); err != nil {
		return err
	}
	if err := b.underLoad(ctx, v, 2*tries, tries); err != nil {
		return err
	}
	return b.atOnce(ctx, v, floor)
}

// order is a ban or a logout of one session.
type order func(session string) client.Object

func ban(session string) client.Object {
	return newBan(session, v1.BanMatch{TerminalID: terminalOf(session)})
}

func logout(session string) client.Object { return newLogout(session) }

// enforce gives an order, and returns how long it takes until the session's Secret is gone.
func (b *bench) enforce(ctx context.Context, v *view, give order, session string) (time.Duration, error) {
	begin := time.Now()
	if err := b.api.Create(ctx, give(session)); err != nil {
		return 0, fmt.Errorf("giving an order for %s: %w", session, err)
	}
	var at time.Time
	err := v.until(ctx, func(s sight) bool { at = s.at; return s.deleted && s.name == tokenOf(session) })
	if err != nil {
		return 0, fmt.Errorf("waiting until %s has no token: %w", session, err)
	}
	return at.Sub(begin), nil
}

// alone gives one order after the other, of each kind so many.
func (b *bench) alone(ctx context.Context, v *view, tries int) error {
	next := 0
	for _, kind := range []struct {
		name string
		give order
	}{{"ban", ban}, {"logout", logout}} {
		b.say("%d times a %s of one session", tries, kind.name)
		var took []time.Duration
		for range tries {
			d, err := b.enforce(ctx, v, kind.give, name(next))
			if err != nil {
				return err
			}
			took, next = append(took, d), next+1
		}
		b.report.latency("latency."+kind.name, "a "+kind.name+" of one session", took)
	}
	return nil
}

// underLoad does the same while half as many sessions as the fleet has are being logged in beside it.
func (b *bench) underLoad(ctx context.Context, v *view, from, tries int) error {
	sessions, err := b.watch(ctx, sessionsOf(ofProduct), asJSON)
	if err != nil {
		return err
	}
	defer sessions.stop()
	half := b.n / 2
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return b.apply(ctx, ofProduct, b.n, b.n+half, embedded) })
	busy := make(chan struct{})
	var times []time.Time
	group.Go(func() (err error) {
		defer close(busy)
		times, err = sessions.first(ctx, half, func(s sight) bool { return s.name >= name(b.n) && established(s) }, nil)
		return err
	})
	var took []time.Duration
	group.Go(func() error {
		for i := range tries {
			d, err := b.enforce(ctx, v, []order{ban, logout}[i%2], name(from+i))
			if err != nil {
				return err
			}
			select {
			case <-busy:
				return nil // it was the last under load, or not even that
			default:
				took = append(took, d)
			}
		}
		return nil
	})
	if err := group.Wait(); err != nil {
		return err
	}
	if len(took) == 0 {
		return fmt.Errorf("%d sessions were established before one order was enforced", half)
	}
	b.report.latency("latency.loaded", fmt.Sprintf("%d bans and logouts while %d others log in", len(took), half), took)
	b.report.add("latency.loaded.pause", "    the longest time in which none of those was done", longestPause(times).Seconds()*1000, "ms")
	return nil
}

// longestPause is the longest time between one and the next: where an order takes as long, the API server or its disk stood still.
func longestPause(times []time.Time) (longest time.Duration) {
	slices.SortFunc(times, time.Time.Compare)
	for i := 1; i < len(times); i++ {
		longest = max(longest, times[i].Sub(times[i-1]))
	}
	return longest
}

// atOnce bans the whole fleet.
func (b *bench) atOnce(ctx context.Context, v *view, floor pace) error {
	left, err := b.loggedIn(ctx)
	if err != nil {
		return err
	}
	spent, err := b.meter(ctx)
	if err != nil {
		return err
	}
	bar := b.bar(len(left), "a ban on the whole fleet")
	profiled := b.profiled(ctx, "ban")
	begin := time.Now()
	if err := b.api.Create(ctx, newBan("everybody", v1.BanMatch{MerchantID: merchant})); err != nil {
		return fmt.Errorf("banning the fleet: %w", err)
	}
	times, err := v.first(ctx, len(left), gone, bar)
	if err != nil {
		return err
	}
	if _, err := b.settled(ctx); err != nil {
		return err
	}
	cost, err := spent(ctx)
	if err != nil {
		return err
	}
	if err := profiled(); err != nil {
		return err
	}
	var took []time.Duration
	for _, t := range times {
		took = append(took, t.Sub(begin))
	}
	rate := paceOf(begin, times).Overall
	writes := cost.Requests.Of("secrets").Writes().Total() + cost.Requests.Of("terminalsessions").Writes().Total()
	b.report.add("latency.atOnce.ofFloor", "Secrets gone a second, against a bare client that deletes them", rate/floor.Overall, "")
	b.report.add("latency.atOnce.perSecond", "    the product's", rate, "/s")
	b.report.add("latency.atOnce.floor.perSecond", "    the bare client's", floor.Overall, "/s")
	b.report.add("latency.atOnce.writes", "API writes to a session and its Secret, each", float64(writes)/float64(len(left)), "")
	b.report.latency("latency.atOnce", fmt.Sprintf("a ban on %d sessions", len(left)), took)
	return nil
}

// loggedIn takes the sessions away that have no token any more, and returns the Secrets of the rest, when all is quiet.
func (b *bench) loggedIn(ctx context.Context) (map[string]metav1.ObjectMeta, error) {
	secrets, err := b.metadata(ctx, secretKind, ofProduct)
	if err != nil {
		return nil, err
	}
	sessions, err := b.metadata(ctx, sessionKind, ofProduct)
	if err != nil {
		return nil, err
	}
	for session := range sessions {
		if _, has := secrets[tokenOf(session)]; has {
			continue
		}
		s := &v1.TerminalSession{ObjectMeta: metav1.ObjectMeta{Namespace: ofProduct, Name: session}}
		if err := b.api.Delete(ctx, s); err != nil {
			return nil, fmt.Errorf("taking away a session without a token: %w", err)
		}
	}
	_, err = b.settled(ctx)
	return secrets, err
}

func (r *report) latency(key, label string, took []time.Duration) {
	each := make([]float64, len(took)) // in the order in which they were given
	for i, d := range took {
		each[i] = d.Seconds() * 1000
	}
	slices.Sort(took)
	for _, q := range []struct {
		name  string
		share float64
	}{{"p50", 0.5}, {"p99", 0.99}} {
		r.add(key+"."+q.name, label+", "+q.name, quantile(took, q.share).Seconds()*1000, "ms").Each = each
	}
}
