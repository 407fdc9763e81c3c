package controllers

import (
	"context"
	"fmt"
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
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/internal/session"
	"terminals.dev/session-controller/internal/tokenstore"
)

// Names of the indexes over sessions.
const (
	indexSecretName = "secretName" // where the token is, and where spec wants it, but for the name that follows from the session's
	indexAuthSecret = "authSecret" // where the auth token is
	indexMatch      = "match"      // what bans go by; over bans, and by hash over sessions
	indexLogout     = "logout"     // the logout that was applied last
	indexRunning    = "running"    // over logouts: those that have begun
	// over providers: the Secrets with their credentials
	indexCredentials = "credentials"
)

// CacheOptions are what the controllers need of a cache: Secrets and namespaces as metadata alone, and nobody's managedFields.
func CacheOptions() cache.Options {
	return cache.Options{
		NewInformer:      newInformer,
		DefaultTransform: cache.TransformStripManagedFields(),
		ByObject: map[client.Object]cache.ByObject{
			&v1.TerminalSession{}: {Transform: slim},
			&corev1.Secret{}:      {Transform: tokenstore.Strip},
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
		indexSecretName: foreignSecretNames,
		indexAuthSecret: func(s *v1.TerminalSession) []string {
			if s.Spec.AuthTokenSecretRef == nil {
				return nil
			}
			return []string{s.Spec.AuthTokenSecretRef.Name}
		},
		indexMatch: matchShelves,
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

// SetupWithManager makes the manager run the reconciler, as many sessions at a time as o says beside those that wait for a provider.
func (r *TerminalSessionReconciler) SetupWithManager(mgr ctrl.Manager, o Options) error {
	r.calls.turns.most = o.Concurrent
	if err := mgr.Add(manager.RunnableFunc(r.calls.end)); err != nil {
		return fmt.Errorf("having the process wait for calls that were called off: %w", err)
	}
	b := ctrl.NewControllerManagedBy(mgr).
		Named("terminalsession").
		WithOptions(controller.Options{
			MaxConcurrentReconciles: o.Concurrent + waitingRoom,
			EnableWarmup:            new(true),
			// Failures here are the API server's. Those of providers back off by status, which survives a restart.
			RateLimiter: rateLimiter(),
			NewQueue:    o.NewQueue,
		}).
		Watches(&v1.TerminalSession{}, r.bySession()).
		Watches(tokenstore.Watched(), r.bySecret()).
		Watches(&v1.SessionProvider{}, r.waking(r.ofProvider), builder.WithPredicates(providerNews())).
		Watches(&v1.SessionBan{}, r.urgent(r.ofBan), builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&v1.SessionLogout{}, r.urgent(r.ofLogout))
	if r.Providers.clusterWide() {
		b = b.
			Watches(&v1.ClusterSessionBan{}, r.urgent(r.ofBan), builder.WithPredicates(predicate.GenerationChangedPredicate{})).
			Watches(&v1.ClusterSessionProvider{}, r.waking(r.ofProvider), builder.WithPredicates(providerNews())).
			WatchesMetadata(&corev1.Namespace{}, r.waking(r.ofNamespace), builder.WithPredicates(namespaceNews()))
	}
	return b.Complete(r) // which asks by itself whether it leads
}

func rateLimiter() workqueue.TypedRateLimiter[reconcile.Request] {
	return workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](50*time.Millisecond, time.Minute)
}

// SetupWithManager makes the manager run the reconciler.
func (r *SessionProviderReconciler) SetupWithManager(mgr ctrl.Manager, o Options) error {
	var watched client.Object = &v1.SessionProvider{}
	if r.Kind == v1.KindClusterSessionProvider {
		watched = &v1.ClusterSessionProvider{}
	}
	b := ctrl.NewControllerManagedBy(mgr).
		Named(map[v1.ProviderKind]string{
			v1.KindSessionProvider: "sessionprovider", v1.KindClusterSessionProvider: "clustersessionprovider",
		}[r.Kind]).
		WithOptions(controller.Options{MaxConcurrentReconciles: providersAtOnce, EnableWarmup: new(true), RateLimiter: rateLimiter(), NewQueue: o.NewQueue}).
		// What another leader writes into status is nothing to answer: the two would go on without a pause.
		For(watched, builder.WithPredicates(changedByOthers())).
		WatchesRawSource(r.Providers.doubted(r.Kind)).
		Watches(&v1.SessionProvider{}, handler.EnqueueRequestsFromMapFunc(r.withSameURL)).
		Watches(tokenstore.Watched(), handler.EnqueueRequestsFromMapFunc(r.ofSecret))
	if r.Providers.clusterWide() {
		b = b.Watches(&v1.ClusterSessionProvider{}, handler.EnqueueRequestsFromMapFunc(r.withSameURL))
	}
	return b.Complete(while(o.Leading, r))
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
