package integration_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/internal/provider"
	"terminals.dev/session-controller/internal/provider/oauth2"
	"terminals.dev/session-controller/internal/tokenstore"
	"terminals.dev/session-controller/test/identityenv"
)

// openID is a real OpenID provider that the package's tests share, and that the first of them starts. It ends with the process. It goes by the
// real time, whatever a test's clock says.
var openID struct {
	sync.Once
	*identityenv.OIDC
	err error
}

// realServer is a harness whose sessions log in at that provider. Its calls go through unaltered, and are noted.
type realServer struct {
	*revoking
	heard *heard
}

func newReal(t *testing.T) *realServer {
	t.Helper()
	openID.Do(func() {
		openID.OIDC, openID.err = identityenv.StartOIDC(t.Context(), identityenv.OIDCOptions{Dir: t.TempDir(), TokenLifetime: month})
	})
	if openID.err != nil {
		t.Fatal(openID.err)
	}
	h := &realServer{newRevoking(t), &heard{}}
	h.providers.Wrap = h.heard.wrap
	h.apply(opaque("idp", "secret", identityenv.ClientSecret))
	return h
}

// heard notes what providers are asked.
type heard struct {
	mu    sync.Mutex
	calls []string
}

func (c *heard) wrap(_ v1.Provider, asked provider.Provider) provider.Provider {
	return &hearing{asked, c}
}

func (c *heard) note(call string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls = append(c.calls, call)
}

func (c *heard) taken() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	calls := c.calls
	c.calls = nil
	return calls
}

type hearing struct {
	provider.Provider
	*heard
}

func (p *hearing) Login(ctx context.Context, req provider.Request) (provider.Result, error) {
	p.note("Login")
	return p.Provider.Login(ctx, req)
}

func (p *hearing) Poll(ctx context.Context, req provider.Request, pending provider.Pending) (provider.Result, error) {
	p.note("Poll")
	return p.Provider.Poll(ctx, req, pending)
}

func (p *hearing) Renew(ctx context.Context, req provider.Request) (provider.Token, error) {
	p.note("Renew")
	return p.Provider.Renew(ctx, req)
}

func (p *hearing) Check(ctx context.Context, req provider.Request) (provider.Status, error) {
	p.note("Check")
	return p.Provider.Check(ctx, req)
}

func (p *hearing) Revoke(ctx context.Context, req provider.Request) error {
	p.note("Revoke")
	return p.Provider.Revoke(ctx, req)
}

// idp is a provider of the server. Nobody asks after its tokens, unless a test says so.
func (h *realServer) idp(grant v1.Grant, changes ...func(*v1.OAuth2Provider)) *v1.SessionProvider {
	p := sessionProvider("remote")
	p.Spec.Embedded, p.Spec.OAuth2 = nil, &v1.OAuth2Provider{
		IssuerURL: openID.Issuer, CABundle: openID.CA, ClientID: identityenv.ClientBasic, Grant: grant,
		ClientAuthentication: v1.ClientAuthentication{
			Method: v1.ClientSecretBasic, SecretRef: &v1.SecretKeyReference{Name: "idp", Key: "secret"},
		},
		Introspection: v1.Introspection{Interval: lasting(0)},
		Scopes:        []string{"openid", "email", "offline_access"},
	}
	for _, change := range changes {
		change(p.Spec.OAuth2)
	}
	return p
}

// checkedEvery has tokens asked after.
func checkedEvery(d time.Duration) func(*v1.OAuth2Provider) {
	return func(o *v1.OAuth2Provider) { o.Introspection.Interval = lasting(d) }
}

func scopes(all ...string) func(*v1.OAuth2Provider) {
	return func(o *v1.OAuth2Provider) { o.Scopes = all }
}

// till is a session of anna's. A scope of the test's own tells its tokens from other tests' at the server.
func (h *realServer) till(changes ...func(*v1.TerminalSessionSpec)) *v1.TerminalSession {
	own := func(s *v1.TerminalSessionSpec) { s.Token.Scopes = []string{h.namespace} }
	return session("till-1", append([]func(*v1.TerminalSessionSpec){at(v1.KindSessionProvider, "remote"), own}, changes...)...)
}

// person makes a user of the test's own, and returns a change that makes a session theirs.
func (h *realServer) person() func(*v1.TerminalSessionSpec) {
	h.t.Helper()
	h.setUser(false)
	return func(s *v1.TerminalSessionSpec) { s.User.Email = h.namespace + "@acme.example" }
}

