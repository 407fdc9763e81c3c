// Package kubeauth lets those pass whom the API server knows and allows.
//
// It does for two small endpoints what k8s.io/apiserver's delegating authenticator does, which brings CEL, gRPC and 20 MB of program into
// every replica's memory with it.
package kubeauth

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/go-logr/logr"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/util/cache"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// How long the API server's word is taken, so how long somebody passes yet who has lost the right to. A refusal is asked about again sooner:
// whoever has just been granted something should not have to wait.
const (
	TrustFor   = time.Minute
	RefusedFor = 10 * time.Second
)

const (
	// remembered is how many verdicts are kept.
	remembered = 1024
	// atOnce is how many questions the API server is asked at a time, whoever knocks and however often.
	atOnce = 16
	// patience is how long an answer of the API server's is waited for.
	patience = 5 * time.Second
	// longest is the longest token that is looked at, in bytes.
	longest = 16 << 10
)

// Filter asks the API server who somebody is, and whether they may do what they ask for.
type Filter struct {
	asked    client.Writer
	verdicts *cache.LRUExpireCache
	room     chan struct{}
	log      logr.Logger
}

// New makes a filter. The client needs the right to create TokenReviews and SubjectAccessReviews.
func New(asked client.Writer, clock clock.PassiveClock, log logr.Logger) *Filter {
	return &Filter{asked: asked, verdicts: cache.NewLRUExpireCacheWithClock(remembered, clock), room: make(chan struct{}, atOnce), log: log}
}

// verdict is what the API server says of somebody's request: who it is, and whether they may.
type verdict struct {
	user    string
	known   bool
	allowed bool
}

// question is what a verdict is the answer to. The token itself is kept nowhere.
type question struct {
	token      [sha256.Size]byte
	verb, path string
}

// Wrap has a handler serve those alone who show a bearer token (RFC 6750) of the cluster's and may do, by the API server's authorizer, the request's
// verb on its path. Others get 401, 403 or, where the API server cannot be asked, 503.
func (f *Filter) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, shown := bearer(r)
		if !shown {
			refuse(w, "")
			return
		}
		v, err := f.judge(r.Context(), token, strings.ToLower(r.Method), r.URL.Path)
		switch {
		case err != nil:
			f.log.Error(err, "asking the API server about a request", "verb", r.Method, "path", r.URL.Path)
			http.Error(w, "the API server cannot be asked who you are: try again later", http.StatusServiceUnavailable)
		case !v.known:
			refuse(w, "invalid_token")
		case !v.allowed:
			http.Error(w, fmt.Sprintf("%s may not %s %s: a ClusterRole must grant that nonResourceURL", v.user, strings.ToLower(r.Method), r.URL.Path),
				http.StatusForbidden)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

func bearer(r *http.Request) (token string, shown bool) {
	scheme, token, found := strings.Cut(r.Header.Get("Authorization"), " ")
	token = strings.TrimSpace(token)
	return token, found && strings.EqualFold(scheme, "Bearer") && token != "" && len(token) <= longest
}

// refuse answers as RFC 6750 section 3 has it.
func refuse(w http.ResponseWriter, code string) {
	challenge := "Bearer"
	if code != "" {
		challenge += ` error="` + code + `"`
	}
	w.Header().Set("WWW-Authenticate", challenge)
	http.Error(w, "show a bearer token of this cluster", http.StatusUnauthorized)
}

func (f *Filter) judge(ctx context.Context, token, verb, path string) (verdict, error) {
	q := question{sha256.Sum256([]byte(token)), verb, path}
	if v, known := f.verdicts.Get(q); known {
		return v.(verdict), nil
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	select {
	case f.room <- struct{}{}:
		defer func() { <-f.room }()
	case <-ctx.Done():
		return verdict{}, fmt.Errorf("waiting for others' requests: %w", ctx.Err())
	}
	v, err := f.ask(ctx, token, verb, path)
	if err != nil {
		return verdict{}, err
	}
	lasts := RefusedFor
	if v.allowed {
		lasts = TrustFor
	}
	f.verdicts.Add(q, v, lasts)
	return v, nil
}

func (f *Filter) ask(ctx context.Context, token, verb, path string) (verdict, error) {
	who := &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token}}
	if err := f.asked.Create(ctx, who); err != nil {
		return verdict{}, fmt.Errorf("reviewing a token: %w", err)
	}
	if !who.Status.Authenticated {
		return verdict{}, nil
	}
	user := who.Status.User
	extra := make(map[string]authorizationv1.ExtraValue, len(user.Extra))
	for key, values := range user.Extra {
		extra[key] = authorizationv1.ExtraValue(values)
	}
	may := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: user.Username, Groups: user.Groups, UID: user.UID, Extra: extra,
		NonResourceAttributes: &authorizationv1.NonResourceAttributes{Path: path, Verb: verb},
	}}
	if err := f.asked.Create(ctx, may); err != nil {
		return verdict{}, fmt.Errorf("reviewing what %s may do: %w", user.Username, err)
	}
	return verdict{user: user.Username, known: true, allowed: may.Status.Allowed && !may.Status.Denied}, nil
}
