package embedded_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"terminals.dev/session-controller/internal/provider"
	"terminals.dev/session-controller/internal/provider/embedded"
)

var start = time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)

// world is a clock and a key store, both set by the test.
type world struct {
	mu   sync.Mutex
	now  time.Time
	keys embedded.KeySet
	err  error
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{now: start}
	w.use(newKey(t))
	return w
}

func (w *world) Now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) Keys(context.Context) (embedded.KeySet, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.keys, w.err
}

// use publishes keys, of which the first signs.
func (w *world) use(keys ...embedded.Key) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.keys = embedded.KeySet{Active: keys[0].ID, Keys: keys}
}

func (w *world) set(keys embedded.KeySet, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.keys, w.err = keys, err
}

func (w *world) advance(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

func (w *world) issuer(url string) *embedded.Issuer {
	return embedded.New(embedded.Config{IssuerURL: url, Keys: w, Now: w.Now})
}

func newKey(t testing.TB) embedded.Key {
	t.Helper()
	key, err := embedded.NewKey(start)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func marshal(t testing.TB, key embedded.Key) []byte {
	t.Helper()
	data, err := key.MarshalPEM()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// private takes a key out of its PEM form, to forge with.
func private(t testing.TB, key embedded.Key) *ecdsa.PrivateKey {
	t.Helper()
	block, _ := pem.Decode(marshal(t, key))
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return parsed.(*ecdsa.PrivateKey)
}

// forge signs any payload with any key and headers.
func forge(t testing.TB, alg jose.SignatureAlgorithm, key any, headers map[jose.HeaderKey]any, payload []byte) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, &jose.SignerOptions{ExtraHeaders: headers})
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func request() provider.Request {
	return provider.Request{
		IdempotencyKey: "0f8f0a4e-6e9b-4d3e-8d5c-2f6f0c1a7b11/7",
		Session: provider.Session{
			Purpose: "Registration", Namespace: "acme", Name: "till-07", ID: "0197f3d2-0000-7000-8000-000000000007",
			TerminalID: "T-0042", SerialNumber: "SN-93AX", MerchantID: "merchant-1",
			UserEmail: "anna@acme.example", UserName: "Anna Ruiz",
			Scopes: []string{"payments", "refunds"}, Audiences: []string{"https://pay.example", "https://stock.example"},
			Lifetime: 720 * time.Hour,
		},
	}
}

func login(t testing.TB, issuer *embedded.Issuer, req provider.Request) provider.Token {
	t.Helper()
	result, err := issuer.Login(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if result.Token == nil || result.Pending != nil {
		t.Fatalf("Login answered with %+v, want a token alone", result)
	}
	return *result.Token
}

// wantNoLeak fails when text has a dozen characters in a row of a secret.
func wantNoLeak(t testing.TB, text, secret string) {
	t.Helper()
	const window = 12
	for i := 0; i+window <= len(secret); i++ {
		if strings.Contains(text, secret[i:i+window]) {
			t.Errorf("%q has a part of a secret in it", text)
			return
		}
	}
}

func wantKind(t testing.TB, err error, kind provider.Kind) {
	t.Helper()
	if err == nil || provider.AsError(err).Kind != kind {
		t.Errorf("error is %v, want one of kind %s", err, kind)
	}
}
