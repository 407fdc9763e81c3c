package integration_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/log"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/controllers"
	"terminals.dev/session-controller/internal/provider"
	"terminals.dev/session-controller/internal/telemetry"
	"terminals.dev/session-controller/internal/tokenstore"
)

func TestAHandoverAfterACrashIsAnotherSession(t *testing.T) {
	t.Parallel()
	h := newTelling(t)
	h.apply(session("till-1"))
	if !h.killed(moment{2, true}, func() { h.settle("till-1") }) {
		t.Fatal("not killed")
	}
	first := string(h.secret("till-1-token").Data["sessionID"])
	h.restart()
	h.edit("till-1", to(func(s *v1.TerminalSessionSpec) { s.User.Email = "bob@acme.example" }))
	h.settle("till-1")
	h.expect("till-1", established)
	second := string(h.secret("till-1-token").Data["sessionID"])
	if first == second {
		t.Errorf("anna's and bob's tokens have the same session ID %s", first)
	}
	if a := h.answers.attempts; a[0] == a[1] {
		t.Errorf("bob's login has the idempotency key of anna's: %v", a)
	}
}

func TestATokenLeftByACrashAndEndedGivesItsNumberToNobody(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]struct{ end, lift func(*harness) }{
		"ban": {func(h *harness) { h.apply(ban("anna")) }, func(h *harness) { b := ban("anna"); b.Namespace = h.namespace; h.delete(b) }},
		"loggedOut": {func(h *harness) { h.edit("till-1", to(loggedOut)) }, func(h *harness) {
			h.edit("till-1", func(s *v1.TerminalSession) { s.Spec.DesiredState = v1.LoggedIn })
		}},
		"logout": {func(h *harness) { l := logout("out"); h.apply(l); h.advance(l) }, func(h *harness) {
			h.annotate("till-1", v1.AnnotationLoginRequested, "x")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newTelling(t)
			h.apply(session("till-1"))
			if !h.killed(moment{2, true}, func() { h.settle("till-1") }) {
				t.Fatal("not killed")
			}
			h.restart()
			end.end(h)
			h.settle("till-1")
			aside := h.aside()
			end.lift(h)
			h.settle("till-1")
			h.expect("till-1", established)
			if a := h.answers.attempts; len(a) == 2 && a[0] == a[1] {
				t.Errorf("the login has the key and session ID of the one whose token waits for revocation (%d aside): %v", len(aside), a)
			}
		})
	}
}

func TestARenewalThatComesLateGivesItsNumberToNobody(t *testing.T) {
	t.Parallel()
	h := newTelling(t)
	h.loggedIn(session("till-1"))
	h.untilRenewal("till-1")
	h.answers.say(meanwhile(func() { l := logout("out"); h.apply(l); h.advance(l); h.sync() }))
	h.settle("till-1")
	h.expect("till-1", signedOut)
	h.answers.say(nil)
	h.annotate("till-1", v1.AnnotationLoginRequested, "x")
	h.settle("till-1")
	h.expect("till-1", established)
	a := h.answers.attempts
	if a[len(a)-1][:38] == a[len(a)-2][:38] {
		t.Errorf("the login has the idempotency key of the renewal that was discarded and revoked: %v", a[len(a)-2:])
	}
}

