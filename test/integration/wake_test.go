package integration_test

import (
	"context"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/controllers"
	"terminals.dev/session-controller/internal/egress"
)

// manage runs the reconcilers in a manager, as main does but for some changes, until the test ends.
func (h *harness) manage(changes ...func(*controllers.Options)) {
	h.t.Helper()
	caches := controllers.CacheOptions()
	caches.DefaultNamespaces = map[string]cache.Config{h.namespace: {}, systemNamespace: {}}
	mgr, err := ctrl.NewManager(plane.env.Config, ctrl.Options{
		Scheme: plane.live.Scheme(), Cache: caches, Metrics: metricsserver.Options{BindAddress: "0"}, HealthProbeBindAddress: "0",
		Controller: config.Controller{SkipNameValidation: new(true)}, // with -count there is more than one in the process
	})
	if err != nil {
		h.t.Fatal(err)
	}
	o := controllers.Options{
		Namespace: systemNamespace, IssuerURL: "https://sessions.test", Concurrent: 4,
		Metrics: h.sessions.Metrics, Recorder: h, Clock: clock.RealClock{}, Wrap: h.answers.wrap,
		Egress: egress.Allow{Loopback: true},
	}
	for _, change := range changes {
		change(&o)
	}
	_, err = controllers.Setup(h.ctx, mgr, o)
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

// await waits until a session is as summary has it.
func (h *harness) await(t *testing.T, name, want string) {
	t.Helper()
	h.awaitThat(t, func() (string, bool) { is := summary(h.get(name)); return name + " is " + is, is == want })
}

func (h *harness) awaitThat(t *testing.T, so func() (is string, done bool)) {
	t.Helper()
	var is string
	err := wait.PollUntilContextTimeout(h.ctx, 5*time.Millisecond, 10*time.Second, true, func(context.Context) (done bool, _ error) {
		is, done = so()
		return done, nil
	})
	if err != nil {
		t.Fatalf("nothing wakes it: %s", is)
	}
}

// TestWhatWakesASession is about the watches, so here the controllers run by themselves. It runs alone, since they see every
// ClusterSessionProvider.
func TestWhatWakesASession(t *testing.T) {
	h := newHarness(t)
	h.manage()
	cluster := h.clusterProvider()
	h.apply(cluster)

	const established = "Established: Ready (Established)"
	for _, test := range []struct {
		name    string
		session *v1.TerminalSession
		before  func()
		is      string
		event   func()
	}{
		{
			name:    "its creation",
			session: session("new"),
			before:  func() {},
			is:      established,
			event:   func() {},
		},
		{
			name:    "its provider's creation",
			session: session("provider-created", at(v1.KindSessionProvider, "late")),
			before:  func() {},
			is:      "NotLoggedIn: Stalled (ProviderNotFound)",
			event:   func() { h.apply(sessionProvider("late")) },
		},
		{
			name:    "its provider becoming ready",
			session: session("provider-ready", at(v1.KindSessionProvider, "hook")),
			before:  func() { h.apply(sessionProvider("hook", unusable)) },
			is:      "NotLoggedIn: Stalled (ProviderNotReady)",
			event: func() {
				change(h, h.provider("hook"), func(p *v1.SessionProvider) {
					p.Spec.Webhook, p.Spec.Embedded = nil, &v1.EmbeddedProvider{}
				})
			},
		},
		{
			name:    "a rule that allows it",
			session: session("rule-added", at(v1.KindClusterSessionProvider, cluster.Name), func(s *v1.TerminalSessionSpec) { s.MerchantID = "apex" }),
			before:  func() {},
			is:      "NotLoggedIn: Stalled (ProviderNotAllowed)",
			event: func() {
				h.again(cluster)
				change(h, cluster, func(p *v1.ClusterSessionProvider) {
					north := &metav1.LabelSelector{MatchLabels: map[string]string{"region": "north"}}
					p.Spec.Allow = []v1.AllowRule{{MerchantIDs: []string{"apex"}}, {NamespaceSelector: north}}
				})
			},
		},
		{
			name:    "a label of its namespace",
			session: session("namespace-labelled", at(v1.KindClusterSessionProvider, cluster.Name)),
			before:  func() {},
			is:      "NotLoggedIn: Stalled (ProviderNotAllowed)",
			event: func() {
				change(h, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: h.namespace}},
					func(ns *corev1.Namespace) { ns.Labels = map[string]string{"region": "north"} })
			},
		},
		{
			name:    "the end of the Secret that had its name",
			session: session("secret-removed"),
			before:  func() { h.apply(opaque("secret-removed-token", "a", "b")) },
			is:      "NotLoggedIn: Stalled (SecretNameTaken)",
			event:   func() { h.delete(h.secret("secret-removed-token")) },
		},
		{
			name:    "the end of the session that had its Secret's name",
			session: session("waits-for-end", inSecret("shared-1")),
			before:  func() { h.apply(session("a-holder-1", inSecret("shared-1"), loggedOut)) },
			is:      "NotLoggedIn: Stalled (SecretNameTaken)",
			event:   func() { h.delete(h.get("a-holder-1")) },
		},
		{
			name:    "the move of the session that had its Secret's name",
			session: session("waits-for-move", inSecret("shared-2")),
			before:  func() { h.apply(session("a-holder-2", inSecret("shared-2"), loggedOut)) },
			is:      "NotLoggedIn: Stalled (SecretNameTaken)",
			event:   func() { h.edit("a-holder-2", to(inSecret("another"))) },
		},
		{
			name:    "its auth token",
			session: session("auth-token", at(v1.KindSessionProvider, "secure"), withAuthToken("anna-auth")),
			before:  func() { h.apply(sessionProvider("secure", secureLogin)) },
			is:      "Establishing: Reconciling (AuthTokenMissing)",
			event:   func() { h.apply(opaque("anna-auth", "token", "proof-of-anna")) },
		},
		{
			name:    "a login request",
			session: session("requested", func(s *v1.TerminalSessionSpec) { s.User.Email = "rejected@acme.example" }),
			before:  func() { h.answers.say(rejected) },
			is:      "NotLoggedIn, held Rejected: Stalled (Rejected)",
			event: func() {
				h.answers.say(nil)
				h.annotate("requested", v1.AnnotationLoginRequested, "1")
			},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.before()
			h.apply(test.session)
			h.await(t, test.session.Name, test.is)
			test.event()
			h.await(t, test.session.Name, established)
		})
	}

	h.apply(session("till-1"))
	h.await(t, "till-1", established)
	another := func(session string) func() (string, bool) {
		return func() (string, bool) {
			s := h.get("till-1")
			return "the session is still " + session, s.Status.SessionID != session && summary(s) == established
		}
	}
	t.Run("its Secret's deletion", func(t *testing.T) {
		before := h.get("till-1").Status.SessionID
		h.delete(h.secret("till-1-token"))
		h.awaitThat(t, another(before))
	})
	t.Run("an alteration of its Secret", func(t *testing.T) {
		before := h.get("till-1").Status.SessionID
		change(h, h.secret("till-1-token"), putting("token", "forged"))
		h.awaitThat(t, another(before))
	})
	t.Run("its deletion", func(t *testing.T) {
		h.delete(h.get("till-1"))
		h.awaitThat(t, func() (string, bool) { return "the Secret is still there", h.secret("till-1-token") == nil })
	})
	t.Run("a move, until the old Secret is gone", func(t *testing.T) {
		h.edit("new", to(inSecret("moved")))
		h.awaitThat(t, func() (string, bool) {
			return "both Secrets are there", h.secret("moved") != nil && h.secret("new-token") == nil
		})
	})
}
