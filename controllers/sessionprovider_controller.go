package controllers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/internal/provider"
	"terminals.dev/session-controller/internal/provider/embedded"
	"terminals.dev/session-controller/internal/session"
	"terminals.dev/session-controller/internal/tokenstore"
)

// defaultRotation is keyRotationInterval where a provider has none.
const defaultRotation = 2160 * time.Hour

// +kubebuilder:rbac:groups=terminals.dev,resources=sessionproviders;clustersessionproviders,verbs=list;watch
// +kubebuilder:rbac:groups=terminals.dev,resources=sessionproviders/status;clustersessionproviders/status,verbs=patch

// SessionProviderReconciler makes the providers of one kind ready: SessionProviders or ClusterSessionProviders.
type SessionProviderReconciler struct {
	// Kind is which of the two.
	Kind v1.ProviderKind
	// Client reads from the cache and writes to the API server.
	Client client.Client
	// Store keeps the signing keys.
	Store *tokenstore.Store
	// Providers keeps the clients.
	Providers *Providers
	// Clock is the time of day.
	Clock clock.PassiveClock

	written written
}

// Reconcile implements reconcile.Reconciler.
func (r *SessionProviderReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	last := r.written.of(req.NamespacedName)
	before, err := r.Providers.get(ctx, r.Kind, req.Namespace, req.Name)
	if apierrors.IsNotFound(err) {
		r.written.forget(req.NamespacedName)
		return ctrl.Result{}, r.Providers.forget(ctx)
	} else if err != nil {
		return ctrl.Result{}, err
	}
	if last.hides(before.GetResourceVersion()) {
		return ctrl.Result{RequeueAfter: behindWait}, nil // the cache does not show that write yet
	}
	r.written.seen(req.NamespacedName, last)
	if isGoing(before) {
		return ctrl.Result{}, nil
	}

	obj := before.DeepCopyObject().(v1.Provider)
	next, err := r.prepare(ctx, obj)
	var why *notReady
	if err != nil && !errors.As(err, &why) {
		return ctrl.Result{}, ignoreNamespaceEnding(err)
	}
	r.conditions(obj, why)
	if err := r.report(ctx, before, obj); err != nil {
		return ctrl.Result{}, err
	}
	if next.IsZero() {
		return ctrl.Result{}, nil
	}
	return ctrl.Result{RequeueAfter: max(next.Sub(r.Clock.Now()), time.Second)}, nil
}

// notReady is why a provider cannot issue tokens.
type notReady struct {
	reason, message string
	// waits is whether it may be over by itself; else only a change of configuration helps.
	waits bool
	// rest is how long the server asks to be left alone.
	rest time.Duration
	// local is whether it was found without a request, so that it is the same until the provider or its credentials change.
	local bool
}

func (e *notReady) Error() string { return e.reason + ": " + e.message }

// prepare makes sure of everything that the provider needs, writes what it found into the status of obj, and tells when to look
// again.
func (r *SessionProviderReconciler) prepare(ctx context.Context, obj v1.Provider) (time.Time, error) {
	if obj.ProviderSpec().Embedded == nil {
		return r.reach(ctx, obj)
	}
	status := obj.ProviderStatus()
	status.Supports = []v1.ProviderFeature{v1.FeatureIdempotency}
	status.IssuerURL = r.Providers.issuerURL(obj)
	if err := r.issuerURLTaken(ctx, obj); err != nil {
		return time.Time{}, err
	}
	return r.keys(ctx, obj)
}

