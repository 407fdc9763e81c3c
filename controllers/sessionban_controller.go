package controllers

import (
	"context"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/internal/session"
)

// recount is how long a ban or a logout waits before it counts again, so that a thousand sessions which end do not make a thousand writes.
const recount = 500 * time.Millisecond

// +kubebuilder:rbac:groups=terminals.dev,resources=sessionbans;clustersessionbans,verbs=list;watch
// +kubebuilder:rbac:groups=terminals.dev,resources=sessionbans/status;clustersessionbans/status,verbs=patch

// SessionBanReconciler tells in the status of the bans of one kind how many sessions match and how many of those are terminated. It ends
// none itself: each session looks for the ban in force, so that a ban needs nobody to act on it.
type SessionBanReconciler struct {
	// Cluster is whether the kind is ClusterSessionBan.
	Cluster bool
	// Client reads from the cache and writes to the API server.
	Client client.Client
	// Orders finds the sessions.
	Orders *Orders
	// Clock is the time of day.
	Clock clock.PassiveClock

	written written
}

// Reconcile implements reconcile.Reconciler.
func (r *SessionBanReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	ban, last := newBan(r.Cluster), r.written.of(req.NamespacedName)
	if err := r.Client.Get(ctx, req.NamespacedName, ban); apierrors.IsNotFound(err) {
		r.written.forget(req.NamespacedName)
		return ctrl.Result{}, nil
	} else if err != nil {
		return ctrl.Result{}, fmt.Errorf("reading ban %s: %w", req.NamespacedName, err)
	}
	if last.hides(ban.GetResourceVersion()) {
		return ctrl.Result{RequeueAfter: behindWait}, nil // the cache does not show that write yet
	}
	r.written.seen(req.NamespacedName, last)
	if isGoing(ban) {
		return ctrl.Result{}, nil
	}
	matched, err := r.Orders.matchedBy(ctx, ban, false)
	if err != nil {
		return ctrl.Result{}, err
	}
	enforced := 0
	for _, s := range matched {
		if session.Enforced(s) {
			enforced++
		}
	}
	now := r.Clock.Now()
	if err := r.report(ctx, ban, session.BanStatus(ban, len(matched), enforced, now)); err != nil {
		return ctrl.Result{}, ignoreNamespaceEnding(err)
	}
	if at := ban.BanSpec().ExpiresAt; at != nil && now.Before(at.Time) {
		return ctrl.Result{RequeueAfter: at.Sub(now)}, nil
	}
	return ctrl.Result{}, nil
}

func (r *SessionBanReconciler) report(ctx context.Context, ban v1.Ban, status v1.SessionBanStatus) error {
	if equality.Semantic.DeepEqual(*ban.BanStatus(), status) {
		return nil
	}
	before := ban.DeepCopyObject().(v1.Ban)
	*ban.BanStatus() = status
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	if err := r.Client.Status().Patch(ctx, ban, patch); err != nil {
		return client.IgnoreNotFound(fmt.Errorf("writing the status of ban %s: %w", client.ObjectKeyFromObject(ban), err))
	}
	r.written.note(client.ObjectKeyFromObject(ban), before.GetResourceVersion(), ban.GetResourceVersion())
	was, is := enforcement(before), enforcement(ban)
	if was != is {
		log.FromContext(ctx).Info("ban changed", "enforced", is, "matched", *status.Matched, "code", ban.BanSpec().Code, "by", ban.BanSpec().RequestedBy)
	}
	return nil
}

func enforcement(b v1.Ban) string {
	if c := meta.FindStatusCondition(b.BanStatus().Conditions, v1.ConditionEnforced); c != nil {
		return c.Reason
	}
	return ""
}

