package integration_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/internal/provider"
	"terminals.dev/session-controller/internal/telemetry"
	"terminals.dev/session-controller/internal/tokenstore"
)

func TestATokenThatWasPutAsideIsRevoked(t *testing.T) {
	t.Parallel()
	h := newRevoking(t)
	h.putAside(h.ended("s-1", month))
	h.expectWaiting(1)
	for name, secret := range h.waiting() {
		if secret.Immutable == nil || !*secret.Immutable || len(secret.OwnerReferences) > 0 || len(secret.Annotations) > 0 {
			t.Errorf("Secret %s is mutable, owned or annotated: %+v", name, secret.ObjectMeta)
		}
	}
	h.wake()
	h.run(0)

	want := provider.Request{
		Session:        provider.Session{Namespace: h.namespace, Name: "s-1", ID: "s-1", UserEmail: "anna@acme.example"},
		IdempotencyKey: "uid-of-s-1/3", Token: "token-of-s-1", RefreshToken: "grant-of-s-1",
	}
	if diff := cmp.Diff([]provider.Request{want}, h.told.requests); diff != "" {
		t.Errorf("the provider was told of something else (-want +got):\n%s", diff)
	}
	if writes, reads := h.wire.taken(); len(writes) != 1 || len(reads) != 1 {
		t.Errorf("it took the writes %v and the reads %v, want one of each", writes, reads)
	}
	h.expectWaiting(0)
	h.expectCounted(map[telemetry.RevocationOutcome]float64{telemetry.Revoked: 1})
	if got := h.metric("terminalsession_provider_requests_total", "Revoke"); got != 1 {
		t.Errorf("%g calls are counted", got)
	}
}

func TestPuttingATokenAsideTwiceIsOnceAndAnotherTokenIsAnother(t *testing.T) {
	t.Parallel()
	h := newRevoking(t)
	same := func(change func(*tokenstore.Revocation)) tokenstore.Revocation { return h.ended("s-1", month, change) }
	h.putAside(h.ended("s-1", month), h.ended("s-1", month))
	h.expectWaiting(1)
	h.putAside(
		same(func(r *tokenstore.Revocation) { r.Attempt = 4 }),
		same(func(r *tokenstore.Revocation) { r.SessionUID = "another" }),
		same(func(r *tokenstore.Revocation) { r.Token = "another of the same attempt" }),
	)
	h.expectWaiting(4)
	h.wake()
	h.run(0)
	h.expectTold("s-1", "s-1", "s-1", "s-1")
	h.expectWaiting(0)
}

// A provider that cannot be told, and what brings it back.
var unreachable = []struct {
	name string
	// isAsked is whether the provider is asked nevertheless, since only its answer tells.
	isAsked    bool
	begin, end func(h *revoking)
}{
	{
		name:  "it does not exist",
		begin: func(h *revoking) { h.delete(h.provider(issuer)) },
		end:   func(h *revoking) { h.provide(sessionProvider(issuer)) },
	},
	{
		name:  "it is not ready",
		begin: func(h *revoking) { h.turn(unusable) },
		end: func(h *revoking) {
			h.turn(func(s *v1.SessionProviderSpec) { s.Embedded, s.Webhook = &v1.EmbeddedProvider{}, nil })
		},
	},
	{
		name: "nobody has looked at its new spec",
		begin: func(h *revoking) {
			change(h.harness, h.provider(issuer), func(p *v1.SessionProvider) { p.Spec.SecureLogin = new(true) })
		},
		end: func(h *revoking) { h.look(h.provider(issuer)) },
	},
	{
		name:  "it is another now, that cannot be told",
		begin: func(h *revoking) { h.told.deaf = true },
		end:   func(h *revoking) { h.told.deaf = false },
	},
	{
		name: "it is out of reach", isAsked: true,
		begin: func(h *revoking) { h.told.fail(provider.Unavailable, 0) },
		end:   func(h *revoking) { h.told.say(nil) },
	},
	{
		name: "it is busy", isAsked: true,
		begin: func(h *revoking) { h.told.fail(provider.Busy, 90*time.Second) },
		end:   func(h *revoking) { h.told.say(nil) },
	},
	{
		name: "it refuses the controller's credentials", isAsked: true,
		begin: func(h *revoking) { h.told.fail(provider.Misconfigured, 0) },
		end:   func(h *revoking) { h.told.say(nil) },
	},
	{
		name: "it wants an auth token", isAsked: true,
		begin: func(h *revoking) { h.told.fail(provider.AuthTokenMissing, 0) },
		end:   func(h *revoking) { h.told.say(nil) },
	},
	{
		name: "it fails as nobody has foreseen", isAsked: true,
		begin: func(h *revoking) {
			h.told.say(func(context.Context, v1.Provider, provider.Request) error { return errors.New("a surprise") })
		},
		end: func(h *revoking) { h.told.say(nil) },
	},
}

