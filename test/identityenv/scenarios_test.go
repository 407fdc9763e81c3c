package identityenv_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"terminals.dev/session-controller/internal/provider/oauth2"
	"terminals.dev/session-controller/internal/provider/providertest"
)

// Where the real server can say it in its own words, it is sent what it has to refuse; only the rest is said in its place.

func (s *stage) scenarios(config oauth2.Config) map[providertest.Scenario]providertest.Switch {
	scenarios := map[providertest.Scenario]providertest.Switch{
		providertest.Busy:        s.status(http.StatusTooManyRequests, "7"),
		providertest.Unavailable: s.status(http.StatusServiceUnavailable, "7"),
		providertest.Failing:     s.status(http.StatusInternalServerError, ""),
		providertest.Rejecting:   s.as(rejecting),
		providertest.Banning:     s.as(banning),
		providertest.Refusing:    s.as(refusing),
		providertest.Leaking:     func(t testing.TB) <-chan struct{} { return s.leaking(t) },
		providertest.Hanging:     s.silent(func(testing.TB, *http.Request) {}),
		providertest.Swallowing: s.silent(func(t testing.TB, r *http.Request) {
			if answer := s.pass(r); answer.Code != http.StatusOK {
				t.Errorf("the server answered %d, so that nothing is lost", answer.Code)
			}
		}),
		providertest.Down: func(t testing.TB) <-chan struct{} {
			s.leads(t, "127.0.0.1:0") // where nobody can listen
			return nil
		},
		providertest.Untrusted: func(t testing.TB) <-chan struct{} {
			s.leads(t, s.impostors(t))
			return nil
		},
		providertest.Garbage: s.as(func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Content-Type", "text/html")
			_, _ = fmt.Fprintf(w, "<!doctype html><title>%s</title>", providertest.Marker)
			return true
		}),
		providertest.Huge: func(t testing.TB) <-chan struct{} {
			s.does(t, func(w http.ResponseWriter, _ *http.Request) bool { return huge(t, w) })
			return nil
		},
		providertest.Redirecting: func(t testing.TB) <-chan struct{} {
			other := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the other host was asked") }))
			t.Cleanup(other.Close)
			s.does(t, func(w http.ResponseWriter, r *http.Request) bool {
				http.Redirect(w, r, other.URL+r.URL.Path, http.StatusTemporaryRedirect)
				return true
			})
			return nil
		},
	}
	if config.Grant == oauth2.DeviceCode { // a person is asked always
		scenarios[providertest.Asking] = func(testing.TB) <-chan struct{} { return nil }
	}
	return scenarios
}

// as makes the server behave in a way that does not depend on the test.
func (s *stage) as(behave behaviour) providertest.Switch {
	return func(t testing.TB) <-chan struct{} {
		s.does(t, behave)
		return nil
	}
}

func (s *stage) status(code int, retryAfter string) providertest.Switch {
	return s.as(func(w http.ResponseWriter, _ *http.Request) bool {
		if retryAfter != "" {
			w.Header().Set("Retry-After", retryAfter)
		}
		http.Error(w, providertest.Marker, code)
		return true
	})
}

// silent does something with a request, and never answers.
func (s *stage) silent(do func(testing.TB, *http.Request)) providertest.Switch {
	return func(t testing.TB) <-chan struct{} {
		taken := make(chan struct{}, 16)
		s.does(t, func(_ http.ResponseWriter, r *http.Request) bool {
			do(t, r)
			taken <- struct{}{}
			select {
			case <-r.Context().Done():
			case <-t.Context().Done(): // a client may be more patient than the test
			}
			panic(http.ErrAbortHandler)
		})
		return taken
	}
}

func says(w http.ResponseWriter, status int, answer map[string]any) bool {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(answer)
	return true
}

// aboutDevice is whether a request starts a device login, or polls.
func aboutDevice(r *http.Request) bool {
	return r.URL.Path == "/device_authorization" || r.PostForm.Has("device_code")
}

// rejecting has the server refuse a scope, but for Hydra's renewals, which do not look at it; a device login is denied in the person's
// place.
func rejecting(w http.ResponseWriter, r *http.Request) bool {
	if aboutDevice(r) || r.URL.Path == "/oauth2/token" && r.PostForm.Has("refresh_token") {
		return says(w, http.StatusBadRequest, map[string]any{"error": "access_denied"})
	}
	if r.PostForm.Has("grant_type") {
		r.PostForm.Set("scope", "unknown")
	}
	return false
}

