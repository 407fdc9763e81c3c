package oauth2

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"
)

const (
	defaultTimeout = 10 * time.Second
	// maxBody bounds an answer, after decompression, in bytes.
	maxBody = 1 << 20
	// maxSkew is the furthest that a server's clock is believed to be off.
	maxSkew = 24 * time.Hour
)

var (
	errTooLarge  = errors.New("the answer is too large")
	errPlainHTTP = errors.New("plain http")
)

// newHTTPClient returns the one client that everything goes through. It follows no redirect and uses no proxy: both would take credentials
// to, or addresses past, where DialContext cannot judge them.
func newHTTPClient(config Config, skew *skew) (*http.Client, error) {
	trust := &tls.Config{MinVersion: tls.VersionTLS12}
	if len(config.CABundle) > 0 {
		trust.RootCAs = x509.NewCertPool()
		if !trust.RootCAs.AppendCertsFromPEM(config.CABundle) {
			return nil, misconfigured(ErrCertificate, "the CA bundle has no certificate in PEM")
		}
	}
	return &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &transport{
			base: &http.Transport{
				DialContext:            config.DialContext,
				TLSClientConfig:        trust,
				ForceAttemptHTTP2:      true, // with a dialer of one's own it is off otherwise
				MaxIdleConnsPerHost:    16,
				IdleConnTimeout:        90 * time.Second,
				MaxResponseHeaderBytes: 64 << 10,
			},
			allowHTTP: config.AllowHTTP,
			onRequest: config.OnRequest,
			timeout:   config.Timeout,
			skew:      skew,
		},
	}, nil
}

// transport bounds what comes back, so that no library behind it reads without end.
type transport struct {
	base      *http.Transport
	allowHTTP bool
	onRequest func(ctx context.Context) error
	timeout   time.Duration
	skew      *skew
}

// RoundTrip implements http.RoundTripper. The body that it returns has been read.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme != "https" && !t.allowHTTP {
		return nil, errPlainHTTP
	}
	if t.onRequest != nil {
		if err := t.onRequest(req.Context()); err != nil {
			return nil, err
		}
	}
	// The time starts here, and not in the client: what a request waits for before it goes out is not the server's doing.
	ctx, cancel := context.WithTimeout(req.Context(), t.timeout)
	defer cancel()
	req = req.Clone(ctx)
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "terminal-session-controller")
	resp, err := t.base.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	t.skew.learn(resp.Header)
	if resp.ContentLength > maxBody {
		return nil, errTooLarge
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	if err != nil {
		return nil, err
	}
	if len(body) > maxBody {
		return nil, errTooLarge
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, nil
}

// CloseIdleConnections is what http.Client looks for.
func (t *transport) CloseIdleConnections() { t.base.CloseIdleConnections() }

// skew is how far the server's clock is ahead of ours. It serves only for what the server judges by its own clock: the times in a client
// assertion, and a Retry-After that is a date. No lifetime is counted by it.
type skew struct {
	now   func() time.Time
	ahead atomic.Int64
}

func (s *skew) learn(header http.Header) {
	date, err := http.ParseTime(header.Get("Date"))
	if err != nil {
		return
	}
	age, _ := strconv.ParseUint(header.Get("Age"), 10, 31) // of an answer that some cache kept
	ahead := date.Add(time.Duration(age) * time.Second).Sub(s.now())
	if ahead.Abs() < 2*time.Second || ahead.Abs() > maxSkew { // a Date has whole seconds
		ahead = 0
	}
	s.ahead.Store(int64(ahead))
}

func (s *skew) serverNow() time.Time { return s.now().Add(time.Duration(s.ahead.Load())) }

// checkURL says what is wrong with a URL, or nothing.
func checkURL(raw string, allowHTTP, queryToo bool) string {
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Hostname() == "" || u.Opaque != "":
		return "is not an absolute URL"
	case u.Scheme != "https" && u.Scheme != "http":
		return "is not an https URL"
	case u.Scheme == "http" && !allowHTTP:
		return "is plain http, which is not allowed"
	case u.User != nil:
		return "has a user in it"
	case u.Fragment != "" || !queryToo && (u.RawQuery != "" || u.ForceQuery):
		return "has a query or fragment"
	}
	return ""
}
