package identityenv

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
)

// Front is an HTTPS server in front of another, which can be told to fail.
type Front struct {
	*httptest.Server
	// CA is the certificate to trust, in PEM.
	CA []byte

	mu       sync.Mutex
	asked    []string
	instead  func(w http.ResponseWriter, r *http.Request) bool
	upstream http.Handler
}

// StartFront starts a Front. It has an address before there is anything behind it.
func StartFront() *Front {
	f := &Front{}
	f.Server = httptest.NewUnstartedServer(http.HandlerFunc(f.serve))
	f.Config.ErrorLog = log.New(io.Discard, "", 0)
	f.StartTLS()
	f.CA = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: f.Certificate().Raw})
	return f
}

// To puts a server behind the Front; ca is what its certificate comes from, if it has one.
func (f *Front) To(target string, ca []byte, changes ...func(*httputil.ReverseProxy)) error {
	to, err := url.Parse(target)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	proxy := &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(to); r.SetXForwarded() },
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}},
		ErrorLog:  log.New(io.Discard, "", 0),
	}
	for _, change := range changes {
		change(proxy)
	}
	f.Handle(proxy)
	return nil
}

// Handle puts a handler behind the Front.
func (f *Front) Handle(upstream http.Handler) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.upstream = upstream
}

// Instead is asked before each request is passed on; where it answers itself, it returns true. Nil stops that.
func (f *Front) Instead(answer func(w http.ResponseWriter, r *http.Request) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.instead = answer
}

// Asked returns the paths that were asked for since the last time.
func (f *Front) Asked() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	asked := f.asked
	f.asked = nil
	return asked
}

func (f *Front) serve(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.asked = append(f.asked, r.URL.Path)
	instead := f.instead
	f.mu.Unlock()
	if instead != nil && instead(w, r) {
		return
	}
	f.Pass(w, r)
}

// Pass asks what is behind the Front.
func (f *Front) Pass(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	upstream := f.upstream
	f.mu.Unlock()
	upstream.ServeHTTP(w, r)
}
