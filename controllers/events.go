package controllers

import (
	"context"
	"maps"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/internal/session"
	"terminals.dev/session-controller/internal/stores"
	"terminals.dev/session-controller/internal/tokenstore"
)

type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]

// bySession enqueues a session with the priority that it has by itself, at the initial list as well.
func (r *TerminalSessionReconciler) bySession() handler.EventHandler {
	add := func(ctx context.Context, o client.Object, q queue) {
		s := o.(*v1.TerminalSession)
		priority := session.Priority(s, r.Clock.Now())
		// A restart finds sessions and bans in any order: whichever of the two comes later sees the other.
		if ban, err := r.Orders.ban(ctx, s); err == nil && ban != nil && !session.Enforced(s) {
			priority = session.PriorityEnd
		}
		if isGoing(s) || s.Spec.DesiredState == v1.LoggedOut {
			r.calls.callOff(client.ObjectKeyFromObject(o))
		}
		enqueue(q, client.ObjectKeyFromObject(o), priority)
	}
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, q queue) { add(ctx, e.Object, q) },
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q queue) {
			// What this process wrote itself tells it nothing new, but it may free a name for others.
			key, version := client.ObjectKeyFromObject(e.ObjectNew), e.ObjectNew.GetResourceVersion()
			if !r.written.own(key, version) && !r.statuses.is(key, key.Name, version) {
				add(ctx, e.ObjectNew, q)
			}
			r.wakeHeirs(ctx, q, e.ObjectOld, e.ObjectNew)
		},
		DeleteFunc: func(ctx context.Context, e event.DeleteEvent, q queue) {
			r.wakeHeirs(ctx, q, e.Object, nil)
			enqueue(q, client.ObjectKeyFromObject(e.Object), session.PriorityEnd)
		},
	}
}

func enqueue(q queue, key types.NamespacedName, priority int) {
	req := reconcile.Request{NamespacedName: key}
	if pq, ok := q.(priorityqueue.PriorityQueue[reconcile.Request]); ok {
		pq.AddWithOpts(priorityqueue.AddOpts{Priority: &priority}, req)
		return
	}
	q.Add(req)
}

// urgent enqueues the sessions that a ban or a logout concerns before everything else, at the initial list as well.
func (r *TerminalSessionReconciler) urgent(concerned func(context.Context, client.Object) []*v1.TerminalSession) handler.EventHandler {
	add := func(ctx context.Context, q queue, o client.Object, holds bool) {
		// A renewal is not cut short for an order that is over: what the provider is giving just then would be lost.
		b, isBan := o.(v1.Ban)
		holds = holds && !isGoing(o) && (!isBan || !session.Expired(b, r.Clock.Now()))
		for _, s := range concerned(ctx, o) {
			if holds {
				r.calls.callOff(client.ObjectKeyFromObject(s))
			}
			enqueue(q, client.ObjectKeyFromObject(s), session.PriorityEnd)
		}
	}
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, q queue) { add(ctx, q, e.Object, true) },
		DeleteFunc: func(ctx context.Context, e event.DeleteEvent, q queue) { add(ctx, q, e.Object, false) },
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q queue) {
			add(ctx, q, e.ObjectOld, false)
			add(ctx, q, e.ObjectNew, true)
		},
	}
}

// ofBan finds the sessions that a ban matches, or has matched until now.
func (r *TerminalSessionReconciler) ofBan(ctx context.Context, o client.Object) []*v1.TerminalSession {
	matched, err := r.Orders.matchedBy(ctx, o.(v1.Ban), true)
	if err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "finding the sessions that a ban concerns")
	}
	return matched
}

// ofLogout finds the sessions that a logout which has begun is to sign out.
func (r *TerminalSessionReconciler) ofLogout(ctx context.Context, o client.Object) []*v1.TerminalSession {
	l := o.(*v1.SessionLogout)
	if !session.Running(l) {
		return nil
	}
	affected, err := r.Orders.signedOutBy(ctx, l)
	if err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "finding the sessions that a logout concerns")
	}
	return affected
}

// wakeHeirs wakes the sessions that wait for a Secret's name which another one has let go of. That one may never have had the Secret, so
// that no event of a Secret's tells of it.
func (r *TerminalSessionReconciler) wakeHeirs(ctx context.Context, q queue, before, after client.Object) {
	var kept []string
	if after != nil && after.GetDeletionTimestamp().IsZero() {
		kept = secretNames(after.(*v1.TerminalSession))
	}
	for _, name := range secretNames(before.(*v1.TerminalSession)) {
		if slices.Contains(kept, name) {
			continue
		}
		r.naming(ctx, before.GetNamespace(), name).enqueue(q)
	}
}

// woken are the sessions that an event concerns, each with the priority that it has by itself.
type woken map[types.NamespacedName]int

func (w woken) enqueue(q queue) {
	for key, priority := range w {
		enqueue(q, key, priority)
	}
}

// waking enqueues the sessions that an event concerns, of an update those before and after.
func (r *TerminalSessionReconciler) waking(concerned func(context.Context, client.Object) woken) handler.EventHandler {
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, q queue) { concerned(ctx, e.Object).enqueue(q) },
		DeleteFunc: func(ctx context.Context, e event.DeleteEvent, q queue) { concerned(ctx, e.Object).enqueue(q) },
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q queue) {
			all := concerned(ctx, e.ObjectOld)
			maps.Copy(all, concerned(ctx, e.ObjectNew))
			all.enqueue(q)
		},
	}
}

