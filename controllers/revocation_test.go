package controllers

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/internal/provider"
	"terminals.dev/session-controller/internal/tokenstore"
)

func TestWhatIsPutAsideIsWhatTheProviderIsToldOf(t *testing.T) {
	t.Parallel()
	req := provider.Request{
		Session: provider.Session{
			Namespace: "shop", Name: "till-1", ID: "0197", TerminalID: "T-1", SerialNumber: "SN", MerchantID: "acme",
			UserEmail: "anna@acme.example", UserName: "Anna", Purpose: "Login", Type: "Continuous",
			Scopes: []string{"a"}, Audiences: []string{"b"}, Lifetime: time.Hour, Announce: "hello",
		},
		IdempotencyKey: "uid/7", Token: "the token", RefreshToken: "the refresh token",
	}
	for issuer, want := range map[v1.ProviderReference]tokenstore.ProviderReference{
		{Kind: v1.KindSessionProvider, Name: "idp"}:        {Kind: v1.KindSessionProvider, Namespace: "shop", Name: "idp"},
		{Kind: v1.KindClusterSessionProvider, Name: "idp"}: {Kind: v1.KindClusterSessionProvider, Name: "idp"},
	} {
		r, err := revocationOf(req, "uid", 7, issuer, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if r.Provider != want {
			t.Errorf("the provider is %v, want %v", r.Provider, want)
		}
		got, err := requestOf(r)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(req, got); diff != "" {
			t.Errorf("the provider is told of something else (-put aside +told):\n%s", diff)
		}
		for _, secret := range []string{req.Token, req.RefreshToken} {
			if strings.Contains(string(r.Description), secret) {
				t.Error("a token is in the description")
			}
		}
	}
	for _, description := range []string{"", "{}", "null", `{"ID":"another"}`, "[]"} {
		if _, err := requestOf(tokenstore.Revocation{SessionID: "0197", Description: []byte(description)}); err == nil {
			t.Errorf("a description %q is taken", description)
		}
	}
}

func TestTheQueueHasTheTokenThatLivesLongestFirst(t *testing.T) {
	t.Parallel()
	r := &RevocationReconciler{Providers: &Providers{Namespace: "system"}}
	queue := priorityqueue.New[reconcile.Request]("revocations-of-a-test")
	defer queue.ShutDown()
	events, now := r.bySecret(), time.Now()
	secret := func(namespace, name string, labels map[string]string) *metav1.PartialObjectMetadata {
		return &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: labels}}
	}
	for i, life := range []time.Duration{time.Minute, 720 * time.Hour, -time.Hour, 8760 * time.Hour, time.Hour, 719 * time.Hour} {
		labels := map[string]string{tokenstore.LabelRevocation: "abc", tokenstore.LabelExpires: fmt.Sprint(now.Add(life).Unix())}
		e := secret("system", fmt.Sprintf("revocation-%d-%s", i, life), labels)
		if i%2 == 0 {
			events.Create(context.Background(), event.CreateEvent{Object: e, IsInInitialList: i%4 == 0}, queue)
		} else {
			events.Update(context.Background(), event.UpdateEvent{ObjectOld: e, ObjectNew: e}, queue)
		}
		events.Create(context.Background(), event.CreateEvent{Object: secret("elsewhere", e.Name, labels)}, queue)
	}
	events.Create(context.Background(), event.CreateEvent{Object: secret("system", "revocation-plain", nil)}, queue)
	events.Create(context.Background(), event.CreateEvent{
		Object: secret("system", "foreign", map[string]string{tokenstore.LabelRevocation: "abc"}),
	}, queue)

	var got []string
	for range 6 {
		req, _, _ := queue.GetWithPriority()
		got = append(got, strings.SplitN(req.Name, "-", 3)[2])
	}
	want := []string{"8760h0m0s", "720h0m0s", "719h0m0s", "1h0m0s", "1m0s", "-1h0m0s"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the order is another (-want +got):\n%s", diff)
	}
	if n := queue.Len(); n != 0 {
		t.Errorf("%d more are in the queue", n)
	}
}

// pacing is a drain, and a limit with room for everybody.
func pacing(t *testing.T, spec v1.RateLimit) (*drain, *limit, time.Time) {
	t.Helper()
	now := time.Now()
	providers, _ := at(now)
	return &drain{}, providers.limiter(limited("a", spec)), now
}

