package kubeauth_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"terminals.dev/session-controller/internal/kubeauth"
)

// server answers as an API server would that knows anna, who may, and bob, who may not.
type server struct {
	client.Writer
	reviews int
	down    bool
	may     map[string]bool
}

func (s *server) Create(_ context.Context, o client.Object, _ ...client.CreateOption) error {
	if s.down {
		return errors.New("connection refused")
	}
	s.reviews++
	switch o := o.(type) {
	case *authenticationv1.TokenReview:
		name, known := strings.CutPrefix(o.Spec.Token, "token-of-")
		o.Status.Authenticated, o.Status.User.Username = known, name
	case *authorizationv1.SubjectAccessReview:
		a := o.Spec.NonResourceAttributes
		o.Status.Allowed = s.may[o.Spec.User+" "+a.Verb+" "+a.Path]
	}
	return nil
}

func TestWhoMayPass(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		authorization string
		down          bool
		want          int
	}{
		"somebody who may":                      {authorization: "Bearer token-of-anna", want: http.StatusOK},
		"the scheme in other letters":           {authorization: "bearer token-of-anna", want: http.StatusOK},
		"somebody who may not":                  {authorization: "Bearer token-of-bob", want: http.StatusForbidden},
		"somebody unknown":                      {authorization: "Bearer forged", want: http.StatusUnauthorized},
		"nobody":                                {want: http.StatusUnauthorized},
		"an empty token":                        {authorization: "Bearer ", want: http.StatusUnauthorized},
		"another scheme":                        {authorization: "Basic token-of-anna", want: http.StatusUnauthorized},
		"a token of a megabyte":                 {authorization: "Bearer token-of-anna" + strings.Repeat(" x", 1<<19), want: http.StatusUnauthorized},
		"somebody while the API server is away": {authorization: "Bearer token-of-anna", down: true, want: http.StatusServiceUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &server{down: row.down, may: map[string]bool{"anna get /metrics": true}}
			handler := kubeauth.New(s, clocktesting.NewFakePassiveClock(time.Unix(0, 0)), logr.Discard()).Wrap(http.HandlerFunc(ok))
			got := ask(t, handler, http.MethodGet, row.authorization)
			if got.Code != row.want {
				t.Errorf("the answer is %d (%s), want %d", got.Code, got.Body, row.want)
			}
			if challenged := got.Header().Get("WWW-Authenticate") != ""; challenged != (row.want == http.StatusUnauthorized) {
				t.Errorf("WWW-Authenticate is %q", got.Header().Get("WWW-Authenticate"))
			}
			if strings.Contains(got.Body.String(), "token-of") {
				t.Errorf("the answer has the token: %s", got.Body)
			}
		})
	}
}

func TestWhoeverMayGetAPathMayNotPostToIt(t *testing.T) {
	t.Parallel()
	s := &server{may: map[string]bool{"anna get /metrics": true}}
	handler := kubeauth.New(s, clocktesting.NewFakePassiveClock(time.Unix(0, 0)), logr.Discard()).Wrap(http.HandlerFunc(ok))
	for method, want := range map[string]int{http.MethodGet: http.StatusOK, http.MethodPost: http.StatusForbidden} {
		if got := ask(t, handler, method, "Bearer token-of-anna").Code; got != want {
			t.Errorf("%s is answered with %d, want %d", method, got, want)
		}
	}
}

func TestTheAPIServersWordIsTakenForAWhileAndNoLonger(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		may         bool
		lasts       time.Duration
		before, now int
	}{
		"a right that is taken away": {may: true, lasts: kubeauth.TrustFor, before: http.StatusOK, now: http.StatusForbidden},
		"a right that is granted":    {lasts: kubeauth.RefusedFor, before: http.StatusForbidden, now: http.StatusOK},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, clock := &server{may: map[string]bool{"anna get /metrics": row.may}}, clocktesting.NewFakePassiveClock(time.Unix(0, 0))
			handler := kubeauth.New(s, clock, logr.Discard()).Wrap(http.HandlerFunc(ok))
			see := func(want, reviews int) {
				t.Helper()
				if got := ask(t, handler, http.MethodGet, "Bearer token-of-anna").Code; got != want {
					t.Errorf("the answer is %d, want %d", got, want)
				}
				if s.reviews != reviews {
					t.Errorf("the API server was asked %d times, want %d", s.reviews, reviews)
				}
			}
			see(row.before, 2)
			s.may["anna get /metrics"] = !row.may
			clock.SetTime(clock.Now().Add(row.lasts - time.Second))
			see(row.before, 2)
			clock.SetTime(clock.Now().Add(2 * time.Second))
			see(row.now, 4)
		})
	}
}

// ok is what is behind the filter.
func ok(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }

func ask(t *testing.T, handler http.Handler, method, authorization string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, "/metrics", nil)
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	return w
}