func (h *realServer) setUser(banned bool) {
	h.t.Helper()
	user := identityenv.User{Email: h.namespace + "@acme.example", Verified: true, Banned: banned}
	if err := openID.SetUser(h.ctx, h.namespace, user); err != nil {
		h.t.Fatal(err)
	}
}

// signing has the client prove itself with a key instead of a secret; see key.
func signing(o *v1.OAuth2Provider) {
	o.ClientID, o.ClientAuthentication.Method = identityenv.ClientKey, v1.PrivateKeyJWT
}

// key makes a key for the client, and publishes it at the server.
func (h *realServer) key(t *testing.T) {
	t.Helper()
	made, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	private, err := json.Marshal(jose.JSONWebKey{Key: made, KeyID: h.namespace})
	if err != nil {
		t.Fatal(err)
	}
	public := jose.JSONWebKey{Key: made.Public(), KeyID: h.namespace, Algorithm: "ES256", Use: "sig"}
	if err := openID.PublishKey(h.ctx, identityenv.ClientKey, public); err != nil {
		t.Fatal(err)
	}
	change(h.harness, h.secret("idp"), putting("secret", string(private)))
}

// code is what status has a person type in.
func (h *realServer) code() string {
	h.t.Helper()
	flow := h.get("till-1").Status.Flow
	if flow == nil || flow.UserCode == "" {
		h.t.Fatalf("there is no code to type in: %+v", flow)
	}
	return flow.UserCode
}

// approve is what a person does who confirms the login.
func (h *realServer) approve(user string) {
	h.t.Helper()
	if err := openID.Approve(h.ctx, h.code(), user); err != nil {
		h.t.Fatal(err)
	}
}

// login has a session logged in by a person.
func (h *realServer) login(s *v1.TerminalSession, user string) {
	h.t.Helper()
	h.apply(s)
	h.settle("till-1")
	h.expect("till-1", confirming)
	h.approve(user)
	h.polled("till-1")
	if h.expect("till-1", established); h.get("till-1").Status.Token == nil {
		h.t.FailNow()
	}
	h.heard.taken()
}

// expectCalls checks what the server was asked since the last time.
func (h *realServer) expectCalls(want ...string) {
	h.t.Helper()
	if calls := h.heard.taken(); !slices.Equal(calls, want) {
		h.t.Errorf("the server was asked %v, want %v", calls, want)
	}
}

// expectGrants checks how many grants the server honours, after it was told of what is over.
func (h *realServer) expectGrants(want int) {
	h.t.Helper()
	h.sync()
	h.wake()
	h.run(time.Minute)
	if n, err := openID.Grants(h.ctx, h.namespace); err != nil || n != want {
		h.t.Errorf("the server honours %d grants, %v; want %d", n, err, want)
	}
}

// revokeThere revokes tokens at the server, as another application of the same client.
func (h *realServer) revokeThere(tokens provider.Request) {
	h.t.Helper()
	other, err := oauth2.New(oauth2.Config{
		IssuerURL: openID.Issuer, CABundle: openID.CA, ClientID: identityenv.ClientBasic, Grant: oauth2.ClientCredentials, Now: time.Now,
		Authentication: oauth2.Authentication{Method: oauth2.ClientSecretBasic, Secret: []byte(identityenv.ClientSecret)},
	})
	if err != nil {
		h.t.Fatal(err)
	}
	defer other.Close()
	if err := other.Revoke(h.ctx, tokens); err != nil {
		h.t.Fatal(err)
	}
}

// tokens are the tokens and codes that Secrets hold.
func (h *realServer) tokens() []string {
	h.t.Helper()
	list := &corev1.SecretList{}
	if err := h.api.List(h.ctx, list, client.InNamespace(h.namespace)); err != nil {
		h.t.Fatal(err)
	}
	var found []string
	for i := range list.Items {
		for _, key := range []string{tokenstore.KeyToken, "refreshToken", "deviceCode", "secret"} {
			if value := string(list.Items[i].Data[key]); value != "" {
				found = append(found, value)
			}
		}
	}
	return found
}

// expectNothingShown checks that no token, code or credential, nor a part of one, stands anywhere but in its Secret.
func (h *realServer) expectNothingShown(more ...string) {
	h.t.Helper()
	var parts []string
	for _, value := range append(h.tokens(), more...) {
		parts = append(parts, value)
		if len(value) > 24 {
			parts = append(parts, value[:12], value[len(value)-12:])
		}
	}
	if len(parts) == 0 {
		h.t.Error("there is nothing to search for")
	}
	h.expectUntold(slices.DeleteFunc(parts, func(p string) bool { return strings.TrimSpace(p) == "" })...)
}
