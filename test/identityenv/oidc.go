package identityenv

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"terminals.dev/session-controller/test/testenv"
)

// The clients that an OIDC server knows. ClientKey has no key until PublishKey.
const (
	ClientBasic  = "till-fleet"
	ClientPost   = "till-post"
	ClientKey    = "till-key"
	ClientPublic = "till-public"

	// ClientSecret is the secret of the first two. A colon and a percent sign have to be encoded in a Basic header, and in a form.
	ClientSecret = "till:secret%/+ 7"
)

// OIDCOptions says what to start.
type OIDCOptions struct {
	// Dir is a folder for the server's files.
	Dir string
	// Address is where it listens; default: any free port of loopback.
	Address string
	// Issuer is the issuer URL where something in front of the server has another address; default: its own.
	Issuer string
	// TokenLifetime is how long access tokens live; default: an hour.
	TokenLifetime time.Duration
	// StateDir is a folder from which a server that was killed is started again as it was, at the same Address. Default: it forgets everything
	// when it ends.
	StateDir string
}

// OIDC is a running OpenID provider. The users anna and mallory have verified e-mail addresses at
// acme.example; eve claims anna's.
type OIDC struct {
	*testenv.Process
	// Issuer is the issuer URL, Address where the server is itself, and CA its CA's certificate in PEM.
	Issuer, Address string
	CA              []byte
	client          *http.Client
	state           string
}

// StartOIDC starts an OpenID provider over TLS, with a CA of its own.
func StartOIDC(ctx context.Context, o OIDCOptions) (*OIDC, error) {
	path, err := binary(ctx, "oidcserver")
	if err != nil {
		return nil, err
	}
	if o.Address == "" {
		ports, err := testenv.FreePorts(0)
		if err != nil {
			return nil, err
		}
		o.Address = fmt.Sprintf("127.0.0.1:%d", ports[0])
	}
	s := &OIDC{Issuer: o.Issuer, Address: o.Address, state: o.StateDir}
	if s.Issuer == "" {
		s.Issuer = "https://" + o.Address
	}
	if o.TokenLifetime == 0 {
		o.TokenLifetime = time.Hour
	}
	caFile := filepath.Join(o.Dir, "ca.pem")
	if err := os.Remove(caFile); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	s.Process, err = testenv.StartProcess(ctx, testenv.ProcessOptions{
		Path: path, Args: []string{
			"-address", s.Address, "-issuer", s.Issuer, "-ca-file", caFile, "-token-lifetime", o.TokenLifetime.String(), "-state", o.StateDir,
		},
		Ready: func(context.Context) (err error) {
			s.CA, err = os.ReadFile(caFile)
			return err
		},
	})
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(s.CA)
	s.client = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}}
	return s, nil
}

// Approve is what a person does who confirms a login; user is the subject.
func (s *OIDC) Approve(ctx context.Context, userCode, user string) error {
	_, err := s.ask(ctx, http.MethodPost, "/test/approve", url.Values{"user_code": {userCode}, "user": {user}}, nil)
	return err
}

// Deny is what a person does who denies a login.
func (s *OIDC) Deny(ctx context.Context, userCode string) error {
	_, err := s.ask(ctx, http.MethodPost, "/test/deny", url.Values{"user_code": {userCode}}, nil)
	return err
}

// Expire lets the time run out in which a login can be confirmed.
func (s *OIDC) Expire(ctx context.Context, userCode string) error {
	_, err := s.ask(ctx, http.MethodPost, "/test/expire", url.Values{"user_code": {userCode}}, nil)
	return err
}

// Page is what a person sees before confirming.
func (s *OIDC) Page(ctx context.Context, userCode string) (string, error) {
	return s.ask(ctx, http.MethodGet, "/device", url.Values{"user_code": {userCode}}, nil)
}

// User is a user as SetUser makes one. Keys are those that the user's assertions are signed with, public JWKs by key ID.
type User struct {
	Email    string         `json:"email"`
	Verified bool           `json:"verified"`
	Banned   bool           `json:"banned"`
	Keys     map[string]any `json:"keys,omitempty"`
}

// SetUser makes or changes a user.
func (s *OIDC) SetUser(ctx context.Context, subject string, user User) error {
	_, err := s.ask(ctx, http.MethodPut, "/test/users/"+subject, nil, user)
	return err
}

// PublishKey publishes a public JWK of a client.
func (s *OIDC) PublishKey(ctx context.Context, client string, key any) error {
	_, err := s.ask(ctx, http.MethodPut, "/test/clients/"+client+"/keys", nil, key)
	return err
}

// Token is an access token that a user has from some other application.
func (s *OIDC) Token(ctx context.Context, user string, scopes ...string) (string, error) {
	return s.ask(ctx, http.MethodPost, "/test/token", url.Values{"user": {user}, "scope": scopes}, nil)
}

// Alive counts the access and refresh tokens that are there.
func (s *OIDC) Alive(ctx context.Context) (access, refresh int, err error) {
	body, err := s.ask(ctx, http.MethodGet, "/test/count", nil, nil)
	if err != nil {
		return 0, 0, err
	}
	var count struct{ Access, Refresh int }
	err = json.Unmarshal([]byte(body), &count)
	return count.Access, count.Refresh, err
}

// Grants counts the grants with a scope of which the server has an access token or a refresh token in its book.
func (s *OIDC) Grants(ctx context.Context, scope string) (int, error) {
	body, err := s.ask(ctx, http.MethodGet, "/test/grants", url.Values{"scope": {scope}}, nil)
	if err != nil {
		return 0, err
	}
	var n int
	err = json.Unmarshal([]byte(body), &n)
	return n, err
}

// Introspect is what the server itself says of a token.
func (s *OIDC) Introspect(ctx context.Context, token string) (Introspection, error) {
	return introspect(ctx, s.client, "https://"+s.Address+"/oauth/introspect", token)
}

// Introspection is what a server says of a token (RFC 7662 section 2.2).
type Introspection struct {
	Active   bool     `json:"active"`
	Scope    string   `json:"scope"`
	Audience []string `json:"aud"`
}

func introspect(ctx context.Context, client *http.Client, endpoint, token string) (Introspection, error) {
	var found Introspection
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(url.Values{"token": {token}}.Encode()))
	if err != nil {
		return found, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(url.QueryEscape(ClientBasic), url.QueryEscape(ClientSecret))
	body, err := send(client, req)
	if err != nil {
		return found, err
	}
	err = json.Unmarshal([]byte(body), &found)
	return found, err
}

func (s *OIDC) ask(ctx context.Context, method, path string, form url.Values, value any) (string, error) {
	var content io.Reader
	if value != nil {
		encoded, err := json.Marshal(value)
		if err != nil {
			return "", err
		}
		content = bytes.NewReader(encoded)
	}
	req, err := http.NewRequestWithContext(ctx, method, "https://"+s.Address+path+"?"+form.Encode(), content)
	if err != nil {
		return "", err
	}
	return send(s.client, req)
}

// send makes a request and returns the body of a success.
func send(client *http.Client, req *http.Request) (string, error) {
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode > 299 {
		err = fmt.Errorf("%s %s: %s: %s", req.Method, req.URL.Path, resp.Status, strings.TrimSpace(string(body)))
	}
	return string(body), err
}
