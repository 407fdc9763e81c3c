package integration_test

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/log"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/yaml"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/controllers"
	"terminals.dev/session-controller/internal/provider"
	"terminals.dev/session-controller/internal/telemetry"
	"terminals.dev/session-controller/internal/tokenstore"
)

// revoking is a harness with the reconciler of revocations. Its controller has the test's namespace for its own, so that tests do not share
// a queue.
type revoking struct {
	*harness
	told        *told
	revocations *controllers.RevocationReconciler
	// due are the revocations in the queue: when each is to be looked at, and how urgent it is.
	due map[string]turn
}

type turn struct {
	at       time.Time
	priority int
}

// told is what providers have been told of.
type told struct {
	clock clock.PassiveClock
	mu    sync.Mutex
	// calls are the session IDs, with the provider's name before them, and at is when.
	calls []string
	at    []time.Time
	// requests are all that were made.
	requests []provider.Request
	// answer, where it is set, is what they answer.
	answer func(ctx context.Context, of v1.Provider, req provider.Request) error
	// deaf providers are not to be told of anything.
	deaf bool
}

func (r *told) wrap(of v1.Provider, asked provider.Provider) provider.Provider {
	return &telling{Provider: asked, told: r, of: of}
}

type telling struct {
	provider.Provider
	*told
	of v1.Provider
}

func (p *telling) Capabilities() provider.Capabilities {
	c := p.Provider.Capabilities()
	c.RevokesByToken = !p.deaf
	return c
}

func (p *telling) Revoke(ctx context.Context, req provider.Request) error {
	p.mu.Lock()
	p.calls, p.at = append(p.calls, p.of.GetName()+" "+req.Session.ID), append(p.at, p.clock.Now())
	p.requests = append(p.requests, req)
	answer := p.answer
	p.mu.Unlock()
	if answer != nil {
		return answer(ctx, p.of, req)
	}
	return nil
}

func (r *told) taken() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	calls := r.calls
	r.calls, r.at = nil, nil
	return calls
}

func (r *told) say(answer func(context.Context, v1.Provider, provider.Request) error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = answer
}

func (r *told) fail(kind provider.Kind, retryAfter time.Duration) {
	r.say(func(context.Context, v1.Provider, provider.Request) error {
		return &provider.Error{Kind: kind, Message: "it does not go", RetryAfter: retryAfter}
	})
}

func newRevoking(t *testing.T) *revoking {
	t.Helper()
	h := &revoking{harness: newHarness(t)}
	h.told = &told{clock: h.clock}
	h.restart()
	return h
}

// restart makes a controller that remembers nothing, as after kill -9.
func (h *revoking) restart() {
	h.harness.restart()
	h.providers.Namespace, h.providers.Wrap = h.namespace, h.told.wrap
	h.revocations = &controllers.RevocationReconciler{
		Store: h.sessions.Store, Providers: h.providers, Metrics: h.sessions.Metrics, Clock: h.clock,
	}
	h.metrics.MustRegister(telemetry.NewRevocationCollector(func(ctx context.Context) (int, error) {
		return h.sessions.Store.CountWaiting(ctx, h.namespace)
	}))
	h.due = map[string]turn{}
}

// ended describes the token of a session that has ended.
func (h *revoking) ended(session string, life time.Duration, changes ...func(*tokenstore.Revocation)) tokenstore.Revocation {
	h.t.Helper()
	description, err := json.Marshal(provider.Session{Namespace: h.namespace, Name: session, ID: session, UserEmail: "anna@acme.example"})
	if err != nil {
		h.t.Fatal(err)
	}
	r := tokenstore.Revocation{
		SessionUID: types.UID("uid-of-" + session), SessionID: session, Attempt: 3,
		Provider: tokenstore.ProviderReference{Kind: v1.KindSessionProvider, Namespace: h.namespace, Name: issuer},
		Token:    "token-of-" + session, RefreshToken: "grant-of-" + session,
		Description: description, ExpiresAt: h.clock.Now().Add(life),
	}
	for _, change := range changes {
		change(&r)
	}
	return r
}

func issuedBy(name string) func(*tokenstore.Revocation) {
	return func(r *tokenstore.Revocation) { r.Provider.Name = name }
}

// putAside does what a session's end does.
func (h *revoking) putAside(all ...tokenstore.Revocation) {
	h.t.Helper()
	for _, r := range all {
		if err := h.sessions.Store.PutAside(h.loud, h.namespace, r); err != nil {
			h.t.Fatal(err)
		}
	}
	h.wire.taken()
}

// waiting are the Secrets of revocations, by name.
func (h *revoking) waiting() map[string]corev1.Secret {
	h.t.Helper()
	list := &corev1.SecretList{}
	if err := h.api.List(h.ctx, list, client.InNamespace(h.namespace), client.MatchingFields{"type": string(tokenstore.TypeRevocation)}); err != nil {
		h.t.Fatal(err)
	}
	found := map[string]corev1.Secret{}
	for _, s := range list.Items {
		found[s.Name] = s
	}
	return found
}

// wake puts every revocation into the queue, as the events do.
func (h *revoking) wake() {
	h.t.Helper()
	for name := range h.waiting() {
		h.due[name] = turn{h.clock.Now(), h.due[name].priority}
	}
}

