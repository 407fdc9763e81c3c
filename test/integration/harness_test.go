package integration_test

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	clocktesting "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/controllers"
	"terminals.dev/session-controller/internal/egress"
	lifecycle "terminals.dev/session-controller/internal/session"
	"terminals.dev/session-controller/internal/telemetry"
	"terminals.dev/session-controller/internal/tokenstore"
)

// issuer is the SessionProvider that every test begins with; it is ready.
const issuer = "issuer"

// harness is a namespace of the test's own, and a controller that does nothing until it is told to.
type harness struct {
	t *testing.T
	// ctx is the test's own, and loud the controller's: it has a logger at the most talkative level there is.
	ctx, loud context.Context
	namespace string
	clock     *clocktesting.FakePassiveClock
	wire      *wire
	// api is the test's own hand.
	api     client.Client
	answers *answers
	metrics *prometheus.Registry

	// The controller's process: restart makes it anew.
	providers *controllers.Providers
	sessions  *controllers.TerminalSessionReconciler

	mu     sync.Mutex
	log    bytes.Buffer
	events []string
	errors []error
}

func newHarness(t *testing.T) *harness {
	t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"}}
	if err := plane.live.Create(t.Context(), ns); err != nil {
		t.Fatal(err)
	}
	h := &harness{t: t, namespace: ns.Name, clock: clocktesting.NewFakePassiveClock(time.Now()), answers: &answers{}}
	h.wire = &wire{t: t, clock: h.clock, dates: map[types.UID]metav1.Time{}}
	h.api = h.wire.hand()
	h.ctx, h.loud = t.Context(), log.IntoContext(t.Context(), funcr.New(h.logLine, funcr.Options{Verbosity: 10}))
	h.restart()
	h.provide(sessionProvider(issuer))
	h.wire.taken()
	return h
}

// restart makes a controller that remembers nothing, as after kill -9.
func (h *harness) restart() {
	h.wire.seam = nil
	client := client.WithFieldOwner(h.wire.cached(), controllers.FieldManager)
	store := &tokenstore.Store{Metadata: client, Live: h.wire.live(), Writer: client}
	h.providers = &controllers.Providers{
		Reader: client, Store: store, Namespace: systemNamespace, IssuerURL: "https://sessions.test", Clock: h.clock,
		Wrap: h.answers.wrap, Egress: egress.Allow{Loopback: true},
	}
	if h.answers.tell { // so that tests do not share a queue
		h.providers.Namespace = h.namespace
	}
	h.metrics = prometheus.NewRegistry()
	h.sessions = &controllers.TerminalSessionReconciler{
		Orders: h.orders(client),
		Client: client, Store: store, Providers: h.providers, Metrics: telemetry.NewMetrics(h.metrics), Recorder: h, Clock: h.clock,
	}
}

func (h *harness) orders(reader client.Reader) *controllers.Orders {
	return &controllers.Orders{Reader: reader, Clock: h.clock}
}

// reconcile reconciles a session until it is reported on, and fails the test where that fails.
func (h *harness) reconcile(name string) ctrl.Result {
	h.t.Helper()
	result, err := h.try(name)
	if err != nil {
		h.t.Fatalf("reconciling session %s: %v", name, err)
	}
	return result
}

// try reconciles a session until it is reported on, and returns what came of it: once, and once more where Secrets were deleted first.
func (h *harness) try(name string) (ctrl.Result, error) {
	h.t.Helper()
	result, err := h.once(name)
	if err == nil && result.Priority != nil && *result.Priority == lifecycle.PriorityReport {
		result, err = h.once(name)
	}
	return result, err
}

// once reconciles a session, with a cache that is up to date.
func (h *harness) once(name string) (ctrl.Result, error) {
	h.t.Helper()
	h.sync()
	result, err := h.sessions.Reconcile(h.loud, h.request(name))
	h.errors = append(h.errors, err)
	return result, err
}

// killed does something with a controller that is killed at a moment. It tells whether that moment came.
func (h *harness) killed(at moment, do func()) (died bool) {
	h.t.Helper()
	h.wire.killAt(at)
	defer func() {
		h.wire.seam = nil
		if why := recover(); why == (killed{}) {
			died = true
		} else if why != nil {
			panic(why)
		}
	}()
	do()
	return false
}

// settle reconciles sessions until none has anything left to do.
func (h *harness) settle(names ...string) {
	h.t.Helper()
	for range 10 {
		before := len(h.wire.writes)
		for _, name := range names {
			h.reconcile(name)
		}
		if len(h.wire.writes) == before {
			return
		}
	}
	h.t.Fatalf("sessions %v do not come to rest: %v", names, h.wire.writes)
}

// look reconciles a provider once.
func (h *harness) look(p v1.Provider) ctrl.Result {
	h.t.Helper()
	result, err := h.tryLook(p)
	if err != nil {
		h.t.Fatalf("reconciling provider %s: %v", p.GetName(), err)
	}
	return result
}

func (h *harness) tryLook(p v1.Provider) (ctrl.Result, error) {
	h.t.Helper()
	h.sync()
	r := &controllers.SessionProviderReconciler{
		Kind: v1.ProviderKind(kindOf(p)), Client: h.sessions.Client, Store: h.sessions.Store, Providers: h.providers, Clock: h.clock,
	}
	result, err := r.Reconcile(h.loud, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(p)})
	h.errors = append(h.errors, err)
	return result, err
}

