package tokenstore

import (
	"context"
	"fmt"
	"slices"
	"unique"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "terminals.dev/session-controller/api/v1"
)

// Names of the indexes that a cache of Secrets' metadata needs.
const (
	// IndexSession has the session that a Secret is labelled with, where the Secret is not named after it.
	IndexSession = "session"
	// IndexProvider has the provider that a signing key is labelled with.
	IndexProvider = "provider"
	// IndexRevocation has the provider that a revocation is labelled with.
	IndexRevocation = "revocation"
)

// Strip is the transform for a cache of Secrets' metadata: what stays is identity, labels, owner and version, and of what all Secrets have in
// common one string each.
func Strip(object any) (any, error) {
	m, ok := object.(*metav1.PartialObjectMetadata)
	if !ok {
		return object, nil
	}
	for key, value := range m.Labels {
		m.Labels[once(key)] = value // the key is replaced as well
	}
	for i := range m.OwnerReferences {
		ref := &m.OwnerReferences[i]
		ref.APIVersion, ref.Kind = once(ref.APIVersion), once(ref.Kind)
	}
	m.APIVersion, m.Kind = once(m.APIVersion), once(m.Kind)
	m.ObjectMeta = metav1.ObjectMeta{
		Namespace: once(m.Namespace), Name: m.Name, UID: m.UID, ResourceVersion: m.ResourceVersion,
		CreationTimestamp: m.CreationTimestamp, DeletionTimestamp: m.DeletionTimestamp,
		Labels: m.Labels, OwnerReferences: m.OwnerReferences,
	}
	return m, nil
}

// once is the string that all share that are equal to it.
func once(s string) string { return unique.Make(s).Value() }

// Index adds the indexes to a cache.
func Index(ctx context.Context, indexer client.FieldIndexer) error {
	labels := map[string]string{IndexSession: LabelSession, IndexProvider: LabelProvider, IndexRevocation: LabelRevocation}
	for index, label := range labels {
		err := indexer.IndexField(ctx, newMetadata(), index, func(o client.Object) []string {
			value := o.GetLabels()[label]
			if value == "" || index == IndexSession && slices.Contains(usualNames(value), o.GetName()) {
				return nil
			}
			return []string{value}
		})
		if err != nil {
			return fmt.Errorf("indexing Secrets by label %s: %w", label, err)
		}
	}
	return nil
}

// usualNames are those of the Secrets that are named after a session. They are found by name: an index entry for each of a fleet's Secrets
// would cost more memory than the Secret.
func usualNames(session string) []string {
	return []string{session + v1.TokenSecretSuffix, GrantName(session)}
}

// Watched is what a controller watches to hear of Secrets: their metadata alone.
func Watched() client.Object { return newMetadata() }
