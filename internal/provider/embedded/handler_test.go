package embedded_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"terminals.dev/session-controller/internal/provider"
	"terminals.dev/session-controller/internal/provider/embedded"
)

// server serves issuers at their canonical paths. Its fields may be changed until the first request.
type server struct {
	*httptest.Server
	embedded.HandlerConfig
	issuers map[string]*embedded.Issuer
}

func newServer(t *testing.T) *server {
	t.Helper()
	s := &server{issuers: map[string]*embedded.Issuer{}}
	s.Lookup = func(_ context.Context, path string) (*embedded.Issuer, error) {
		if issuer, ok := s.issuers[path]; ok {
			return issuer, nil
		}
		return nil, embedded.ErrUnknownIssuer
	}
	s.Active = func(context.Context, embedded.Claims) (bool, error) { return true, nil }
	s.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		embedded.NewHandler(s.HandlerConfig).ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

// add makes an issuer whose URL is its place on the server.
func (s *server) add(w *world, namespace, name string) *embedded.Issuer {
	path := embedded.Path(namespace, name)
	s.issuers[path] = w.issuer(s.URL + path)
	return s.issuers[path]
}

// answer is a response that has been read.
type answer struct {
	status int
	header http.Header
	body   string
}

// send makes a request of a path on the server, or of any URL on it.
func (s *server) send(t *testing.T, method, place string, header http.Header, body string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.URL+strings.TrimPrefix(place, s.URL), strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = header
	response, err := s.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(response.Body)
	if err = errors.Join(err, response.Body.Close()); err != nil {
		t.Fatal(err)
	}
	return answer{response.StatusCode, response.Header, string(content)}
}

func (s *server) get(t *testing.T, place string) answer {
	t.Helper()
	return s.send(t, http.MethodGet, place, http.Header{}, "")
}

func (a answer) decode(t *testing.T, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(a.body), into); err != nil {
		t.Fatalf("%v in %s", err, a.body)
	}
}

// want checks the status and what every answer has.
func (a answer) want(t *testing.T, status int) {
	t.Helper()
	if a.status != status {
		t.Fatalf("status is %d, want %d", a.status, status)
	}
	a.wantHeader(t, "X-Content-Type-Options", "nosniff")
}

func (a answer) wantHeader(t *testing.T, name, want string) {
	t.Helper()
	if got := a.header.Get(name); got != want {
		t.Errorf("%s is %q, want %q", name, got, want)
	}
}

func (a answer) wantError(t *testing.T, status int, code string) {
	t.Helper()
	a.want(t, status)
	a.wantHeader(t, "Content-Type", "application/json")
	a.wantHeader(t, "Cache-Control", "no-store")
	var fields map[string]string
	a.decode(t, &fields)
	if len(fields) != 2 || fields["error"] != code || fields["error_description"] == "" {
		t.Errorf("body is %s, want the error %s with a description", a.body, code)
	}
}

// A stranger knows an issuer's URL and nothing else.
func TestStrangerVerifiesThroughWhatIsServed(t *testing.T) {
	for _, namespace := range []string{"", "acme"} {
		t.Run("namespace "+namespace, func(t *testing.T) {
			s, w := newServer(t), newWorld(t)
			issuer := s.add(w, namespace, "default")
			issuerURL := s.URL + embedded.Path(namespace, "default")
			req := request()
			token := login(t, issuer, req).Value

			var metadata struct {
				Issuer  string `json:"issuer"`
				JWKSURI string `json:"jwks_uri"`
			}
			s.get(t, issuerURL+"/.well-known/openid-configuration").decode(t, &metadata)
			if metadata.Issuer != issuerURL {
				t.Fatalf("the metadata are those of %q, want %q", metadata.Issuer, issuerURL)
			}
			var keys jose.JSONWebKeySet
			s.get(t, metadata.JWKSURI).decode(t, &keys)

			parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.ES256})
			if err != nil {
				t.Fatal(err)
			}
			if typ := parsed.Headers[0].ExtraHeaders[jose.HeaderType]; typ != "at+jwt" {
				t.Errorf("typ is %v, want at+jwt", typ)
			}
			var standard jwt.Claims
			var own map[string]any
			if err := parsed.Claims(keys, &standard, &own); err != nil {
				t.Fatalf("verifying through the served keys: %v", err)
			}
			expected := jwt.Expected{
				Issuer: issuerURL, Subject: "anna@acme.example", AnyAudience: jwt.Audience{"https://pay.example"}, Time: start,
			}
			if err := standard.ValidateWithLeeway(expected, 0); err != nil {
				t.Error(err)
			}
			if got, want := standard.Expiry.Time(), start.Add(720*time.Hour); !got.Equal(want) {
				t.Errorf("exp is %s, want %s", got, want)
			}
			for claim, want := range map[string]any{
				"client_id": "T-0042", "scope": "payments refunds", "sid": req.Session.ID,
				"merchant_id": "merchant-1", "tsn": "SN-93AX", "namespace": "acme", "purpose": "Registration",
			} {
				if own[claim] != want {
					t.Errorf("%s is %v, want %v", claim, own[claim], want)
				}
			}
			keys.Keys[0].Key = private(t, newKey(t)).Public()
			if err := parsed.Claims(keys, &standard); err == nil {
				t.Error("the token verifies with somebody else's key too")
			}
		})
	}
}

