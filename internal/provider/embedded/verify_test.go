package embedded_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"terminals.dev/session-controller/internal/provider/embedded"
)

func TestVerifyRefusesForgedTokens(t *testing.T) {
	w := newWorld(t)
	key, other := w.keys.Keys[0], newKey(t)
	issuer := w.issuer(issuerURL)
	good := login(t, issuer, request()).Value
	parts := strings.Split(good, ".")
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(private(t, key).Public())
	if err != nil {
		t.Fatal(err)
	}
	embeddable := jose.JSONWebKey{Key: private(t, other).Public()}
	jwk, err := json.Marshal(jose.JSONWebKey{Key: private(t, key).Public()})
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	spki := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	flattened := `{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`
	headers := map[jose.HeaderKey]any{"typ": "at+jwt", "kid": key.ID}
	with := func(name jose.HeaderKey, value any) map[jose.HeaderKey]any {
		return map[jose.HeaderKey]any{"typ": "at+jwt", "kid": key.ID, name: value}
	}
	unsigned := func(alg string) string {
		return encode(`{"alg":"`+alg+`","typ":"at+jwt","kid":"`+key.ID+`"}`) + "." + parts[1] + "."
	}

	if _, err := issuer.Verify(t.Context(), forge(t, jose.ES256, private(t, key), headers, payload)); err != nil {
		t.Fatalf("what the forgeries are made from does not verify: %v", err)
	}
	tests := map[string]string{
		"alg none":                         unsigned("none"),
		"alg None":                         unsigned("None"),
		"alg ES256 without a signature":    unsigned("ES256"),
		"HS256 with the public key as DER": forge(t, jose.HS256, der, headers, payload),
		"HS256 with the public key as PEM": forge(t, jose.HS256, spki, headers, payload),
		"HS256 with the public key as JWK": forge(t, jose.HS256, jwk, headers, payload),
		"ES384":                            forge(t, jose.ES384, p384, headers, payload),
		"another key under this key's ID":  forge(t, jose.ES256, private(t, other), headers, payload),
		"another key in the token":         forge(t, jose.ES256, private(t, other), with("jwk", embeddable), payload),
		"an unknown key":                   forge(t, jose.ES256, private(t, other), with("kid", other.ID), payload),
		"no key ID":                        forge(t, jose.ES256, private(t, key), with("kid", ""), payload),
		"an ID token":                      forge(t, jose.ES256, private(t, key), with("typ", "JWT"), payload),
		"no type":                          forge(t, jose.ES256, private(t, key), with("typ", nil), payload),
		"an unknown critical header":       forge(t, jose.ES256, private(t, key), with("crit", []string{"exp"}), payload),
		"no claims":                        forge(t, jose.ES256, private(t, key), headers, []byte(`{}`)),
		"no JSON":                          forge(t, jose.ES256, private(t, key), headers, []byte("claims")),
		"claims of another kind":           forge(t, jose.ES256, private(t, key), headers, []byte(`{"exp":"tomorrow"}`)),
		"claims of another token":          parts[0] + "." + encode(`{"sub":"mallory"}`) + "." + parts[2],
		"a cut signature":                  good[:len(good)-4],
		"two parts":                        parts[0] + "." + parts[1],
		"four parts":                       good + "." + parts[2],
		"JSON serialization":               flattened,
		"nothing":                          "",
	}
	for name, raw := range tests {
		t.Run(name, func(t *testing.T) {
			wantInvalid(t, issuer, raw)
		})
	}
}

func TestVerifyRefusesTokensOfAnotherIssuer(t *testing.T) {
	w := newWorld(t)
	issuer := w.issuer(issuerURL)
	wantInvalid(t, issuer, login(t, newWorld(t).issuer(issuerURL), request()).Value)
	wantInvalid(t, issuer, login(t, w.issuer(issuerURL+"/"), request()).Value) // the same key, another URL
}

func TestVerifyKeepsTheClock(t *testing.T) {
	w := newWorld(t)
	issuer := w.issuer(issuerURL)
	req := request()
	req.Session.Lifetime = time.Hour
	raw := login(t, issuer, req).Value
	verify := func() error { _, err := issuer.Verify(t.Context(), raw); return err }

	w.advance(-time.Minute)
	if err := verify(); err != nil {
		t.Errorf("a token from a minute ahead: %v", err)
	}
	w.advance(-time.Second)
	wantInvalid(t, issuer, raw)

	w.advance(time.Minute + time.Second + time.Hour - 1)
	if err := verify(); err != nil {
		t.Errorf("a token in its last moment: %v", err)
	}
	w.advance(1)
	wantInvalid(t, issuer, raw)
}

func TestVerifyDoesNotReadKeysForWhatIsNoToken(t *testing.T) {
	w := newWorld(t)
	issuer := w.issuer(issuerURL)
	good := login(t, issuer, request()).Value
	w.set(embedded.KeySet{}, errors.New("keys were read"))
	wantInvalid(t, issuer, "no token")
	wantInvalid(t, issuer, strings.Repeat("a", 16<<10+1))
	wantInvalid(t, issuer, good+strings.Repeat("a", 16<<10))
}

func TestVerifyTakesTokensOfEveryPublishedKey(t *testing.T) {
	w := newWorld(t)
	issuer := w.issuer(issuerURL)
	old := w.keys.Keys[0]
	raw := login(t, issuer, request()).Value
	next := newKey(t)
	w.use(next, old)
	if _, err := issuer.Verify(t.Context(), raw); err != nil {
		t.Errorf("a token of the key before: %v", err)
	}
	if _, err := issuer.Verify(t.Context(), login(t, issuer, request()).Value); err != nil {
		t.Errorf("a token of the next key: %v", err)
	}
	w.use(next)
	wantInvalid(t, issuer, raw)
}

func encode(part string) string { return base64.RawURLEncoding.EncodeToString([]byte(part)) }

func wantInvalid(t *testing.T, issuer *embedded.Issuer, raw string) {
	t.Helper()
	claims, err := issuer.Verify(t.Context(), raw)
	if !errors.Is(err, embedded.ErrInvalidToken) {
		t.Fatalf("error is %v, want ErrInvalidToken", err)
	}
	if claims.Subject != "" || claims.SessionID != "" {
		t.Errorf("claims %+v came with the error", claims)
	}
	wantNoLeak(t, err.Error(), raw)
}
