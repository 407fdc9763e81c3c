// Package servingcert makes the certificates of servers for which nobody has provided one.
package servingcert

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"fmt"

	"k8s.io/client-go/util/cert"
)

// New makes a certificate for a DNS name, signed by itself and valid for ten years, with a new key on P-256: to find the primes of an RSA key
// takes a quarter of the CPU that a start may take. It encrypts, and proves nothing to whoever has not been given it.
func New(host string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("making a key: %w", err)
	}
	c, err := cert.NewSelfSignedCACert(cert.Config{CommonName: host}, key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("making a certificate for %s: %w", host, err)
	}
	return tls.Certificate{Certificate: [][]byte{c.Raw}, PrivateKey: key, Leaf: c}, nil
}
