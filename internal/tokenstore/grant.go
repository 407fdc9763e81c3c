package tokenstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "terminals.dev/session-controller/api/v1"
)

const (
	// TypeGrant is the type of the Secret that keeps what a session's next token is got with. No workload needs to read it.
	TypeGrant corev1.SecretType = "terminals.dev/grant"
	// LabelGrant stands on every such Secret, and says which of the two it keeps.
	LabelGrant = "terminals.dev/grant"
	// LabelSessionID stands on it as well, and is the session that it is of: so that it need not be read to know that.
	LabelSessionID = "terminals.dev/session-id"
	// LabelAttempt stands there too, and is the attempt that it came from.
	LabelAttempt = "terminals.dev/attempt"

	keyDeviceCode = "deviceCode"

	annotationGrant = "terminals.dev/grant"

	// keepTries is how often it is tried to write what was got but once, and keepPause the wait after the first time; it doubles: 6 seconds
	// in all.
	keepTries = 8
	keepPause = 50 * time.Millisecond
)

// ErrGrantTaken is returned by PutGrant where the name is that of somebody else's Secret.
var ErrGrantTaken = errors.New("the name of the grant's Secret is taken")

// ErrOverwritten is returned by PutGrant where a later attempt has kept a grant already, or somebody else's same attempt: another leader is
// at work.
var ErrOverwritten = errors.New("another leader has kept a grant meanwhile")

// Grant is what a session's next token is got with: a refresh token or a device code.
type Grant struct {
	SessionID string
	Attempt   int64
	// RefreshToken renews the session. Secret.
	RefreshToken string
	// DeviceCode asks whether a person has confirmed the login, not more often than every Interval, until ExpiresAt. Secret.
	DeviceCode string
	Interval   time.Duration
	ExpiresAt  time.Time
	// Tell is the provider, where it has to be told when the refresh token is over.
	Tell *v1.ProviderReference
}

// Kinds of grants, the values of LabelGrant.
const (
	GrantRefreshToken = "RefreshToken"
	GrantDeviceCode   = "DeviceCode"
)

func (g Grant) kind() string {
	if g.RefreshToken != "" {
		return GrantRefreshToken
	}
	return GrantDeviceCode
}

// grant is how a Grant is written, its secrets aside.
type grant struct {
	SessionID string                `json:"sessionID"`
	Attempt   int64                 `json:"attempt"`
	Interval  int64                 `json:"intervalSeconds,omitempty"`
	ExpiresAt *time.Time            `json:"expiresAt,omitempty"`
	Tell      *v1.ProviderReference `json:"tell,omitempty"`
}

// GrantName is where a session's grant is kept.
func GrantName(session string) string { return session + "-grant" }

// Grant says what is found under the name of a session's grant: Absent, Intact, Going, Leftover or Taken. It is as the cache knows it, unless that
// has no grant of the attempt that is expected.
func (s *Store) Grant(ctx context.Context, session *v1.TerminalSession, expected int64) (Found, error) {
	key := client.ObjectKey{Namespace: session.Namespace, Name: GrantName(session.Name)}
	known := newMetadata()
	err := s.Metadata.Get(ctx, key, known, client.UnsafeDisableDeepCopy)
	if expected != 0 && (apierrors.IsNotFound(err) || err == nil && found(known, Intact).Attempt != expected) {
		known = newMetadata()
		err = s.Live.Get(ctx, key, known)
	}
	switch {
	case apierrors.IsNotFound(err):
		return Found{State: Absent, Name: key.Name}, nil
	case err != nil:
		return Found{}, fmt.Errorf("looking up Secret %s: %w", key, err)
	}
	f := found(known, owner(known, session))
	switch {
	case f.State == Intact && f.Grant == "": // a token has the name
		f.State = Taken
	case f.State == Intact && !known.DeletionTimestamp.IsZero():
		f.State = Going
	}
	return f, nil
}

// PutGrant keeps a grant in place of the one before, which was found before the grant was asked for. What there is now is read first, and a
// failure that may pass is tried again for some seconds: a grant that was got and not kept is lost for good.
func (s *Store) PutGrant(ctx context.Context, session *v1.TerminalSession, over Found, g Grant) error {
	written := grant{SessionID: g.SessionID, Attempt: g.Attempt, Interval: int64(g.Interval / time.Second), Tell: g.Tell}
	if !g.ExpiresAt.IsZero() {
		written.ExpiresAt = new(g.ExpiresAt.UTC())
	}
	encoded, err := json.Marshal(written)
	if err != nil {
		return fmt.Errorf("describing the grant: %w", err)
	}
	data := map[string][]byte{}
	if g.RefreshToken != "" {
		data[keyRefreshToken] = []byte(g.RefreshToken)
	} else {
		data[keyDeviceCode] = []byte(g.DeviceCode)
	}
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: session.Namespace, Name: GrantName(session.Name),
			Labels: map[string]string{
				LabelSession: session.Name, LabelGrant: g.kind(), LabelSessionID: g.SessionID, LabelAttempt: strconv.FormatInt(g.Attempt, 10),
			},
			Annotations: map[string]string{
				annotationGrant:    string(encoded),
				annotationChecksum: grantChecksum(data, string(encoded)),
			},
			OwnerReferences: []metav1.OwnerReference{ownerReference(session)},
		},
		Type: TypeGrant,
		Data: data,
	}
	if g.Tell != nil && g.RefreshToken != "" {
		secret.Labels[LabelTell] = "true"
	}
	for try := range keepTries {
		if err = s.putGrant(ctx, session, over, secret.DeepCopy()); err == nil || !passing(err) || !again(ctx, try) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("keeping the grant in Secret %s: %w", secret.Name, err)
	}
	return nil
}

