// Package webhook asks an HTTPS server of the user's own, which answers SessionReviews: the door for whatever speaks no OAuth 2.0.
package webhook

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"terminals.dev/session-controller/internal/provider"
)

const (
	// defaultTimeout is how long one review may take where Config does not say.
	defaultTimeout = 10 * time.Second
	// maxBody bounds an answer, in bytes. What is longer is not read to its end.
	maxBody = 1 << 20
	// maxHeader bounds an answer's header, in bytes.
	maxHeader = 64 << 10
	// maxDrained is how much of a body that nobody needs is read so that its connection can be used again.
	maxDrained = 4 << 10
	// maxIdle is how many connections are kept, and idleTimeout for how long.
	maxIdle     = 64
	idleTimeout = 90 * time.Second
)

// Config is what a Webhook is made from. URL alone is required. Whoever sees any of it change makes a new Webhook.
type Config struct {
	// URL takes the reviews: https, without user and fragment.
	URL string
	// CABundle has the certificates, in PEM, that the server's is checked against; empty stands for the system's.
	CABundle []byte
	// BearerToken is sent in the Authorization header (RFC 6750). White space around it, such as a file's last line break, is left out.
	// Secret.
	BearerToken string
	// ClientCertificate and ClientKey are the certificate that the server is shown, with what it is signed by, and its key; both PEM.
	// The key is secret.
	ClientCertificate, ClientKey []byte
	// Timeout is how long one review may take, all of it; default 10s.
	Timeout time.Duration
	// DialContext connects, and is where addresses are checked; default: that of a net.Dialer. An *Error that it returns is passed on
	// as it is. No proxy is used, since one would be dialled in place of the server.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)
}

// Webhook is a provider.Provider that asks an HTTPS server.
type Webhook struct {
	url       *url.URL
	header    http.Header
	secret    string
	timeout   time.Duration
	transport *http.Transport
}

var _ provider.Provider = (*Webhook)(nil)

// New returns a Webhook. It makes no call. It fails with a Misconfigured *provider.Error that says what to change.
func New(config Config) (*Webhook, error) {
	misconfigured := func(message string) (*Webhook, error) {
		return nil, &provider.Error{Kind: provider.Misconfigured, Message: message}
	}
	at, err := url.Parse(config.URL)
	switch {
	case err != nil || at.Scheme != "https" || at.Hostname() == "" || at.Fragment != "":
		return misconfigured("the webhook's url must be an https URL without fragment, such as https://handler.example.com/sessions")
	case at.User != nil:
		return misconfigured("the webhook's url must not have a user in it: name a bearer token's Secret instead")
	}
	trust := &tls.Config{MinVersion: tls.VersionTLS12}
	if len(config.CABundle) > 0 {
		trust.RootCAs = x509.NewCertPool()
		if !trust.RootCAs.AppendCertsFromPEM(config.CABundle) {
			return misconfigured("the webhook's caBundle has no certificate in it: it must be PEM")
		}
	}
	if len(config.ClientCertificate)+len(config.ClientKey) > 0 {
		// The cause is left out: the parser makes no promise not to quote the key.
		pair, err := tls.X509KeyPair(config.ClientCertificate, config.ClientKey)
		if err != nil {
			return misconfigured("the webhook's client certificate and its key cannot be used: they must be PEM, and fit each other")
		}
		trust.Certificates = []tls.Certificate{pair}
	}
	w := &Webhook{url: at, secret: strings.TrimSpace(config.BearerToken), timeout: cmp.Or(config.Timeout, defaultTimeout)}
	w.header = http.Header{
		"Accept":       {"application/json"},
		"Content-Type": {"application/json"},
		"User-Agent":   {"session-controller.terminals.dev"},
		// To net/http an empty one says that the request may be sent again when a kept connection turns out to be dead. Nothing is sent:
		// the key is the uid.
		"Idempotency-Key": {},
	}
	if config.BearerToken != "" {
		if w.secret == "" || strings.ContainsFunc(w.secret, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return misconfigured("the webhook's bearer token is empty, or has a character that no header may have")
		}
		w.header.Set("Authorization", "Bearer "+w.secret)
	}
	dial := config.DialContext
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	// HTTP/1.1 alone: a call that hangs or is given up takes its own connection along, and nobody else's.
	w.transport = &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			limited, cancel := context.WithTimeout(ctx, w.timeout) // the transport goes on dialling for calls that have been given up
			defer cancel()
			return dial(limited, network, address)
		},
		TLSClientConfig:        trust,
		TLSHandshakeTimeout:    w.timeout,
		DisableCompression:     true, // what is small on the wire shall not be large here
		MaxIdleConnsPerHost:    maxIdle,
		IdleConnTimeout:        idleTimeout,
		MaxResponseHeaderBytes: maxHeader,
	}
	return w, nil
}

