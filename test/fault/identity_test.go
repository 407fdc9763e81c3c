package fault_test

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
)

// identity is the one identity server that all runs share. Each has an issuer of its own there, at the path that is its name, and so a book
// of its own.
type identity struct {
	*httptest.Server
	mu      sync.Mutex
	issuers map[string]*issuer
}

func newIdentity() *identity {
	s := &identity{issuers: map[string]*issuer{}}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(s.serve))
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // of connections that are cut on purpose
	s.StartTLS()
	return s
}

// ca is what the server's certificate is checked against.
func (s *identity) ca() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
}

func (s *identity) open(i *issuer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.issuers[i.name] = i
}

func (s *identity) close(i *issuer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.issuers, i.name)
}

func (s *identity) serve(w http.ResponseWriter, r *http.Request) {
	name, endpoint, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	s.mu.Lock()
	i := s.issuers[name]
	s.mu.Unlock()
	if i == nil {
		panic(http.ErrAbortHandler) // of a run that is over
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	answer, err := i.seam(i.callName(endpoint, r, body), func() (*http.Response, error) { return i.answer(endpoint, r, body) })
	if err != nil {
		panic(http.ErrAbortHandler) // the connection breaks, and nobody knows what was done
	}
	defer answer.Body.Close()
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(answer.StatusCode)
	_, _ = io.Copy(w, answer.Body)
}

// issuer is what the identity server is to one run: an OAuth 2.0 server, and at /sessions a webhook.
type issuer struct {
	name, url string
	// seam is called around each call.
	seam func(call string, do func() (*http.Response, error)) (*http.Response, error)
	book *book

	// given is called when a token has been given, before the answer goes out.
	given func(context.Context)

	mu   sync.Mutex
	down bool
}

func (i *issuer) setDown(down bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.down = down
}

func (i *issuer) isDown() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.down
}

const (
	pathDiscovery = ".well-known/openid-configuration"
	pathToken     = "token"
	pathRevoke    = "revoke"
	pathWebhook   = "sessions"

	pathIntrospect = "introspect"

	askDiscovery  = "ASK discovery"
	askIntrospect = "ASK introspect"
)

// callName is what people call a call.
func (i *issuer) callName(endpoint string, r *http.Request, body []byte) string {
	switch endpoint {
	case pathDiscovery:
		return askDiscovery
	case pathToken:
		grant := form(r, body).Get("grant_type")
		return "ASK " + grant[strings.LastIndex(grant, ":")+1:]
	case pathWebhook:
		return "ASK " + readReview(body).Request.Operation
	}
	return "ASK " + endpoint
}

// answer serves a call, once it is known that it gets here.
func (i *issuer) answer(endpoint string, r *http.Request, body []byte) (*http.Response, error) {
	if i.isDown() {
		return nil, errCut
	}
	status, said := http.StatusNotFound, any(map[string]any{})
	switch endpoint {
	case pathDiscovery:
		status, said = http.StatusOK, map[string]any{
			"issuer": i.url, "token_endpoint": i.url + "/" + pathToken, "revocation_endpoint": i.url + "/" + pathRevoke,
			"introspection_endpoint": i.url + "/" + pathIntrospect, "introspection_endpoint_auth_methods_supported": []string{"none"},
		}
	case pathToken:
		status, said = i.token(form(r, body))
		i.given(r.Context())
	case pathRevoke:
		i.book.revoke(form(r, body).Get("token"))
		status = http.StatusOK
	case pathIntrospect:
		status, said = http.StatusOK, map[string]any{"active": i.book.honours(form(r, body).Get("token"))}
	case pathWebhook:
		status, said = http.StatusOK, i.review(readReview(body))
		if op := readReview(body).Request.Operation; op == "Login" || op == "Renew" {
			i.given(r.Context())
		}
	}
	encoded, err := json.Marshal(said)
	return &http.Response{StatusCode: status, Body: io.NopCloser(bytes.NewReader(encoded))}, err
}
