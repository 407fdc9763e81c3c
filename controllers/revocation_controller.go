package controllers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/types"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/internal/provider"
	"terminals.dev/session-controller/internal/telemetry"
	"terminals.dev/session-controller/internal/tokenstore"
)

const (
	// revokers is how many revocations are worked on at a time, and revokersOfOne how many of them for one provider: one that does not
	// answer holds up nobody else.
	revokers      = 64
	revokersOfOne = 16
	// revokeTimeout bounds one call.
	revokeTimeout = 10 * time.Second
	// revocationWait is when to look again, at the latest. What is waited for wakes a revocation before, if it comes.
	revocationWait = 10 * time.Minute
)

// +kubebuilder:rbac:groups="",resources=secrets,verbs=get;list;watch;create;delete

// RevocationReconciler tells providers of the tokens that sessions have put aside, and waits with each until its provider is there or the
// token is over by itself.
type RevocationReconciler struct {
	// Store keeps the tokens, in Providers.Namespace.
	Store *tokenstore.Store
	// Providers finds those who are to be told, and their limits.
	Providers *Providers
	// Metrics counts.
	Metrics *telemetry.Metrics
	// Clock is the time of day.
	Clock clock.PassiveClock

	mu     sync.Mutex
	drains map[string]*drain
	// failures are how often the provider has failed with a token.
	failures map[types.NamespacedName]int
}

// revocationOf describes a token that a provider is to be told of: the token, and the refresh token if there is one, that are in req. They
// are over by themselves at expiresAt. The provider is the one that issued them, which need not be the one that spec names now.
func revocationOf(req provider.Request, uid types.UID, attempt int64, issuer v1.ProviderReference, expiresAt time.Time,
) (tokenstore.Revocation, error) {
	description, err := json.Marshal(req.Session)
	if err != nil {
		return tokenstore.Revocation{}, fmt.Errorf("describing session %s for its revocation: %w", req.Session.ID, err)
	}
	of := tokenstore.ProviderReference{Kind: issuer.Kind, Name: issuer.Name}
	if issuer.Kind == v1.KindSessionProvider {
		of.Namespace = req.Session.Namespace
	}
	return tokenstore.Revocation{
		SessionUID: uid, SessionID: req.Session.ID, Attempt: attempt, Provider: of,
		Token: req.Token, RefreshToken: req.RefreshToken, Description: description, ExpiresAt: expiresAt,
	}, nil
}

// requestOf is what revocationOf was made of, as far as a provider is told of it.
func requestOf(r tokenstore.Revocation) (provider.Request, error) {
	req := provider.Request{
		IdempotencyKey: fmt.Sprintf("%s/%d", r.SessionUID, r.Attempt), Token: r.Token, RefreshToken: r.RefreshToken,
	}
	if err := json.Unmarshal(r.Description, &req.Session); err != nil || req.Session.ID != r.SessionID {
		return provider.Request{}, errors.New("the description is of another session, or of none")
	}
	return req, nil
}

// Reconcile implements reconcile.Reconciler.
func (r *RevocationReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	w, there, err := r.Store.Waiting(ctx, req.NamespacedName)
	if err != nil {
		return ctrl.Result{}, err
	}
	if !there {
		r.forget(req.NamespacedName)
		return ctrl.Result{}, nil
	}
	switch now := r.Clock.Now(); {
	case w.ExpiresAt.IsZero():
		return r.unreadable(ctx, w)
	case !now.Before(w.ExpiresAt):
		return r.done(ctx, w, w.Found, telemetry.Expired)
	}

	d, found, err := r.find(ctx, w.Provider)
	if err != nil {
		return urgency(w), err
	}
	if found.problem != "" {
		d.tell(ctx, found.problem)
		return r.later(w, revocationWait), nil
	}
	leave, wait := d.enter(r.Clock.Now(), found.version, r.Providers.limiter(found.obj))
	if leave == nil {
		return r.later(w, wait), nil
	}
	return r.revoke(ctx, w, d, found, leave)
}