// turn changes the provider's spec, and has the controller look at it.
func (h *revoking) turn(edit func(*v1.SessionProviderSpec)) {
	h.t.Helper()
	change(h.harness, h.provider(issuer), func(p *v1.SessionProvider) { edit(&p.Spec) })
	h.look(h.provider(issuer))
}

func TestRevocationsWaitForTheirProviderAndGoOnWhenItIsBack(t *testing.T) {
	t.Parallel()
	for _, test := range unreachable {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			h := newRevoking(t)
			h.putAside(h.ended("s-1", month), h.ended("s-2", month), h.ended("s-3", 2*month))
			test.begin(h)
			h.wire.taken()
			h.wake()
			h.run(6 * time.Hour)

			calls := h.told.taken()
			if asked := len(calls) > 0; asked != test.isAsked || len(calls) > 400 {
				t.Errorf("it was asked %d times in six hours", len(calls))
			}
			writes, reads := h.wire.taken()
			if len(writes) > 0 || len(reads) != len(calls) {
				t.Errorf("there were %d writes and %d reads for %d calls", len(writes), len(reads), len(calls))
			}
			h.expectWaiting(3)
			h.restart()
			h.wake()
			h.run(time.Hour)
			h.expectWaiting(3)
			h.told.taken()

			test.end(h)
			h.run(11 * time.Minute) // by itself, without an event, and with the longest backoff
			h.expectTold("s-1", "s-2", "s-3")
			h.expectWaiting(0)
			h.expectCounted(map[telemetry.RevocationOutcome]float64{telemetry.Revoked: 3})
		})
	}
}

func TestATokenThatExpiresWhileItWaitsIsDroppedThen(t *testing.T) {
	t.Parallel()
	for _, test := range unreachable {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			h := newRevoking(t)
			h.putAside(h.ended("s-1", 3*time.Hour), h.ended("s-2", 3*time.Hour), h.ended("longer", month))
			test.begin(h)
			h.wake()
			h.run(3*time.Hour - time.Second)
			h.expectWaiting(3)
			h.run(2 * time.Second)
			h.expectWaiting(1)
			h.expectCounted(map[telemetry.RevocationOutcome]float64{telemetry.Expired: 2})
		})
	}
}

func TestATokenThatHasExpiredIsDroppedUnread(t *testing.T) {
	t.Parallel()
	h := newRevoking(t)
	h.putAside(h.ended("s-1", time.Minute))
	h.step(time.Minute + time.Second) // while the controller was down
	h.restart()
	h.wake()
	h.run(0)
	h.expectTold()
	if _, reads := h.wire.taken(); len(reads) > 0 {
		t.Errorf("it was read: %v", reads)
	}
	h.expectWaiting(0)
	h.expectCounted(map[telemetry.RevocationOutcome]float64{telemetry.Expired: 1})
}