// SetupWithManager makes the manager run the reconciler.
func (r *SessionBanReconciler) SetupWithManager(mgr ctrl.Manager, o Options) error {
	name := map[bool]string{false: "sessionban", true: "clustersessionban"}[r.Cluster]
	b := ctrl.NewControllerManagedBy(mgr).
		Named(name).
		WithOptions(controller.Options{EnableWarmup: new(true), RateLimiter: rateLimiter(), NewQueue: o.NewQueue}).
		For(newBan(r.Cluster), builder.WithPredicates(changedByOthers())).
		Watches(&v1.TerminalSession{}, later(r.ofSession, countsOtherwise))
	if r.Cluster {
		b = b.WatchesMetadata(namespaceMetadata(), later(r.all, nil))
	}
	return b.Complete(while(o.Leading, r))
}

// changedByOthers leaves out what changes status alone, which the controller does itself: a count that is followed by a count would never
// pause.
func changedByOthers() predicate.Predicate {
	return predicate.Or(predicate.GenerationChangedPredicate{}, predicate.LabelChangedPredicate{}, predicate.AnnotationChangedPredicate{})
}

// ofSession finds the bans of this kind that may match a session.
func (r *SessionBanReconciler) ofSession(ctx context.Context, o client.Object) []reconcile.Request {
	bans, err := r.Orders.bansOn(ctx, o.(*v1.TerminalSession), r.Cluster)
	if err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "finding the bans that an event concerns")
		return nil
	}
	return r.requests(bans)
}

// all finds every ban: a namespace's labels have changed.
func (r *SessionBanReconciler) all(ctx context.Context, _ client.Object) []reconcile.Request {
	bans, err := r.Orders.list(ctx, "", r.Cluster)
	if err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "finding the bans that an event concerns")
		return nil
	}
	return r.requests(slices.DeleteFunc(bans, func(b v1.Ban) bool { return b.Namespaces() == nil }))
}

func (r *SessionBanReconciler) requests(bans []v1.Ban) []reconcile.Request {
	requests := make([]reconcile.Request, 0, len(bans))
	for _, b := range bans {
		requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(b)})
	}
	return requests
}

// countsOtherwise is whether a change of a session changes what a ban or a logout counts.
func countsOtherwise(before, after client.Object) bool {
	a, b := before.(*v1.TerminalSession), after.(*v1.TerminalSession)
	return a.Status.Phase != b.Status.Phase || (a.Status.Token == nil) != (b.Status.Token == nil) || isGoing(a) != isGoing(b) ||
		a.Status.LastLogoutUID != b.Status.LastLogoutUID || !slices.Equal(session.Keys(a), session.Keys(b))
}

// foundOtherwise is whether what an object was found by has changed.
func foundOtherwise(before, after client.Object) bool {
	a, isSession := before.(*v1.TerminalSession)
	return !isSession || !slices.Equal(session.Keys(a), session.Keys(after.(*v1.TerminalSession)))
}

// later enqueues what events concern, after a while in which more may come, and each thing once: to count again gives way to a logout that is
// to begin. An update concerns what its object was found by before as well.
func later(concerned handler.MapFunc, matters func(before, after client.Object) bool) handler.EventHandler {
	add := func(ctx context.Context, q queue, objects ...client.Object) {
		for _, o := range objects {
			for _, req := range concerned(ctx, o) {
				if pq, ok := q.(priorityqueue.PriorityQueue[reconcile.Request]); ok {
					pq.AddWithOpts(priorityqueue.AddOpts{After: recount, Priority: new(session.PriorityResync)}, req)
				} else {
					q.AddAfter(req, recount)
				}
			}
		}
	}
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, q queue) { add(ctx, q, e.Object) },
		DeleteFunc: func(ctx context.Context, e event.DeleteEvent, q queue) { add(ctx, q, e.Object) },
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q queue) {
			if matters != nil && !matters(e.ObjectOld, e.ObjectNew) {
				return
			}
			if add(ctx, q, e.ObjectNew); foundOtherwise(e.ObjectOld, e.ObjectNew) {
				add(ctx, q, e.ObjectOld)
			}
		},
	}
}
