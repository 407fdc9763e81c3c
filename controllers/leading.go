package controllers

import (
	"context"
	"errors"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// leadingAgain is when somebody comes back who was turned away since this process does not lead: by then it does again, or is about to end.
const leadingAgain = time.Second

// errNotLeading is how a call ends that was not made, since this process does not lead any more.
var errNotLeading = errors.New("another replica may lead by now: the provider was not asked")

// whether this process leads, by what may be nil.
func whether(leading func() bool) bool { return leading == nil || leading() }

// while has a reconciler do nothing while this process does not lead. What it was to look at comes back, as urgent as it was.
func while(leading func() bool, r reconcile.Reconciler) reconcile.Reconciler {
	return reconcile.Func(func(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
		if !whether(leading) {
			return reconcile.Result{RequeueAfter: leadingAgain}, nil
		}
		return r.Reconcile(ctx, req)
	})
}
