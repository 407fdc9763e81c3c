package controllers

import (
	"context"
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/internal/egress"
	"terminals.dev/session-controller/internal/provider"
	"terminals.dev/session-controller/internal/session"
	"terminals.dev/session-controller/internal/tokenstore"
)

// Providers finds the provider of a session and keeps a client for each.
type Providers struct {
	// Reader reads providers, and Secrets' and namespaces' metadata, from the cache.
	Reader client.Reader
	// Store reads signing keys.
	Store *tokenstore.Store
	// Namespace is the controller's own, where Secrets of ClusterSessionProviders are.
	Namespace string
	// Namespaces are those that are served. Empty, the whole cluster is; else ClusterSessionProviders and namespaces are out of reach.
	Namespaces []string
	// IssuerURL is the base of the embedded issuers' URLs, without a slash at its end.
	IssuerURL string
	// Clock is the time of day.
	Clock clock.PassiveClock
	// Wrap, where it is set, is put around the client of a provider each time that it is to be asked.
	Wrap func(of v1.Provider, asked provider.Provider) provider.Provider
	// Leading is whether sessions and revocations may be gone on with; nil stands for always. It is asked right before each of their calls.
	Leading func() bool

	// Egress says which addresses providers may have, and AllowHTTP lets OAuth 2.0 servers be asked in plain http.
	Egress    egress.Allow
	AllowHTTP bool

	mu      sync.Mutex
	issuers map[types.UID]*issuer
	remotes map[types.UID]*remote
	// doubts wakes the reconciler of a kind of providers.
	doubts map[v1.ProviderKind]func(types.NamespacedName)
}

// resolve finds the provider of a session. Why it cannot be asked, if it cannot, is the observation's problem; an error is one of reading.
func (p *Providers) resolve(ctx context.Context, s *v1.TerminalSession) (resolved, session.Provider, error) {
	ref := s.Spec.ProviderRef
	if ref.Kind == v1.KindClusterSessionProvider && !p.clusterWide() {
		return resolved{}, problem(v1.ReasonProviderNotFound,
			"This controller serves single namespaces and cannot read a ClusterSessionProvider: set spec.providerRef.kind to SessionProvider."), nil
	}
	obj, err := p.get(ctx, ref.Kind, s.Namespace, ref.Name)
	if apierrors.IsNotFound(err) {
		return resolved{}, problem(v1.ReasonProviderNotFound,
			"%s %s does not exist: create it, or name another in spec.providerRef.", ref.Kind, ref.Name), nil
	} else if err != nil {
		return resolved{}, session.Provider{}, err
	}
	seen := session.Provider{}
	credentials, err := p.credentials(ctx, obj)
	if err != nil {
		return resolved{}, seen, err
	}
	if seen.Version, err = p.version(ctx, s, obj, credentials); err != nil {
		return resolved{}, seen, err
	}
	if seen.Problem, err = p.problem(ctx, s, obj); err != nil || seen.Problem.Reason != "" {
		return resolved{}, seen, err
	}
	to, problem, err := p.clientWith(ctx, obj, credentials)
	seen.Problem = problem
	return to, seen, err
}

// CountRevocations counts the tokens that providers are yet to be told of.
func (p *Providers) CountRevocations(ctx context.Context) (int, error) {
	return p.Store.CountWaiting(ctx, p.Namespace)
}

// clusterWide is whether ClusterSessionProviders and namespaces may be read.
func (p *Providers) clusterWide() bool { return len(p.Namespaces) == 0 }

// serves is whether a namespace is one of those that may be read.
func (p *Providers) serves(namespace string) bool {
	return p.clusterWide() || slices.Contains(p.Namespaces, namespace)
}

// problem is why a provider that is there cannot be asked for this session.
func (p *Providers) problem(ctx context.Context, s *v1.TerminalSession, obj v1.Provider) (session.Problem, error) {
	ref := s.Spec.ProviderRef
	ready := meta.FindStatusCondition(obj.ProviderStatus().Conditions, v1.ConditionReady)
	if ready == nil || obj.ProviderStatus().ObservedGeneration != obj.GetGeneration() {
		return problem(v1.ReasonProviderPending, "%s %s has not been looked at yet.", ref.Kind, ref.Name).Problem, nil
	}
	if ready.Status != metav1.ConditionTrue {
		return notReadyProblem(ref.Kind, ref.Name, ready.Reason, ready.Message), nil
	}
	cluster, ok := obj.(*v1.ClusterSessionProvider)
	if !ok {
		return session.Problem{}, nil
	}
	ns, err := namespaceOf(ctx, p.Reader, s.Namespace)
	if err != nil {
		return session.Problem{}, err
	}
	if ns == nil { // it has just come up: nobody is let in by labels that are not known
		return session.Problem{}, fmt.Errorf("namespace %s is not in the cache yet", s.Namespace)
	}
	switch fits, err := session.Allowed(cluster.Spec.Allow, s, ns.Labels); {
	case err != nil:
		return problem(v1.ReasonProviderNotAllowed, "%s %s cannot be matched: %v", ref.Kind, ref.Name, err).Problem, nil
	case !fits:
		return problem(v1.ReasonProviderNotAllowed,
			"No rule in spec.allow of %s %s fits this session's namespace, merchant, user, scopes and audiences together: add one that does, or name another provider.", ref.Kind, ref.Name).Problem, nil
	}
	return session.Problem{}, nil
}

