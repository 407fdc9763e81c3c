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
	// slow, where it is set, is what each answer waits for once everything is done for it; cut is whether the connection breaks then.
	slow chan struct{}
	cut  bool
	// given counts the tokens, and live are those that nobody has revoked, each with its session's ID where a webhook gave it.
	given int
	live  map[string]string
}

func newServer(t *testing.T) *server {
	t.Helper()
	s := &server{metadata: map[string]any{}, live: map[string]string{}}
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
	answer, status, slow := s.answer(r, proof)
	if slow != nil {
		<-slow
		if s.isCut() {
			panic(http.ErrAbortHandler)
		}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(answer)
}

func (s *server) isCut() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cut
}

// answer does what it is asked for, and tells what the answer waits for.
func (s *server) answer(r *http.Request, proof string) (answer map[string]any, status int, slow chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	answer, status = map[string]any{}, http.StatusOK
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
		s.proofs = append(s.proofs, proof)
		answer, slow = map[string]any{"access_token": s.give(""), "token_type": "Bearer", "expires_in": int(month.Seconds())}, s.slow
	case r.URL.Path == "/sessions":
		s.proofs = append(s.proofs, proof)
		answer, slow = s.review(r)
	case r.URL.Path == "/revoke":
		delete(s.live, r.FormValue("token"))
	default:
		status = http.StatusNotFound
	}
	return answer, status, slow
}

// give is called under the lock.
func (s *server) give(session string) (token string) {
	s.given++
	token = fmt.Sprintf("token-%d", s.given)
	s.live[token] = session
	return token
}

// review answers a SessionReview: yes, to anything.
func (s *server) review(r *http.Request) (answer map[string]any, slow chan struct{}) {
	var review struct {
		Request struct {
			UID       string `json:"uid"`
			Operation string `json:"operation"`
			Session   struct {
				SessionID string         `json:"sessionID"`
				User      map[string]any `json:"user"`
			} `json:"session"`
		} `json:"request"`
	}
	_ = json.NewDecoder(r.Body).Decode(&review)
	response := map[string]any{"uid": review.Request.UID, "result": "Done"}
	if of := review.Request.Session; review.Request.Operation == "Logout" {
		maps.DeleteFunc(s.live, func(_, session string) bool { return session == of.SessionID })
	} else {
		response["result"], response["user"] = "Issued", map[string]any{"email": of.User["email"]}
		response["token"], slow = map[string]any{"value": s.give(of.SessionID), "expiresInSeconds": int(month.Seconds())}, s.slow
	}
	return map[string]any{"apiVersion": "terminals.dev/v1", "kind": "SessionReview", "response": response}, slow
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

// slower has it do what it is asked for, and answer when the test says so: properly, or by a connection that breaks.
func (s *server) slower() (answer func(cut bool)) {
	slow := make(chan struct{})
	s.set(func(s *server) { s.slow = slow })
	var once sync.Once
	return func(cut bool) {
		once.Do(func() {
			s.set(func(s *server) { s.slow, s.cut = nil, cut })
			close(slow)
		})
	}
}

// honours are how many tokens it has given, and how many of them nobody has revoked.
func (s *server) honours() (given, live int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.given, len(s.live)
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
