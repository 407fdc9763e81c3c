package tokenstore

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "terminals.dev/session-controller/api/v1"
)

const (
	// TypeSigningKey is the type of the Secret that keeps one signing key of an embedded provider.
	TypeSigningKey corev1.SecretType = "terminals.dev/signing-key"
	// LabelProvider stands on every Secret of a provider and holds the provider's name.
	LabelProvider = "terminals.dev/provider"
	// LabelKeyID stands on a signing key's Secret and holds the key's ID.
	LabelKeyID = "terminals.dev/key-id"
	// KeyPrivateKey is the private key, PKCS #8 in PEM.
	KeyPrivateKey = "key.pem"
)

// SigningKey is a signing key's Secret without the key.
type SigningKey struct {
	ID, Name  string
	UID       types.UID
	Version   string
	CreatedAt time.Time
}

// SigningKeyName is the name of a signing key's Secret.
func SigningKeyName(provider, keyID string) string { return provider + "-key-" + keyID }

// SigningKeys lists the signing keys of a provider in a namespace, as the cache knows them.
func (s *Store) SigningKeys(ctx context.Context, namespace string, provider v1.Provider) ([]SigningKey, error) {
	return signingKeys(ctx, s.Metadata, namespace, provider, client.MatchingFields{IndexProvider: provider.GetName()})
}

// LiveSigningKeys lists them as the API server knows them.
func (s *Store) LiveSigningKeys(ctx context.Context, namespace string, provider v1.Provider) ([]SigningKey, error) {
	return signingKeys(ctx, s.Live, namespace, provider, client.MatchingLabels{LabelProvider: provider.GetName()})
}

func signingKeys(ctx context.Context, from client.Reader, namespace string, provider v1.Provider, with client.ListOption) ([]SigningKey, error) {
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("SecretList"))
	if err := from.List(ctx, list, client.InNamespace(namespace), with); err != nil {
		return nil, fmt.Errorf("listing the signing keys of provider %s: %w", provider.GetName(), err)
	}
	var keys []SigningKey
	for i := range list.Items {
		m := &list.Items[i]
		if ref := metav1.GetControllerOf(m); ref == nil || ref.UID != provider.GetUID() || m.Labels[LabelKeyID] == "" {
			continue
		}
		keys = append(keys, SigningKey{
			ID: m.Labels[LabelKeyID], Name: m.Name, UID: m.UID, Version: m.ResourceVersion, CreatedAt: m.CreationTimestamp.Time,
		})
	}
	return keys, nil
}

// ReadSigningKey reads one signing key, PKCS #8 in PEM.
func (s *Store) ReadSigningKey(ctx context.Context, namespace, name string) ([]byte, error) {
	secret := &corev1.Secret{}
	if err := s.Live.Get(Unlogged(ctx), client.ObjectKey{Namespace: namespace, Name: name}, secret); err != nil {
		return nil, fmt.Errorf("reading signing key Secret %s/%s: %w", namespace, name, err)
	}
	return secret.Data[KeyPrivateKey], nil
}

// CreateSigningKey keeps a new signing key. The Secret is immutable: a key is never altered, only followed by another.
func (s *Store) CreateSigningKey(ctx context.Context, namespace string, provider v1.Provider, kind v1.ProviderKind, keyID string, pem []byte) (SigningKey, error) {
	yes := true
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: SigningKeyName(provider.GetName(), keyID),
			Labels: map[string]string{LabelProvider: provider.GetName(), LabelKeyID: keyID},
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: v1.GroupVersion.String(), Kind: string(kind), Name: provider.GetName(), UID: provider.GetUID(), Controller: &yes,
			}},
		},
		Immutable: &yes,
		Type:      TypeSigningKey,
		Data:      map[string][]byte{KeyPrivateKey: pem},
	}
	if err := s.Writer.Create(Unlogged(ctx), secret); err != nil {
		return SigningKey{}, fmt.Errorf("creating signing key Secret %s/%s: %w", namespace, secret.Name, err)
	}
	return SigningKey{
		ID: keyID, Name: secret.Name, UID: secret.UID, Version: secret.ResourceVersion, CreatedAt: secret.CreationTimestamp.Time,
	}, nil
}

// DeleteSigningKey removes a key that no token that may still be valid was signed with.
func (s *Store) DeleteSigningKey(ctx context.Context, namespace string, key SigningKey) error {
	return s.Delete(ctx, namespace, Found{Name: key.Name, UID: key.UID, Version: key.Version})
}
