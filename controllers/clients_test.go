package controllers

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/internal/egress"
	"terminals.dev/session-controller/internal/provider"
	"terminals.dev/session-controller/internal/tokenstore"
)

// secrets is an API server, or a cache of it, that has Secrets alone.
type secrets struct {
	client.Reader
	mu    sync.Mutex
	all   map[client.ObjectKey]*corev1.Secret
	reads atomic.Int32
	// hold, where it is set, holds up reads of that name until it is closed.
	hold chan struct{}
	held string
	err  error
}

func (s *secrets) put(namespace, name, version string, data map[string]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	secret := &corev1.Secret{Data: map[string][]byte{}}
	secret.Namespace, secret.Name, secret.ResourceVersion = namespace, name, version
	for key, value := range data {
		secret.Data[key] = []byte(value)
	}
	if s.all == nil {
		s.all = map[client.ObjectKey]*corev1.Secret{}
	}
	s.all[client.ObjectKeyFromObject(secret)] = secret
}

func (s *secrets) Get(_ context.Context, key client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	s.mu.Lock()
	found := s.all[key]
	s.mu.Unlock()
	if whole, ok := into.(*corev1.Secret); ok {
		s.reads.Add(1)
		if s.hold != nil && key.Name == s.held {
			<-s.hold
		}
		if s.err != nil {
			return s.err
		}
		if found != nil {
			found.DeepCopyInto(whole)
		}
	}
	if found == nil {
		return apierrors.NewNotFound(schema.GroupResource{Resource: "secrets"}, key.Name)
	}
	into.SetResourceVersion(found.ResourceVersion)
	return nil
}

func clients(s *secrets) *Providers {
	return &Providers{
		Reader: s, Store: &tokenstore.Store{Live: s}, Namespace: "system", Clock: clock.RealClock{}, Egress: egress.Allow{Loopback: true},
	}
}

func hook(name, secret string) *v1.SessionProvider {
	p := &v1.SessionProvider{}
	p.Namespace, p.Name, p.Generation = "shop", name, 1
	p.UID = types.UID("uid-of-" + name)
	p.Spec.Webhook = &v1.WebhookProvider{
		URL: "https://handler.example.com", Authentication: &v1.WebhookAuthentication{
			BearerTokenSecretRef: &v1.SecretKeyReference{Name: secret, Key: "token"},
		},
	}
	return p
}

func TestAClientIsBuiltOnceForAllWhoAskAtOnceAndNobodyElseWaits(t *testing.T) {
	t.Parallel()
	s := &secrets{hold: make(chan struct{}), held: "slow"}
	s.put("shop", "slow", "1", map[string]string{"token": "a"})
	s.put("shop", "fast", "1", map[string]string{"token": "a"})
	providers := clients(s)
	slow, fast := hook("slow", "slow"), hook("fast", "fast")

	got := make(chan *built)
	for range 50 {
		go func() {
			b, err := providers.build(context.Background(), slow)
			if err != nil {
				t.Error(err)
			}
			got <- b
		}()
	}
	if _, err := providers.build(context.Background(), fast); err != nil {
		t.Fatal(err)
	}
	ended, end := context.WithCancel(context.Background())
	for s.reads.Load() < 2 {
		time.Sleep(time.Millisecond)
	}
	end()
	if _, err := providers.build(ended, slow); !errors.Is(err, context.Canceled) {
		t.Errorf("who does not wait any longer gets %v", err)
	}
	close(s.hold)
	first := <-got
	for range 49 {
		if b := <-got; b != first {
			t.Error("there is more than one client")
		}
	}
	if n := s.reads.Load(); n != 2 {
		t.Errorf("there were %d reads for two clients", n)
	}
}

func TestAClientIsBuiltAnewForNewCredentialsAndForNothingElse(t *testing.T) {
	t.Parallel()
	s := &secrets{}
	s.put("shop", "hook", "1", map[string]string{"token": "a"})
	providers, p := clients(s), hook("hook", "hook")
	build := func(want int32) *built {
		t.Helper()
		b, err := providers.build(context.Background(), p)
		if err != nil || b.client == nil {
			t.Fatalf("there is no client: %v, %v", b, err)
		}
		if n := s.reads.Load(); n != want {
			t.Errorf("the Secret was read %d times, want %d", n, want)
		}
		return b
	}
	first := build(1)
	p.Status.ObservedGeneration, p.ResourceVersion = 1, "7"
	if build(1) != first {
		t.Error("another status makes another client")
	}
	s.put("shop", "hook", "2", map[string]string{"token": "b"})
	second := build(2)
	p.Generation = 2
	third := build(3)
	if first == second || second == third {
		t.Error("the client is the same")
	}
	behind := p.DeepCopy()
	behind.Generation = 1
	if b, err := providers.build(context.Background(), behind); b != third || err != nil {
		t.Errorf("who is behind gets another client, or %v", err)
	}
}