func TestWhereNothingCanBePutAsideAnEndGoesOn(t *testing.T) {
	t.Parallel()
	for what, block := range map[string]func(*harness, string){
		"quota": func(h *harness, ns string) {
			q := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Name: "q", Namespace: ns}, Spec: corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{"count/secrets": resource.MustParse("0")}}}
			if err := plane.live.Create(h.ctx, q); err != nil {
				h.t.Fatal(err)
			}
			q.Status.Hard, q.Status.Used = q.Spec.Hard, corev1.ResourceList{"count/secrets": resource.MustParse("0")}
			if err := plane.live.Status().Update(h.ctx, q); err != nil {
				h.t.Fatal(err)
			}
			h.awaitThat(h.t, func() (string, bool) { // the quota is taken up by and by
				err := plane.live.Create(h.ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "one-more", Namespace: ns}}, client.DryRunAll)
				return fmt.Sprint(err), apierrors.IsForbidden(err)
			})
		},
		"own namespace going": func(h *harness, ns string) {
			if err := plane.live.Delete(h.ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns}}); err != nil {
				h.t.Fatal(err)
			}
		},
	} {
		for how, end := range map[string]func(*harness){"ban": func(h *harness) { h.apply(ban("anna")) }, "deletion": func(h *harness) { h.delete(h.get("till-1")) }} {
			t.Run(what+" "+how, func(t *testing.T) {
				t.Parallel()
				h := newTelling(t)
				own := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "own-"}}
				if err := plane.live.Create(h.ctx, own); err != nil {
					t.Fatal(err)
				}
				h.providers.Namespace = own.Name
				h.loggedIn(session("till-1"))
				block(h, own.Name)
				end(h)
				h.settle("till-1")
				h.expectNo("till-1-token")
				if how == "ban" {
					h.expect("till-1", terminated)
				} else if err := h.api.Get(h.ctx, h.key("till-1"), &v1.TerminalSession{}); !apierrors.IsNotFound(err) {
					t.Errorf("the object is still there (%v)", err)
				}
				if got := h.metric("terminalsession_revocations_total", "Lost"); got != 1 {
					t.Errorf("%v tokens are counted as lost, want 1", got)
				}
			})
		}
	}
}

func TestATokenIsPutAsideThoughItsSessionHasLostTheFinalizer(t *testing.T) {
	t.Parallel()
	h := newTelling(t)
	h.loggedIn(session("till-1"))
	token := h.token("till-1-token")
	h.edit("till-1", func(s *v1.TerminalSession) { s.Finalizers = nil }) // what hack/let-go.sh does
	h.restart()
	h.settle("till-1")
	h.apply(ban("anna"))
	h.settle("till-1")
	h.expect("till-1", terminated)
	h.expectAside(token)
}

func TestALogoutLeavesNobodyInWhenTheClockHasJumpedBack(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.loggedIn(session("till-1"))
	h.step(-time.Hour)
	l := logout("out")
	h.run(l, "till-1")
	h.expect("till-1", signedOut)
}

func TestALogoutLeavesNobodyInWhenTheAPIServersClockIsAhead(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.step(-5 * time.Second)
	h.apply(session("till-1"))
	l := logout("out")
	h.answers.say(meanwhile(func() { h.apply(l); h.advance(l); h.sync(); h.advance(l) }))
	h.reconcile("till-1")
	h.answers.say(nil)
	h.settle("till-1")
	h.expect("till-1", signedOut)
}

func TestWhoIsSignedOutUnderABanStaysOutAfterIt(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.loggedIn(session("till-1"))
	h.apply(ban("anna", func(s *v1.SessionBanSpec) { s.ExpiresAt = new(metav1.NewTime(h.clock.Now().Add(time.Minute))) }))
	l := logout("out")
	h.run(l, "till-1")
	h.step(2 * time.Minute)
	h.settle("till-1")
	h.expect("till-1", signedOut)
}

func TestASessionThatIsWantedAgainIsNotRemoved(t *testing.T) {
	t.Parallel()
	for name, lift := range map[string]func(*v1.TerminalSession){
		"another user": to(func(s *v1.TerminalSessionSpec) { s.User.Email = "bob@acme.example" }),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t)
			h.loggedIn(session("till-1", func(s *v1.TerminalSessionSpec) { s.TTLSecondsAfterFinished = new(int32(60)) }))
			h.run(logout("out"), "till-1")
			h.step(30 * time.Second)
			h.edit("till-1", lift) // well before its time, while the controller is down, or busy
			h.step(31 * time.Second)
			h.restart()
			h.once("till-1")
			if err := h.api.Get(h.ctx, h.key("till-1"), &v1.TerminalSession{}); err != nil {
				t.Errorf("bob's session: %v", err)
			}
		})
	}
	t.Run("ban over", func(t *testing.T) {
		t.Parallel()
		h := newHarness(t)
		h.loggedIn(session("till-1", func(s *v1.TerminalSessionSpec) { s.TTLSecondsAfterFinished = new(int32(60)) }))
		b := ban("anna")
		h.apply(b)
		h.settle("till-1")
		h.step(30 * time.Second)
		h.delete(b)
		h.step(31 * time.Second)
		h.restart()
		h.once("till-1")
		if err := h.api.Get(h.ctx, h.key("till-1"), &v1.TerminalSession{}); err != nil {
			t.Errorf("the ban was lifted half a minute before, and the session: %v", err)
		}
	})
}