func TestATokenThatTheProviderRefusesToRevokeIsDroppedAndLogged(t *testing.T) {
	t.Parallel()
	for _, kind := range []provider.Kind{provider.Rejected, provider.GrantDead, provider.Banned} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			h := newRevoking(t)
			h.putAside(h.ended("s-1", month))
			h.told.fail(kind, 0)
			h.wake()
			h.run(time.Hour)
			h.expectTold("s-1")
			h.expectWaiting(0)
			h.expectCounted(map[telemetry.RevocationOutcome]float64{telemetry.Refused: 1})
			if !strings.Contains(h.log.String(), "refuses to revoke") || !strings.Contains(h.log.String(), "it does not go") {
				t.Error("the log has no word of it")
			}
		})
	}
}

func TestTheTokenThatLivesLongestIsRevokedFirst(t *testing.T) {
	t.Parallel()
	h := newRevoking(t)
	h.turn(func(s *v1.SessionProviderSpec) {
		s.RateLimit = v1.RateLimit{RequestsPerSecond: 1, Burst: 1, Concurrent: 1}
	})
	p := h.provider(issuer)
	h.delete(p)
	var want []string
	for _, hours := range []int{500, 2, 700, 90, 699, 1, 8000} {
		h.putAside(h.ended(fmt.Sprintf("s-%04d", hours), time.Duration(hours)*time.Hour))
		want = append(want, fmt.Sprintf("%s s-%04d", issuer, hours))
	}
	h.wake()
	h.run(time.Second) // by now their results have told how urgent they are
	p.ObjectMeta = metav1.ObjectMeta{Name: p.Name}
	h.provide(p)
	h.wake()
	h.run(time.Minute)

	slices.Sort(want)
	slices.Reverse(want)
	if diff := cmp.Diff(want, h.told.taken()); diff != "" {
		t.Errorf("the order is another (-want +got):\n%s", diff)
	}
}

func TestRevocationsKeepToTheProvidersRateLimit(t *testing.T) {
	t.Parallel()
	h := newRevoking(t)
	const rate, burst, count = 20, 10, 200
	h.turn(func(s *v1.SessionProviderSpec) {
		s.RateLimit = v1.RateLimit{RequestsPerSecond: rate, Burst: burst, Concurrent: 16}
	})
	for i := range count {
		h.putAside(h.ended(fmt.Sprintf("s-%d", i), month+time.Duration(i)*time.Second))
	}
	h.wake()
	h.run(0)
	if got := len(h.told.calls); got != burst {
		t.Errorf("%d at once, want the burst of %d", got, burst)
	}
	looks := len(h.errors)
	h.run(time.Minute)

	if got := len(h.told.calls); got != count {
		t.Fatalf("%d calls, want one each for %d", got, count)
	}
	for i, from := range h.told.at {
		n := 0
		for _, at := range h.told.at[i:] {
			if at.Sub(from) < time.Second {
				n++
			}
		}
		if n > burst+rate {
			t.Fatalf("%d within one second, want at most %d", n, burst+rate)
		}
	}
	took := h.told.at[count-1].Sub(h.told.at[0])
	if ideal := time.Second * (count - burst) / rate; took > ideal+ideal/10 {
		t.Errorf("it took %s, want %s", took, ideal)
	}
	if looks = len(h.errors) - looks; looks > 2*count {
		t.Errorf("those who waited were looked at %d times, want about once each", looks)
	}
	h.expectWaiting(0)
}

func TestATokenWithWhichTheProviderAlwaysFailsHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	h := newRevoking(t)
	for i := range 30 {
		h.putAside(h.ended(fmt.Sprintf("s-%d", i), month))
	}
	h.putAside(h.ended("poison", 2*month)) // the most urgent
	h.told.say(func(_ context.Context, _ v1.Provider, req provider.Request) error {
		if req.Session.ID == "poison" {
			return &provider.Error{Kind: provider.Unavailable, Message: "internal error"}
		}
		return nil
	})
	h.wake()
	h.run(time.Minute)
	h.expectWaiting(1)
	h.told.taken()
	h.run(24 * time.Hour)
	if n := len(h.told.taken()); n < 24 || n > 24*7 {
		t.Errorf("it was tried %d times in a day", n)
	}
	h.expectWaiting(1)
}

