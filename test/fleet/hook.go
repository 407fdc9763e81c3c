package main

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/test/testenv"
)

const (
	// answersAfter is how long the webhook takes.
	answersAfter = 20 * time.Millisecond
	// tokenLength is about that of the tokens which the embedded provider issues.
	tokenLength = 700
)

// unlimited is a rate limit that limits nothing here.
var unlimited = v1.RateLimit{RequestsPerSecond: 10000, Burst: 10000, Concurrent: 1000}

// hook is a webhook that issues tokens to whomever asks, and remembers when it was asked.
type hook struct {
	server *http.Server
	url    string
	ca     []byte

	mu      sync.Mutex
	expires time.Time // when the tokens of logins end, or within the second after; zero: when it was asked for
	asked   map[v1.SessionReviewOperation][]time.Time
}

func startHook(dir string) (*hook, error) {
	if err := testenv.Certificate(dir); err != nil {
		return nil, fmt.Errorf("making the webhook's certificate: %w", err)
	}
	ca, err := os.ReadFile(filepath.Join(dir, "ca.crt"))
	if err != nil {
		return nil, fmt.Errorf("reading the webhook's certificate: %w", err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("starting the webhook: %w", err)
	}
	h := &hook{url: "https://" + listener.Addr().String() + "/sessions", ca: ca, asked: map[v1.SessionReviewOperation][]time.Time{}}
	h.server = &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = h.server.ServeTLS(listener, filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")) }() // ends with stop
	return h, nil
}

func (h *hook) stop() error { return h.server.Close() }

func (h *hook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	arrived := time.Now()
	review := v1.SessionReview{}
	if err := json.NewDecoder(r.Body).Decode(&review); err != nil || review.Request == nil {
		http.Error(w, "not a SessionReview with a request", http.StatusBadRequest)
		return
	}
	select {
	case <-time.After(answersAfter): // it is this slow
	case <-r.Context().Done():
		return
	}
	review.Request, review.Response = nil, h.answer(review.Request, arrived)
	_ = json.NewEncoder(w).Encode(review) // who is gone asks again
}

func (h *hook) answer(asked *v1.SessionReviewRequest, arrived time.Time) *v1.SessionReviewResponse {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.asked[asked.Operation] = append(h.asked[asked.Operation], arrived)
	if asked.Operation == v1.ReviewLogout {
		return &v1.SessionReviewResponse{UID: asked.UID, Result: v1.ReviewDone}
	}
	lifetime := asked.Session.LifetimeSeconds
	if asked.Operation == v1.ReviewLogin && !h.expires.IsZero() {
		lifetime = int64(math.Ceil(h.expires.Sub(arrived).Seconds()))
	}
	return &v1.SessionReviewResponse{UID: asked.UID, Result: v1.ReviewIssued, Token: &v1.SessionReviewToken{
		Value: token(asked.UID), ExpiresInSeconds: lifetime,
	}}
}

// token is the same for the same attempt.
func token(uid string) string {
	sum := sha256.Sum256([]byte(uid))
	return strings.Repeat(base64.RawURLEncoding.EncodeToString(sum[:]), tokenLength/43+1)[:tokenLength]
}

// expireAt has the tokens of logins end at that time from now on.
func (h *hook) expireAt(t time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.expires = t
}

// arrivals are the times at which an operation was asked for, the earliest first.
func (h *hook) arrivals(of v1.SessionReviewOperation) []time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.SortedFunc(slices.Values(h.asked[of]), time.Time.Compare)
}

// hooked starts a webhook and makes it a provider.
func (b *bench) hooked(ctx context.Context) (*hook, error) {
	h, err := startHook(filepath.Join(b.env.Dir, "webhook"))
	if err != nil {
		return nil, err
	}
	provider := &v1.SessionProvider{ObjectMeta: metav1.ObjectMeta{Namespace: ofProduct, Name: external.Name}}
	provider.Spec.RateLimit = unlimited
	provider.Spec.Webhook = &v1.WebhookProvider{URL: h.url, CABundle: h.ca, Introspection: v1.Introspection{Interval: new(metav1.Duration{})}}
	if err := b.api.Create(ctx, provider); err != nil {
		return nil, errors.Join(fmt.Errorf("making the webhook a provider: %w", err), h.stop())
	}
	return h, nil
}

// unhooked takes that away again.
func (b *bench) unhooked(ctx context.Context, h *hook) error {
	err := b.api.Delete(ctx, &v1.SessionProvider{ObjectMeta: metav1.ObjectMeta{Namespace: ofProduct, Name: external.Name}})
	return errors.Join(err, h.stop())
}
