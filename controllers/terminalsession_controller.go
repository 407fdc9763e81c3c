// Package controllers has the reconcilers. Each observes, lets a pure function decide, does the one thing that it says, and reports: what
// is decided, and why, is in internal/session.
package controllers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/log"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/internal/session"
	"terminals.dev/session-controller/internal/telemetry"
	"terminals.dev/session-controller/internal/tokenstore"
)

// FieldManager is the name under which the controller writes.
const FieldManager = "terminal-session-controller"

const (
	// behindWait is how long a session waits for the cache to show what has just been written.
	behindWait = 20 * time.Millisecond
	// endWait is how long a session waits to hear that its Secrets are gone.
	endWait = time.Second
)

// +kubebuilder:rbac:groups=terminals.dev,resources=terminalsessions,verbs=get;list;watch;patch;delete
// +kubebuilder:rbac:groups=terminals.dev,resources=terminalsessions/status,verbs=patch
// +kubebuilder:rbac:groups="",resources=secrets,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups="",resources=namespaces,verbs=list;watch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// TerminalSessionReconciler keeps sessions as their spec asks.
type TerminalSessionReconciler struct {
	// Client reads from the cache and writes to the API server.
	Client client.Client
	// Store keeps the tokens.
	Store *tokenstore.Store
	// Providers finds the sessions' providers.
	Providers *Providers
	// Metrics counts.
	Metrics *telemetry.Metrics
	// Recorder takes the events: warnings, and acts of people.
	Recorder events.EventRecorder
	// Clock is the time of day.
	Clock clock.PassiveClock
	// Orders finds the bans and logouts that concern a session.
	Orders *Orders
	// Activity tells when terminals were last heard of; nil stands for StatusActivity.
	Activity Activity

	written written
	// own are this process's writes of token Secrets and of status of which no event has told yet.
	tokens, statuses own
	silence          silence
	calls            calls
	spent            spent
	pace             pace
}

// Reconcile implements reconcile.Reconciler.
func (r *TerminalSessionReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	if !r.calls.turns.take(ctx, req.NamespacedName, func() int { return r.urgency(ctx, req.NamespacedName) }) {
		return ctrl.Result{}, nil // the process ends
	}
	defer r.calls.turns.give()
	if !whether(r.Providers.Leading) { // asked only now, since the turn may have been long in coming
		return ctrl.Result{RequeueAfter: leadingAgain}, nil
	}
	r.tokens.forget(req.NamespacedName)
	r.statuses.forget(req.NamespacedName)
	s, last := &v1.TerminalSession{}, r.written.of(req.NamespacedName)
	if err := r.Client.Get(ctx, req.NamespacedName, s); apierrors.IsNotFound(err) {
		return ctrl.Result{}, r.gone(ctx, req.NamespacedName)
	} else if err != nil {
		return ctrl.Result{}, fmt.Errorf("reading session %s: %w", req.NamespacedName, err)
	}
	if last.hides(s.ResourceVersion) {
		return result(s, behindWait, r.Clock.Now()), nil // the cache does not show that write yet
	}
	r.written.seen(req.NamespacedName, last)

	seen, err := r.observe(ctx, s)
	if err != nil {
		return result(s, 0, r.Clock.Now()), err
	}
	decision := session.Decide(seen.Input, r.Clock.Now())
	outcome, err := r.act(ctx, seen, decision)
	if late := (*overtaken)(nil); errors.As(err, &late) {
		// A ban or a logout came while the provider was being asked: what there is to do is another thing now.
		seen.Ban, seen.Logout, seen.Discarded = late.ban, late.logout, &late.token
		decision = session.Decide(seen.Input, r.Clock.Now())
		if outcome, err = r.act(ctx, seen, decision); err == nil && decision.Action == session.ActionEnd && !decision.Silent {
			// That the attempt counts is known here alone, so it is reported without a second look.
			seen.Secret, seen.Target, seen.Grant = session.Secret{}, session.Secret{}, session.Grant{}
			decision = session.Decide(seen.Input, r.Clock.Now())
		}
	}
	var full *noRoom
	switch {
	case errors.As(err, &full):
		return result(s, full.wait, r.Clock.Now()), nil
	case errors.Is(err, errNotLeading):
		return seen.result(leadingAgain, r.Clock.Now()), nil
	case errors.Is(err, errCalledOff):
		log.FromContext(ctx).Info("a call to the provider was called off, since the session is to end")
		return ctrl.Result{RequeueAfter: time.Millisecond, Priority: new(session.PriorityEnd)}, nil
	case err != nil:
		return seen.result(0, r.Clock.Now()), ignoreNamespaceEnding(err)
	}
	if seen.CheckDue && decision.Action != session.ActionCheck {
		r.pace.checked(s, seen.provider.CheckEvery, r.Clock.Now()) // something else came first: the next turn will do
	}
	if decision.Action == session.ActionEnd {
		// The Secret's end is heard of; the wait is for one that is not.
		return ctrl.Result{RequeueAfter: endWait, Priority: new(session.PriorityReport)}, nil
	}
	if decision.Silent {
		return ctrl.Result{}, nil
	}
	if err := r.report(context.WithoutCancel(ctx), s, session.Report(seen.Input, decision, outcome, r.Clock.Now())); err != nil {
		return seen.result(0, r.Clock.Now()), err
	}
	if decision.Action == session.ActionPoll && outcome.Failure.EndsLogin() {
		return ctrl.Result{RequeueAfter: behindWait, Priority: new(session.PriorityReport)}, nil // its code is still to go
	}
	if ordered, err := r.ordered(ctx, s); err != nil || ordered || decision.Action == session.ActionCount {
		return ctrl.Result{RequeueAfter: behindWait, Priority: new(session.PriorityEnd)}, err
	}
	if token, status := r.tokens.unclear(req.NamespacedName), r.statuses.unclear(req.NamespacedName); token || status {
		return result(s, behindWait, r.Clock.Now()), nil
	}
	return r.next(s, seen.Ban), nil
}