func notReadyProblem(kind v1.ProviderKind, name, reason, message string) session.Problem {
	return problem(v1.ReasonProviderNotReady, "%s %s is not ready (%s): %s", kind, name, reason, message).Problem
}

func problem(reason, format string, args ...any) session.Provider {
	return session.Provider{Problem: session.Problem{Reason: reason, Message: fmt.Sprintf(format, args...)}}
}

// version changes with everything that a refusal may rest on.
func (p *Providers) version(ctx context.Context, s *v1.TerminalSession, obj v1.Provider, credentials credentialsSeen) (string, error) {
	h := fnv.New64a()
	_, _ = fmt.Fprintf(h, "%s/%d", obj.GetUID(), obj.GetGeneration())
	if ready := meta.FindStatusCondition(obj.ProviderStatus().Conditions, v1.ConditionReady); ready != nil {
		_, _ = fmt.Fprintf(h, "/%s/%s", ready.Status, ready.LastTransitionTime.UTC())
	}
	_, _ = fmt.Fprint(h, credentials.version)
	if ref := s.Spec.AuthTokenSecretRef; ref != nil {
		version, err := p.secretVersion(ctx, client.ObjectKey{Namespace: s.Namespace, Name: ref.Name})
		if err != nil {
			return "", fmt.Errorf("looking up the auth token's Secret %s: %w", ref.Name, err)
		}
		_, _ = fmt.Fprintf(h, "/%s", version)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// namespaceEnding is whether a namespace is being deleted, as far as the controller may know.
func (p *Providers) namespaceEnding(ctx context.Context, name string) (bool, error) {
	if !p.clusterWide() {
		return false, nil
	}
	ns, err := namespaceOf(ctx, p.Reader, name)
	return ns != nil && !ns.DeletionTimestamp.IsZero(), err
}

// get reads a provider. It is the cache's own: what is to be changed is to be copied first.
func (p *Providers) get(ctx context.Context, kind v1.ProviderKind, namespace, name string) (v1.Provider, error) {
	var obj v1.Provider = &v1.SessionProvider{}
	key := client.ObjectKey{Namespace: namespace, Name: name}
	if kind == v1.KindClusterSessionProvider {
		obj, key = &v1.ClusterSessionProvider{}, client.ObjectKey{Name: name}
	}
	if err := p.Reader.Get(ctx, key, obj, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("reading %s %s: %w", kind, name, err)
	}
	return obj, nil
}

// all lists every provider that may be read.
func (p *Providers) all(ctx context.Context) ([]v1.Provider, error) {
	var found []v1.Provider
	list := &v1.SessionProviderList{}
	if err := p.Reader.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing SessionProviders: %w", err)
	}
	for i := range list.Items {
		found = append(found, &list.Items[i])
	}
	if p.clusterWide() {
		cluster := &v1.ClusterSessionProviderList{}
		if err := p.Reader.List(ctx, cluster, client.UnsafeDisableDeepCopy); err != nil {
			return nil, fmt.Errorf("listing ClusterSessionProviders: %w", err)
		}
		for i := range cluster.Items {
			found = append(found, &cluster.Items[i])
		}
	}
	return found, nil
}

// secretNamespace is where a provider's Secrets are.
func (p *Providers) secretNamespace(obj v1.Provider) string {
	if ns := obj.GetNamespace(); ns != "" {
		return ns
	}
	return p.Namespace
}

func kindOf(obj v1.Provider) v1.ProviderKind {
	if _, ok := obj.(*v1.ClusterSessionProvider); ok {
		return v1.KindClusterSessionProvider
	}
	return v1.KindSessionProvider
}

// namespaceMetadata is an empty namespace to read metadata into.
func namespaceMetadata() *metav1.PartialObjectMetadata {
	ns := &metav1.PartialObjectMetadata{}
	ns.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	return ns
}