func TestAProvidersBanOutlivesOneOfOurs(t *testing.T) {
	t.Parallel()
	for name, by := range map[string]func(*harness){
		"a ban of ours": func(h *harness) { b := ban("anna"); h.apply(b); h.settle("till-1"); h.delete(b) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t)
			h.apply(session("till-1"))
			h.answers.say(banned)
			h.settle("till-1")
			h.expect("till-1", "Terminated: Stalled (Banned)")
			h.answers.taken()
			by(h)
			h.settle("till-1")
			h.expect("till-1", "NotLoggedIn, held Rejected: Stalled (Rejected)")
			h.expectCalls()
			h.annotate("till-1", v1.AnnotationLoginRequested, "1")
			h.settle("till-1")
			h.expectCalls("Login")
		})
	}
}

func TestAForgedSecretBringsNoBannedTokenBack(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.loggedIn(session("till-1"))
	token, old := h.token("till-1-token"), h.get("till-1").Status.SessionID
	h.apply(ban("anna"))
	h.settle("till-1")
	if h.active(h.issuerURL(), token) {
		t.Fatal("active under the ban")
	}
	// A session of bob's, with a Secret that says it is of anna's session.
	h.apply(session("till-2", func(s *v1.TerminalSessionSpec) { s.User.Email = "bob@acme.example" }))
	s := h.get("till-2")
	now := h.clock.Now().Truncate(time.Second)
	store := tokenstore.Store{Live: h.api, Writer: h.api}
	_, err := store.Put(h.ctx, s, tokenstore.Found{State: tokenstore.Absent, Name: "till-2-token"}, token, tokenstore.Issue{
		SessionID: old, Attempt: 1, IssuedAt: now, ExpiresAt: now.Add(month), Email: "bob@acme.example",
	})
	if err != nil {
		t.Fatal(err)
	}
	h.settle("till-2")
	if h.active(h.issuerURL(), token) {
		t.Error("the token of the banned person is active again")
	}
}

type hangs struct {
	provider.Provider
	hang  chan struct{}
	began chan string
}

func (p *hangs) Login(ctx context.Context, req provider.Request) (provider.Result, error) {
	p.began <- "Login " + req.Session.Name
	select {
	case <-p.hang:
	case <-ctx.Done():
		return provider.Result{}, &provider.Error{Kind: provider.Unavailable, Message: ctx.Err().Error()}
	}
	return p.Provider.Login(ctx, req)
}

func (p *hangs) Renew(ctx context.Context, req provider.Request) (provider.Token, error) {
	p.began <- "Renew " + req.Session.Name
	select {
	case <-p.hang:
	case <-ctx.Done():
		return provider.Token{}, &provider.Error{Kind: provider.Unavailable, Message: ctx.Err().Error()}
	}
	return p.Provider.Renew(ctx, req)
}

