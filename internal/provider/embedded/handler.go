package embedded

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
)

// ErrUnknownIssuer is what HandlerConfig.Lookup returns for a path that belongs to no issuer.
var ErrUnknownIssuer = errors.New("unknown issuer")

// retryAfter is what clients are told, in seconds, when something behind the handler has failed.
const retryAfter = "10"

// HandlerConfig is what the handler asks of the rest of the program. Lookup and Active are required. Their errors are not shown
// to clients: whoever returns one logs it.
type HandlerConfig struct {
	// Lookup returns the issuer whose place is path, as Path writes it, or ErrUnknownIssuer.
	Lookup func(ctx context.Context, path string) (*Issuer, error)
	// Active tells whether the session of a token that is otherwise valid is established. It is also the one to refuse a token
	// whose issuer is not the session's provider.
	Active func(ctx context.Context, claims Claims) (bool, error)
	// Authorize is put around introspection, which RFC 7662 section 2.1 wants protected; nil leaves it open to all.
	Authorize func(http.Handler) http.Handler
}

// Path is the place of a provider's endpoints, and of its issuer URL if no other is configured: that of a SessionProvider, or with
// an empty namespace that of a ClusterSessionProvider.
func Path(namespace, name string) string {
	if namespace == "" {
		return "/clusterproviders/" + name
	}
	return "/namespaces/" + namespace + "/providers/" + name
}

type handler struct{ HandlerConfig }

// NewHandler returns a handler that serves, for every issuer that Lookup knows:
//
//	GET  {path}/.well-known/openid-configuration        OpenID Connect Discovery 1.0 section 4
//	GET  {path}/.well-known/oauth-authorization-server
//	GET  /.well-known/openid-configuration{path}
//	GET  /.well-known/oauth-authorization-server{path}  RFC 8414 section 3.1
//	GET  {path}/jwks                                    RFC 7517 section 5
//	POST {path}/introspect                              RFC 7662
//
// Errors are JSON objects with error and error_description (RFC 6749 section 5.2). What cannot be answered for now is 503, with
// Retry-After.
func NewHandler(config HandlerConfig) http.Handler {
	h := &handler{config}
	var introspect http.Handler = h.forIssuer(h.introspect)
	if config.Authorize != nil {
		introspect = config.Authorize(introspect)
	}
	mux := http.NewServeMux()
	for _, path := range []string{Path("", "{name}"), Path("{namespace}", "{name}")} {
		for _, wellKnown := range []string{"/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"} {
			mux.Handle("GET "+path+wellKnown, h.forIssuer(serveMetadata))
			mux.Handle("GET "+wellKnown+path, h.forIssuer(serveMetadata))
		}
		mux.Handle("GET "+path+"/jwks", h.forIssuer(serveJWKS))
		mux.Handle("POST "+path+"/introspect", introspect)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store") // the public documents set their own
		mux.ServeHTTP(w, r)
	})
}

// forIssuer hands a request on together with the issuer that it is for.
func (h *handler) forIssuer(serve func(http.ResponseWriter, *http.Request, *Issuer)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		issuer, err := h.issuerOf(r)
		switch {
		case errors.Is(err, ErrUnknownIssuer):
			writeError(w, http.StatusNotFound, "not_found", "There is no such issuer.")
		case err != nil:
			writeUnavailable(w, "The issuer cannot be looked up at the moment.")
		default:
			serve(w, r, issuer)
		}
	}
}

func (h *handler) issuerOf(r *http.Request) (*Issuer, error) {
	namespace, name := r.PathValue("namespace"), r.PathValue("name")
	if strings.Contains(namespace+name, "/") { // an escaped slash must not make the path of another issuer
		return nil, ErrUnknownIssuer
	}
	return h.Lookup(r.Context(), Path(namespace, name))
}

// writeJSON writes a value that is always encodable.
func writeJSON(w http.ResponseWriter, status int, contentType string, value any) {
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(value) // an error here means that the client has gone
}

func writeError(w http.ResponseWriter, status int, code, description string) {
	writeJSON(w, status, "application/json", map[string]string{"error": code, "error_description": description})
}

func writeUnavailable(w http.ResponseWriter, description string) {
	w.Header().Set("Retry-After", retryAfter)
	writeError(w, http.StatusServiceUnavailable, "temporarily_unavailable", description)
}
