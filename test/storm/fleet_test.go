package storm

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/test/identityenv"
	"terminals.dev/session-controller/test/testenv"
)

// clients is how many make a fleet's requests at a time.
const clients = 8

// fleet is the sessions of a namespace, and their provider, as the API server tells of them.
type fleet struct {
	namespace string
	manager   *testenv.Manager

	mu       sync.Mutex
	sessions map[string]*v1.TerminalSession
	fallen   []string    // what became of sessions that had been established
	provider []readiness // as it has changed
	news     chan struct{}
}

// readiness is what the condition Ready of a provider says from some time on.
type readiness struct {
	at   time.Time
	says string
}

// newFleet makes a namespace with what a provider at a server needs, and watches it.
func newFleet(t *testing.T, m *testenv.Manager, s *server, namespace string, limit v1.RateLimit) *fleet {
	t.Helper()
	f := &fleet{namespace: namespace, manager: m, sessions: map[string]*v1.TerminalSession{}, news: make(chan struct{}, 1)}
	anna, err := s.Token(t.Context(), "anna", "openid")
	must(t, err)
	create(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}})
	create(t, &corev1.Secret{ObjectMeta: f.named("idp"), StringData: map[string]string{"secret": identityenv.ClientSecret}})
	create(t, &corev1.Secret{ObjectMeta: f.named("anna-auth"), StringData: map[string]string{"token": anna}})
	p := &v1.SessionProvider{ObjectMeta: f.named("idp")}
	p.Spec.RateLimit = limit
	p.Spec.OAuth2 = &v1.OAuth2Provider{
		IssuerURL: s.Issuer, CABundle: s.CA, ClientID: identityenv.ClientBasic, Grant: v1.GrantTokenExchange,
		Scopes: []string{"openid", "email", "offline_access"},
		ClientAuthentication: v1.ClientAuthentication{
			Method: v1.ClientSecretBasic, SecretRef: &v1.SecretKeyReference{Name: "idp", Key: "secret"},
		},
	}
	create(t, p)
	f.watch(t, &v1.TerminalSession{}, &v1.SessionProvider{})
	return f
}

func (f *fleet) named(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: f.namespace, Name: name}
}

func create(t *testing.T, o client.Object) {
	t.Helper()
	must(t, api.Create(t.Context(), o))
}

// watch has an informer tell of what is in the namespace: where the API server has dropped a watch, it begins another.
func (f *fleet) watch(t *testing.T, kinds ...client.Object) {
	t.Helper()
	c, err := cache.New(env.Config, cache.Options{Scheme: api.Scheme(), DefaultNamespaces: map[string]cache.Config{f.namespace: {}}})
	must(t, err)
	for _, kind := range kinds {
		informer, err := c.GetInformer(t.Context(), kind, cache.BlockUntilSynced(false))
		must(t, err)
		_, err = informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
			AddFunc: f.saw, UpdateFunc: func(_, now any) { f.saw(now) },
		})
		must(t, err)
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Start(t.Context()) }()
	t.Cleanup(func() { must(t, <-ended) })
	if !c.WaitForCacheSync(t.Context()) {
		t.Fatal("the namespace was not read")
	}
}

func (f *fleet) saw(object any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch o := object.(type) {
	case *v1.TerminalSession:
		if was := f.sessions[o.Name]; was != nil && isEstablished(was) && !isEstablished(o) {
			f.fallen = append(f.fallen, fmt.Sprintf("%s was %s: %s", o.Name, o.Status.Phase, why(o)))
		}
		f.sessions[o.Name] = o
	case *v1.SessionProvider:
		if ready := meta.FindStatusCondition(o.Status.Conditions, v1.ConditionReady); ready != nil {
			says := fmt.Sprintf("%s (%s)", ready.Status, ready.Reason)
			if n := len(f.provider); n == 0 || f.provider[n-1].says != says {
				f.provider = append(f.provider, readiness{time.Now(), says})
			}
		}
	}
	select {
	case f.news <- struct{}{}:
	default:
	}
}

// until waits until so many sessions are so, and returns how many are.
func (f *fleet) until(t *testing.T, within time.Duration, enough int, what string, is func(*v1.TerminalSession) bool) int {
	t.Helper()
	late := time.After(within)
	for {
		if n := f.count(is); n >= enough {
			return n
		}
		select {
		case <-f.news:
		case <-late:
			t.Fatalf("only %d of %d sessions are %s after %s, and not %s", f.count(is), enough, what, within, f.other(is))
		case <-f.manager.Done():
			t.Fatalf("the manager has ended: %s", f.manager.Exit())
		}
	}
}

func (f *fleet) count(is func(*v1.TerminalSession) bool) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.sessions {
		if is(s) {
			n++
		}
	}
	return n
}

// other describes one session that is not so.
func (f *fleet) other(is func(*v1.TerminalSession) bool) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.sessions {
		if !is(s) {
			return fmt.Sprintf("%s, which is %s: %s", s.Name, s.Status.Phase, why(s))
		}
	}
	return "none"
}

// lost is what became of sessions that had been established and were not any more, be it for a moment.
func (f *fleet) lost() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.fallen)
}

func why(s *v1.TerminalSession) string {
	if ready := meta.FindStatusCondition(s.Status.Conditions, v1.ConditionReady); ready != nil {
		return ready.Reason + ": " + ready.Message
	}
	return "no condition"
}

// seen are the sessions as they are now.
func (f *fleet) seen() map[string]*v1.TerminalSession {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.sessions)
}

// ready is how the provider's condition has gone since some time.
func (f *fleet) ready(since time.Time) (went string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, r := range f.provider {
		if i+1 < len(f.provider) && f.provider[i+1].at.Before(since) {
			continue
		}
		if went != "" {
			went += fmt.Sprintf(", after %.1fs ", r.at.Sub(since).Seconds())
		}
		went += r.says
	}
	return went
}

// each does something for every session of a fleet of a size, several at a time.
func (f *fleet) each(ctx context.Context, size int, do func(ctx context.Context, name string) error) error {
	numbers, failed := make(chan int), make(chan error, clients)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for range clients {
		go func() {
			var err error
			for i := range numbers {
				if err = do(ctx, fmt.Sprintf("till-%04d", i)); err != nil {
					cancel()
					break
				}
			}
			failed <- err
		}()
	}
	for i := 0; i < size && ctx.Err() == nil; i++ {
		select {
		case numbers <- i:
		case <-ctx.Done():
		}
	}
	close(numbers)
	var first error
	for range clients {
		if err := <-failed; err != nil && first == nil {
			first = err
		}
	}
	return first
}

// login asks for a session.
func (f *fleet) login(ctx context.Context, name string) error {
	s := &v1.TerminalSession{ObjectMeta: f.named(name)}
	s.Spec.Terminal.ID = name
	s.Spec.User = &v1.User{Email: "anna@acme.example"}
	s.Spec.ProviderRef = v1.ProviderReference{Kind: v1.KindSessionProvider, Name: "idp"}
	s.Spec.AuthTokenSecretRef = &v1.TokenKeyReference{Name: "anna-auth"}
	return api.Create(ctx, s)
}

// renewal asks for the renewal of a session.
func (f *fleet) renewal(value string) func(ctx context.Context, name string) error {
	patch := fmt.Appendf(nil, `{"metadata": {"annotations": {%q: %q}}}`, v1.AnnotationRenewRequested, value)
	return func(ctx context.Context, name string) error {
		return api.Patch(ctx, &v1.TerminalSession{ObjectMeta: f.named(name)}, client.RawPatch(types.MergePatchType, patch))
	}
}