// revoke reads a token whose turn it is, and tells the provider.
func (r *RevocationReconciler) revoke(ctx context.Context, w tokenstore.Waiting, d *drain, with revoker, leave func(answer),
) (ctrl.Result, error) {
	said := answer{unasked: true, unsent: true}
	defer func() { leave(said) }()
	key := client.ObjectKey{Namespace: r.Providers.Namespace, Name: w.Name}
	kept, in, err := r.Store.ReadRevocation(ctx, key)
	if err != nil {
		return urgency(w), err
	}
	var req provider.Request
	switch in.State {
	case tokenstore.Absent, tokenstore.Taken:
		r.forget(key)
		return ctrl.Result{}, nil
	case tokenstore.Intact:
		if req, err = requestOf(kept); err == nil {
			break
		}
		fallthrough
	default:
		return r.lost(ctx, w, in)
	}

	logger := log.FromContext(ctx).WithValues("session", req.Session.Namespace+"/"+req.Session.Name, "sessionID", req.Session.ID,
		"provider", referenceTo(with.obj))
	if !whether(r.Providers.Leading) { // it may have stood still since the look began
		return r.later(w, leadingAgain), nil
	}
	if err := r.finish(ctx, kept, req); err != nil {
		return urgency(w), err
	}
	said.unsent = false
	began := r.Clock.Now()
	limited, cancel := context.WithTimeout(ctx, revokeTimeout)
	defer cancel()
	failed := provider.AsError(with.Revoke(limited, req))
	took := r.Clock.Since(began)
	if failed != nil && ctx.Err() != nil {
		return urgency(w), nil // the manager is stopping, and the provider has done nothing wrong
	}
	outcome := string(telemetry.Revoked)
	if failed != nil {
		outcome = string(failed.Kind)
	}
	r.Metrics.ProviderRequest(with.Kind, "Revoke", outcome, took)
	said = answer{began: began, took: took, version: with.version, unsent: failed != nil && errors.Is(failed, errNotAsked)}

	if failed == nil {
		logger.V(1).Info("revoked a token")
		return r.done(ctx, w, in, telemetry.Revoked)
	}
	own := r.failed(key)
	switch failed.Kind {
	case provider.Rejected, provider.GrantDead, provider.Banned:
		logger.Info("the provider refuses to revoke a token, which ends by itself", "reason", failed.Error(), "expiresAt", w.ExpiresAt)
		return r.done(ctx, w, in, telemetry.Refused)
	case provider.AuthTokenMissing: // this token's own trouble
		own = revocationWait
	case provider.Misconfigured:
		own, said.failed, said.pause = revocationWait, true, pauseCap
	default: // Busy, Unavailable, and what nobody has thought of
		said.failed, said.pause = true, min(failed.RetryAfter, retryAfterCap)
		own = max(own, said.pause)
	}
	d.tell(ctx, failed.Error())
	return r.later(w, own), nil
}

// unreadable deals with one whose label does not say when it expires.
func (r *RevocationReconciler) unreadable(ctx context.Context, w tokenstore.Waiting) (ctrl.Result, error) {
	_, in, err := r.Store.ReadRevocation(ctx, client.ObjectKey{Namespace: r.Providers.Namespace, Name: w.Name})
	if err != nil || in.State != tokenstore.Altered {
		return urgency(w), err
	}
	return r.lost(ctx, w, in)
}

// lost drops what somebody has altered: nobody can tell any more what was to be revoked.
func (r *RevocationReconciler) lost(ctx context.Context, w tokenstore.Waiting, in tokenstore.Found) (ctrl.Result, error) {
	log.FromContext(ctx).Info("a token that was put aside for revocation has been altered and ends by itself", "secret", w.Name)
	return r.done(ctx, w, in, telemetry.Lost)
}

// done deletes a revocation of which nothing more is to be done, in the version that was found.
func (r *RevocationReconciler) done(ctx context.Context, w tokenstore.Waiting, in tokenstore.Found, outcome telemetry.RevocationOutcome,
) (ctrl.Result, error) {
	if err := r.Store.Delete(ctx, r.Providers.Namespace, in); err != nil {
		return urgency(w), err
	}
	r.Metrics.Revocation(outcome)
	r.forget(client.ObjectKey{Namespace: r.Providers.Namespace, Name: w.Name})
	return ctrl.Result{}, nil
}

// failed counts a failure with one token, and tells how long to leave that one alone: longer than its provider, so that a token with which
// the provider always fails does not keep out the others.
func (r *RevocationReconciler) failed(key types.NamespacedName) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failures == nil {
		r.failures = map[types.NamespacedName]int{}
	}
	r.failures[key]++
	return doubled(5*time.Second, r.failures[key], revocationWait)
}

func (r *RevocationReconciler) forget(key types.NamespacedName) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.failures, key)
}

// later looks again after a while, or when the token expires if that is sooner.
func (r *RevocationReconciler) later(w tokenstore.Waiting, wait time.Duration) ctrl.Result {
	result := urgency(w)
	result.RequeueAfter = max(min(wait, w.ExpiresAt.Sub(r.Clock.Now())), time.Millisecond)
	return result
}

// urgency is a result with a priority, which each one needs: see result.
func urgency(w tokenstore.Waiting) ctrl.Result {
	return ctrl.Result{Priority: new(revocationPriority(w))}
}

// revocationPriority puts the token that lives longest first, since it is the one to do most harm, and the one that expires next last. It
// does not change as time goes by, so it is the same for events as for timers, and after a restart.
func revocationPriority(w tokenstore.Waiting) int { return int(max(w.ExpiresAt.Unix(), 0)) }

// revoker is the provider of a revocation.
type revoker struct {
	resolved
	obj v1.Provider
	// version is the object's own: any change of it may mend what was wrong.
	version string
	// problem is why it cannot be asked for now; empty if it can.
	problem string
}