// ordered is whether there is an order for what the session has become: who is logged in may be known only now, and what this process
// writes itself does not wake it.
func (r *TerminalSessionReconciler) ordered(ctx context.Context, s *v1.TerminalSession) (bool, error) {
	ban, err := r.Orders.ban(ctx, s)
	if err != nil || ban != nil && !session.Enforced(s) {
		return true, err
	}
	logout, err := r.Orders.logout(ctx, s)
	return logout != nil, err
}

// report writes status, if it has changed.
func (r *TerminalSessionReconciler) report(ctx context.Context, s *v1.TerminalSession, status v1.TerminalSessionStatus) error {
	if equality.Semantic.DeepEqual(s.Status, status) {
		return nil
	}
	before := s.DeepCopy()
	s.Status = status
	r.statuses.begin(client.ObjectKeyFromObject(s), s.Name)
	version, err := r.patchStatus(ctx, before, s)
	told := r.statuses.end(client.ObjectKeyFromObject(s), version)
	if err != nil {
		return client.IgnoreNotFound(fmt.Errorf("writing the status of session %s: %w", client.ObjectKeyFromObject(s), err))
	}
	s.ResourceVersion = version
	if !told {
		r.written.note(client.ObjectKeyFromObject(s), before.ResourceVersion, s.ResourceVersion)
	}
	r.tell(ctx, before, s)
	return nil
}

// patchStatus writes what is different in status against the version that was read, and returns the new one. Spec is not compared, and the
// object does not come back: that alone would be a sixth of what a login costs here.
func (r *TerminalSessionReconciler) patchStatus(ctx context.Context, before, after *v1.TerminalSession) (version string, err error) {
	bare := func(status v1.TerminalSessionStatus) *v1.TerminalSession {
		return &v1.TerminalSession{ObjectMeta: metav1.ObjectMeta{ResourceVersion: before.ResourceVersion}, Status: status}
	}
	data, err := client.MergeFromWithOptions(bare(before.Status), client.MergeFromWithOptimisticLock{}).Data(bare(after.Status))
	if err != nil {
		return "", fmt.Errorf("comparing: %w", err)
	}
	answer := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: before.Namespace, Name: before.Name}}
	answer.SetGroupVersionKind(v1.GroupVersion.WithKind("TerminalSession"))
	if err := r.Client.Status().Patch(ctx, answer, client.RawPatch(types.MergePatchType, data)); err != nil {
		return "", err
	}
	return answer.ResourceVersion, nil
}

