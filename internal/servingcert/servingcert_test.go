package servingcert_test

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"testing"

	"terminals.dev/session-controller/internal/servingcert"
)

func TestWhoeverHasTheCertificateCanCheckTheServer(t *testing.T) {
	made, err := servingcert.New("session-issuer.system.svc")
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.TLS = &tls.Config{Certificates: []tls.Certificate{made}, MinVersion: tls.VersionTLS12}
	server.StartTLS()
	defer server.Close()

	known := x509.NewCertPool()
	known.AddCert(made.Leaf)
	for name, fits := range map[string]bool{"session-issuer.system.svc": true, "another.system.svc": false} {
		config := &tls.Config{RootCAs: known, ServerName: name, MinVersion: tls.VersionTLS12}
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: config}}
		answer, err := client.Get(server.URL)
		if err == nil {
			_ = answer.Body.Close()
		}
		if (err == nil) != fits {
			t.Errorf("as %s the server was checked with %v", name, err)
		}
	}
}
