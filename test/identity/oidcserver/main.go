// Command oidcserver is an OpenID provider for tests, made of github.com/zitadel/oidc/v3's op package, with storage of its own. It serves
// HTTPS on loopback with a certificate of its own CA, which it writes to a file when it is ready. What it knows is lost when it ends.
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"flag"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/zitadel/oidc/v3/pkg/op"
)

func main() {
	issuer := flag.String("issuer", "", "the issuer URL, where something in front of this server has another address; default: its own")
	address := flag.String("address", "127.0.0.1:0", "where to listen")
	caFile := flag.String("ca-file", "ca.pem", "where to write the CA's certificate, once the server listens")
	life := flag.Duration("token-lifetime", time.Hour, "how long access tokens live")
	flag.Parse()
	if err := serve(*address, *issuer, *caFile, *life); err != nil {
		fmt.Fprintln(os.Stderr, "oidcserver:", err)
		os.Exit(1)
	}
}

func serve(address, issuer, caFile string, life time.Duration) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	ca, certificate, err := certify()
	if err != nil {
		return err
	}
	if issuer == "" {
		issuer = "https://" + listener.Addr().String()
	}
	store, err := newStore(issuer, life)
	if err != nil {
		return err
	}
	provider, err := op.NewProvider(&op.Config{
		CryptoKey:               [32]byte([]byte(rand.Text() + rand.Text())[:32]),
		AuthMethodPost:          true,
		AuthMethodPrivateKeyJWT: true,
		GrantTypeRefreshToken:   true,
		DeviceAuthorization: op.DeviceAuthorizationConfig{
			Lifetime: 5 * time.Minute, PollInterval: 5 * time.Second, UserFormPath: "/device", UserCode: op.UserCodeBase20,
		},
	}, store, op.StaticIssuer(issuer), op.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		return err
	}
	server := &http.Server{
		Handler:           store.handler(provider),
		ReadHeaderTimeout: 10 * time.Second,
		TLSConfig:         &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12},
	}
	// Whoever waits for the file never sees half of it.
	if err := os.WriteFile(caFile+".new", ca, 0o644); err != nil {
		return err
	}
	if err := os.Rename(caFile+".new", caFile); err != nil {
		return err
	}
	return server.ServeTLS(listener, "", "")
}

// certify makes a CA and, of it, a certificate for loopback.
func certify() (ca []byte, certificate tls.Certificate, err error) {
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
		return nil, certificate, err
	}
	serves, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, certificate, err
	}
	root, err := x509.CreateCertificate(rand.Reader, authority, authority, signs.Public(), signs)
	if err != nil {
		return nil, certificate, err
	}
	signed, err := x509.CreateCertificate(rand.Reader, leaf, authority, serves.Public(), signs)
	if err != nil {
		return nil, certificate, err
	}
	ca = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root})
	return ca, tls.Certificate{Certificate: [][]byte{signed}, PrivateKey: serves}, nil
}