// The cache has an older version than the API server: what it shows next is what was read already.
func TestACacheThatIsBehindMakesNoSecondClient(t *testing.T) {
	t.Parallel()
	live, cache := &secrets{}, &secrets{}
	live.put("shop", "hook", "2", map[string]string{"token": "b"})
	cache.put("shop", "hook", "1", nil)
	providers, p := clients(live), hook("hook", "hook")
	providers.Reader = cache
	for _, version := range []string{"1", "1", "2", "2"} {
		cache.put("shop", "hook", version, nil)
		if _, err := providers.build(context.Background(), p); err != nil {
			t.Fatal(err)
		}
	}
	if n := live.reads.Load(); n != 1 {
		t.Errorf("the Secret was read %d times", n)
	}
}

func TestAFailureOfTheAPIServerIsNotKept(t *testing.T) {
	t.Parallel()
	s := &secrets{err: errors.New("the API server is down")}
	s.put("shop", "hook", "1", map[string]string{"token": "a"})
	providers, p := clients(s), hook("hook", "hook")
	if _, err := providers.build(context.Background(), p); err == nil {
		t.Error("there is no error")
	}
	to, _, err := providers.clientOf(context.Background(), p)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := to.Login(context.Background(), provider.Request{}); !errors.Is(err, errNotAsked) || provider.AsError(err).Kind != provider.Unavailable {
		t.Errorf("the error is %v", err)
	}
	s.err = nil
	if b, err := providers.build(context.Background(), p); err != nil || b.client == nil {
		t.Errorf("there is still no client: %v", err)
	}
}

func TestNoSecretStandsInWhatIsWrongWithIt(t *testing.T) {
	t.Parallel()
	s := &secrets{}
	const word = "hunter2hunter2\x01"
	s.put("shop", "hook", "1", map[string]string{"token": word, "tls.crt": word, "tls.key": word})
	token, certificate := hook("a", "hook"), hook("b", "hook")
	certificate.Spec.Webhook.Authentication = &v1.WebhookAuthentication{ClientCertificateSecretRef: &v1.SecretReference{Name: "hook"}}
	key := hook("c", "")
	key.Spec.Webhook, key.Spec.OAuth2 = nil, &v1.OAuth2Provider{
		IssuerURL: "https://idp.example.com", ClientID: "till", ClientAuthentication: v1.ClientAuthentication{
			Method: v1.PrivateKeyJWT, SecretRef: &v1.SecretKeyReference{Name: "hook", Key: "token"},
		},
	}
	for _, p := range []*v1.SessionProvider{token, certificate, key} {
		b, err := clients(s).build(context.Background(), p)
		if err != nil || b.problem == nil {
			t.Fatalf("%s is usable (%v)", p.Name, err)
		}
		if b.problem.waits || strings.Contains(b.problem.Error(), "hunter2") {
			t.Errorf("what is wrong with %s is %+v", p.Name, b.problem)
		}
	}
}

// identities is an OAuth 2.0 server that takes down when it is asked.
type identities struct {
	*httptest.Server
	mu    sync.Mutex
	asked []time.Time
	paths []string
}

func newIdentities(t *testing.T) *identities {
	t.Helper()
	s := &identities{}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.asked, s.paths = append(s.asked, time.Now()), append(s.paths, r.URL.Path)
		s.mu.Unlock()
		answer := map[string]any{"access_token": "t", "token_type": "Bearer", "expires_in": 3600}
		switch r.URL.Path {
		case "/.well-known/openid-configuration":
			time.Sleep(600 * time.Millisecond) // all the others wait for it
			answer = map[string]any{"issuer": s.URL, "token_endpoint": s.URL + "/token", "userinfo_endpoint": s.URL + "/userinfo"}
		case "/userinfo":
			answer = map[string]any{"sub": "anna", "email": "anna@acme.example"}
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(answer)
	}))
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func (s *identities) provider(grant v1.Grant, limit v1.RateLimit) *v1.SessionProvider {
	p := limited("idp", limit)
	p.Namespace, p.Name, p.Generation = "shop", "idp", 1
	p.Spec.OAuth2 = &v1.OAuth2Provider{
		IssuerURL: s.URL, ClientID: "till", Grant: grant, ClientAuthentication: v1.ClientAuthentication{Method: v1.ClientAuthenticationNone},
		CABundle: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}),
	}
	return p
}

