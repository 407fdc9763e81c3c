package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// self is what a server is known by: whoever trusted it before a restart does so afterwards.
type self struct {
	// CA is the CA's certificate in PEM; Leaf and LeafKey are of the certificate that it made, in DER.
	CA, Leaf, LeafKey []byte
	// SigningKey signs ID tokens and JWTs, in DER; CryptoKey hides what stands in the others.
	SigningKey, CryptoKey []byte

	certificate tls.Certificate
	signingKey  *rsa.PrivateKey
}

// identityIn returns the server that a folder is of, which is made if need be. Without a folder it is a new one each time.
func identityIn(folder string) (*self, error) {
	if folder == "" {
		return newSelf()
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, err
	}
	file := filepath.Join(folder, "self.json")
	content, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		s, err := newSelf()
		if err != nil {
			return nil, err
		}
		content, err := json.Marshal(s)
		if err != nil {
			return nil, err
		}
		return s, writeWhole(file, content)
	} else if err != nil {
		return nil, err
	}
	s := &self{}
	if err := json.Unmarshal(content, s); err != nil {
		return nil, err
	}
	return s, s.parse()
}

func newSelf() (*self, error) {
	signs, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	s := &self{SigningKey: x509.MarshalPKCS1PrivateKey(signs), CryptoKey: []byte(rand.Text() + rand.Text())[:32]}
	if err := s.certify(); err != nil {
		return nil, err
	}
	return s, s.parse()
}

// certify makes a CA and, of it, a certificate for loopback.
func (s *self) certify() error {
	authority := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "oidcserver's CA"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "oidcserver"}, NotBefore: authority.NotBefore, NotAfter: authority.NotAfter,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	signs, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	serves, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	root, err := x509.CreateCertificate(rand.Reader, authority, authority, signs.Public(), signs)
	if err != nil {
		return err
	}
	if s.Leaf, err = x509.CreateCertificate(rand.Reader, leaf, authority, serves.Public(), signs); err != nil {
		return err
	}
	s.CA = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root})
	s.LeafKey, err = x509.MarshalECPrivateKey(serves)
	return err
}

func (s *self) parse() error {
	serves, err := x509.ParseECPrivateKey(s.LeafKey)
	if err != nil {
		return err
	}
	s.certificate = tls.Certificate{Certificate: [][]byte{s.Leaf}, PrivateKey: serves}
	s.signingKey, err = x509.ParsePKCS1PrivateKey(s.SigningKey)
	return err
}

// writeWhole writes a file of which nobody ever sees half.
func writeWhole(file string, content []byte) error {
	if err := os.WriteFile(file+".new", content, 0o600); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}