// find finds the provider that a label stands for. Whether it allows the session does not matter any more.
func (r *RevocationReconciler) find(ctx context.Context, label string) (*drain, revoker, error) {
	d := r.drain(label)
	of, known := d.reference()
	if !known {
		all, err := r.Providers.all(ctx)
		if err != nil {
			return d, revoker{}, err
		}
		i := slices.IndexFunc(all, func(o v1.Provider) bool { return referenceTo(o).Label() == label })
		if i < 0 {
			return d, revoker{problem: "their provider does not exist, or is out of reach"}, nil
		}
		of = referenceTo(all[i])
		d.refer(of)
	}
	obj, err := r.Providers.get(ctx, of.Kind, of.Namespace, of.Name)
	if apierrors.IsNotFound(err) {
		return d, revoker{problem: "their provider does not exist"}, nil
	} else if err != nil {
		return d, revoker{}, err
	}
	if !issues(obj) {
		return d, revoker{problem: "their provider is not ready"}, nil
	}
	found := revoker{obj: obj, version: obj.GetResourceVersion()}
	asked, problem, err := r.Providers.clientOf(ctx, obj)
	if err != nil {
		return d, found, err
	}
	if problem.Reason != "" {
		found.problem = problem.Message
		return d, found, nil
	}
	found.resolved = asked
	if can := found.Capabilities(); !can.RevokesByToken && !can.RevokesBySession {
		found.problem = "their provider is not one that can be told, as it was when it issued them"
	}
	return d, found, nil
}

func referenceTo(obj v1.Provider) tokenstore.ProviderReference {
	return tokenstore.ProviderReference{Kind: kindOf(obj), Namespace: obj.GetNamespace(), Name: obj.GetName()}
}

// drain is the drain of the revocations of the provider that a label stands for.
func (r *RevocationReconciler) drain(label string) *drain {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.drains == nil {
		r.drains = map[string]*drain{}
	}
	if r.drains[label] == nil {
		r.drains[label] = &drain{label: label}
	}
	return r.drains[label]
}

// SetupWithManager makes the manager run the reconciler.
func (r *RevocationReconciler) SetupWithManager(mgr ctrl.Manager, o Options) error {
	b := ctrl.NewControllerManagedBy(mgr).
		Named("revocation").
		WithOptions(controller.Options{MaxConcurrentReconciles: revokers, EnableWarmup: new(true), RateLimiter: rateLimiter(), NewQueue: o.NewQueue}).
		Watches(tokenstore.Watched(), r.bySecret()).
		Watches(&v1.SessionProvider{}, r.byProvider(), builder.WithPredicates(providerNews()))
	if r.Providers.clusterWide() {
		b = b.Watches(&v1.ClusterSessionProvider{}, r.byProvider(), builder.WithPredicates(providerNews()))
	}
	return b.Complete(while(o.Leading, r))
}

// bySecret enqueues a revocation with the priority that it has by itself, at the initial list as well.
func (r *RevocationReconciler) bySecret() handler.EventHandler {
	add := func(o client.Object, q queue) {
		if o.GetNamespace() != r.Providers.Namespace {
			return
		}
		if w, ok := tokenstore.IsWaiting(o); ok {
			r.enqueue(q, w)
		}
	}
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, q queue) { add(e.Object, q) },
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, q queue) { add(e.ObjectNew, q) },
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, _ queue) { r.forget(client.ObjectKeyFromObject(e.Object)) },
	}
}

// byProvider wakes the revocations that wait for a provider.
func (r *RevocationReconciler) byProvider() handler.EventHandler {
	wake := func(ctx context.Context, o client.Object, q queue) {
		all, err := r.Store.WaitingFor(ctx, r.Providers.Namespace, referenceTo(o.(v1.Provider)))
		if err != nil {
			ctrl.LoggerFrom(ctx).Error(err, "finding the revocations that an event concerns")
		}
		for _, w := range all {
			r.enqueue(q, w)
		}
	}
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, q queue) { wake(ctx, e.Object, q) },
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q queue) { wake(ctx, e.ObjectNew, q) },
	}
}

func (r *RevocationReconciler) enqueue(q queue, w tokenstore.Waiting) {
	req := reconcile.Request{NamespacedName: types.NamespacedName{Namespace: r.Providers.Namespace, Name: w.Name}}
	if pq, ok := q.(priorityqueue.PriorityQueue[reconcile.Request]); ok {
		pq.AddWithOpts(priorityqueue.AddOpts{Priority: new(revocationPriority(w))}, req)
		return
	}
	q.Add(req)
}

// Confine confines a cache to the namespaces that are served, and to the revocations in the controller's own.
func Confine(o *cache.Options, own string, served []string) {
	o.DefaultNamespaces = map[string]cache.Config{}
	for _, namespace := range served {
		o.DefaultNamespaces[namespace] = cache.Config{}
	}
	if slices.Contains(served, own) {
		return
	}
	waiting, err := labels.NewRequirement(tokenstore.LabelRevocation, selection.Exists, nil)
	utilruntime.Must(err)
	for object, by := range o.ByObject {
		if _, secrets := object.(*corev1.Secret); secrets {
			by.Namespaces = maps.Clone(o.DefaultNamespaces)
			by.Namespaces[own] = cache.Config{LabelSelector: labels.NewSelector().Add(*waiting)}
			o.ByObject[object] = by
		}
	}
}