// TestAServerNeverSeesMoreRequestsThanItsLimit runs alone: it goes by when requests arrive.
func TestAServerNeverSeesMoreRequestsThanItsLimit(t *testing.T) {
	s := newIdentities(t)
	const perSecond, burst, sessions = 40, 30, 50
	p, providers := s.provider(v1.GrantJWTBearer, v1.RateLimit{RequestsPerSecond: perSecond, Burst: burst, Concurrent: 50}), clients(&secrets{})
	to, problem, err := providers.clientOf(context.Background(), p)
	if err != nil || problem.Reason != "" {
		t.Fatal(problem, err)
	}
	var all sync.WaitGroup
	for i := range sessions {
		all.Go(func() {
			var c calls
			session := &v1.TerminalSession{}
			session.Name = fmt.Sprint(i)
			for {
				err := c.make(context.Background(), session, 0, to, only(func(ctx context.Context) error {
					_, err := to.Login(ctx, provider.Request{AuthToken: fmt.Sprint("proof-", i)})
					return err
				}))
				var full *noRoom
				if !errors.As(err, &full) {
					if err != nil {
						t.Error(err)
					}
					return
				}
				time.Sleep(full.wait)
			}
		})
	}
	all.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if want := 2*sessions + 1; len(s.asked) != want {
		t.Errorf("there were %d requests, want %d", len(s.asked), want)
	}
	const jitter = 150 * time.Millisecond // between leave and the server's note of it: connections are made, and the machine has other things to do
	for i, from := range s.asked {
		for j, at := range s.asked[i:] {
			most := burst + perSecond*(at.Sub(from)+jitter).Seconds()
			if float64(j+1) > most+1 {
				t.Fatalf("%d requests within %s, want at most %.0f", j+1, at.Sub(from), most)
			}
		}
	}
}

func TestAnIdentityIsDemandedOfGrantsThatAUserIsBehind(t *testing.T) {
	t.Parallel()
	s := newIdentities(t)
	for grant, want := range map[v1.Grant]bool{
		"": false, v1.GrantClientCredentials: false, v1.GrantDeviceCode: true, v1.GrantTokenExchange: true, v1.GrantJWTBearer: true,
	} {
		to, _, err := clients(&secrets{}).clientOf(context.Background(), s.provider(grant, roomy))
		if err != nil || to.NamesUsers != want || to.Kind != kindOAuth2 {
			t.Errorf("grant %q: a %s provider has to name users: %v (%v)", grant, to.Kind, to.NamesUsers, err)
		}
	}
	if len(s.asked) > 0 {
		t.Errorf("the server was asked %v", s.paths)
	}
}

func TestAProviderIsAskedAfterSessionsAsOftenAsItsSpecSaysIfItCanTell(t *testing.T) {
	t.Parallel()
	s := newIdentities(t)
	for _, test := range []struct {
		says     string
		supports []v1.ProviderFeature
		want     time.Duration
	}{
		{"", []v1.ProviderFeature{v1.FeatureIntrospection}, 5 * time.Minute},
		{"30s", []v1.ProviderFeature{v1.FeatureIntrospection}, 30 * time.Second},
		{"0s", []v1.ProviderFeature{v1.FeatureIntrospection}, 0},
		{"30s", nil, 0},
	} {
		p := s.provider("", roomy)
		p.Status.Supports = test.supports
		if test.says != "" {
			if err := json.Unmarshal([]byte(`{"interval":"`+test.says+`"}`), &p.Spec.OAuth2.Introspection); err != nil {
				t.Fatal(err)
			}
		}
		to, _, err := clients(&secrets{}).clientOf(context.Background(), p)
		if err != nil || to.CheckEvery != test.want {
			t.Errorf("interval %q and %v: it is asked every %s, want %s (%v)", test.says, test.supports, to.CheckEvery, test.want, err)
		}
	}
}
