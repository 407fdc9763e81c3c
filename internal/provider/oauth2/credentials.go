package oauth2

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Method is how a client proves itself.
type Method string

const (
	// ClientSecretBasic sends the secret in the Authorization header (RFC 6749 section 2.3.1).
	ClientSecretBasic Method = "ClientSecretBasic"
	// ClientSecretPost sends the secret in the body (the same).
	ClientSecretPost Method = "ClientSecretPost"
	// PrivateKeyJWT signs an assertion (RFC 7523 section 2.2).
	PrivateKeyJWT Method = "PrivateKeyJWT"
	// None is that of a public client.
	None Method = "None"
)

// Authentication is how the client proves itself, and what with.
type Authentication struct {
	Method Method
	// Secret is the client's secret; line breaks at its end do not count. For PrivateKeyJWT it is the private key, as PEM or as a JWK. A
	// JWK may say kid and alg; else kid is the key's thumbprint (RFC 7638), and alg follows from the key.
	Secret []byte
}

// assertionLifetime is how long a client assertion holds, by the server's clock as far as it is known.
const assertionLifetime = 2 * time.Minute

// credentials are a client's own.
type credentials struct {
	id, secret string
	method     Method
	signer     jose.Signer
}

func newCredentials(id string, auth Authentication) (*credentials, error) {
	c := &credentials{id: id, method: auth.Method, secret: strings.TrimRight(string(auth.Secret), "\r\n")}
	switch auth.Method {
	case "", None:
		c.method, c.secret = None, ""
		return c, nil
	case ClientSecretBasic, ClientSecretPost:
		if c.secret == "" {
			return nil, misconfigured(ErrCredentials, "the client's secret is empty")
		}
		return c, nil
	case PrivateKeyJWT:
	default:
		return nil, misconfigured(ErrCredentials,
			"the method of client authentication is not one of ClientSecretBasic, ClientSecretPost, PrivateKeyJWT and None")
	}
	key, ok := parseKey(auth.Secret)
	if !ok {
		return nil, misconfigured(ErrCredentials, "the client's private key is neither PEM nor a JWK of a private key that can sign")
	}
	alg := algorithm(key)
	if alg == "" {
		return nil, misconfigured(ErrCredentials,
			"the client's private key is of a kind that cannot be used: take RSA from 2048 bits, EC P-256, P-384, P-521, or Ed25519")
	}
	if key.KeyID == "" {
		sum, err := key.Thumbprint(crypto.SHA256)
		if err != nil {
			return nil, misconfigured(ErrCredentials, "the client's private key has no thumbprint")
		}
		key.KeyID = base64.RawURLEncoding.EncodeToString(sum)
	}
	var err error
	c.signer, err = jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, new(jose.SignerOptions).WithType("JWT"))
	if err != nil {
		return nil, misconfigured(ErrCredentials, "the client's private key does not fit its algorithm")
	}
	return c, nil
}

func parseKey(data []byte) (jose.JSONWebKey, bool) {
	var key jose.JSONWebKey
	if block, _ := pem.Decode(data); block != nil {
		for _, parse := range []func([]byte) (any, error){
			x509.ParsePKCS8PrivateKey,
			func(der []byte) (any, error) { return x509.ParsePKCS1PrivateKey(der) },
			func(der []byte) (any, error) { return x509.ParseECPrivateKey(der) },
		} {
			if parsed, err := parse(block.Bytes); err == nil {
				key.Key = parsed
				return key, true
			}
		}
		return key, false
	}
	err := json.Unmarshal(bytes.TrimSpace(data), &key)
	return key, err == nil && key.Valid() && !key.IsPublic()
}

// algorithm is what a key signs with; empty where it should not.
func algorithm(key jose.JSONWebKey) jose.SignatureAlgorithm {
	var alg jose.SignatureAlgorithm
	switch k := key.Key.(type) {
	case *rsa.PrivateKey:
		if k.N.BitLen() < 2048 {
			return ""
		}
		alg = jose.RS256
	case *ecdsa.PrivateKey:
		alg = map[int]jose.SignatureAlgorithm{256: jose.ES256, 384: jose.ES384, 521: jose.ES512}[k.Curve.Params().BitSize]
	case ed25519.PrivateKey:
		alg = jose.EdDSA
	}
	if alg != "" && key.Algorithm != "" {
		return jose.SignatureAlgorithm(key.Algorithm)
	}
	return alg
}

// assert adds a client assertion to a form, where that is the client's way. It is for the issuer, and for the token endpoint, which is
// what servers asked for before the issuer was preferred.
func (c *credentials) assert(form url.Values, now time.Time, audience ...string) error {
	if c.signer == nil {
		return nil
	}
	claims, err := json.Marshal(map[string]any{
		"iss": c.id, "sub": c.id, "aud": audience, "jti": rand.Text(), "iat": now.Unix(), "exp": now.Add(assertionLifetime).Unix(),
	})
	if err != nil {
		return misconfigured(ErrCredentials, "the client assertion could not be made")
	}
	signed, err := c.signer.Sign(claims)
	if err != nil {
		return misconfigured(ErrCredentials, "the client assertion could not be signed")
	}
	assertion, err := signed.CompactSerialize()
	if err != nil {
		return misconfigured(ErrCredentials, "the client assertion could not be written")
	}
	form.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
	form.Set("client_assertion", assertion)
	return nil
}

// post asks an endpoint other than the token endpoint, and returns the body of a success.
func (p *Provider) post(ctx context.Context, s *server, endpoint, what string, form url.Values) ([]byte, error) {
	if err := p.client.assert(form, p.skew.serverNow(), s.Issuer, s.TokenEndpoint); err != nil {
		return nil, err
	}
	if p.client.method != ClientSecretBasic {
		form.Set("client_id", p.client.id)
	}
	if p.client.method == ClientSecretPost {
		form.Set("client_secret", p.client.secret)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, misconfigured(nil, "%s has a URL that cannot be used", what)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if p.client.method == ClientSecretBasic {
		req.SetBasicAuth(url.QueryEscape(p.client.id), url.QueryEscape(p.client.secret))
	}
	status, header, body, err := p.do(req, what)
	if err != nil {
		return nil, err
	}
	if status < 200 || status > 299 {
		return nil, &refused{newRefusal(status, header, body)}
	}
	return body, nil
}

// do makes a request and reads the answer, which the transport has bounded.
func (p *Provider) do(req *http.Request, what string) (int, http.Header, []byte, error) {
	resp, err := p.http.Do(req)
	if err != nil {
		return 0, nil, nil, unreached(err, what)
	}
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil {
		return 0, nil, nil, unreached(err, what)
	}
	return resp.StatusCode, resp.Header, body, nil
}

// refused carries a refusal to where it is known what it means. It never leaves this package.
type refused struct{ refusal }

func (*refused) Error() string { return "refused" }

// proofHolds is how long a refusal of the credentials is remembered where there is no way to ask again.
const proofHolds = 5 * time.Minute

// proof is whether the server takes the client's credentials, as far as it is known.
type proof struct {
	mu        sync.Mutex
	known, ok bool
	since     time.Time
}

func (f *proof) accepted() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.known, f.ok = true, true
}

func (f *proof) refused(now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.known || f.ok {
		f.since = now
	}
	f.known, f.ok = true, false
}

// state tells whether the credentials are known to be good, and whether they were refused a short while ago.
func (f *proof) state(now time.Time) (good, bad bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.known && f.ok, f.known && !f.ok && now.Sub(f.since) < proofHolds
}