// issuerURLTaken fails where the issuer URL belongs to another provider: verifiers could not tell the two apart. What is below the manager's
// own address belongs to the provider whose place it is, and no field of another's can claim it.
func (r *SessionProviderReconciler) issuerURLTaken(ctx context.Context, obj v1.Provider) error {
	url := r.Providers.issuerURL(obj)
	if below(url, r.Providers.IssuerURL) && !sameURL(url, r.Providers.placeOf(obj)) {
		return &notReady{reason: v1.ReasonIssuerURLTaken, message: "spec.embedded.issuerURL is another provider's place at this manager: leave it out, or set a URL of your own."}
	}
	all, err := r.Providers.all(ctx)
	if err != nil {
		return err
	}
	for _, other := range all {
		if other.GetUID() == obj.GetUID() || other.ProviderSpec().Embedded == nil || !sameURL(r.Providers.issuerURL(other), url) {
			continue
		}
		if precedes(other, obj) {
			return &notReady{reason: v1.ReasonIssuerURLTaken, message: fmt.Sprintf("%s %s has the same issuer URL: set another in spec.embedded.issuerURL.",
				kindOf(other), client.ObjectKeyFromObject(other))}
		}
	}
	return nil
}

// precedes is whether of two providers with one issuer URL it is a's: cluster before namespace, then who issues with it already, then the
// older.
func precedes(a, b v1.Provider) bool {
	if a, b := kindOf(a) == v1.KindClusterSessionProvider, kindOf(b) == v1.KindClusterSessionProvider; a != b {
		return a
	}
	if a, b := issues(a), issues(b); a != b {
		return a
	}
	x, y := a.GetCreationTimestamp(), b.GetCreationTimestamp()
	return x.Before(&y) || x.Equal(&y) && a.GetUID() < b.GetUID()
}

// issues is whether a provider is ready with the issuer URL that its spec has now.
func issues(p v1.Provider) bool {
	return p.ProviderStatus().ObservedGeneration == p.GetGeneration() && meta.IsStatusConditionTrue(p.ProviderStatus().Conditions, v1.ConditionReady)
}

func sameURL(a, b string) bool { return strings.EqualFold(a, b) }

func below(url, base string) bool {
	return sameURL(url, base) || len(url) > len(base) && strings.EqualFold(url[:len(base)+1], base+"/")
}

// keys makes the provider's first signing key, and the next when its time comes, and removes those that are no longer of use. A key that
// status records is never made anew.
func (r *SessionProviderReconciler) keys(ctx context.Context, obj v1.Provider) (time.Time, error) {
	namespace, keys := r.Providers.secretNamespace(obj), r.Providers.issuer(obj).keys
	secrets, err := r.Store.SigningKeys(ctx, namespace, obj)
	if err != nil {
		return time.Time{}, err
	}
	now := r.Clock.Now()
	plan := embedded.Schedule(infos(secrets), rotation(obj), now)
	if len(secrets) == 0 || plan.CreateNext || keys.missing(obj, secrets) != "" {
		// Something is to be made or complained of: the cache may be behind, so the API server is asked.
		if secrets, err = r.Store.LiveSigningKeys(ctx, namespace, obj); err != nil {
			return time.Time{}, err
		}
		plan = embedded.Schedule(infos(secrets), rotation(obj), now)
	}
	if missing := keys.missing(obj, secrets); missing != "" {
		return time.Time{}, &notReady{reason: v1.ReasonSigningKeyMissing, message: missing}
	}
	if len(secrets) == 0 || plan.CreateNext {
		made, err := r.create(ctx, obj, namespace)
		if err != nil {
			return time.Time{}, err
		}
		secrets = append(secrets, made)
		plan = embedded.Schedule(infos(secrets), rotation(obj), now)
	}
	kept, recorded := secrets[:0:0], obj.ProviderStatus().KeyIDs
	for _, secret := range secrets {
		if !slices.Contains(plan.Retire, secret.ID) {
			kept = append(kept, secret)
			continue
		}
		// Status lets go of a key first, and the next look deletes it: the other way round, a crash would leave a key that is missed.
		if slices.Contains(recorded, secret.ID) {
			continue
		}
		if err := r.Store.DeleteSigningKey(ctx, namespace, secret); err != nil {
			return time.Time{}, err
		}
	}

	ready := meta.IsStatusConditionTrue(obj.ProviderStatus().Conditions, v1.ConditionReady)
	var broken *provider.Error
	if err := keys.verify(ctx, obj, kept, ready); errors.As(err, &broken) {
		return time.Time{}, &notReady{reason: v1.ReasonSigningKeyBroken, message: broken.Message}
	} else if err != nil {
		return time.Time{}, err
	}
	status := obj.ProviderStatus()
	status.KeyIDs = nil
	for _, secret := range kept {
		status.KeyIDs = append(status.KeyIDs, secret.ID)
	}
	slices.Sort(status.KeyIDs)
	return plan.Next, nil
}

