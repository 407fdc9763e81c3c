package tokenstore

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "terminals.dev/session-controller/api/v1"
)

const (
	// TypeRevocation is the type of the Secret that keeps a token which a provider is yet to be told of.
	TypeRevocation corev1.SecretType = "terminals.dev/revocation"
	// LabelRevocation stands on every such Secret, and its value for the provider: see ProviderReference.Label.
	LabelRevocation = "terminals.dev/revocation"
	// LabelExpires stands on every such Secret: when the token is over by itself, in seconds since 1970.
	LabelExpires = "terminals.dev/expires"

	keyRefreshToken = "refreshToken"
	// keyRevocation is all but the tokens, in JSON.
	keyRevocation = "revocation"

	revocationPrefix = "revocation-"
)

// ProviderReference names a provider wherever it is; Namespace is empty for a ClusterSessionProvider.
type ProviderReference struct {
	Kind      v1.ProviderKind `json:"kind"`
	Namespace string          `json:"namespace,omitempty"`
	Name      string          `json:"name"`
}

// Label stands for the provider where a label's value has no room for all of the three.
func (p ProviderReference) Label() string {
	return digest(string(p.Kind), p.Namespace, p.Name)[:32]
}

// Revocation is a token that a provider is to be told of.
type Revocation struct {
	SessionUID types.UID
	SessionID  string
	// Attempt tells tokens of one session apart.
	Attempt int64
	// Provider is the one that issued the token.
	Provider ProviderReference
	// Token and RefreshToken are what is to be revoked; either may be empty. Secret.
	Token, RefreshToken string
	// Description is what the provider is to be told of the session, in JSON.
	Description []byte
	// ExpiresAt is when both tokens are over by themselves, and nobody needs to be told any more.
	ExpiresAt time.Time
}

// revocation is how a Revocation is written, its tokens aside.
type revocation struct {
	SessionUID types.UID         `json:"sessionUID"`
	SessionID  string            `json:"sessionID"`
	Attempt    int64             `json:"attempt"`
	Provider   ProviderReference `json:"provider"`
	ExpiresAt  time.Time         `json:"expiresAt"`
	Session    json.RawMessage   `json:"session"`
}

// Waiting is what is known of a revocation without reading it.
type Waiting struct {
	Found
	// Provider is a ProviderReference's Label.
	Provider string
	// ExpiresAt is zero where somebody has altered the label.
	ExpiresAt time.Time
}

// PutAside keeps a token for as long as its provider has not been told of it. The Secret's name follows from what is kept in it, so doing
// it again after a crash changes nothing, and another token of the same attempt has a place of its own.
func (s *Store) PutAside(ctx context.Context, namespace string, r Revocation) error {
	// The label has whole seconds: rounded up, so that nothing is dropped too early.
	expires := r.ExpiresAt.Add(time.Second - time.Nanosecond).UTC().Truncate(time.Second)
	encoded, err := json.Marshal(revocation{
		SessionUID: r.SessionUID, SessionID: r.SessionID, Attempt: r.Attempt, Provider: r.Provider, ExpiresAt: expires, Session: r.Description,
	})
	if err != nil {
		return fmt.Errorf("describing a revocation: %w", err)
	}
	yes := true
	name := revocationPrefix + digest(string(r.SessionUID), r.SessionID, strconv.FormatInt(r.Attempt, 10), r.Token, r.RefreshToken)[:32]
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: name,
			Labels: map[string]string{LabelRevocation: r.Provider.Label(), LabelExpires: strconv.FormatInt(expires.Unix(), 10)},
		},
		Immutable: &yes,
		Type:      TypeRevocation,
		Data:      map[string][]byte{KeyToken: []byte(r.Token), keyRevocation: encoded},
	}
	if r.RefreshToken != "" {
		secret.Data[keyRefreshToken] = []byte(r.RefreshToken)
	}
	for try := range keepTries {
		err = s.Writer.Create(Unlogged(ctx), secret.DeepCopy())
		if err == nil || apierrors.IsAlreadyExists(err) {
			return nil
		}
		if !passing(err) || !again(ctx, try) {
			break
		}
	}
	return fmt.Errorf("putting a token aside for revocation, in Secret %s/%s: %w", namespace, name, err)
}