// apply creates objects, and gives them their namespace.
func (h *harness) apply(objects ...client.Object) {
	h.t.Helper()
	for _, obj := range objects {
		switch obj.(type) {
		case *v1.ClusterSessionProvider, *v1.ClusterSessionBan:
		default:
			obj.SetNamespace(h.namespace)
		}
		if err := h.api.Create(h.ctx, obj); err != nil {
			h.t.Fatal(err)
		}
	}
}

// provide creates a provider and has the controller look at it.
func (h *harness) provide(p v1.Provider) {
	h.t.Helper()
	h.apply(p)
	h.look(p)
}

// loggedIn creates sessions and logs them in.
func (h *harness) loggedIn(sessions ...*v1.TerminalSession) {
	h.t.Helper()
	for _, s := range sessions {
		h.apply(s)
		h.reconcile(s.Name)
		h.expect(s.Name, "Established: Ready (Established)")
	}
	h.wire.taken()
	h.answers.taken()
}

// edit changes a session as people do.
func (h *harness) edit(name string, changes ...func(*v1.TerminalSession)) {
	h.t.Helper()
	s := h.get(name)
	change(h, s, changes...)
}

// change patches an object with what some functions do to it, and with nothing else.
func change[T client.Object](h *harness, obj T, changes ...func(T)) {
	h.t.Helper()
	before := obj.DeepCopyObject().(client.Object)
	for _, change := range changes {
		change(obj)
	}
	if err := h.api.Patch(h.ctx, obj, client.MergeFrom(before), client.FieldOwner("somebody")); err != nil {
		h.t.Fatal(err)
	}
}

func (h *harness) annotate(name, annotation, value string) {
	h.t.Helper()
	h.edit(name, func(s *v1.TerminalSession) { metav1.SetMetaDataAnnotation(&s.ObjectMeta, annotation, value) })
}

func (h *harness) delete(obj client.Object) {
	h.t.Helper()
	if err := h.api.Delete(h.ctx, obj); err != nil {
		h.t.Fatal(err)
	}
}

// get returns a session as the API server has it.
func (h *harness) get(name string) *v1.TerminalSession {
	h.t.Helper()
	s := &v1.TerminalSession{}
	h.read(name, s)
	return s
}

// secret returns a Secret, or nil where there is none.
func (h *harness) secret(name string) *corev1.Secret {
	h.t.Helper()
	s := &corev1.Secret{}
	if err := h.api.Get(h.ctx, h.key(name), s); client.IgnoreNotFound(err) != nil {
		h.t.Fatal(err)
	} else if err != nil {
		return nil
	}
	return s
}

// token returns the access token in a Secret.
func (h *harness) token(secretName string) string {
	h.t.Helper()
	s := h.secret(secretName)
	if s == nil {
		h.t.Fatalf("there is no Secret %s", secretName)
	}
	return string(s.Data[tokenstore.KeyToken])
}

func (h *harness) read(name string, obj client.Object) {
	h.t.Helper()
	if err := h.api.Get(h.ctx, h.key(name), obj); err != nil {
		h.t.Fatal(err)
	}
}

// provider returns a SessionProvider.
func (h *harness) provider(name string) *v1.SessionProvider {
	h.t.Helper()
	p := &v1.SessionProvider{}
	h.read(name, p)
	return p
}

func (h *harness) request(name string) ctrl.Request { return ctrl.Request{NamespacedName: h.key(name)} }

func (h *harness) key(name string) types.NamespacedName {
	return types.NamespacedName{Namespace: h.namespace, Name: name}
}

// step lets time pass.
func (h *harness) step(d time.Duration) { h.clock.SetTime(h.clock.Now().Add(d)) }

// sync waits until the cache has what has been written in this test, by whomever.
func (h *harness) sync() {
	h.t.Helper()
	for _, obj := range h.wire.dirtied() {
		want := h.version(plane.live, obj)
		have := ""
		err := wait.PollUntilContextTimeout(h.ctx, 200*time.Microsecond, 20*time.Second, true, func(context.Context) (bool, error) {
			have = h.version(plane.cached, obj)
			return have == want, nil
		})
		if err != nil {
			h.t.Fatalf("the cache does not catch up (%v): it has %s %s in version %q, want %q", err, kindOf(obj), obj.GetName(), have, want)
		}
	}
}

// version is the version of an object; empty where there is none.
func (h *harness) version(from client.Reader, of client.Object) string {
	h.t.Helper()
	obj := of.DeepCopyObject().(client.Object)
	if err := from.Get(h.ctx, client.ObjectKeyFromObject(of), obj); client.IgnoreNotFound(err) != nil {
		h.t.Fatal(err)
	} else if err != nil {
		return ""
	}
	return string(obj.GetUID()) + "/" + obj.GetResourceVersion()
}

// Eventf takes the events that the controller records.
func (h *harness) Eventf(_, _ runtime.Object, kind, reason, _, note string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.events = append(h.events, fmt.Sprintf("%s %s: %s", kind, reason, fmt.Sprintf(note, args...)))
}

func (h *harness) logLine(prefix, line string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, _ = fmt.Fprintln(&h.log, prefix, line)
}