// run works on the queue for some time, as the manager does: of those whose time has come, the most urgent first.
func (h *revoking) run(d time.Duration) {
	h.t.Helper()
	h.sync()
	for until := h.clock.Now().Add(d); len(h.due) > 0; {
		names := slices.SortedFunc(maps.Keys(h.due), func(a, b string) int { return h.due[a].at.Compare(h.due[b].at) })
		next := names[0]
		for _, name := range names {
			if !h.due[name].at.After(h.clock.Now()) && h.due[name].priority > h.due[next].priority {
				next = name
			}
		}
		if h.due[next].at.After(until) {
			h.clock.SetTime(until)
			return
		}
		if h.due[next].at.After(h.clock.Now()) {
			h.clock.SetTime(h.due[next].at)
			continue // several may be due at that time
		}
		h.visit(next)
	}
}

// visit reconciles one revocation.
func (h *revoking) visit(name string) {
	h.t.Helper()
	result, err := h.revocations.Reconcile(h.loud, h.request(name))
	h.errors = append(h.errors, err)
	if err != nil {
		h.t.Fatalf("reconciling revocation %s: %v", name, err)
	}
	if delete(h.due, name); result.RequeueAfter > 0 {
		if result.Priority == nil {
			h.t.Fatal("a result has no priority")
		}
		h.due[name] = turn{h.clock.Now().Add(result.RequeueAfter), *result.Priority}
	}
}

// expectTold checks which sessions the provider was told of since the last time, in whatever order.
func (h *revoking) expectTold(want ...string) {
	h.t.Helper()
	for i := range want {
		want[i] = issuer + " " + want[i]
	}
	if diff := cmp.Diff(want, h.told.taken(), cmpopts.EquateEmpty(), cmpopts.SortSlices(strings.Compare)); diff != "" {
		h.t.Errorf("the provider was told of others (-want +got):\n%s", diff)
	}
}

// expectWaiting checks how many revocations are left, and that the gauge says so.
func (h *revoking) expectWaiting(want int) {
	h.t.Helper()
	h.sync()
	if got := len(h.waiting()); got != want {
		h.t.Errorf("%d revocations wait, want %d", got, want)
	}
	if got := h.metric("terminalsession_revocations_pending", ""); got != float64(want) {
		h.t.Errorf("the gauge has %g, want %d", got, want)
	}
}

// expectCounted checks what has become of tokens since the controller was started.
func (h *revoking) expectCounted(want map[telemetry.RevocationOutcome]float64) {
	h.t.Helper()
	for _, outcome := range []telemetry.RevocationOutcome{telemetry.Revoked, telemetry.Expired, telemetry.Refused, telemetry.Lost} {
		if got := h.metric("terminalsession_revocations_total", string(outcome)); got != want[outcome] {
			h.t.Errorf("%g are counted as %s, want %g", got, outcome, want[outcome])
		}
	}
}

// metric is the value of a metric with a label of a value, or without one.
func (h *harness) metric(name, label string) float64 {
	h.t.Helper()
	families, err := h.metrics.Gather()
	if err != nil {
		h.t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.Metric {
			if family.GetName() == name && (label == "" || m.Label[0].GetValue() == label) {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	h.t.Fatalf("there is no metric %s for %q", name, label)
	return 0
}

// manage runs the reconcilers in a manager that may do in the controller's own namespace, and in the test's, what config/namespaced grants.
func (h *revoking) manage() {
	h.t.Helper()
	user, _, err := plane.env.ServiceAccount(systemNamespace, "session-controller-of-"+h.namespace)
	if err != nil {
		h.t.Fatal(err)
	}
	for file, namespace := range map[string]string{
		"../../config/namespaced/role/role.yaml":                   h.namespace,
		"../../config/namespaced/controller/revocations_role.yaml": systemNamespace,
	} {
		role := &rbacv1.Role{}
		content, err := os.ReadFile(file)
		if err := errors.Join(err, yaml.Unmarshal(content, role)); err != nil {
			h.t.Fatal(err)
		}
		role.ObjectMeta = metav1.ObjectMeta{Name: h.namespace, Namespace: namespace}
		binding := &rbacv1.RoleBinding{
			ObjectMeta: role.ObjectMeta,
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: role.Name},
			Subjects: []rbacv1.Subject{{
				Kind: "ServiceAccount", Namespace: systemNamespace, Name: "session-controller-of-" + h.namespace,
			}},
		}
		for _, obj := range []client.Object{role, binding} {
			if err := plane.live.Create(h.ctx, obj); err != nil {
				h.t.Fatal(err)
			}
		}
	}
	caches := controllers.CacheOptions()
	controllers.Confine(&caches, systemNamespace, []string{h.namespace})
	mgr, err := ctrl.NewManager(user, ctrl.Options{
		Scheme: plane.live.Scheme(), Cache: caches, Metrics: metricsserver.Options{BindAddress: "0"}, HealthProbeBindAddress: "0",
		Logger:     log.FromContext(h.loud),
		Controller: config.Controller{SkipNameValidation: new(true)},
	})
	if err != nil {
		h.t.Fatal(err)
	}
	_, err = controllers.Setup(h.ctx, mgr, controllers.Options{
		Namespace: systemNamespace, Namespaces: []string{h.namespace}, IssuerURL: "https://sessions.test", Concurrent: 4,
		Metrics: h.sessions.Metrics, Recorder: h, Clock: clock.RealClock{}, Wrap: h.told.wrap,
	})
	if err != nil {
		h.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(h.ctx)
	stopped := make(chan error)
	go func() { stopped <- mgr.Start(ctx) }()
	h.t.Cleanup(func() {
		stop()
		if err := <-stopped; err != nil {
			h.t.Error(err)
		}
	})
}
