package identityenv_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"log"
	"maps"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"terminals.dev/session-controller/test/identityenv"
)

// behaviour answers a request whose form has been read. What it answers false to is passed on, with the form as it then is.
type behaviour func(w http.ResponseWriter, r *http.Request) bool

// stage is a real server with something in front of it that does what the server cannot be made to do, and keeps what it has granted.
type stage struct {
	*identityenv.Front
	authority tls.Certificate
	calls     atomic.Int64
	// turn is whose turn it is, where the server takes one request at a time.
	turn *sync.Mutex

	mu     sync.Mutex
	behave behaviour
	// elsewhere is where connections go instead.
	elsewhere string
	grants    []granted
}

type granted struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
	Scope   string `json:"scope"`
}

func newStage(t testing.TB, front *identityenv.Front) *stage {
	t.Helper()
	s := &stage{Front: front, authority: certify(t, nil, "", time.Now().Add(time.Hour))}
	front.Instead(s.serve)
	return s
}

func (s *stage) serve(w http.ResponseWriter, r *http.Request) bool {
	s.calls.Add(1)
	if err := r.ParseForm(); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return true
	}
	s.mu.Lock()
	behave := s.behave
	s.mu.Unlock()
	if behave != nil && behave(w, r) {
		return true
	}
	answer := s.pass(r)
	maps.Copy(w.Header(), answer.Header())
	w.WriteHeader(answer.Code)
	_, _ = w.Write(answer.Body.Bytes())
	return true
}

// pass has the real server answer.
func (s *stage) pass(r *http.Request) *httptest.ResponseRecorder {
	form := r.PostForm.Encode()
	r.Body, r.ContentLength = io.NopCloser(strings.NewReader(form)), int64(len(form))
	answer := httptest.NewRecorder()
	s.inTurn(func() { s.Pass(answer, r) })
	var made granted
	if json.Unmarshal(answer.Body.Bytes(), &made) == nil && made.Access != "" {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.grants = append(s.grants, made)
	}
	return answer
}

func (s *stage) inTurn(ask func()) {
	if s.turn != nil {
		s.turn.Lock()
		defer s.turn.Unlock()
	}
	ask()
}

// live counts the grants with a scope that the server honours by its own word.
func (s *stage) live(t testing.TB, scope string, introspect func(context.Context, string) (identityenv.Introspection, error)) int {
	t.Helper()
	s.mu.Lock()
	grants := slices.Clone(s.grants)
	s.mu.Unlock()
	n := 0
	for _, g := range grants {
		if !slices.Contains(strings.Fields(g.Scope), scope) {
			continue
		}
		access, err := introspect(t.Context(), g.Access)
		must(t, err)
		refresh := identityenv.Introspection{}
		if g.Refresh != "" {
			refresh, err = introspect(t.Context(), g.Refresh)
			must(t, err)
		}
		if access.Active || refresh.Active {
			n++
		}
	}
	return n
}

// does makes the server behave in some way until the test ends.
func (s *stage) does(t testing.TB, behave behaviour) {
	t.Helper()
	s.change(t, func() { s.behave = behave })
}

// leads sends connections elsewhere until the test ends, and ends those that there are.
func (s *stage) leads(t testing.TB, address string) {
	t.Helper()
	s.change(t, func() { s.elsewhere = address })
	s.CloseClientConnections()
}

func (s *stage) change(t testing.TB, set func()) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	behave, elsewhere := s.behave, s.elsewhere
	t.Cleanup(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.behave, s.elsewhere = behave, elsewhere
	})
	set()
}

func (s *stage) dial(ctx context.Context, network, address string) (net.Conn, error) {
	s.mu.Lock()
	if s.elsewhere != "" {
		address = s.elsewhere
	}
	s.mu.Unlock()
	return new(net.Dialer).DialContext(ctx, network, address)
}

// bundle has the certificates that clients trust: that of the server, and an authority's whose other certificates are not for it.
func (s *stage) bundle() []byte {
	return append(slices.Clone(s.CA), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.authority.Certificate[0]})...)
}

// impostors starts a server that shows, in turn, the right name by an authority that nobody trusts, a wrong name by one that is trusted,
// and what has expired.
func (s *stage) impostors(t testing.TB) (address string) {
	t.Helper()
	stranger := certify(t, nil, "", time.Now().Add(time.Hour))
	shown := []tls.Certificate{
		certify(t, &stranger, "127.0.0.1", time.Now().Add(time.Hour)),
		certify(t, &s.authority, "127.0.0.2", time.Now().Add(time.Hour)),
		certify(t, &s.authority, "127.0.0.1", time.Now().Add(-time.Minute)),
	}
	var n atomic.Int64
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("a server that is not trusted was sent a request")
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.TLS = &tls.Config{MinVersion: tls.VersionTLS12, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		return &tls.Config{MinVersion: tls.VersionTLS12, Certificates: shown[n.Add(1)%3:][:1]}, nil
	}}
	server.StartTLS()
	t.Cleanup(func() {
		server.Close()
		if n.Load() < int64(len(shown)) {
			t.Errorf("%d certificates were shown, want each at least once", n.Load())
		}
	})
	return server.Listener.Addr().String()
}

// certify makes a certificate for an address; without a parent it is an authority's own.
func certify(t testing.TB, parent *tls.Certificate, address string, notAfter time.Time) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), NotBefore: time.Now().Add(-time.Hour), NotAfter: notAfter,
		BasicConstraintsValid: true, IsCA: parent == nil, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	signer, by := key, template
	if parent == nil {
		template.Subject.CommonName, template.KeyUsage = "an authority", x509.KeyUsageCertSign
	} else {
		template.IPAddresses = []net.IP{net.ParseIP(address)}
		signer, by = parent.PrivateKey.(*ecdsa.PrivateKey), parent.Leaf
	}
	der, err := x509.CreateCertificate(rand.Reader, template, by, &key.PublicKey, signer)
	must(t, err)
	leaf, err := x509.ParseCertificate(der)
	must(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}
