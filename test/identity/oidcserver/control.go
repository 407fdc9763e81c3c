package main

import (
	"context"
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

type formKey struct{}

// formOf is the form that a device authorization was asked for with: the library hands on but a part of it.
func formOf(ctx context.Context) map[string][]string {
	form, _ := ctx.Value(formKey{}).(map[string][]string)
	return form
}

// handler puts the page where people confirm logins, and what tests do in people's place, beside the provider:
//
//	GET  /device?user_code=...               what a person sees
//	POST /test/approve?user_code=...&user=.. the person confirms, as the user with that subject
//	POST /test/deny?user_code=...            the person denies
//	POST /test/expire?user_code=...          the time to confirm runs out
//	PUT  /test/users/{subject}               makes or changes a user
//	PUT  /test/clients/{id}/keys             publishes a client's key, a JWK
//	POST /test/token?user=...&scope=...      an access token of that user, as some application has it
//	GET  /test/count                         how many tokens are alive: {"access": 1, "refresh": 0}
//	GET  /test/grants?scope=...              how many grants with that scope have a token that is alive: 1
//	POST /test/kill?grants=...               once it has made so many more grants, the server is killed before it answers
//	POST /test/audit?client=...              how the book and the tokens that the client has fit together: {"Orphans": 1, ...}
//	POST /test/orphans?client=...            when those grants were made that the client has no token of: ["2026-01-02T15:04:05Z"]
func (s *store) handler(provider op.OpenIDProvider) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/device_authorization" && r.ParseForm() == nil {
			r = r.WithContext(context.WithValue(r.Context(), formKey{}, map[string][]string(r.PostForm)))
		}
		if r.URL.Path == "/oauth/token" && r.ParseForm() == nil && s.banned(r.PostForm.Get("refresh_token")) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `{"error": "user_disabled", "error_description": "The user is disabled."}`)
			return
		}
		provider.ServeHTTP(w, r)
	}))
	mux.HandleFunc("GET /device", func(w http.ResponseWriter, r *http.Request) {
		s.withDevice(w, r, func(d *device) {
			message := ""
			if said := d.Form["binding_message"]; len(said) == 1 {
				message = said[0]
			}
			fmt.Fprintf(w, "<p>Log in on: %s</p>", html.EscapeString(message))
		})
	})
	mux.HandleFunc("POST /test/approve", func(w http.ResponseWriter, r *http.Request) {
		s.withDevice(w, r, func(d *device) { d.Done, d.Subject, d.AuthTime = true, r.FormValue("user"), time.Now() })
	})
	mux.HandleFunc("POST /test/deny", func(w http.ResponseWriter, r *http.Request) {
		s.withDevice(w, r, func(d *device) { d.Denied = true })
	})
	mux.HandleFunc("POST /test/expire", func(w http.ResponseWriter, r *http.Request) {
		s.withDevice(w, r, func(d *device) { d.Expires = time.Now().Add(-time.Second) })
	})
	mux.HandleFunc("PUT /test/users/{subject}", func(w http.ResponseWriter, r *http.Request) {
		made := &user{}
		if err := json.NewDecoder(r.Body).Decode(made); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.users.put(r.PathValue("subject"), made)
	})
	mux.HandleFunc("PUT /test/clients/{id}/keys", func(w http.ResponseWriter, r *http.Request) {
		key := &jose.JSONWebKey{}
		if err := json.NewDecoder(r.Body).Decode(key); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.keys.put(r.PathValue("id")+"/"+key.KeyID, key)
	})
	mux.HandleFunc("POST /test/token", func(w http.ResponseWriter, r *http.Request) {
		user := r.FormValue("user")
		// A JWT, as the library exchanges no other kind: of an opaque one it looks for the claims, and panics.
		asked := &oidc.JWTTokenRequest{Subject: user, Scopes: r.Form["scope"]}
		token, _, _, err := op.CreateAccessToken(op.ContextWithIssuer(r.Context(), s.issuer), asked, op.AccessTokenTypeJWT, provider,
			&client{id: user}, "")
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		fmt.Fprint(w, token)
	})
	mux.HandleFunc("GET /test/count", func(w http.ResponseWriter, _ *http.Request) {
		access, refresh := s.alive()
		json.NewEncoder(w).Encode(map[string]int{"access": access, "refresh": refresh})
	})
	mux.HandleFunc("GET /test/grants", func(w http.ResponseWriter, r *http.Request) {
		json.NewEncoder(w).Encode(s.having(r.FormValue("scope")))
	})
	mux.HandleFunc("POST /test/kill", func(w http.ResponseWriter, r *http.Request) {
		n, err := strconv.Atoi(r.FormValue("grants"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.mortal = n
	})
	mux.HandleFunc("POST /test/audit", func(w http.ResponseWriter, r *http.Request) {
		if had, ok := hadBy(w, r, provider); ok {
			json.NewEncoder(w).Encode(s.audit(r.FormValue("client"), had.Access, had.Refresh))
		}
	})
	mux.HandleFunc("POST /test/orphans", func(w http.ResponseWriter, r *http.Request) {
		if had, ok := hadBy(w, r, provider); ok {
			json.NewEncoder(w).Encode(s.orphaned(r.FormValue("client"), had.Access))
		}
	})
	return mux
}

// tokens are those that a client has; the access tokens are told by the IDs of their grants.
type tokens struct{ Access, Refresh []string }

// hadBy reads which tokens a client has, or answers that it cannot.
func hadBy(w http.ResponseWriter, r *http.Request, provider op.OpenIDProvider) (had tokens, ok bool) {
	if err := json.NewDecoder(r.Body).Decode(&had); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return had, false
	}
	for i, token := range had.Access {
		known, _ := provider.Crypto().Decrypt(token) // what is none of this server's is in no book
		had.Access[i], _, _ = strings.Cut(known, ":")
	}
	return had, true
}

// banned is whether a refresh token is one of a user who is.
func (s *store) banned(refreshToken string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, g := s.refreshed(refreshToken)
	return g != nil && s.users.all[g.Subject] != nil && s.users.all[g.Subject].Banned
}

func (s *store) withDevice(w http.ResponseWriter, r *http.Request, act func(*device)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for code, d := range s.devices.all {
		if d.Code == r.FormValue("user_code") {
			act(d)
			s.devices.put(code, d)
			return
		}
	}
	http.Error(w, "no such code", http.StatusNotFound)
}
