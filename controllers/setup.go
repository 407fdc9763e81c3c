package controllers

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/internal/session"
	"terminals.dev/session-controller/internal/tokenstore"
)

// Names of the indexes over sessions.
const (
	indexSecretName = "secretName" // where the token is, and where spec wants it
	indexAuthSecret = "authSecret" // where the auth token is
	indexProvider   = "provider"   // kind and name of the provider
	indexSessionID  = "sessionID"
	indexMatch      = "match"   // what bans go by; over bans, and over sessions
	indexLogout     = "logout"  // the logout that was applied last
	indexRunning    = "running" // over logouts: those that have begun
	// over providers: the Secrets with their credentials
	indexCredentials = "credentials"
)

// CacheOptions are what the controllers need of a cache: Secrets and namespaces as metadata alone, and nobody's managedFields.
func CacheOptions() cache.Options {
	return cache.Options{
		DefaultTransform: cache.TransformStripManagedFields(),
		ByObject: map[client.Object]cache.ByObject{
			&corev1.Secret{}: {Transform: tokenstore.Strip},
		},
	}
}

// Index adds the indexes that the controllers look things up by. What is the cluster's own is left out where it may not be read.
func Index(ctx context.Context, indexer client.FieldIndexer, clusterWide bool) error {
	if err := tokenstore.Index(ctx, indexer); err != nil {
		return err
	}
	if err := indexOrders(ctx, indexer, clusterWide); err != nil {
		return err
	}
	providers := []client.Object{&v1.SessionProvider{}}
	if clusterWide {
		providers = append(providers, &v1.ClusterSessionProvider{})
	}
	for _, kind := range providers {
		err := indexer.IndexField(ctx, kind, indexCredentials, func(o client.Object) []string {
			return credentialSecrets(o.(v1.Provider).ProviderSpec())
		})
		if err != nil {
			return fmt.Errorf("indexing providers by %s: %w", indexCredentials, err)
		}
	}
	indexes := map[string]func(*v1.TerminalSession) []string{
		indexSecretName: secretNames,
		indexAuthSecret: func(s *v1.TerminalSession) []string {
			if s.Spec.AuthTokenSecretRef == nil {
				return nil
			}
			return []string{s.Spec.AuthTokenSecretRef.Name}
		},
		indexProvider: func(s *v1.TerminalSession) []string {
			return []string{providerIndexKey(s.Spec.ProviderRef.Kind, s.Spec.ProviderRef.Name)}
		},
		indexSessionID: func(s *v1.TerminalSession) []string {
			if s.Status.SessionID == "" {
				return nil
			}
			return []string{s.Status.SessionID}
		},
		indexMatch: session.Keys,
		indexLogout: func(s *v1.TerminalSession) []string {
			if s.Status.LastLogoutUID == "" {
				return nil
			}
			return []string{s.Status.LastLogoutUID}
		},
	}
	for name, values := range indexes {
		err := indexer.IndexField(ctx, &v1.TerminalSession{}, name, func(o client.Object) []string { return values(o.(*v1.TerminalSession)) })
		if err != nil {
			return fmt.Errorf("indexing sessions by %s: %w", name, err)
		}
	}
	return nil
}

// secretNames are those that a session has, or waits for.
func secretNames(s *v1.TerminalSession) []string {
	names := []string{session.SecretName(s)}
	if t := s.Status.Token; t != nil && t.SecretName != names[0] {
		names = append(names, t.SecretName)
	}
	return names
}

func providerIndexKey(kind v1.ProviderKind, name string) string { return string(kind) + "/" + name }

// SetupWithManager makes the manager run the reconciler, concurrent sessions at a time.
func (r *TerminalSessionReconciler) SetupWithManager(mgr ctrl.Manager, concurrent int) error {
	r.calls.workers = concurrent
	b := ctrl.NewControllerManagedBy(mgr).
		Named("terminalsession").
		WithOptions(controller.Options{
			MaxConcurrentReconciles: concurrent,
			EnableWarmup:            new(true),
			// Failures here are the API server's. Those of providers back off by status, which survives a restart.
			RateLimiter: rateLimiter(),
		}).
		Watches(&v1.TerminalSession{}, r.bySession()).
		Watches(tokenstore.Watched(), handler.EnqueueRequestsFromMapFunc(r.ofSecret)).
		Watches(&v1.SessionProvider{}, handler.EnqueueRequestsFromMapFunc(r.ofProvider), builder.WithPredicates(providerNews())).
		Watches(&v1.SessionBan{}, r.urgent(r.ofBan), builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&v1.SessionLogout{}, r.urgent(r.ofLogout))
	if r.Providers.clusterWide() {
		b = b.
			Watches(&v1.ClusterSessionBan{}, r.urgent(r.ofBan), builder.WithPredicates(predicate.GenerationChangedPredicate{})).
			Watches(&v1.ClusterSessionProvider{}, handler.EnqueueRequestsFromMapFunc(r.ofProvider), builder.WithPredicates(providerNews())).
			WatchesMetadata(&corev1.Namespace{}, handler.EnqueueRequestsFromMapFunc(r.ofNamespace), builder.WithPredicates(namespaceNews()))
	}
	return b.Complete(r)
}

