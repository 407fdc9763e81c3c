package webhook_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/internal/provider"
	"terminals.dev/session-controller/internal/provider/providertest"
	"terminals.dev/session-controller/internal/provider/webhook"
)

func TestConformance(t *testing.T) {
	h := newHook(t)
	providertest.Run(t, providertest.Harness{
		New: func(t testing.TB) provider.Provider {
			return h.client(t, func(c *webhook.Config) { c.Timeout = time.Minute })
		},
		Impatient: func(t testing.TB) provider.Provider { return h.client(t, hasty) },
		Request:   func(testing.TB) provider.Request { return request() },
		Secrets:   []string{bearer},
		SessionOf: func(_ testing.TB, token string) string {
			h.mu.Lock()
			defer h.mu.Unlock()
			return h.live[token]
		},
		Live: func(_ testing.TB, sessionID string) int {
			h.mu.Lock()
			defer h.mu.Unlock()
			n := 0
			for _, of := range h.live {
				if of == sessionID {
					n++
				}
			}
			return n
		},
		Calls: func() int { return int(h.calls.Load()) },
		Confirm: func(_ testing.TB, pending provider.Pending) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.confirmed[pending.Handle] = true
		},
		Scenarios: map[providertest.Scenario]providertest.Switch{
			providertest.Busy:        h.status(http.StatusTooManyRequests, "7"),
			providertest.Unavailable: h.status(http.StatusServiceUnavailable, "7"),
			providertest.Failing:     h.status(http.StatusInternalServerError, ""),
			providertest.Refusing:    h.status(http.StatusUnauthorized, ""),
			providertest.Rejecting:   h.result(v1.SessionReviewResponse{Result: v1.ReviewRejected, Error: &v1.SessionReviewError{Code: "Closed"}}),
			providertest.Banning:     h.result(v1.SessionReviewResponse{Result: v1.ReviewBanned, Error: &v1.SessionReviewError{Code: "UserBanned"}}),
			providertest.Postponing:  h.result(v1.SessionReviewResponse{Result: v1.ReviewPostponed}),
			providertest.Forgetting:  h.result(v1.SessionReviewResponse{Result: v1.ReviewEnded}),
			providertest.Asking: func(t testing.TB) <-chan struct{} {
				h.change(t, func() { h.asking = true })
				return nil
			},
			providertest.Down: func(t testing.TB) <-chan struct{} {
				h.change(t, func() { h.down = true })
				h.CloseClientConnections()
				return nil
			},
			providertest.Untrusted: func(t testing.TB) <-chan struct{} {
				h.change(t, func() { h.certificate = newAuthority(t).pair(t, host, time.Now().Add(time.Hour)) })
				h.does(t, func(http.ResponseWriter, *http.Request, v1.SessionReview) bool {
					t.Error("a server that is not trusted was sent a review")
					return false
				})
				h.CloseClientConnections()
				return nil
			},
			providertest.Hanging: h.silent(func(*v1.SessionReviewRequest) {}),
			providertest.Swallowing: h.silent(func(q *v1.SessionReviewRequest) {
				h.answer(q)
			}),
			providertest.Garbage: func(t testing.TB) <-chan struct{} {
				h.says(t, "<!doctype html><title>"+providertest.Marker+"</title>")
				return nil
			},
			providertest.Huge: func(t testing.TB) <-chan struct{} {
				h.does(t, func(w http.ResponseWriter, _ *http.Request, _ v1.SessionReview) bool {
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
				})
				return nil
			},
			providertest.Redirecting: func(t testing.TB) <-chan struct{} {
				other := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
					t.Error("the other host was asked")
				}))
				t.Cleanup(other.Close)
				h.does(t, func(w http.ResponseWriter, r *http.Request, _ v1.SessionReview) bool {
					http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
					return true
				})
				return nil
			},
			providertest.Leaking: h.leaking,
		},
	})
}

// status answers everything with an HTTP status.
func (h *hook) status(code int, retryAfter string) providertest.Switch {
	return func(t testing.TB) <-chan struct{} {
		h.does(t, func(w http.ResponseWriter, _ *http.Request, _ v1.SessionReview) bool {
			if retryAfter != "" {
				w.Header().Set("Retry-After", retryAfter)
			}
			http.Error(w, providertest.Marker, code)
			return true
		})
		return nil
	}
}

// result answers everything with a response.
func (h *hook) result(response v1.SessionReviewResponse) providertest.Switch {
	return func(t testing.TB) <-chan struct{} {
		h.does(t, func(w http.ResponseWriter, _ *http.Request, review v1.SessionReview) bool {
			said := response
			said.UID = review.Request.UID
			respond(w, &said)
			return true
		})
		return nil
	}
}

// silent does something with a request, and answers nothing until the client has gone.
func (h *hook) silent(do func(*v1.SessionReviewRequest)) providertest.Switch {
	return func(t testing.TB) <-chan struct{} {
		taken := make(chan struct{}, 16)
		h.does(t, func(_ http.ResponseWriter, r *http.Request, review v1.SessionReview) bool {
			do(review.Request)
			taken <- struct{}{}
			<-r.Context().Done()
			return true
		})
		return taken
	}
}

// leaking repeats everything, in each place that an answer has: in turn as a response, as a status, and as what is not even HTTP.
func (h *hook) leaking(t testing.TB) <-chan struct{} {
	n := 0
	h.does(t, func(w http.ResponseWriter, r *http.Request, review v1.SessionReview) bool {
		n++
		q := review.Request
		all := strings.Join([]string{providertest.Marker, r.Header.Get("Authorization"), q.AuthToken, q.Token, q.RefreshToken}, " ")
		words := &v1.SessionReviewError{
			Code: "Code" + strings.ReplaceAll(q.AuthToken, "-", ""), Message: strings.ReplaceAll(all, providertest.Marker, ""),
		}
		switch n % 5 {
		case 0:
			respond(w, &v1.SessionReviewResponse{UID: q.UID, Result: v1.ReviewBusy, Error: words})
		case 1:
			w.Header().Set("Retry-After", all)
			http.Error(w, all, http.StatusBadGateway)
		case 2:
			_ = json.NewEncoder(w).Encode(map[string]any{"apiVersion": all, "kind": all, "response": map[string]any{"uid": all, "result": all}})
		case 3:
			conn, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				t.Error(err)
				return true
			}
			_, _ = fmt.Fprintf(conn, "%s\r\n\r\n", strings.ReplaceAll(all, " ", "-")) // a line that is quoted as a whole
			_ = conn.Close()
		case 4:
			respond(w, &v1.SessionReviewResponse{UID: q.UID, Result: v1.ReviewBanned, Error: words})
		}
		return true
	})
	return nil
}