// banning says what only the configuration has a meaning for.
func banning(w http.ResponseWriter, r *http.Request) bool {
	said := map[string]any{"error": "user_disabled", "error_description": providertest.Marker}
	switch {
	case aboutDevice(r), r.PostForm.Has("grant_type"):
		return says(w, http.StatusBadRequest, said)
	case strings.HasSuffix(r.URL.Path, "/introspect"):
		said["active"] = false
		return says(w, http.StatusOK, said)
	}
	return false
}

// refusing has the server look at a wrong secret, where it looks at all: neither this OpenID provider's JWT bearer grant nor Hydra's
// introspection does.
func refusing(w http.ResponseWriter, r *http.Request) bool {
	id, _, ok := r.BasicAuth()
	if !ok {
		return false
	}
	if r.PostForm.Has("assertion") || strings.HasPrefix(r.URL.Path, "/admin/") {
		return says(w, http.StatusUnauthorized, map[string]any{"error": "invalid_client", "error_description": providertest.Marker})
	}
	r.SetBasicAuth(id, "wrong")
	return false
}

// forgetting has the server look for a refresh token that it never gave.
func forgetting(_ http.ResponseWriter, r *http.Request) bool {
	if r.PostForm.Has("refresh_token") {
		r.PostForm.Set("refresh_token", "unknown-0123456789abcdef")
	}
	return false
}

func huge(t testing.TB, w http.ResponseWriter) bool {
	w.Header().Set("Content-Type", "application/json")
	block := strings.Repeat(providertest.Marker, 1<<20/len(providertest.Marker))
	for n := 0; n < 100<<20; n += len(block) {
		if _, err := fmt.Fprint(w, block); err != nil {
			if n > 20<<20 {
				t.Errorf("the client has taken %d MiB", n>>20)
			}
			return true
		}
	}
	t.Error("the client has taken all of a body without end")
	return true
}

// unshowable is what no error string has in it that is shown.
var unshowable = regexp.MustCompile(`[^A-Za-z0-9_.-]`)

// leaking repeats everything, in each place that an answer has: in turn for each path as an OAuth error, as a status, in members of the
// wrong type, as what is not even HTTP, and as a redirect.
func (s *stage) leaking(t testing.TB) <-chan struct{} {
	asked := map[string]int{}
	s.does(t, func(w http.ResponseWriter, r *http.Request) bool {
		s.mu.Lock()
		asked[r.URL.Path]++
		n := asked[r.URL.Path]
		s.mu.Unlock()
		f := r.PostForm
		_, secret, _ := r.BasicAuth()
		all := strings.Join([]string{providertest.Marker, r.Header.Get("Authorization"), secret, f.Get("token"), f.Get("refresh_token"),
			f.Get("assertion"), f.Get("subject_token"), f.Get("device_code"), f.Encode()}, " ")
		word := cmp.Or(f.Get("token"), f.Get("refresh_token"), f.Get("assertion"), f.Get("subject_token"), f.Get("device_code"), secret)
		word = "e" + unshowable.ReplaceAllString(word, "")
		word = word[:min(len(word), 60)]
		words := map[string]any{"error": word, "suberror": word, "error_description": all, "error_uri": all}
		switch n % 7 {
		case 0:
			return says(w, http.StatusBadRequest, words)
		case 1:
			w.Header().Set("Retry-After", all)
			http.Error(w, all, http.StatusBadGateway)
		case 2:
			status := http.StatusOK
			if strings.HasSuffix(r.URL.Path, "/revoke") { // where that is all there is to an answer
				status = http.StatusForbidden
			}
			says(w, status, map[string]any{
				"issuer": all, "access_token": []string{all}, "token_type": all, "expires_in": all, "active": all, "device_code": []string{all},
			})
		case 3:
			conn, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				t.Error(err)
				return true
			}
			_, _ = fmt.Fprintf(conn, "%s\r\n\r\n", strings.ReplaceAll(all, " ", "-")) // a line that is quoted as a whole
			_ = conn.Close()
		case 4:
			w.Header().Set("WWW-Authenticate", `Basic realm="`+all+`"`)
			words["error"] = "invalid_client"
			return says(w, http.StatusUnauthorized, words)
		case 5:
			http.Redirect(w, r, "/?"+all, http.StatusFound)
		case 6:
			words["error"] = "user_disabled"
			return says(w, http.StatusBadRequest, words)
		}
		return true
	})
	return nil
}