// tell logs what has changed, counts ends, and makes an event of what people did and of a session that has begun to stall.
func (r *TerminalSessionReconciler) tell(ctx context.Context, before, after *v1.TerminalSession) {
	ready := meta.FindStatusCondition(after.Status.Conditions, v1.ConditionReady)
	if ready == nil {
		return // an attempt was counted, and nothing more is known
	}
	logger := log.FromContext(ctx)
	if before.Status.Phase != after.Status.Phase || before.Status.SessionID != after.Status.SessionID || before.Status.LastLogoutUID != after.Status.LastLogoutUID {
		values := []any{"phase", after.Status.Phase, "was", before.Status.Phase, "reason", ready.Reason, "sessionID", after.Status.SessionID}
		if hold := after.Status.Hold; hold != nil && hold.By != "" {
			values = append(values, "by", hold.By)
		}
		logger.Info("session changed", values...)
	}
	if before.Status.SessionID != "" && before.Status.SessionID != after.Status.SessionID && len(after.Status.Recent) > 0 {
		ended := after.Status.Recent[0]
		r.Metrics.SessionEnded(ended.End)
		if ended.End == v1.ReasonSecretChanged && controllerutil.ContainsFinalizer(after, v1.Finalizer) {
			r.Metrics.Revocation(telemetry.Lost)
		}
		if ended.End == v1.ReasonHandedOver || ended.End == v1.ReasonLoggedOut { // acts of people
			r.Recorder.Eventf(after, nil, corev1.EventTypeNormal, ended.End, "Reconcile", "Session %s of %s has ended.", ended.SessionID, cmp.Or(ended.User, "nobody in particular"))
		}
	}
	if hold := after.Status.Hold; hold != nil && before.Status.LastLogoutUID != after.Status.LastLogoutUID {
		r.Recorder.Eventf(after, nil, corev1.EventTypeWarning, v1.ReasonSignedOut, "Reconcile", "Asked for by %s. %s", cmp.Or(hold.By, "somebody who is not recorded"), hold.Message)
	}
	was := meta.FindStatusCondition(before.Status.Conditions, v1.ConditionReady)
	if ready.Reason == v1.ReasonBanInForce && (was == nil || was.Reason != ready.Reason) {
		r.Recorder.Eventf(after, nil, corev1.EventTypeWarning, v1.ReasonBanInForce, "Reconcile", "%s", ready.Message)
	}
	stalled := meta.FindStatusCondition(after.Status.Conditions, v1.ConditionStalled)
	was = meta.FindStatusCondition(before.Status.Conditions, v1.ConditionStalled)
	if stalled != nil && (was == nil || was.Reason != stalled.Reason) {
		r.Recorder.Eventf(after, nil, corev1.EventTypeWarning, stalled.Reason, "Reconcile", "%s", stalled.Message)
	}
}

// gone deletes at once what a session has left behind, and does not wait for garbage collection to come by.
func (r *TerminalSessionReconciler) gone(ctx context.Context, key client.ObjectKey) error {
	r.written.forget(key)
	r.silence.forget(key)
	r.pace.forget(key)
	r.spent.forget(key)
	left, err := r.Store.Of(ctx, key, "")
	if err != nil || len(left) == 0 {
		return err
	}
	// A cache that has the Secret may not have the session yet: only the API server knows that it is gone.
	s := &v1.TerminalSession{}
	if err := r.Store.Live.Get(ctx, key, s); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("reading session %s: %w", key, err)
	}
	if left, err = r.Store.Of(ctx, key, s.UID); err != nil {
		return err
	}
	left = slices.DeleteFunc(left, func(f tokenstore.Found) bool { return f.State != tokenstore.Leftover })
	return r.Store.Delete(ctx, key.Namespace, left...)
}

// next says when to look again: at the time that status names, when the provider is to be asked of its own accord, or when the terminal's
// silence or the ban in force ends something.
func (r *TerminalSessionReconciler) next(s *v1.TerminalSession, ban *session.Ban) ctrl.Result {
	now := r.Clock.Now()
	wake := session.WakeTime(s, now)
	if ban != nil && !ban.ExpiresAt.IsZero() && (wake.IsZero() || ban.ExpiresAt.Before(wake)) {
		wake = ban.ExpiresAt
	}
	if ask := r.pace.next(s); ask.After(now) && (wake.IsZero() || ask.Before(wake)) {
		wake = ask
	}
	if left := session.SilenceEnds(s, r.silence.of(s, r.lastActive(s), r.Clock)); left > 0 && (wake.IsZero() || now.Add(left).Before(wake)) {
		wake = now.Add(left)
	}
	if wake.IsZero() {
		return result(s, 0, now)
	}
	return result(s, max(wake.Sub(now), time.Millisecond), wake)
}

// result always carries a priority: without one, an item would keep that of the event which brought it here.
func result(s *v1.TerminalSession, after time.Duration, at time.Time) ctrl.Result {
	return ctrl.Result{RequeueAfter: after, Priority: new(session.Priority(s, at))}
}

// result is where a session under an order keeps the urgency that the order gives it.
func (o observation) result(after time.Duration, at time.Time) ctrl.Result {
	if o.Ban != nil || o.Logout != nil {
		return ctrl.Result{RequeueAfter: after, Priority: new(session.PriorityEnd)}
	}
	return result(o.Session, after, at)
}

// ignoreNamespaceEnding drops the refusal to make something in a namespace that is being deleted: the session goes with it.
func ignoreNamespaceEnding(err error) error {
	if apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
		return nil
	}
	return err
}