// Close lets go of the connections that are kept. Calls under way go on, and later ones connect anew.
func (w *Webhook) Close() { w.transport.CloseIdleConnections() }

// Login implements provider.Provider. The uid of the review is the idempotency key, and so is the Handle of a Pending.
func (w *Webhook) Login(ctx context.Context, req provider.Request) (provider.Result, error) {
	return w.login(ctx, req, req.IdempotencyKey)
}

// Poll implements provider.Provider: it is Login again, with the uid that Login began with. The handler needs to know no more.
func (w *Webhook) Poll(ctx context.Context, req provider.Request, pending provider.Pending) (provider.Result, error) {
	return w.login(ctx, req, cmp.Or(pending.Handle, req.IdempotencyKey))
}

func (w *Webhook) login(ctx context.Context, req provider.Request, uid string) (provider.Result, error) {
	req.Token, req.RefreshToken = "", ""
	a, err := w.ask(ctx, opLogin, uid, req)
	if err != nil {
		return provider.Result{}, err
	}
	if a.Result == resPending {
		pending, err := a.pending()
		return provider.Result{Pending: pending}, err
	}
	issued, err := a.issued()
	return provider.Result{Token: issued}, err
}

// Renew implements provider.Provider. The handler is handed all that there is: the token, the refresh token and the auth token. Where it
// gives no new refresh token, the one before stays.
func (w *Webhook) Renew(ctx context.Context, req provider.Request) (provider.Token, error) {
	a, err := w.ask(ctx, opRenew, req.IdempotencyKey, req)
	if err != nil {
		return provider.Token{}, err
	}
	issued, err := a.issued()
	if err != nil {
		return provider.Token{}, err
	}
	issued.RefreshToken = cmp.Or(issued.RefreshToken, req.RefreshToken)
	return *issued, nil
}

// Revoke implements provider.Provider.
func (w *Webhook) Revoke(ctx context.Context, req provider.Request) error {
	req.AuthToken = ""
	_, err := w.ask(ctx, opLogout, req.IdempotencyKey, req)
	return err
}

// Check implements provider.Provider.
func (w *Webhook) Check(ctx context.Context, req provider.Request) (provider.Status, error) {
	req.AuthToken, req.RefreshToken = "", ""
	a, err := w.ask(ctx, opCheck, req.IdempotencyKey, req)
	if err != nil {
		return provider.Status{}, err
	}
	code, _ := a.words()
	return provider.Status{Active: a.Result == resActive, Banned: a.Result == resBanned, Code: code}, nil
}

// Capabilities implements provider.Provider. Every handler answers every operation, and is told of a logout with both token and session.
// Whether it gives refresh tokens shows with each token.
func (w *Webhook) Capabilities() provider.Capabilities {
	return provider.Capabilities{RevokesByToken: true, RevokesBySession: true, Idempotent: true, Introspects: true, DeviceCode: true}
}

