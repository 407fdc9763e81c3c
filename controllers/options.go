package controllers

import (
	"context"
	"fmt"

	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/internal/egress"
	"terminals.dev/session-controller/internal/provider"
	"terminals.dev/session-controller/internal/stores"
	"terminals.dev/session-controller/internal/telemetry"
	"terminals.dev/session-controller/internal/tokenstore"
)

// NewQueue makes the queue of one controller.
type NewQueue func(controller string, limiter workqueue.TypedRateLimiter[reconcile.Request]) workqueue.TypedRateLimitingInterface[reconcile.Request]

// Options are what the reconcilers have to be told.
type Options struct {
	// Namespace is the controller's own.
	Namespace string
	// Namespaces are those that are served, with nothing more than Roles in them. Empty, the whole cluster is.
	Namespaces []string
	// IssuerURL is the base of the embedded issuers' URLs, without a slash at its end.
	IssuerURL string
	// Concurrent is how many sessions are worked on at a time.
	Concurrent int
	// Egress and AllowHTTP are as in Providers.
	Egress    egress.Allow
	AllowHTTP bool
	// Metrics counts, Recorder takes the events, and Clock is the time of day.
	Metrics  *telemetry.Metrics
	Recorder events.EventRecorder
	Clock    clock.PassiveClock
	// Leading is whether this replica may act. It is asked at the beginning of each look and right before each call to a provider, so it must
	// cost nothing. Default: nil, which is always.
	Leading func() bool
	// Wrap is as in Providers; not needed.
	Wrap func(of v1.Provider, asked provider.Provider) provider.Provider
	// NewQueue makes the controllers' queues; not needed, nil stands for controller-runtime's. Whoever injects the clock lets them wait by it.
	NewQueue NewQueue
}

// Setup makes a manager run every reconciler. The providers that it returns are for whoever serves their issuers.
func Setup(ctx context.Context, mgr ctrl.Manager, o Options) (*Providers, error) {
	clusterWide := len(o.Namespaces) == 0
	if err := Index(ctx, mgr.GetFieldIndexer(), clusterWide); err != nil {
		return nil, err
	}
	reader, err := stores.New(ctx, mgr.GetClient(), mgr.GetCache(), clusterWide)
	if err != nil {
		return nil, fmt.Errorf("setting up the caches: %w", err)
	}
	writer := client.WithFieldOwner(reader, FieldManager)
	store := &tokenstore.Store{Metadata: reader, Live: mgr.GetAPIReader(), Writer: writer}
	orders := &Orders{Reader: reader, Namespaces: o.Namespaces, Clock: o.Clock}
	providers := &Providers{
		Reader: reader, Store: store, Namespace: o.Namespace, Namespaces: o.Namespaces, IssuerURL: o.IssuerURL, Clock: o.Clock, Wrap: o.Wrap,
		Egress: o.Egress, AllowHTTP: o.AllowHTTP, Leading: o.Leading,
	}
	sessions := &TerminalSessionReconciler{
		Client: writer, Store: store, Providers: providers, Orders: orders, Metrics: o.Metrics, Recorder: o.Recorder, Clock: o.Clock,
	}
	if err := sessions.SetupWithManager(mgr, o); err != nil {
		return nil, fmt.Errorf("setting up sessions: %w", err)
	}
	kinds, ofCluster := []v1.ProviderKind{v1.KindSessionProvider}, []bool{false}
	if clusterWide {
		kinds, ofCluster = append(kinds, v1.KindClusterSessionProvider), append(ofCluster, true)
	}
	for _, kind := range kinds {
		r := &SessionProviderReconciler{Kind: kind, Client: writer, Store: store, Providers: providers, Clock: o.Clock}
		if err := r.SetupWithManager(mgr, o); err != nil {
			return nil, fmt.Errorf("setting up providers: %w", err)
		}
	}
	for _, cluster := range ofCluster {
		r := &SessionBanReconciler{Cluster: cluster, Client: writer, Orders: orders, Clock: o.Clock}
		if err := r.SetupWithManager(mgr, o); err != nil {
			return nil, fmt.Errorf("setting up bans: %w", err)
		}
	}
	logouts := &SessionLogoutReconciler{Client: writer, Orders: orders, Clock: o.Clock}
	if err := logouts.SetupWithManager(mgr, o); err != nil {
		return nil, fmt.Errorf("setting up logouts: %w", err)
	}
	revocations := &RevocationReconciler{Store: store, Providers: providers, Metrics: o.Metrics, Clock: o.Clock}
	if err := revocations.SetupWithManager(mgr, o); err != nil {
		return nil, fmt.Errorf("setting up revocations: %w", err)
	}
	return providers, nil
}