// Waiting returns what the cache knows of a revocation; false where there is none of that name, or it is being deleted.
func (s *Store) Waiting(ctx context.Context, key client.ObjectKey) (Waiting, bool, error) {
	known := newMetadata()
	if err := s.Metadata.Get(ctx, key, known); apierrors.IsNotFound(err) {
		return Waiting{}, false, nil
	} else if err != nil {
		return Waiting{}, false, fmt.Errorf("looking up revocation %s: %w", key, err)
	}
	w, ok := IsWaiting(known)
	return w, ok, nil
}

// WaitingFor lists the revocations that a provider is yet to be told of, as the cache knows them.
func (s *Store) WaitingFor(ctx context.Context, namespace string, provider ProviderReference) ([]Waiting, error) {
	return s.waiting(ctx, namespace, client.MatchingFields{IndexRevocation: provider.Label()})
}

// CountWaiting counts the revocations in the cache.
func (s *Store) CountWaiting(ctx context.Context, namespace string) (int, error) {
	all, err := s.waiting(ctx, namespace, client.HasLabels{LabelRevocation})
	return len(all), err
}

func (s *Store) waiting(ctx context.Context, namespace string, with client.ListOption) ([]Waiting, error) {
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("SecretList"))
	if err := s.Metadata.List(ctx, list, client.InNamespace(namespace), with, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing the revocations in namespace %s: %w", namespace, err)
	}
	var all []Waiting
	for i := range list.Items {
		if w, ok := IsWaiting(&list.Items[i]); ok {
			all = append(all, w)
		}
	}
	return all, nil
}

// IsWaiting tells from a Secret's metadata whether it is a revocation that is still to be made, and which.
func IsWaiting(secret metav1.Object) (Waiting, bool) {
	provider := secret.GetLabels()[LabelRevocation]
	if provider == "" || !strings.HasPrefix(secret.GetName(), revocationPrefix) || secret.GetDeletionTimestamp() != nil {
		return Waiting{}, false
	}
	w := Waiting{Found: found(secret, Unchanged), Provider: provider}
	if seconds, err := strconv.ParseInt(secret.GetLabels()[LabelExpires], 10, 64); err == nil {
		w.ExpiresAt = time.Unix(seconds, 0)
	}
	return w, true
}

// ReadRevocation reads a revocation from the API server. What it found is Intact, Absent, Taken by somebody else's Secret, or Altered,
// where nobody can tell any more what is to be revoked.
func (s *Store) ReadRevocation(ctx context.Context, key client.ObjectKey) (Revocation, Found, error) {
	secret := &corev1.Secret{}
	if err := s.Live.Get(Unlogged(ctx), key, secret); apierrors.IsNotFound(err) {
		return Revocation{}, Found{State: Absent, Name: key.Name}, nil
	} else if err != nil {
		return Revocation{}, Found{}, fmt.Errorf("reading revocation %s: %w", key, err)
	}
	w, ok := IsWaiting(secret)
	if !ok || secret.Type != TypeRevocation {
		return Revocation{}, found(secret, Taken), nil
	}
	r, err := parseRevocation(secret, w)
	if err != nil {
		return Revocation{}, found(secret, Altered), nil //nolint:nilerr // that is what there is to tell
	}
	return r, found(secret, Intact), nil
}

func parseRevocation(secret *corev1.Secret, w Waiting) (Revocation, error) {
	var in revocation
	if err := json.Unmarshal(secret.Data[keyRevocation], &in); err != nil {
		return Revocation{}, errors.New("its description cannot be read")
	}
	r := Revocation{
		SessionUID: in.SessionUID, SessionID: in.SessionID, Attempt: in.Attempt, Provider: in.Provider,
		Token: string(secret.Data[KeyToken]), RefreshToken: string(secret.Data[keyRefreshToken]),
		Description: in.Session, ExpiresAt: in.ExpiresAt,
	}
	if r.SessionID == "" || r.Provider.Label() != w.Provider || r.ExpiresAt.Unix() != w.ExpiresAt.Unix() {
		return Revocation{}, errors.New("its labels and its description contradict each other")
	}
	return r, nil
}

// digest stands for some texts, told apart also where the end of one is the beginning of the next.
func digest(parts ...string) string {
	h := sha256.New()
	for _, part := range parts {
		_, _ = fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	return hex.EncodeToString(h.Sum(nil))
}
