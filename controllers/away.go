package controllers

import (
	"context"
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	ctrl "sigs.k8s.io/controller-runtime"
)

const (
	// soonest and latest are how long it takes to ask again, at first and in the end; up to a half is added, so that not all kinds come at once.
	soonest = 500 * time.Millisecond
	latest  = 3 * time.Second
	// patience is how many refusals in a row are taken for those of a server that is about to end, or just back: half a minute's.
	patience = 12
	// reminder is how many times it is asked until it is said again that it does not answer: about once a minute.
	reminder = 15
)

// persistent asks again by itself while the API server is away, within five seconds, or when the server says (Retry-After). What the server means is
// passed on. An informer left to itself can be blind for a minute after several outages in a row: it waits for twice as long each time, up to
// 60 seconds, and does not begin anew when the server is back; and its ReflectorOptions.Backoff cannot be set through a shared informer.
type persistent struct {
	from cache.ListerWatcherWithContext
}

// ListWithContext implements cache.ListerWithContext.
func (p persistent) ListWithContext(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
	return persist(ctx, func() (runtime.Object, error) { return p.from.ListWithContext(ctx, o) })
}

// WatchWithContext implements cache.WatcherWithContext.
func (p persistent) WatchWithContext(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
	return persist(ctx, func() (watch.Interface, error) { return p.from.WatchWithContext(ctx, o) })
}

// persist asks until there is an answer that counts, or ctx is done.
func persist[T any](ctx context.Context, ask func() (T, error)) (answer T, err error) {
	tries, refusals := 0, 0
	pauses := wait.Backoff{Duration: soonest, Cap: latest, Factor: 1.5, Jitter: 0.5, Steps: math.MaxInt}
	err = pauses.DelayFunc().Until(ctx, true, true, func(ctx context.Context) (bool, error) {
		var failed error
		answer, failed = ask()
		switch {
		case failed == nil, ctx.Err() != nil:
			return true, failed
		case unready(failed):
			refusals++
		case away(failed):
			refusals = 0
		default:
			return true, failed
		}
		if refusals == patience {
			return true, failed // it means it; without a watch the informer goes on by lists
		}
		if tries%reminder == 0 {
			ctrl.LoggerFrom(ctx).Error(failed, "the API server does not tell what there is; it is asked again every few seconds")
		}
		tries++
		return false, nil
	})
	return answer, err
}

// away is whether there was no answer, or one that asks for patience.
func away(err error) bool {
	var network net.Error // which the HTTP client's errors are
	return errors.As(err, &network) || errors.Is(err, io.ErrUnexpectedEOF) || apierrors.IsTooManyRequests(err) || apierrors.IsServiceUnavailable(err)
}

// unready is whether the answer is one that a server gives also when it is just back, and does not know yet who may do what (401, 403), or cannot
// reach what it needs (500, 502, 504).
func unready(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return false
	}
	switch status.Status().Code {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusInternalServerError, http.StatusBadGateway:
		return true
	case http.StatusGatewayTimeout:
		return !apierrors.HasStatusCause(err, metav1.CauseTypeResourceVersionTooLarge)
	}
	return false
}