func (h *harness) underManager(concurrent int, wrap func(v1.Provider, provider.Provider) provider.Provider, funcs interceptor.Funcs) client.Client {
	h.t.Helper()
	caches := controllers.CacheOptions()
	controllers.Confine(&caches, systemNamespace, []string{h.namespace})
	mgr, err := ctrl.NewManager(plane.env.Config, ctrl.Options{
		Scheme: plane.live.Scheme(), Cache: caches, Metrics: metricsserver.Options{BindAddress: "0"}, HealthProbeBindAddress: "0",
		Logger: log.FromContext(h.loud), Controller: config.Controller{SkipNameValidation: new(true)},
		NewClient: func(c *rest.Config, o client.Options) (client.Client, error) {
			made, err := client.NewWithWatch(c, o)
			return interceptor.NewClient(made, funcs), err
		},
	})
	if err != nil {
		h.t.Fatal(err)
	}
	if _, err = controllers.Setup(h.ctx, mgr, controllers.Options{
		Namespace: systemNamespace, Namespaces: []string{h.namespace}, IssuerURL: "https://sessions.test", Concurrent: concurrent,
		Metrics: telemetry.NewMetrics(prometheus.NewRegistry()), Recorder: h, Clock: clock.RealClock{}, Wrap: wrap,
	}); err != nil {
		h.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(h.ctx)
	stopped := make(chan error)
	go func() { stopped <- mgr.Start(ctx) }()
	h.t.Cleanup(func() { stop(); <-stopped })
	return mgr.GetClient()
}

func TestAProviderThatDoesNotAnswerHoldsUpNoEnd(t *testing.T) {
	h := newHarness(t)
	p := &hangs{hang: make(chan struct{}), began: make(chan string, 100)}
	defer close(p.hang)
	wrap := func(of v1.Provider, asked provider.Provider) provider.Provider {
		if of.GetName() == "hangs" {
			return &hangs{Provider: asked, hang: p.hang, began: p.began}
		}
		return asked
	}
	h.underManager(4, wrap, interceptor.Funcs{})
	h.apply(sessionProvider("hangs"))
	h.apply(session("till-1"))
	is := func(name, phase string) func() (string, bool) {
		return func() (string, bool) { p := string(h.get(name).Status.Phase); return p + ", want " + phase, p == phase }
	}
	h.awaitThat(t, is("till-1", "Established"))
	for _, n := range []string{"a", "b", "c", "d"} { // one for each worker
		h.apply(session("hung-"+n, at(v1.KindSessionProvider, "hangs")))
	}
	<-p.began
	h.apply(ban("anna"))
	h.delete(h.get("hung-a"))
	h.awaitThat(t, func() (string, bool) { return "its Secret is there", h.secret("till-1-token") == nil })
	h.awaitThat(t, func() (string, bool) {
		err := h.api.Get(h.ctx, h.key("hung-a"), &v1.TerminalSession{})
		return fmt.Sprintf("the deleted one is there (%v)", err), apierrors.IsNotFound(err)
	})
}

func TestALogoutEndsWhateverGoesWhileItBegins(t *testing.T) {
	h := newHarness(t)
	h.apply(session("till-1"))
	var cached client.Client
	once := false
	cached = h.underManager(4, nil, interceptor.Funcs{
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, obj client.Object, patch client.Patch, opts ...client.SubResourcePatchOption) error {
			if _, ok := obj.(*v1.SessionLogout); ok && !once {
				once = true
				if err := plane.live.Delete(ctx, &v1.TerminalSession{ObjectMeta: metav1.ObjectMeta{Namespace: h.namespace, Name: "till-1"}}); err != nil {
					t.Error(err)
				}
				h.awaitThat(t, func() (string, bool) {
					return "it is in the cache", cached.Get(ctx, h.key("till-1"), &v1.TerminalSession{}) != nil
				})
			}
			return c.SubResource(sub).Patch(ctx, obj, patch, opts...)
		},
	})
	h.awaitThat(t, func() (string, bool) { p := h.get("till-1").Status.Phase; return string(p), p == v1.PhaseEstablished })
	l := logout("out")
	h.apply(l)
	h.awaitThat(t, func() (string, bool) {
		h.again(l)
		return fmt.Sprintf("it is %+v", l.Status), l.Status.CompletedAt != nil
	})
}

