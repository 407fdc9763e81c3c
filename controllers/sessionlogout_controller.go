package controllers

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/internal/session"
	"terminals.dev/session-controller/internal/stores"
)

// +kubebuilder:rbac:groups=terminals.dev,resources=sessionlogouts,verbs=delete;list;watch
// +kubebuilder:rbac:groups=terminals.dev,resources=sessionlogouts/status,verbs=patch

// SessionLogoutReconciler counts whom a SessionLogout concerns, begins it, and says when it is complete. The sessions sign themselves out
// once it has begun: so a crash loses nothing, and nobody but a session's own reconciler writes its status.
type SessionLogoutReconciler struct {
	// Client reads from the cache and writes to the API server.
	Client client.Client
	// Orders finds the sessions.
	Orders *Orders
	// Clock is the time of day.
	Clock clock.PassiveClock

	written written
}

// Reconcile implements reconcile.Reconciler.
func (r *SessionLogoutReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	l, last := &v1.SessionLogout{}, r.written.of(req.NamespacedName)
	if err := r.Client.Get(ctx, req.NamespacedName, l); apierrors.IsNotFound(err) {
		r.written.forget(req.NamespacedName)
		return ctrl.Result{}, nil
	} else if err != nil {
		return ctrl.Result{}, fmt.Errorf("reading SessionLogout %s: %w", req.NamespacedName, err)
	}
	if last.hides(l.ResourceVersion) {
		return ctrl.Result{RequeueAfter: behindWait}, nil // the cache does not show that write yet
	}
	r.written.seen(req.NamespacedName, last)
	if isGoing(l) {
		return ctrl.Result{}, nil
	}
	if session.Finished(l) {
		return r.remove(ctx, l)
	}
	affected, err := r.Orders.signedOutBy(ctx, l)
	if err != nil {
		return ctrl.Result{}, err
	}
	done, err := r.signedOut(ctx, l)
	if err != nil {
		return ctrl.Result{}, err
	}
	if err := r.report(ctx, l, session.LogoutStatus(l, affected, done, r.Clock.Now())); err != nil {
		return ctrl.Result{}, ignoreNamespaceEnding(err)
	}
	if session.Finished(l) {
		return r.remove(ctx, l)
	}
	return ctrl.Result{RequeueAfter: endWait, Priority: new(session.PriorityResync)}, nil // what changes before the index shows that it has begun is not heard of
}

// signedOut is how many sessions a logout has signed out, as their status tells.
func (r *SessionLogoutReconciler) signedOut(ctx context.Context, l *v1.SessionLogout) (int, error) {
	list := &v1.TerminalSessionList{}
	err := r.Client.List(ctx, list, client.InNamespace(l.Namespace), stores.Where(indexLogout, string(l.UID)), client.UnsafeDisableDeepCopy)
	if err != nil {
		return 0, fmt.Errorf("listing the sessions that SessionLogout %s has signed out: %w", l.Name, err)
	}
	return len(list.Items), nil
}

func (r *SessionLogoutReconciler) report(ctx context.Context, l *v1.SessionLogout, status v1.SessionLogoutStatus) error {
	if equality.Semantic.DeepEqual(l.Status, status) {
		return nil
	}
	before := l.DeepCopy()
	l.Status = status
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	if err := r.Client.Status().Patch(ctx, l, patch); err != nil {
		return client.IgnoreNotFound(fmt.Errorf("writing the status of SessionLogout %s: %w", client.ObjectKeyFromObject(l), err))
	}
	r.written.note(client.ObjectKeyFromObject(l), before.ResourceVersion, l.ResourceVersion)
	if session.Finished(l) || before.Status.StartedAt == nil {
		log.FromContext(ctx).Info("logout changed", "matched", *status.Matched, "signedOut", *status.SignedOut, "finished", session.Finished(l),
			"by", l.Spec.RequestedBy)
	}
	return nil
}

// remove deletes a finished logout when its time is over.
func (r *SessionLogoutReconciler) remove(ctx context.Context, l *v1.SessionLogout) (ctrl.Result, error) {
	at, now := session.LogoutRemoval(l), r.Clock.Now()
	if at.IsZero() {
		return ctrl.Result{}, nil
	}
	if now.Before(at) {
		return ctrl.Result{RequeueAfter: max(at.Sub(now), time.Second)}, nil
	}
	err := r.Client.Delete(ctx, l, client.Preconditions{UID: &l.UID, ResourceVersion: &l.ResourceVersion})
	if client.IgnoreNotFound(err) != nil {
		return ctrl.Result{}, fmt.Errorf("deleting SessionLogout %s, which finished ttlSecondsAfterFinished ago: %w", client.ObjectKeyFromObject(l), err)
	}
	return ctrl.Result{}, nil
}

// SetupWithManager makes the manager run the reconciler.
func (r *SessionLogoutReconciler) SetupWithManager(mgr ctrl.Manager, o Options) error {
	return ctrl.NewControllerManagedBy(mgr).
		Named("sessionlogout").
		WithOptions(controller.Options{EnableWarmup: new(true), RateLimiter: rateLimiter(), NewQueue: o.NewQueue}).
		For(&v1.SessionLogout{}, builder.WithPredicates(changedByOthers())).
		Watches(&v1.TerminalSession{}, later(r.ofSession, countsOtherwise)).
		Complete(while(o.Leading, r))
}

// ofSession finds the logouts that have begun where a session is.
func (r *SessionLogoutReconciler) ofSession(ctx context.Context, o client.Object) []reconcile.Request {
	running := &v1.SessionLogoutList{}
	err := r.Client.List(ctx, running, client.InNamespace(o.GetNamespace()), stores.Where(indexRunning, "true"), client.UnsafeDisableDeepCopy)
	if err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "finding the logouts that an event concerns")
		return nil
	}
	requests := make([]reconcile.Request, 0, len(running.Items))
	for i := range running.Items {
		requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&running.Items[i])})
	}
	return requests
}
