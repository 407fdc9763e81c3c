package embedded_test

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"testing"
)

// BenchmarkIssuerSign is a whole login. Most of it should be the signature: compare BenchmarkBareSignature.
func BenchmarkIssuerSign(b *testing.B) {
	issuer, req := newWorld(b).issuer(issuerURL), request()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := issuer.Login(b.Context(), req); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkBareSignature(b *testing.B) {
	key := private(b, newKey(b))
	digest := sha256.Sum256([]byte("claims"))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ecdsa.SignASN1(rand.Reader, key, digest[:]); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkIssuerVerify(b *testing.B) {
	issuer := newWorld(b).issuer(issuerURL)
	raw := login(b, issuer, request()).Value
	b.ReportAllocs()
	for b.Loop() {
		if _, err := issuer.Verify(b.Context(), raw); err != nil {
			b.Fatal(err)
		}
	}
}
