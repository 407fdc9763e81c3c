package processes

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httputil"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/test/identityenv"
)

const (
	// atOnce is how many calls to the provider may be under way: so many a crash can interrupt.
	atOnce = 8
	// latency is how long the provider takes, half of it before a token is in its book and half before anybody hears of it: a crash finds calls
	// under way.
	latency = 100 * time.Millisecond
)

// server is an OpenID provider that takes its time. It is never killed here.
type server struct {
	*identityenv.OIDC
	front *identityenv.Front
}

func startServer(t *testing.T) server {
	t.Helper()
	front := identityenv.StartFront()
	t.Cleanup(front.Close)
	s, err := identityenv.StartOIDC(t.Context(), identityenv.OIDCOptions{Dir: t.TempDir(), Issuer: front.URL, TokenLifetime: 30 * 24 * time.Hour})
	must(t, err)
	t.Cleanup(s.Kill)
	must(t, front.To("https://"+s.Address, s.CA, func(p *httputil.ReverseProxy) {
		p.ModifyResponse = func(*http.Response) error {
			<-time.After(latency / 2)
			return nil
		}
	}))
	front.Instead(func(http.ResponseWriter, *http.Request) bool {
		<-time.After(latency / 2)
		return false
	})
	return server{s, front}
}

// furnish makes the namespace with what a provider at the server needs.
func furnish(ctx context.Context, s server) error {
	p := &v1.SessionProvider{ObjectMeta: named("idp")}
	p.Spec.RateLimit = v1.RateLimit{RequestsPerSecond: 500, Burst: 100, Concurrent: atOnce}
	p.Spec.OAuth2 = &v1.OAuth2Provider{
		IssuerURL: s.front.URL, CABundle: s.front.CA, ClientID: identityenv.ClientBasic, Grant: v1.GrantTokenExchange,
		Scopes: []string{"openid", "email", "offline_access"},
		ClientAuthentication: v1.ClientAuthentication{
			Method: v1.ClientSecretBasic, SecretRef: &v1.SecretKeyReference{Name: "idp", Key: "secret"},
		},
	}
	objects := []client.Object{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}},
		&corev1.Secret{ObjectMeta: named("idp"), StringData: map[string]string{"secret": identityenv.ClientSecret}},
	}
	for _, user := range users {
		token, err := s.Token(ctx, user, "openid")
		if err != nil {
			return fmt.Errorf("getting the auth token of %s: %w", user, err)
		}
		objects = append(objects, &corev1.Secret{ObjectMeta: named(user), StringData: map[string]string{"token": token}})
	}
	for _, o := range append(objects, p) {
		if err := api.Create(ctx, o); err != nil {
			return fmt.Errorf("furnishing the namespace: %w", err)
		}
	}
	return nil
}
