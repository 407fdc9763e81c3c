package webhook_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/internal/provider"
	"terminals.dev/session-controller/internal/provider/webhook"
)

// authority signs the certificates of one test.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	// bundle is the authority's own certificate in PEM.
	bundle []byte
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "an authority"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	a.key = newKey(t)
	der, err := x509.CreateCertificate(rand.Reader, template, template, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.certificate, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.bundle = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return a
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// sign returns a certificate for a server at an address or of a name, or a client, and its key.
func (a *authority) sign(t testing.TB, name string, notAfter time.Time) (certificate, key []byte) {
	t.Helper()
	private := newKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: notAfter,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if ip := net.ParseIP(name); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{name}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, &private.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	certificate = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return certificate, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded})
}

func (a *authority) pair(t testing.TB, name string, notAfter time.Time) *tls.Certificate {
	t.Helper()
	pair, err := tls.X509KeyPair(a.sign(t, name, notAfter))
	if err != nil {
		t.Fatal(err)
	}
	return &pair
}

const (
	bearer = "bearer-b8c1f0e2d3a49586-of-the-controller"
	host   = "127.0.0.1"
)

// behaviour answers a request that has been read. What it answers false to is answered as usual.
type behaviour func(w http.ResponseWriter, r *http.Request, review v1.SessionReview) bool

// hook is a webhook's server: an issuer that keeps its tokens in memory, and that can be made to behave otherwise.
type hook struct {
	*httptest.Server
	authority *authority
	calls     atomic.Int64
	// connections counts those that were made.
	connections atomic.Int64

	mu          sync.Mutex
	certificate *tls.Certificate
	behave      behaviour
	// down sends clients to a port where nobody listens.
	down bool
	// asking is whether logins have to be confirmed, and confirmed are those that have been.
	asking    bool
	confirmed map[string]bool
	// issued has what each attempt was given, and live the session of each token.
	issued map[string]*v1.SessionReviewToken
	live   map[string]string
	// last is the last request that was read.
	last struct {
		header http.Header
		body   []byte
	}
}

// newHook starts a server over TLS; change may set it up otherwise.
func newHook(t testing.TB, change ...func(*hook, *tls.Config)) *hook {
	t.Helper()
	h := &hook{
		authority: newAuthority(t), confirmed: map[string]bool{}, issued: map[string]*v1.SessionReviewToken{}, live: map[string]string{},
	}
	h.certificate = h.authority.pair(t, host, time.Now().Add(time.Hour))
	h.Server = httptest.NewUnstartedServer(h)
	h.Config.ErrorLog = log.New(t.Output(), "", 0)
	h.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			h.connections.Add(1)
		}
	}
	settings := &tls.Config{MinVersion: tls.VersionTLS12}
	for _, f := range change {
		f(h, settings)
	}
	h.TLS = &tls.Config{MinVersion: tls.VersionTLS12, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		h.mu.Lock()
		defer h.mu.Unlock()
		with := settings.Clone()
		with.Certificates = []tls.Certificate{*h.certificate}
		return with, nil
	}}
	h.StartTLS()
	t.Cleanup(h.Close)
	return h
}

// change sets fields, and sets them back when the test ends.
func (h *hook) change(t testing.TB, set func()) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	behave, certificate, down, asking := h.behave, h.certificate, h.down, h.asking
	t.Cleanup(func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.behave, h.certificate, h.down, h.asking = behave, certificate, down, asking
	})
	set()
}

func (h *hook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.calls.Add(1)
	var body bytes.Buffer
	_, _ = body.ReadFrom(r.Body)
	var review v1.SessionReview
	decoder := json.NewDecoder(bytes.NewReader(body.Bytes()))
	decoder.DisallowUnknownFields()
	err := decoder.Decode(&review)
	if err != nil || review.Request == nil || r.Method != http.MethodPost || r.URL.RequestURI() != "/sessions?shop=7" {
		http.Error(w, "no request", http.StatusBadRequest)
		return
	}
	h.mu.Lock()
	h.last.header, h.last.body = r.Header, body.Bytes()
	behave := h.behave
	h.mu.Unlock()
	if behave != nil && behave(w, r, review) {
		return
	}
	respond(w, h.answer(review.Request))
}

func respond(w http.ResponseWriter, response *v1.SessionReviewResponse) {
	review := v1.SessionReview{Response: response}
	review.SetGroupVersionKind(v1.GroupVersion.WithKind(v1.KindSessionReview))
	_ = json.NewEncoder(w).Encode(review)
}

