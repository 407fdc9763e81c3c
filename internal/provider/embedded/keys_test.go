package embedded_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"terminals.dev/session-controller/internal/provider/embedded"
)

func TestKeyIDIsTheStartOfTheThumbprint(t *testing.T) {
	key := newKey(t)
	if want := thumbprint(t, private(t, key))[:20]; key.ID != want {
		t.Errorf("ID is %q, want %q", key.ID, want)
	}
	if !regexp.MustCompile(`^[0-9a-f]{20}$`).MatchString(key.ID) {
		t.Errorf("ID %q cannot be part of an object's name", key.ID)
	}
}

func TestKeySurvivesMarshalling(t *testing.T) {
	key := newKey(t)
	parsed, err := embedded.ParseKey(marshal(t, key), key.ID, key.CreatedAt)
	if err != nil {
		t.Fatal(err)
	}
	if parsed.KeyInfo != key.KeyInfo {
		t.Errorf("read back as %+v, want %+v", parsed.KeyInfo, key.KeyInfo)
	}
	if !private(t, parsed).Equal(private(t, key)) {
		t.Error("another private key was read back")
	}
}

func TestParseKeyRefusesWhatIsNotTheKeyAskedFor(t *testing.T) {
	key, other := newKey(t), newKey(t)
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sec1, err := x509.MarshalECPrivateKey(private(t, key))
	if err != nil {
		t.Fatal(err)
	}
	good := marshal(t, key)
	tests := map[string][]byte{
		"empty":            nil,
		"no PEM":           []byte("not a key"),
		"damaged PEM":      good[:len(good)-40],
		"two keys":         append(bytes.Clone(good), marshal(t, other)...),
		"something behind": append(bytes.Clone(good), "password"...),
		"another type":     pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: sec1}),
		"another encoding": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: sec1}),
		"no encoding":      pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("no ASN.1 at all")}),
		"no ECDSA key":     pkcs8(t, ed),
		"another key":      marshal(t, other),
	}
	for name, data := range tests {
		t.Run(name, func(t *testing.T) {
			parsed, err := embedded.ParseKey(data, key.ID, start)
			if err == nil {
				t.Fatalf("read as key %s", parsed.ID)
			}
			wantNoLeak(t, err.Error(), strings.ReplaceAll(string(data), "PRIVATE KEY", ""))
		})
	}
}

func TestParseKeyRefusesAnotherCurveUnderItsRightID(t *testing.T) {
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := embedded.ParseKey(pkcs8(t, p384), thumbprint(t, p384)[:20], start); err == nil {
		t.Error("a key that ES256 cannot use was read")
	}
}

func TestPrintingAKeyShowsNothingPrivate(t *testing.T) {
	key := newKey(t)
	secret := private(t, key)
	scalar, err := secret.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
		for _, value := range []any{key, &key, embedded.KeySet{Active: key.ID, Keys: []embedded.Key{key}}} {
			text := fmt.Sprintf(format, value)
			wantNoLeak(t, text, hex.EncodeToString(scalar))
			wantNoLeak(t, text, fmt.Sprintf("%d", scalar))
		}
	}
}

// thumbprint is the whole of a key's SHA-256 thumbprint in hex.
func thumbprint(t *testing.T, key *ecdsa.PrivateKey) string {
	t.Helper()
	public := jose.JSONWebKey{Key: key.Public()}
	sum, err := public.Thumbprint(crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(sum)
}

func pkcs8(t *testing.T, key any) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}
