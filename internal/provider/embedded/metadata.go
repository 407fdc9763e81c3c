package embedded

import (
	"net/http"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

// publicCaching is well below the time for which a key is published before it signs.
const publicCaching = "public, max-age=300"

// metadata is what OpenID Connect Discovery 1.0 section 3 and RFC 8414 section 2 require, as far as there is anything to tell.
// There is neither an authorization nor a token endpoint: tokens come by way of sessions alone.
type metadata struct {
	Issuer                           string   `json:"issuer"`
	JWKSURI                          string   `json:"jwks_uri"`
	IntrospectionEndpoint            string   `json:"introspection_endpoint"`
	ResponseTypesSupported           []string `json:"response_types_supported"`
	GrantTypesSupported              []string `json:"grant_types_supported"`
	SubjectTypesSupported            []string `json:"subject_types_supported"`
	IDTokenSigningAlgValuesSupported []string `json:"id_token_signing_alg_values_supported"`
	ClaimsSupported                  []string `json:"claims_supported"`
}

func serveMetadata(w http.ResponseWriter, _ *http.Request, issuer *Issuer) {
	base := strings.TrimSuffix(issuer.url, "/")
	w.Header().Set("Cache-Control", publicCaching)
	writeJSON(w, http.StatusOK, "application/json", metadata{
		Issuer:                issuer.url,
		JWKSURI:               base + "/jwks",
		IntrospectionEndpoint: base + "/introspect",
		// The one registered type that yields nothing; the field must not be missing.
		ResponseTypesSupported: []string{"none"},
		// Empty and there, since leaving it out would stand for the authorization code and implicit grants.
		GrantTypesSupported:              []string{},
		SubjectTypesSupported:            []string{"public"},
		IDTokenSigningAlgValuesSupported: []string{string(algorithm)},
		ClaimsSupported: []string{
			"iss", "sub", "aud", "exp", "iat", "jti", "client_id", "scope", "sid", "merchant_id", "tsn", "namespace", "purpose",
		},
	})
}

func serveJWKS(w http.ResponseWriter, r *http.Request, issuer *Issuer) {
	keys, err := issuer.keySet(r.Context())
	if err != nil {
		writeUnavailable(w, "The keys cannot be read at the moment.")
		return
	}
	set := jose.JSONWebKeySet{Keys: make([]jose.JSONWebKey, 0, len(keys.Keys))}
	for _, key := range keys.Keys {
		set.Keys = append(set.Keys, key.public())
	}
	w.Header().Set("Cache-Control", publicCaching)
	writeJSON(w, http.StatusOK, "application/jwk-set+json", set)
}