func TestARenewalThatDoesNotAnswerHoldsUpNoEnd(t *testing.T) {
	h := newHarness(t)
	p := &hangs{hang: make(chan struct{}), began: make(chan string, 100)}
	defer close(p.hang)
	wrap := func(_ v1.Provider, asked provider.Provider) provider.Provider {
		return &renewHangs{hangs{Provider: asked, hang: p.hang, began: p.began}}
	}
	h.underManager(8, wrap, interceptor.Funcs{})
	h.apply(session("till-1"), session("till-2", func(s *v1.TerminalSessionSpec) { s.User.Email = "bob@acme.example" }))
	for _, n := range []string{"till-1", "till-2"} {
		h.awaitThat(t, func() (string, bool) { p := h.get(n).Status.Phase; return string(p), p == v1.PhaseEstablished })
	}
	for _, n := range []string{"till-1", "till-2"} { // once both are there: who hangs leaves less room
		h.annotate(n, v1.AnnotationRenewRequested, "x")
		<-p.began
	}
	h.apply(ban("anna"))
	h.delete(h.get("till-2"))
	h.awaitThat(t, func() (string, bool) { return "its Secret is there", h.secret("till-1-token") == nil })
	h.awaitThat(t, func() (string, bool) {
		err := h.api.Get(h.ctx, h.key("till-2"), &v1.TerminalSession{})
		return fmt.Sprintf("the deleted one is there (%v)", err), apierrors.IsNotFound(err)
	})
}

type renewHangs struct{ hangs }

func (p *renewHangs) Capabilities() provider.Capabilities {
	c := p.Provider.Capabilities()
	c.RevokesByToken = true
	return c
}

func (p *renewHangs) Login(ctx context.Context, req provider.Request) (provider.Result, error) {
	return p.Provider.Login(ctx, req)
}

func TestASpecThatChangesWhileTheProviderIsAskedIsAnotherSession(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ meanwhile, then func(*harness) }{
		"another user": {func(h *harness) {
			h.edit("till-1", to(func(s *v1.TerminalSessionSpec) { s.User.Email = "bob@acme.example" }))
		}, func(*harness) {}},
		"logged out and in": {func(h *harness) { h.edit("till-1", to(loggedOut)) }, func(h *harness) {
			h.edit("till-1", func(s *v1.TerminalSession) { s.Spec.DesiredState = v1.LoggedIn })
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newTelling(t)
			h.apply(session("till-1"))
			h.answers.say(meanwhile(func() { test.meanwhile(h) }))
			_, _ = h.try("till-1") // it ends in a conflict
			first := ""
			if s := h.secret("till-1-token"); s != nil {
				first = string(s.Data["sessionID"])
			}
			h.answers.say(nil)
			h.settle("till-1")
			test.then(h)
			h.settle("till-1")
			h.expect("till-1", established)
			second := string(h.secret("till-1-token").Data["sessionID"])
			if a := h.answers.attempts; len(a) < 2 || a[0] == a[1] {
				t.Errorf("session %s was in the Secret, now it is %s; the calls had %v, and %d tokens wait for revocation", first, second, a, len(h.aside()))
			}
		})
	}
}

func TestATokenOfAProviderThatTheSessionLeavesMeanwhileIsPutAside(t *testing.T) {
	t.Parallel()
	h := newTelling(t)
	h.provide(sessionProvider("other"))
	h.apply(session("till-1"))
	h.answers.say(meanwhile(func() {
		h.edit("till-1", to(func(s *v1.TerminalSessionSpec) { s.ProviderRef.Name = "other" }))
		h.sync()
	}))
	_, _ = h.once("till-1")
	h.expectNo("till-1-token")
	h.expectAside(h.answers.tokens...)
	h.answers.say(nil)
	h.settle("till-1")
	h.expect("till-1", established)
	if a := h.answers.attempts; len(a) != 2 || a[0] == a[1] || h.token("till-1-token") == h.answers.tokens[0] {
		t.Errorf("the calls were for %v: the provider that was left may come back, and would give the token that it is told to revoke", a)
	}
	h.expectAside(h.answers.tokens[0])
}