func (r *SessionProviderReconciler) create(ctx context.Context, obj v1.Provider, namespace string) (tokenstore.SigningKey, error) {
	key, err := embedded.NewKey(r.Clock.Now())
	if err != nil {
		return tokenstore.SigningKey{}, fmt.Errorf("making a signing key for provider %s: %w", obj.GetName(), err)
	}
	pem, err := key.MarshalPEM()
	if err != nil {
		return tokenstore.SigningKey{}, fmt.Errorf("writing a signing key for provider %s: %w", obj.GetName(), err)
	}
	made, err := r.Store.CreateSigningKey(ctx, namespace, obj, r.Kind, key.ID, pem)
	if err == nil {
		log.FromContext(ctx).Info("made a signing key", "keyID", made.ID, "secret", made.Name)
	}
	return made, err
}

func (r *SessionProviderReconciler) conditions(obj v1.Provider, why *notReady) {
	status := obj.ProviderStatus()
	status.ObservedGeneration = obj.GetGeneration()
	set := func(kind string, is metav1.ConditionStatus, reason, message string) {
		meta.SetStatusCondition(&status.Conditions, metav1.Condition{
			Type: kind, Status: is, Reason: reason, Message: message,
			ObservedGeneration: obj.GetGeneration(), LastTransitionTime: metav1.NewTime(r.Clock.Now().UTC().Truncate(time.Second)),
		})
	}
	if why == nil {
		set(v1.ConditionReady, metav1.ConditionTrue, v1.ReasonReady, "The provider can issue tokens.")
		meta.RemoveStatusCondition(&status.Conditions, v1.ConditionStalled)
		meta.RemoveStatusCondition(&status.Conditions, v1.ConditionReconciling)
		return
	}
	is, not := v1.ConditionStalled, v1.ConditionReconciling
	if why.waits {
		is, not = not, is
	}
	why.message = session.Sentence(why.message)
	set(v1.ConditionReady, metav1.ConditionFalse, why.reason, why.message)
	set(is, metav1.ConditionTrue, why.reason, why.message)
	meta.RemoveStatusCondition(&status.Conditions, not)
}

func (r *SessionProviderReconciler) report(ctx context.Context, before, after v1.Provider) error {
	if equality.Semantic.DeepEqual(before.ProviderStatus(), after.ProviderStatus()) {
		return nil
	}
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	if err := r.Client.Status().Patch(ctx, after, patch); err != nil {
		return client.IgnoreNotFound(fmt.Errorf("writing the status of %s %s: %w", r.Kind, client.ObjectKeyFromObject(after), err))
	}
	r.written.note(client.ObjectKeyFromObject(after), before.GetResourceVersion(), after.GetResourceVersion())
	ready := meta.FindStatusCondition(after.ProviderStatus().Conditions, v1.ConditionReady)
	log.FromContext(ctx).Info("provider changed", "ready", ready.Status, "reason", ready.Reason, "message", ready.Message)
	return nil
}

func rotation(obj v1.Provider) time.Duration {
	if e := obj.ProviderSpec().Embedded; e != nil && e.KeyRotationInterval != nil {
		return e.KeyRotationInterval.Duration
	}
	return defaultRotation
}