func TestAProviderThatIsBusyIsLeftAloneAndOthersAreNot(t *testing.T) {
	t.Parallel()
	h := newRevoking(t)
	h.provide(sessionProvider("other"))
	for i := range 20 {
		h.putAside(h.ended(fmt.Sprintf("s-%d", i), month), h.ended(fmt.Sprintf("o-%d", i), month, issuedBy("other")))
	}
	h.told.say(func(_ context.Context, of v1.Provider, _ provider.Request) error {
		if of.GetName() == "other" {
			return nil
		}
		return &provider.Error{Kind: provider.Busy, RetryAfter: time.Hour}
	})
	h.wake()
	h.run(time.Hour - time.Second)

	busy := 0
	for _, call := range h.told.taken() {
		if strings.HasPrefix(call, issuer) {
			busy++
		}
	}
	if busy != 1 {
		t.Errorf("the busy provider was asked %d times within the hour, want once", busy)
	}
	h.expectWaiting(20)
}

func TestACallIsGivenTenSeconds(t *testing.T) {
	t.Parallel()
	h := newRevoking(t)
	h.putAside(h.ended("s-1", month))
	h.told.say(func(ctx context.Context, _ v1.Provider, _ provider.Request) error {
		deadline, ok := ctx.Deadline()
		if left := time.Until(deadline); !ok || left > 10*time.Second || left < 5*time.Second {
			t.Errorf("it is given %s", left)
		}
		return context.DeadlineExceeded
	})
	h.wake()
	h.run(0)
	h.expectTold("s-1")
	h.expectWaiting(1)
}

func TestAControllerThatIsKilledLosesNoRevocation(t *testing.T) {
	t.Parallel()
	// The moments are right before and after the call, and the writes: putting the token aside, and deleting it.
	for name, kill := range map[string]func(h *revoking, do func()) bool{
		"before it is put aside": func(h *revoking, do func()) bool { return h.killed(moment{1, false}, do) },
		"after it is put aside":  func(h *revoking, do func()) bool { return h.killed(moment{1, true}, do) },
		"before it is deleted":   func(h *revoking, do func()) bool { return h.killed(moment{2, false}, do) },
		"after it is deleted":    func(h *revoking, do func()) bool { return h.killed(moment{2, true}, do) },
		"before the provider is told": func(h *revoking, do func()) bool {
			h.told.say(func(context.Context, v1.Provider, provider.Request) error {
				h.told.taken() // it has not heard of it
				panic(killed{})
			})
			return h.killed(moment{99, false}, do)
		},
		"after the provider is told": func(h *revoking, do func()) bool {
			h.told.say(func(context.Context, v1.Provider, provider.Request) error { panic(killed{}) })
			return h.killed(moment{99, false}, do)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newRevoking(t)
			r := h.ended("s-1", month)
			if !kill(h, func() {
				h.putAside(r)
				h.wake()
				h.run(0)
			}) {
				t.Fatal("the controller lives")
			}
			first := len(h.told.taken())
			h.told.say(nil)
			h.restart()
			if strings.Contains(name, "put aside") || first == 0 {
				h.putAside(r) // the session's end is made again
			}
			h.wake()
			h.run(0)

			again := len(h.told.taken())
			if first+again < 1 || first+again > 2 {
				t.Errorf("the provider was told %d times and again %d times", first, again)
			}
			h.expectWaiting(0)
			if got := h.metric("terminalsession_revocations_total", string(telemetry.Refused)); got != 0 {
				t.Errorf("%g were refused", got)
			}
		})
	}
}