// bySecret enqueues the sessions that a Secret concerns, but not the one that has just written it.
func (r *TerminalSessionReconciler) bySecret() handler.EventHandler {
	others := func(secret client.Object, all woken) woken {
		writer := types.NamespacedName{Namespace: secret.GetNamespace(), Name: secret.GetLabels()[tokenstore.LabelSession]}
		if r.tokens.is(writer, secret.GetName(), secret.GetResourceVersion()) {
			delete(all, writer)
		}
		return all
	}
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, q queue) {
			others(e.Object, r.ofSecret(ctx, e.Object)).enqueue(q)
		},
		DeleteFunc: func(ctx context.Context, e event.DeleteEvent, q queue) { r.ofSecret(ctx, e.Object).enqueue(q) },
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q queue) {
			all := r.ofSecret(ctx, e.ObjectOld)
			maps.Copy(all, r.ofSecret(ctx, e.ObjectNew))
			others(e.ObjectNew, all).enqueue(q)
		},
	}
}

// ofSecret wakes the sessions that a Secret is of, or that name it, or whose provider does.
func (r *TerminalSessionReconciler) ofSecret(ctx context.Context, secret client.Object) woken {
	all := woken{}
	if !r.Providers.serves(secret.GetNamespace()) {
		return all // of the controller's own namespace the cache has the revocations alone
	}
	if name := secret.GetLabels()[tokenstore.LabelSession]; name != "" {
		s, key := &v1.TerminalSession{}, types.NamespacedName{Namespace: secret.GetNamespace(), Name: name}
		all[key] = session.PriorityEnd // of a session that is gone
		if err := r.Client.Get(ctx, key, s, client.UnsafeDisableDeepCopy); err == nil {
			all[key] = session.Priority(s, r.Clock.Now())
		}
	}
	maps.Copy(all, r.naming(ctx, secret.GetNamespace(), secret.GetName()))
	maps.Copy(all, r.ofAuthToken(ctx, secret))
	naming, err := r.Providers.naming(ctx, secret)
	if err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "finding the providers that an event concerns")
	}
	for _, p := range naming {
		maps.Copy(all, r.ofProvider(ctx, p))
	}
	return all
}

// ofProvider goes through all sessions: providers seldom change, and to index each session by its own would cost memory all the time.
func (r *TerminalSessionReconciler) ofProvider(ctx context.Context, o client.Object) woken {
	ref := v1.ProviderReference{Kind: kindOf(o.(v1.Provider)), Name: o.GetName()}
	return r.matching(ctx, o.GetNamespace(), func(s *v1.TerminalSession) bool { return s.Spec.ProviderRef == ref })
}

func (r *TerminalSessionReconciler) ofNamespace(ctx context.Context, ns client.Object) woken {
	return r.matching(ctx, ns.GetName(), func(*v1.TerminalSession) bool { return true })
}

// ofAuthToken wakes the sessions whose auth token is in a Secret.
func (r *TerminalSessionReconciler) ofAuthToken(ctx context.Context, secret client.Object) woken {
	return r.matching(ctx, secret.GetNamespace(), func(*v1.TerminalSession) bool { return true }, stores.Where(indexAuthSecret, secret.GetName()))
}

func (r *TerminalSessionReconciler) matching(ctx context.Context, namespace string, fits func(*v1.TerminalSession) bool, by ...client.ListOption) woken {
	list, all := &v1.TerminalSessionList{}, woken{}
	if err := r.Client.List(ctx, list, append(by, client.InNamespace(namespace), client.UnsafeDisableDeepCopy)...); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "finding the sessions that an event concerns")
		return all
	}
	now := r.Clock.Now()
	for i := range list.Items {
		if s := &list.Items[i]; fits(s) {
			all[client.ObjectKeyFromObject(s)] = session.Priority(s, now)
		}
	}
	return all
}

// naming are the sessions whose token is in a Secret, or which want it there.
func (r *TerminalSessionReconciler) naming(ctx context.Context, namespace, secret string) woken {
	all := woken{}
	sessions, err := naming(ctx, r.Client, namespace, secret)
	if err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "finding the sessions that an event concerns")
	}
	for _, s := range sessions {
		all[client.ObjectKeyFromObject(s)] = session.Priority(s, r.Clock.Now())
	}
	return all
}

// urgency is the priority that a session has as far as the cache tells, with the orders that there are for it.
func (r *TerminalSessionReconciler) urgency(ctx context.Context, key types.NamespacedName) int {
	s := &v1.TerminalSession{}
	if err := r.Client.Get(ctx, key, s, client.UnsafeDisableDeepCopy); apierrors.IsNotFound(err) {
		return session.PriorityEnd
	} else if err != nil {
		return session.PriorityResync
	}
	if ordered, err := r.ordered(ctx, s); err == nil && ordered {
		return session.PriorityEnd
	}
	return session.Priority(s, r.Clock.Now())
}

// providerNews are the changes that sessions rest on: the spec, and whether the provider is ready.
func providerNews() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		before, after := e.ObjectOld.(v1.Provider), e.ObjectNew.(v1.Provider)
		if before.GetGeneration() != after.GetGeneration() ||
			before.ProviderStatus().ObservedGeneration != after.ProviderStatus().ObservedGeneration {
			return true
		}
		a := meta.FindStatusCondition(before.ProviderStatus().Conditions, v1.ConditionReady)
		b := meta.FindStatusCondition(after.ProviderStatus().Conditions, v1.ConditionReady)
		return (a == nil) != (b == nil) || a != nil && (a.Status != b.Status || a.Message != b.Message)
	}}
}

// namespaceNews are changes of a namespace's labels, by which providers select it.
func namespaceNews() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc: func(event.CreateEvent) bool { return false },
		DeleteFunc: func(event.DeleteEvent) bool { return false },
		UpdateFunc: predicate.LabelChangedPredicate{}.Update,
	}
}
