// Command oidcserver is an OpenID provider for tests, made of github.com/zitadel/oidc/v3's op package, with storage of its own. It serves
// HTTPS on loopback with a certificate of its own CA, which it writes to a file when it is ready. What it knows is lost when it ends, unless
// it has a folder for its state: then it can be killed and started again.
package main

import (
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/zitadel/oidc/v3/pkg/op"
)

func main() {
	issuer := flag.String("issuer", "", "the issuer URL, where something in front of this server has another address; default: its own")
	address := flag.String("address", "127.0.0.1:0", "where to listen")
	caFile := flag.String("ca-file", "ca.pem", "where to write the CA's certificate, once the server listens")
	life := flag.Duration("token-lifetime", time.Hour, "how long access tokens live")
	state := flag.String("state", "", "a folder for keys, certificates, the book of tokens, and the log of requests; default: memory, and no log")
	flag.Parse()
	if err := serve(*address, *issuer, *caFile, *state, *life); err != nil {
		fmt.Fprintln(os.Stderr, "oidcserver:", err)
		os.Exit(1)
	}
}

func serve(address, issuer, caFile, state string, life time.Duration) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	self, err := identityIn(state)
	if err != nil {
		return err
	}
	if issuer == "" {
		issuer = "https://" + listener.Addr().String()
	}
	store := newStore(issuer, life, self.signingKey)
	requests := discardArrivals
	if state != "" {
		requests, err = arrivalsIn(state)
		if err := errors.Join(err, store.open(filepath.Join(state, "book.jsonl"))); err != nil {
			return err
		}
	}
	provider, err := op.NewProvider(&op.Config{
		CryptoKey:               [32]byte(self.CryptoKey),
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
		Handler:           requests(store.handler(provider)),
		ReadHeaderTimeout: 10 * time.Second,
		TLSConfig:         &tls.Config{Certificates: []tls.Certificate{self.certificate}, MinVersion: tls.VersionTLS12},
	}
	if err := writeWhole(caFile, self.CA); err != nil {
		return err
	}
	return server.ServeTLS(listener, "", "")
}