func TestWhatSomebodyHasAlteredIsDroppedAndCounted(t *testing.T) {
	t.Parallel()
	label := func(key, value string) func(*corev1.Secret) {
		return func(s *corev1.Secret) { s.Labels[key] = value }
	}
	for name, alter := range map[string]func(*corev1.Secret){
		"another provider's label":       nil,
		"another expiry":                 label(tokenstore.LabelExpires, "99999999999"),
		"an expiry that is none":         label(tokenstore.LabelExpires, "tomorrow"),
		"no expiry":                      func(s *corev1.Secret) { delete(s.Labels, tokenstore.LabelExpires) },
		"no description":                 func(s *corev1.Secret) { delete(s.Data, "revocation") },
		"garbage":                        putting("revocation", "{"),
		"a description of something":     putting("revocation", `{"session":{"ID":"another"}}`),
		"a description of another":       nil,
		"a provider that nobody labels":  nil,
		"a description without a sense":  putting("revocation", "[]"),
		"a description that is just one": putting("revocation", `"s-1"`),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newRevoking(t)
			h.putAside(h.ended("s-1", month))
			for _, s := range h.waiting() {
				h.delete(&s)
				s.ObjectMeta = metav1.ObjectMeta{Name: s.Name, Labels: s.Labels}
				text := string(s.Data["revocation"])
				switch name {
				case "another provider's label":
					h.provide(sessionProvider("other"))
					alter = label(tokenstore.LabelRevocation, h.ended("s-1", month, issuedBy("other")).Provider.Label())
				case "a description of another":
					alter = putting("revocation", strings.Replace(text, `"ID":"s-1"`, `"ID":"s-2"`, 1))
				case "a provider that nobody labels":
					alter = putting("revocation", strings.Replace(text, issuer, "evil", 1))
				}
				alter(&s)
				h.apply(&s)
			}
			h.wake()
			h.run(time.Hour)
			h.expectTold()
			h.expectWaiting(0)
			h.expectCounted(map[telemetry.RevocationOutcome]float64{telemetry.Lost: 1})
		})
	}
}

func TestASecretOfSomebodyElsesIsLeftAlone(t *testing.T) {
	t.Parallel()
	h := newRevoking(t)
	labels := h.ended("s-1", month).Provider.Label()
	expired := fmt.Sprint(h.clock.Now().Add(-time.Hour).Unix())
	for name, with := range map[string]map[string]string{
		"plain":    nil,
		"labelled": {tokenstore.LabelRevocation: labels, tokenstore.LabelExpires: expired},
		"revocation-of-somebody": {
			tokenstore.LabelRevocation: labels, tokenstore.LabelExpires: fmt.Sprint(h.clock.Now().Add(month).Unix()),
		},
		"revocation-without-end": {tokenstore.LabelRevocation: labels},
	} {
		s := opaque(name, "token", "somebody's")
		s.Labels = with
		h.apply(s)
		h.due[name] = turn{at: h.clock.Now()}
	}
	h.run(24 * time.Hour)
	h.expectTold()
	h.expectWrites()
	if len(h.due) > 0 {
		t.Errorf("they are looked at again: %v", h.due)
	}
}

// A cache that still shows what has been deleted must not have a provider told twice, nor anything fail.
func TestARevocationThatIsGoneAlreadyIsNotMade(t *testing.T) {
	t.Parallel()
	h := newRevoking(t)
	h.putAside(h.ended("s-1", month))
	h.wire.frozen = map[string]client.Reader{"Secret": h.frozen()}
	h.wake()
	name := slices.Collect(maps.Keys(h.due))[0]
	h.run(0)
	h.expectTold("s-1")
	h.visit(name)
	h.expectTold()
}