func TestTokenWithoutTheOptionalHasOnlyTheRest(t *testing.T) {
	w := newWorld(t)
	req := provider.Request{Session: provider.Session{TerminalID: "T-1", Lifetime: time.Hour}}
	parsed, err := jwt.ParseSigned(login(t, w.issuer(issuerURL), req).Value, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string]any
	if err := parsed.UnsafeClaimsWithoutVerification(&claims); err != nil {
		t.Fatal(err)
	}
	want := []string{"aud", "client_id", "exp", "iat", "iss", "jti", "namespace", "sid", "sub"}
	if got := names(claims); !slices.Equal(got, want) {
		t.Errorf("claims are %v, want %v", got, want)
	}
	if audience, _ := claims["aud"].([]any); len(audience) != 1 || audience[0] != issuerURL {
		t.Errorf("aud is %v, want the issuer", claims["aud"])
	}
	if claims["sub"] != "terminal:T-1" {
		t.Errorf("sub is %v, want the terminal", claims["sub"])
	}
}

func names(object map[string]any) []string {
	return slices.Sorted(maps.Keys(object))
}

func TestMetadataIsServedInEveryPlace(t *testing.T) {
	s, w := newServer(t), newWorld(t)
	s.add(w, "", "default")
	s.add(w, "acme", "default")
	for _, path := range []string{"/clusterproviders/default", "/namespaces/acme/providers/default"} {
		for _, place := range []string{
			path + "/.well-known/openid-configuration", path + "/.well-known/oauth-authorization-server",
			"/.well-known/openid-configuration" + path, "/.well-known/oauth-authorization-server" + path,
		} {
			t.Run(place, func(t *testing.T) {
				answer := s.get(t, place)
				answer.want(t, http.StatusOK)
				answer.wantHeader(t, "Content-Type", "application/json")
				answer.wantHeader(t, "Cache-Control", "public, max-age=300")
				var got map[string]any
				answer.decode(t, &got)
				for name, want := range map[string]string{
					"issuer": s.URL + path, "jwks_uri": s.URL + path + "/jwks", "introspection_endpoint": s.URL + path + "/introspect",
				} {
					if got[name] != want {
						t.Errorf("%s is %v, want %s", name, got[name], want)
					}
				}
				for _, required := range []string{
					"response_types_supported", "subject_types_supported", "id_token_signing_alg_values_supported", "claims_supported",
				} {
					if values, _ := got[required].([]any); len(values) == 0 {
						t.Errorf("%s is %v, want some values", required, got[required])
					}
				}
				if values, ok := got["grant_types_supported"].([]any); !ok || len(values) != 0 {
					t.Errorf("grant_types_supported is %v, want an empty list", got["grant_types_supported"])
				}
				for _, absent := range []string{"token_endpoint", "authorization_endpoint"} {
					if _, ok := got[absent]; ok {
						t.Errorf("there is a %s", absent)
					}
				}
			})
		}
	}
}

func TestMetadataNamesEveryClaim(t *testing.T) {
	s, w := newServer(t), newWorld(t)
	token := login(t, s.add(w, "", "default"), request()).Value
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string]any
	if err := parsed.UnsafeClaimsWithoutVerification(&claims); err != nil {
		t.Fatal(err)
	}
	var metadata struct {
		ClaimsSupported []string `json:"claims_supported"`
	}
	s.get(t, "/clusterproviders/default/.well-known/openid-configuration").decode(t, &metadata)
	slices.Sort(metadata.ClaimsSupported)
	if got := names(claims); !slices.Equal(metadata.ClaimsSupported, got) {
		t.Errorf("claims_supported is %v, want %v", metadata.ClaimsSupported, got)
	}
}

