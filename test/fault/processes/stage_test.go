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
	// atOnce is how many calls the provider takes at a time, and working how many sessions a manager works on beside those.
	atOnce, working = 8, 16
	// underway is how many tokens it can cost that a manager is stopped. Each is of a session between its call and the write that keeps what was
	// answered. It is with the provider, or it has a turn, or it waits for one with its answer. Who waits so goes before who begins, so while
	// one waits no call comes to these, and those who wait are some of the atOnce and working that there were when none did. A leader that lost
	// its lease in between begins no call, so these are also all that it can make beside another leader.
	underway = atOnce + working
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
