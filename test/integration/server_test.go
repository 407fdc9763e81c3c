package integration_test

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	v1 "terminals.dev/session-controller/api/v1"
)

// server is a provider's own, on this machine, by HTTPS: an OAuth 2.0 server, and at /sessions a webhook.
type server struct {
	*httptest.Server
	mu    sync.Mutex
	asked []string
	// proofs are the client secrets and bearer tokens that it was shown, at the token endpoint and the webhook.
	proofs []string
	// wants, where it is set, is the only secret that it takes.
	wants string
	// metadata is what it says of itself beside the usual; down and hangs are how it fails.
	metadata map[string]any
	down     bool
	hangs    chan struct{}
	given    int
}

func newServer(t *testing.T) *server {
	t.Helper()
	s := &server{metadata: map[string]any{}}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(s.serve))
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // of handshakes that a test means to fail
	s.StartTLS()
	t.Cleanup(func() {
		s.release()
		s.Close()
	})
	return s
}

func (s *server) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.asked = append(s.asked, r.Method+" "+r.URL.Path)
	down, hangs := s.down, s.hangs
	s.mu.Unlock()
	if down {
		panic(http.ErrAbortHandler)
	}
	if hangs != nil {
		<-hangs
		panic(http.ErrAbortHandler)
	}
	_, proof, basic := r.BasicAuth()
	if !basic {
		proof = r.Header.Get("Authorization")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	answer, status := map[string]any{}, http.StatusOK
	refused := s.wants != "" && proof != s.wants
	switch {
	case r.URL.Path == "/.well-known/openid-configuration":
		answer = map[string]any{
			"issuer": s.URL, "token_endpoint": s.URL + "/token", "revocation_endpoint": s.URL + "/revoke",
			"introspection_endpoint": s.URL + "/introspect",
		}
		maps.Copy(answer, s.metadata)
	case refused:
		answer, status = map[string]any{"error": "invalid_client"}, http.StatusUnauthorized
	case r.URL.Path == "/token":
		s.given++
		s.proofs = append(s.proofs, proof)
		answer = map[string]any{"access_token": fmt.Sprintf("token-%d", s.given), "token_type": "Bearer", "expires_in": int(month.Seconds())}
	case r.URL.Path == "/sessions":
		s.proofs = append(s.proofs, proof)
		answer = s.review(r)
	case r.URL.Path == "/revoke":
	default:
		status = http.StatusNotFound
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(answer)
}

// review answers a SessionReview: yes, to anything.
func (s *server) review(r *http.Request) map[string]any {
	var review struct {
		Request struct {
			UID       string `json:"uid"`
			Operation string `json:"operation"`
			Session   struct {
				User map[string]any `json:"user"`
			} `json:"session"`
		} `json:"request"`
	}
	_ = json.NewDecoder(r.Body).Decode(&review)
	s.given++
	response := map[string]any{
		"uid": review.Request.UID, "result": "Issued", "user": map[string]any{"email": review.Request.Session.User["email"]},
		"token": map[string]any{"value": fmt.Sprintf("token-%d", s.given), "expiresInSeconds": int(month.Seconds())},
	}
	if review.Request.Operation == "Logout" {
		response = map[string]any{"uid": review.Request.UID, "result": "Done"}
	}
	return map[string]any{"apiVersion": "terminals.dev/v1", "kind": "SessionReview", "response": response}
}

// taken is what was asked, and what it was shown, since the last time.
func (s *server) taken() (asked, proofs []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	asked, proofs = s.asked, s.proofs
	s.asked, s.proofs = nil, nil
	return asked, proofs
}

func (s *server) set(change func(*server)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

func (s *server) hang() { s.set(func(s *server) { s.hangs = make(chan struct{}) }) }

func (s *server) release() {
	s.set(func(s *server) {
		if s.hangs != nil {
			close(s.hangs)
			s.hangs = nil
		}
	})
}

// ca is what its certificate is checked against.
func (s *server) ca() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
}

// oauth2 makes a provider one of this server, whose client's secret is in a Secret.
func (s *server) oauth2(secret string) func(*v1.SessionProviderSpec) {
	return func(spec *v1.SessionProviderSpec) {
		spec.Embedded, spec.OAuth2 = nil, &v1.OAuth2Provider{
			IssuerURL: s.URL, ClientID: "till-fleet", CABundle: s.ca(),
			ClientAuthentication: v1.ClientAuthentication{
				Method: v1.ClientSecretBasic, SecretRef: &v1.SecretKeyReference{Name: secret, Key: "secret"},
			},
		}
	}
}

// public makes a provider one of this server, whose client needs no secret.
func (s *server) public(spec *v1.SessionProviderSpec) {
	s.oauth2("")(spec)
	spec.OAuth2.ClientAuthentication = v1.ClientAuthentication{Method: v1.ClientAuthenticationNone}
}

// webhook makes a provider one of this server, which is shown a bearer token.
func (s *server) webhook(secret string) func(*v1.SessionProviderSpec) {
	return func(spec *v1.SessionProviderSpec) {
		spec.Embedded, spec.Webhook = nil, &v1.WebhookProvider{
			URL: s.URL + "/sessions", CABundle: s.ca(), Authentication: &v1.WebhookAuthentication{
				BearerTokenSecretRef: &v1.SecretKeyReference{Name: secret, Key: "secret"},
			},
		}
	}
}

// certified makes a provider one of this server, which is shown a client certificate.
func (s *server) certified(secret string) func(*v1.SessionProviderSpec) {
	return func(spec *v1.SessionProviderSpec) {
		s.webhook(secret)(spec)
		spec.Webhook.Authentication = &v1.WebhookAuthentication{ClientCertificateSecretRef: &v1.SecretReference{Name: secret}}
	}
}