func (h *hook) answer(q *v1.SessionReviewRequest) *v1.SessionReviewResponse {
	h.mu.Lock()
	defer h.mu.Unlock()
	said := &v1.SessionReviewResponse{UID: q.UID}
	switch session, known := h.live[q.Token]; {
	case q.Operation == v1.ReviewLogout:
		for token, of := range h.live {
			if of == q.Session.SessionID {
				delete(h.live, token)
			}
		}
		said.Result = v1.ReviewDone
	case q.Operation == v1.ReviewCheck && known && session == q.Session.SessionID:
		said.Result = v1.ReviewActive
	case q.Operation == v1.ReviewCheck:
		said.Result, said.Error = v1.ReviewEnded, &v1.SessionReviewError{Code: "SignedOut"}
	case q.Operation == v1.ReviewRenew && !known:
		said.Result = v1.ReviewEnded
	case q.Operation == v1.ReviewLogin && h.asking && !h.confirmed[q.UID]:
		said.Result, said.RetryAfterSeconds = v1.ReviewPending, 2
		said.Interaction = &v1.SessionReviewInteraction{
			VerificationURI: "https://id.example/device", VerificationURIComplete: "https://id.example/device?code=ABCD-EFGH",
			UserCode: "ABCD-EFGH", ExpiresInSeconds: 600,
		}
	default:
		said.Result, said.Token = v1.ReviewIssued, h.issue(q)
		if u := q.Session.User; u != nil {
			said.User = &v1.UserStatus{Email: u.Email, Subject: "u-1"}
		}
	}
	return said
}

func (h *hook) issue(q *v1.SessionReviewRequest) *v1.SessionReviewToken {
	attempt := string(q.Operation) + " " + q.UID
	if h.issued[attempt] == nil {
		h.issued[attempt] = &v1.SessionReviewToken{
			Value: "token-" + rand.Text(), RefreshToken: "refresh-" + rand.Text(), ExpiresInSeconds: q.Session.LifetimeSeconds,
		}
	}
	if q.Operation == v1.ReviewRenew {
		delete(h.live, q.Token)
	}
	h.live[h.issued[attempt].Value] = q.Session.SessionID
	return h.issued[attempt]
}

// says makes the server answer with a body, and status 200.
func (h *hook) says(t testing.TB, body string) {
	t.Helper()
	h.does(t, func(w http.ResponseWriter, _ *http.Request, review v1.SessionReview) bool {
		_, _ = fmt.Fprint(w, strings.ReplaceAll(body, "UID", review.Request.UID))
		return true
	})
}

func (h *hook) does(t testing.TB, behave behaviour) {
	t.Helper()
	h.change(t, func() { h.behave = behave })
}

// config is what a client of the server is made from.
func (h *hook) config() webhook.Config {
	return webhook.Config{URL: h.URL + "/sessions?shop=7", CABundle: h.authority.bundle, BearerToken: bearer, DialContext: h.dial}
}

func (h *hook) dial(ctx context.Context, network, address string) (net.Conn, error) {
	h.mu.Lock()
	if h.down {
		address = closedAddress
	}
	h.mu.Unlock()
	return new(net.Dialer).DialContext(ctx, network, address)
}

// closedAddress is where nobody can listen.
const closedAddress = host + ":0"

func (h *hook) client(t testing.TB, change ...func(*webhook.Config)) *webhook.Webhook {
	t.Helper()
	config := h.config()
	for _, f := range change {
		f(&config)
	}
	made, err := webhook.New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(made.Close)
	return made
}

// hasty makes a client whose calls are short.
func hasty(config *webhook.Config) { config.Timeout = 300 * time.Millisecond }

var requests atomic.Int64

// request is about another session, and another attempt, each time.
func request() provider.Request {
	n := requests.Add(1)
	return provider.Request{
		IdempotencyKey: fmt.Sprintf("0f8f0a4e-6e9b-4d3e-8d5c-2f6f0c1a7b11/%d", n), AuthToken: "auth-token-4d3e8d5c2f6f0c1a",
		Session: provider.Session{
			Namespace: "shop", Name: "till-07", ID: fmt.Sprintf("0197f3d2-0000-7000-8000-%012d", n),
			TerminalID: "T-0042", SerialNumber: "SN-93AX", MerchantID: "merchant-1",
			UserEmail: "anna@acme.example", UserName: "Anna Ruiz", Purpose: "Registration", Type: "Continuous",
			Scopes: []string{"payments", "refunds"}, Audiences: []string{"https://pay.example", "https://stock.example"},
			Lifetime: 720 * time.Hour, Announce: "Confirm the login for till 7",
		},
	}
}

// established is a request about a session that has tokens.
func established() provider.Request {
	req := request()
	req.Token, req.RefreshToken = "access-token-6e9b4d3e8d5c2f6f", "refresh-token-0f8f0a4e6e9b4d3e"
	return req
}

func login(t testing.TB, p provider.Provider, req provider.Request) provider.Token {
	t.Helper()
	result, err := p.Login(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if result.Token == nil || result.Pending != nil {
		t.Fatalf("Login answered with %+v, want a token alone", result)
	}
	return *result.Token
}

// wantKind returns the error, whose kind must be the one given, and whose text must have all words in it.
func wantKind(t testing.TB, err error, kind provider.Kind, words ...string) provider.Error {
	t.Helper()
	if err == nil || provider.AsError(err).Kind != kind {
		t.Fatalf("error is %v, want one of kind %s", err, kind)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%q does not say %q", err, word)
		}
	}
	return *provider.AsError(err)
}