func rateLimiter() workqueue.TypedRateLimiter[reconcile.Request] {
	return workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](50*time.Millisecond, time.Minute)
}

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
			if !r.written.own(client.ObjectKeyFromObject(e.ObjectNew), e.ObjectNew.GetResourceVersion()) {
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
	add := func(ctx context.Context, q queue, o client.Object) {
		for _, s := range concerned(ctx, o) {
			r.calls.callOff(client.ObjectKeyFromObject(s))
			enqueue(q, client.ObjectKeyFromObject(s), session.PriorityEnd)
		}
	}
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, q queue) { add(ctx, q, e.Object) },
		DeleteFunc: func(ctx context.Context, e event.DeleteEvent, q queue) { add(ctx, q, e.Object) },
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q queue) {
			add(ctx, q, e.ObjectOld)
			add(ctx, q, e.ObjectNew)
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
		for _, req := range r.matching(ctx, before.GetNamespace(), client.MatchingFields{indexSecretName: name}) {
			q.Add(req)
		}
	}
}

// ofSecret wakes the sessions that a Secret is of, or that name it, or whose provider does.
func (r *TerminalSessionReconciler) ofSecret(ctx context.Context, secret client.Object) []reconcile.Request {
	if !r.Providers.serves(secret.GetNamespace()) {
		return nil // of the controller's own namespace the cache has the revocations alone
	}
	requests := r.matching(ctx, secret.GetNamespace(), client.MatchingFields{indexSecretName: secret.GetName()})
	requests = append(requests, r.matching(ctx, secret.GetNamespace(), client.MatchingFields{indexAuthSecret: secret.GetName()})...)
	if name := secret.GetLabels()[tokenstore.LabelSession]; name != "" {
		requests = append(requests, reconcile.Request{NamespacedName: types.NamespacedName{Namespace: secret.GetNamespace(), Name: name}})
	}
	naming, err := r.Providers.naming(ctx, secret)
	if err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "finding the providers that an event concerns")
	}
	for _, p := range naming {
		requests = append(requests, r.ofProvider(ctx, p)...)
	}
	return requests
}

func (r *TerminalSessionReconciler) ofProvider(ctx context.Context, o client.Object) []reconcile.Request {
	kind := kindOf(o.(v1.Provider))
	return r.matching(ctx, o.GetNamespace(), client.MatchingFields{indexProvider: providerIndexKey(kind, o.GetName())})
}

func (r *TerminalSessionReconciler) ofNamespace(ctx context.Context, ns client.Object) []reconcile.Request {
	return r.matching(ctx, ns.GetName())
}

func (r *TerminalSessionReconciler) matching(ctx context.Context, namespace string, by ...client.ListOption) []reconcile.Request {
	list := &v1.TerminalSessionList{}
	if err := r.Client.List(ctx, list, append(by, client.InNamespace(namespace), client.UnsafeDisableDeepCopy)...); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "finding the sessions that an event concerns")
		return nil
	}
	requests := make([]reconcile.Request, 0, len(list.Items))
	for i := range list.Items {
		requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&list.Items[i])})
	}
	return requests
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

// SetupWithManager makes the manager run the reconciler.
func (r *SessionProviderReconciler) SetupWithManager(mgr ctrl.Manager) error {
	var watched client.Object = &v1.SessionProvider{}
	if r.Kind == v1.KindClusterSessionProvider {
		watched = &v1.ClusterSessionProvider{}
	}
	b := ctrl.NewControllerManagedBy(mgr).
		Named(map[v1.ProviderKind]string{
			v1.KindSessionProvider: "sessionprovider", v1.KindClusterSessionProvider: "clustersessionprovider",
		}[r.Kind]).
		WithOptions(controller.Options{MaxConcurrentReconciles: providersAtOnce, EnableWarmup: new(true), RateLimiter: rateLimiter()}).
		For(watched).
		WatchesRawSource(r.Providers.doubted(r.Kind)).
		Watches(&v1.SessionProvider{}, handler.EnqueueRequestsFromMapFunc(r.withSameURL)).
		Watches(tokenstore.Watched(), handler.EnqueueRequestsFromMapFunc(r.ofSecret))
	if r.Providers.clusterWide() {
		b = b.Watches(&v1.ClusterSessionProvider{}, handler.EnqueueRequestsFromMapFunc(r.withSameURL))
	}
	return b.Complete(r)
}

// ofSecret wakes the provider that a signing key is of, and those that have credentials in a Secret.
func (r *SessionProviderReconciler) ofSecret(ctx context.Context, secret client.Object) []reconcile.Request {
	if !r.Providers.serves(secret.GetNamespace()) {
		return nil // of the controller's own namespace the cache has the revocations alone
	}
	var requests []reconcile.Request
	if ref := metav1.GetControllerOf(secret); ref != nil && ref.Kind == string(r.Kind) && secret.GetLabels()[tokenstore.LabelProvider] != "" {
		key := types.NamespacedName{Name: ref.Name}
		if r.Kind == v1.KindSessionProvider {
			key.Namespace = secret.GetNamespace()
		}
		requests = append(requests, reconcile.Request{NamespacedName: key})
	}
	naming, err := r.Providers.naming(ctx, secret)
	if err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "finding the providers that an event concerns")
	}
	for _, p := range naming {
		if kindOf(p) == r.Kind {
			requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(p)})
		}
	}
	return requests
}

// withSameURL wakes the providers that have, or wait for, the issuer URL of one that has changed or gone.
func (r *SessionProviderReconciler) withSameURL(ctx context.Context, changed client.Object) []reconcile.Request {
	all, err := r.Providers.all(ctx)
	if err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "finding the providers that an event concerns")
		return nil
	}
	var requests []reconcile.Request
	for _, o := range all {
		ready := meta.FindStatusCondition(o.ProviderStatus().Conditions, v1.ConditionReady)
		waits := ready != nil && ready.Reason == v1.ReasonIssuerURLTaken
		same := sameURL(r.Providers.issuerURL(o), r.Providers.issuerURL(changed.(v1.Provider)))
		if kindOf(o) == r.Kind && o.GetUID() != changed.GetUID() && (waits || same) {
			requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(o)})
		}
	}
	return requests
}