func TestIssuerURLMayEndInASlashOrLieElsewhere(t *testing.T) {
	s, w := newServer(t), newWorld(t)
	s.issuers[embedded.Path("", "default")] = w.issuer("https://login.example/pos/")
	var got map[string]any
	s.get(t, "/clusterproviders/default/.well-known/openid-configuration").decode(t, &got)
	if got["issuer"] != "https://login.example/pos/" || got["jwks_uri"] != "https://login.example/pos/jwks" {
		t.Errorf("metadata are %v", got)
	}
}

func TestJWKSHasPublicKeysAlone(t *testing.T) {
	s, w := newServer(t), newWorld(t)
	s.add(w, "", "default")
	w.use(newKey(t), newKey(t), newKey(t))
	answer := s.get(t, "/clusterproviders/default/jwks")
	answer.want(t, http.StatusOK)
	answer.wantHeader(t, "Content-Type", "application/jwk-set+json")
	answer.wantHeader(t, "Cache-Control", "public, max-age=300")
	var got struct{ Keys []map[string]any }
	answer.decode(t, &got)
	if len(got.Keys) != 3 {
		t.Fatalf("%d keys are served, want 3", len(got.Keys))
	}
	for i, key := range got.Keys {
		if want := []string{"alg", "crv", "kid", "kty", "use", "x", "y"}; !slices.Equal(names(key), want) {
			t.Errorf("a key has %v, want %v", names(key), want)
		}
		if key["kid"] != w.keys.Keys[i].ID || key["use"] != "sig" || key["alg"] != "ES256" || key["crv"] != "P-256" {
			t.Errorf("key %d is %v", i, key)
		}
	}
}

func TestFailuresBehindTheHandlerAreNotShown(t *testing.T) {
	s, w := newServer(t), newWorld(t)
	s.add(w, "", "default")
	w.set(embedded.KeySet{}, errors.New("secret sessions/default-key is gone"))
	lookup := s.Lookup
	s.Lookup = func(ctx context.Context, path string) (*embedded.Issuer, error) {
		if path == embedded.Path("", "broken") {
			return nil, errors.New("secret store is gone")
		}
		return lookup(ctx, path)
	}
	for _, path := range []string{
		"/clusterproviders/default/jwks", "/clusterproviders/broken/jwks", "/clusterproviders/broken/.well-known/openid-configuration",
	} {
		t.Run(path, func(t *testing.T) {
			answer := s.get(t, path)
			answer.wantError(t, http.StatusServiceUnavailable, "temporarily_unavailable")
			answer.wantHeader(t, "Retry-After", "10")
			if strings.Contains(answer.body, "gone") {
				t.Errorf("body %s tells the cause", answer.body)
			}
		})
	}
}

func TestEmptyJWKSIsNotServed(t *testing.T) {
	s, w := newServer(t), newWorld(t)
	s.add(w, "", "default")
	w.set(embedded.KeySet{}, nil)
	s.get(t, "/clusterproviders/default/jwks").wantError(t, http.StatusServiceUnavailable, "temporarily_unavailable")
}

func TestUnknownIssuersAreNotFound(t *testing.T) {
	s, w := newServer(t), newWorld(t)
	s.add(w, "", "default")
	s.add(w, "acme", "default")
	s.issuers["/clusterproviders/a/b"] = s.issuers["/clusterproviders/default"]
	for _, path := range []string{
		"/clusterproviders/other/jwks", "/namespaces/acme/providers/other/jwks", "/namespaces/other/providers/default/jwks",
		"/.well-known/openid-configuration/clusterproviders/other",
		"/clusterproviders/a%2Fb/jwks", "/clusterproviders/%2E%2E%2Fclusterproviders%2Fdefault/jwks",
	} {
		t.Run(path, func(t *testing.T) {
			s.get(t, path).wantError(t, http.StatusNotFound, "not_found")
		})
	}
}

func TestWrongMethodsAreRefused(t *testing.T) {
	s, w := newServer(t), newWorld(t)
	s.add(w, "", "default")
	for path, method := range map[string]string{
		"/jwks": http.MethodPost, "/introspect": http.MethodGet, "/.well-known/openid-configuration": http.MethodDelete,
	} {
		s.send(t, method, "/clusterproviders/default"+path, http.Header{}, "").want(t, http.StatusMethodNotAllowed)
	}
}