func (s *Store) putGrant(ctx context.Context, session *v1.TerminalSession, over Found, secret *corev1.Secret) error {
	now := newMetadata()
	err := s.Live.Get(ctx, client.ObjectKeyFromObject(secret), now)
	if apierrors.IsNotFound(err) {
		return s.Writer.Create(Unlogged(ctx), secret)
	}
	if err != nil {
		return err
	}
	switch f := found(now, owner(now, session)); {
	case f.State == Taken || f.Grant == "" && f.State == Intact:
		return ErrGrantTaken
	case f.State == Intact && now.GetAnnotations()[annotationChecksum] == secret.Annotations[annotationChecksum]:
		return nil // by a try of whose success nobody heard
	case f.State == Intact && (f.Attempt > attemptOf(secret) || f.Attempt == attemptOf(secret) && f.Version != over.Version):
		return ErrOverwritten
	case f.State == Leftover || !now.DeletionTimestamp.IsZero():
		return fmt.Errorf("%w: it is of an earlier session, or being deleted", ErrExists)
	}
	// A patch, so that labels and annotations that others have added stay.
	labels, data := map[string]any{LabelTell: nil}, map[string]any{keyRefreshToken: nil, keyDeviceCode: nil}
	for label, value := range secret.Labels {
		labels[label] = value
	}
	for key, value := range secret.Data {
		data[key] = value
	}
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{
			"uid": now.GetUID(), "resourceVersion": now.GetResourceVersion(), "labels": labels, "annotations": secret.Annotations,
		},
		"data": data,
	})
	if err != nil {
		return err
	}
	return s.Writer.Patch(Unlogged(ctx), secret, client.RawPatch(types.MergePatchType, patch))
}

// ReadGrant reads a session's grant from the API server. It fails with ErrAltered where there is none, or not what the controller wrote.
func (s *Store) ReadGrant(ctx context.Context, namespace string, in Found) (Grant, error) {
	key := client.ObjectKey{Namespace: namespace, Name: in.Name}
	secret := &corev1.Secret{}
	if err := s.Live.Get(Unlogged(ctx), key, secret); apierrors.IsNotFound(err) {
		return Grant{}, fmt.Errorf("reading the grant in Secret %s: %w", key, ErrAltered)
	} else if err != nil {
		return Grant{}, fmt.Errorf("reading the grant in Secret %s: %w", key, err)
	}
	var read grant
	encoded := secret.Annotations[annotationGrant]
	switch {
	case secret.UID == in.UID && secret.ResourceVersion != in.Version:
		return Grant{}, fmt.Errorf("reading the grant in Secret %s: it has just been changed", key)
	case secret.UID != in.UID, secret.Type != TypeGrant,
		grantChecksum(secret.Data, encoded) != secret.Annotations[annotationChecksum],
		json.Unmarshal([]byte(encoded), &read) != nil:
		return Grant{}, fmt.Errorf("reading the grant in Secret %s: %w", key, ErrAltered)
	}
	g := Grant{
		SessionID: read.SessionID, Attempt: read.Attempt, Interval: time.Duration(read.Interval) * time.Second, Tell: read.Tell,
		RefreshToken: string(secret.Data[keyRefreshToken]), DeviceCode: string(secret.Data[keyDeviceCode]),
	}
	if read.ExpiresAt != nil {
		g.ExpiresAt = *read.ExpiresAt
	}
	return g, nil
}

// passing is whether a failure may be over in a moment.
func passing(err error) bool {
	for _, final := range []bool{
		errors.Is(err, ErrGrantTaken), errors.Is(err, ErrOverwritten), errors.Is(err, ErrExists), apierrors.IsForbidden(err),
		apierrors.IsInvalid(err), apierrors.IsRequestEntityTooLargeError(err), apierrors.IsNotFound(err),
	} {
		if final {
			return false
		}
	}
	return true
}

// again waits before what was tried is tried once more; false where that was the last time.
func again(ctx context.Context, try int) bool {
	return try < keepTries-1 && pause(ctx, keepPause<<try)
}

// pause waits, and tells whether it came to the end.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func attemptOf(secret metav1.Object) int64 {
	attempt, err := strconv.ParseInt(secret.GetLabels()[LabelAttempt], 10, 64)
	if err != nil {
		return 0
	}
	return attempt
}

func grantChecksum(data map[string][]byte, description string) string {
	return digest(string(data[keyRefreshToken]), string(data[keyDeviceCode]), description)
}