func TestAnEndThatIsTriedAgainGoesFirst(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.loggedIn(session("till-1"))
	h.apply(ban("anna"))
	h.wire.seam = func(string, func() error) error { return apierrors.NewInternalError(context.DeadlineExceeded) }
	result, err := h.once("till-1")
	if err == nil || *result.Priority < 90 {
		t.Errorf("the end of a banned session is tried again with priority %d, behind every login", *result.Priority)
	}
}

func TestATokenLeftByACrashUnderABanIsNeverActiveAgain(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.apply(session("till-1"))
	if !h.killed(moment{1, true}, func() { h.settle("till-1") }) {
		t.Fatal("not killed")
	}
	token := h.token("till-1-token") // what till-1 had in these seconds
	h.restart()
	h.apply(ban("anna"))
	h.settle("till-1")
	h.expect("till-1", terminated)
	if h.active(h.issuerURL(), token) {
		t.Error("active under the ban")
	}
	h.edit("till-1", to(func(s *v1.TerminalSessionSpec) { s.User.Email = "bob@acme.example" })) // the till goes to somebody else; the ban stays
	h.settle("till-1")
	h.expect("till-1", established)
	if h.active(h.issuerURL(), token) {
		t.Error("anna is still banned, and introspection says of her token: active")
	}
}

func TestALoginThatIsAskedForWhileALogoutRunsIsNotCaughtByIt(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.loggedIn(session("till-1"), session("till-2"))
	h.run(logout("first", selecting(v1.LogoutSelector{Names: []string{"till-1"}})), "till-1")
	h.step(time.Hour)
	l := logout("second")
	h.apply(l)
	h.advance(l)
	h.again(l)
	h.step(10 * time.Second) // it has 10,000 others to sign out
	h.annotate("till-1", v1.AnnotationLoginRequested, "let me in")
	h.settle("till-1")
	h.settle("till-2")
	h.advance(l)
	h.expect("till-1", established)
}

func TestALogoutThatIsSeenLateLeavesNobodyIn(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.answers.say(unavailable)
	h.apply(session("till-1"))
	h.settle("till-1")
	h.answers.say(nil)
	l := logout("out")
	h.apply(l)
	h.advance(l)
	h.untilBackoffIsOver("till-1")
	orders := h.sessions.Orders
	h.sync()
	h.sessions.Orders = h.orders(interceptor.NewClient(plane.cached, interceptor.Funcs{
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			if _, ok := list.(*v1.SessionLogoutList); ok {
				return nil // not there yet
			}
			return c.List(ctx, list, opts...)
		},
	}))
	h.reconcile("till-1")
	h.sessions.Orders = orders
	h.settle("till-1")
	h.advance(l)
	h.expect("till-1", signedOut)
}

func TestASecretThatSomebodyHoldsUpLosesItsToken(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.loggedIn(session("till-1"))
	change(h, h.secret("till-1-token"), func(s *corev1.Secret) { s.Finalizers = []string{"example.com/mine"} })
	h.settle("till-1")
	b := ban("anna")
	h.apply(b)
	h.settle("till-1")
	if s := h.secret("till-1-token"); s != nil {
		if len(s.Data["token"]) > 0 {
			t.Errorf("the session is %s, the ban %s, and the Secret (deleted %v) has a token of %d bytes", summary(h.get("till-1")), h.enforce(b), s.DeletionTimestamp != nil, len(s.Data["token"]))
		}
	}
	for _, s := range []string{"till-1"} {
		s := h.get(s)
		s.Finalizers = nil
	}
	change(h, h.secret("till-1-token"), func(s *corev1.Secret) { s.Finalizers = nil })
}

func TestUnderABanLoggedOutAndInLiftsAHold(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.loggedIn(session("till-1"))
	h.run(logout("out"), "till-1")
	b := ban("anna")
	h.apply(b)
	h.settle("till-1")
	h.edit("till-1", to(loggedOut))
	h.settle("till-1")
	h.edit("till-1", func(s *v1.TerminalSession) { s.Spec.DesiredState = v1.LoggedIn })
	h.settle("till-1")
	h.delete(b)
	h.settle("till-1")
	h.expect("till-1", established)
}