func TestNoTokenIsToldToAnybodyButItsProvider(t *testing.T) {
	t.Parallel()
	h := newRevoking(t)
	h.putAside(h.ended("s-1", month), h.ended("s-2", month), h.ended("s-3", time.Hour))
	for _, test := range unreachable {
		test.begin(h)
		h.wake()
		h.run(time.Minute)
		test.end(h)
	}
	h.wire.seam = func(string, func() error) error { return errors.New("the API server is gone") }
	h.sync()
	for name := range h.waiting() {
		_, err := h.revocations.Reconcile(h.loud, h.request(name))
		h.errors = append(h.errors, err)
	}
	if err := h.sessions.Store.PutAside(h.loud, h.namespace, h.ended("s-4", month)); err == nil {
		t.Error("a token is put aside without an API server")
	} else {
		h.errors = append(h.errors, err)
	}
	h.wire.seam = nil
	h.told.fail(provider.Rejected, 0)
	h.wake()
	h.run(24 * time.Hour)

	if h.log.Len() == 0 || errors.Join(h.errors...) == nil || len(h.told.requests) < 6 {
		t.Fatalf("there is too little to search: %d bytes of log, %d calls", h.log.Len(), len(h.told.requests))
	}
	for what, text := range h.harness.told() {
		for _, secret := range []string{"token-of-", "grant-of-"} {
			if strings.Contains(text, secret) {
				t.Errorf("a token is in %s:\n%s", what, text)
			}
		}
	}
}

// TestRevocationsUnderTheManager is about what wakes a revocation, and about those of several providers at a time, so here the controllers
// run by themselves: with Roles alone, in the controller's own namespace.
func TestRevocationsUnderTheManager(t *testing.T) {
	h := newRevoking(t)
	h.told.clock = clock.RealClock{}
	aside := func(n int, of string) {
		for i := range n {
			r := h.ended(fmt.Sprintf("%s-%d", of, i), month, issuedBy(of))
			if err := (&tokenstore.Store{Writer: h.api}).PutAside(h.ctx, systemNamespace, r); err != nil {
				t.Fatal(err)
			}
		}
	}
	left := func(of string) int {
		list := &corev1.SecretList{}
		ref := h.ended("any", month, issuedBy(of)).Provider
		if err := h.api.List(h.ctx, list, client.InNamespace(systemNamespace), client.MatchingLabels{tokenstore.LabelRevocation: ref.Label()}); err != nil {
			t.Fatal(err)
		}
		return len(list.Items)
	}
	await := func(of string, want int) {
		t.Helper()
		h.awaitThat(t, func() (string, bool) {
			n := left(of)
			return fmt.Sprintf("%d revocations of %s wait, want %d", n, of, want), n == want
		})
	}
	aside(30, issuer) // before the controller starts
	h.manage()
	await(issuer, 0)
	aside(30, issuer)
	await(issuer, 0)
	if n := len(h.told.taken()); n != 60 {
		t.Errorf("%d calls for 60 tokens", n)
	}

	aside(5, "late")
	hang := make(chan struct{})
	h.told.say(func(_ context.Context, of v1.Provider, _ provider.Request) error {
		if of.GetName() == "hangs" {
			<-hang
		}
		return nil
	})
	h.apply(sessionProvider("hangs", func(s *v1.SessionProviderSpec) { s.RateLimit.Concurrent = 1000 }))
	aside(100, "hangs")
	h.awaitThat(t, func() (string, bool) {
		h.told.mu.Lock()
		defer h.told.mu.Unlock()
		return "the provider that hangs has its share of calls", len(h.told.calls) >= 16
	})
	aside(30, issuer)
	await(issuer, 0) // though another does not answer
	if n := left("late"); n != 5 {
		t.Errorf("%d wait for the provider that is not there, want 5", n)
	}
	h.apply(sessionProvider("late"))
	await("late", 0)
	if n := left("hangs"); n != 100 {
		t.Errorf("%d wait for the provider that hangs, want 100", n)
	}
	close(hang)
	await("hangs", 0)
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, complaint := range []string{"orbidden", "Reconciler error"} {
		if strings.Contains(h.log.String(), complaint) {
			t.Errorf("the log has %q in it", complaint)
		}
	}
}