var roomy = v1.RateLimit{RequestsPerSecond: 10000, Burst: 10000, Concurrent: 1000}

func TestOneProviderHasOnlyAShareOfTheWorkers(t *testing.T) {
	t.Parallel()
	d, l, now := pacing(t, roomy)
	n := 0
	for range revokers {
		if leave, _ := d.enter(now, "1", l); leave != nil {
			n++
		}
	}
	if n != revokersOfOne {
		t.Errorf("%d calls are under way, want %d", n, revokersOfOne)
	}
}

func TestAProviderThatFailsIsAskedWithOneTokenAfterAPauseThatDoubles(t *testing.T) {
	t.Parallel()
	d, l, now := pacing(t, roomy)
	for _, pause := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
		leave, _ := d.enter(now, "1", l)
		if leave == nil {
			t.Fatalf("there is no leave before the pause of %ds", pause)
		}
		if another, _ := d.enter(now, "1", l); d.failures > 0 && another != nil {
			t.Fatal("two are asked at a time")
		} else if another != nil {
			another(answer{unasked: true})
		}
		leave(answer{began: now, version: "1", failed: true})
		if early, wait := d.enter(now.Add(pause*time.Second-time.Millisecond), "1", l); early != nil || wait < time.Millisecond {
			t.Fatalf("it is asked before a pause of %ds is over", pause)
		}
		now = now.Add(pause * time.Second)
	}
	leave, _ := d.enter(now, "1", l)
	leave(answer{began: now, version: "1"})
	for i := range revokersOfOne {
		if leave, _ := d.enter(now, "1", l); leave == nil {
			t.Fatalf("only %d are asked after a success", i)
		}
	}
}

func TestCallsThatFailTogetherCountOnce(t *testing.T) {
	t.Parallel()
	d, l, now := pacing(t, roomy)
	var leave []func(answer)
	for range revokersOfOne {
		one, _ := d.enter(now, "1", l)
		leave = append(leave, one)
	}
	for _, leave := range leave {
		leave(answer{began: now, took: time.Second, version: "1", failed: true})
	}
	if d.failures != 1 {
		t.Errorf("%d failures, want 1", d.failures)
	}
}

func TestAPauseIsAsLongAsTheProviderAsksAndOverWhenItsObjectChanges(t *testing.T) {
	t.Parallel()
	d, l, now := pacing(t, roomy)
	leave, _ := d.enter(now, "1", l)
	leave(answer{began: now, version: "1", failed: true, pause: time.Hour})
	if early, _ := d.enter(now.Add(time.Hour-time.Second), "1", l); early != nil {
		t.Error("it is asked before the hour is over")
	}
	if another, _ := d.enter(now, "2", l); another == nil {
		t.Error("it is not asked though it has changed")
	}
}

func TestThoseWhoWaitComeBackOneAfterTheOther(t *testing.T) {
	t.Parallel()
	d, l, now := pacing(t, v1.RateLimit{RequestsPerSecond: 100, Burst: 1, Concurrent: 16})
	if leave, _ := d.enter(now, "1", l); leave == nil {
		t.Fatal("there is no leave for the first")
	}
	var last time.Duration
	for i := range 7000 {
		_, wait := d.enter(now, "1", l)
		if want := time.Duration(i+1) * 10 * time.Millisecond; wait != min(want, lineCap) {
			t.Fatalf("the wait of number %d is %s, want %s", i, wait, min(want, lineCap))
		}
		last = wait
	}
	if last != lineCap {
		t.Errorf("the last wait is %s, want %s", last, lineCap)
	}
}

// With Roles alone the cache has no sessions in the controller's own namespace, and no providers: there is nothing to look for.
func TestARevocationWakesNoSessionInANamespaceThatIsNotServed(t *testing.T) {
	t.Parallel()
	r := &TerminalSessionReconciler{Providers: &Providers{Namespace: "system", Namespaces: []string{"shop"}}}
	secret := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: "system", Name: "revocation-1"}}
	if woken := r.ofSecret(context.Background(), secret); len(woken) > 0 {
		t.Errorf("it wakes %v", woken)
	}
}