// ask sends a review and returns an answer to it that fits the operation, and is no failure. Any error is a *provider.Error.
func (w *Webhook) ask(ctx context.Context, op operation, uid string, req provider.Request) (*answer, error) {
	question := questionOf(op, uid, req)
	body, err := json.Marshal(review{APIVersion: apiVersion, Kind: kind, Request: question})
	if err != nil {
		return nil, &provider.Error{Kind: provider.Misconfigured, Message: "the review could not be written"}
	}
	limited, cancel := context.WithTimeout(ctx, w.timeout)
	defer cancel()
	post := (&http.Request{Method: http.MethodPost, URL: w.url, Host: w.url.Host, Header: w.header.Clone()}).WithContext(limited)
	post.ContentLength = int64(len(body))
	post.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	post.Body, _ = post.GetBody()

	// The transport alone: it follows no redirect, and puts no URL into its errors.
	got, err := w.transport.RoundTrip(post)
	if err != nil {
		return nil, w.broken(ctx, limited, err)
	}
	defer func() { _ = got.Body.Close() }()
	said, wrong := w.receive(ctx, limited, got)
	switch {
	case wrong != nil && limited.Err() != nil: // a server that sees its client go may end its answer in any way
		return nil, w.broken(ctx, limited, limited.Err())
	case wrong != nil:
		return nil, wrong
	}
	a := &answer{response: said, webhook: w, to: question}
	if err := a.failure(); err != nil {
		return nil, err
	}
	return a, nil
}

// receive reads an answer, if it is one.
func (w *Webhook) receive(ctx, limited context.Context, got *http.Response) (*response, *provider.Error) {
	if got.StatusCode != http.StatusOK {
		_, _ = io.CopyN(io.Discard, got.Body, maxDrained)
		return nil, w.refused(got)
	}
	raw, err := io.ReadAll(io.LimitReader(got.Body, maxBody+1))
	if err != nil {
		return nil, w.broken(ctx, limited, err)
	}
	if len(raw) > maxBody {
		return nil, w.misanswered("with more than 1 MiB")
	}
	return w.read(raw, got.Header)
}

// questionOf says what is asked. Without a key no two requests are the same attempt.
func questionOf(op operation, uid string, req provider.Request) *request {
	if uid == "" {
		uid = rand.Text()
	}
	s := req.Session
	q := &request{
		UID: uid, Operation: op, Token: req.Token, RefreshToken: req.RefreshToken, AuthToken: req.AuthToken,
		Session: session{
			Namespace: s.Namespace, Name: s.Name, SessionID: s.ID, Terminal: terminal{ID: s.TerminalID, SerialNumber: s.SerialNumber},
			MerchantID: s.MerchantID, Purpose: s.Purpose, Type: s.Type, Scopes: s.Scopes, Audiences: s.Audiences,
			LifetimeSeconds: int64(s.Lifetime / time.Second), Announce: s.Announce,
		},
	}
	if s.UserEmail != "" || s.UserName != "" {
		q.Session.User = &user{Email: s.UserEmail, Name: s.UserName}
	}
	return q
}

// read takes a review out of an answer's body, of which no part may get into an error.
func (w *Webhook) read(raw []byte, header http.Header) (*response, *provider.Error) {
	var got review
	if err := json.Unmarshal(raw, &got); err != nil {
		if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && wrong.Field != "" {
			return nil, w.misanswered("with a SessionReview whose " + wrong.Field + " is of the wrong type")
		}
		if strings.HasPrefix(header.Get("Content-Type"), "text/html") {
			return nil, w.misanswered("with a page of HTML, as proxies and login pages do, and not with JSON")
		}
		return nil, w.misanswered("with something else than JSON")
	}
	switch {
	case got.APIVersion != apiVersion || got.Kind != kind:
		return nil, w.misanswered("with something else than a " + kind + " of " + apiVersion)
	case got.Response == nil:
		return nil, w.misanswered("with a SessionReview that has no response")
	}
	return got.Response, nil
}

// misanswered is the error of a handler that does not keep to the protocol: asking again changes nothing until somebody mends it.
func (w *Webhook) misanswered(how string) *provider.Error {
	return w.errorf(provider.Misconfigured, "answers %s: look at its url and at the handler", how)
}
