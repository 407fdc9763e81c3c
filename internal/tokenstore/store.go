// Package tokenstore is the only code that knows how the controller's Secrets are laid out. It knows nothing of providers or of the
// lifecycle: it finds, writes and deletes.
//
// All Secrets are watched as metadata alone, and a Secret is read only where its version is not the one that status has recorded.
package tokenstore

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "terminals.dev/session-controller/api/v1"
)

const (
	// TypeToken is the type of the Secret that keeps a session's access token.
	TypeToken corev1.SecretType = "terminals.dev/token"
	// LabelTell stands on a token Secret whose provider has to be told when the token is over.
	LabelTell = "terminals.dev/tell"
	// LabelEmptied stands on a Secret that somebody's finalizer holds up, and whose token is not in it any more.
	LabelEmptied = "terminals.dev/emptied"
	// LabelSession stands on every Secret of a session and holds the session's name.
	LabelSession = "terminals.dev/session"

	// KeyToken is the access token.
	KeyToken = "token"
	// KeyExpiresAt is the end of its time (RFC 3339).
	KeyExpiresAt = "expiresAt"
	// KeySessionID is the session that it is of: a reader never takes one session's token for another's.
	KeySessionID = "sessionID"

	// annotationIssue is what the controller needs to adopt a token after a crash, and annotationChecksum tells whether anybody has
	// altered the Secret since.
	annotationIssue    = "terminals.dev/issue"
	annotationChecksum = "terminals.dev/checksum"
)

// ErrAltered is returned by Token where the Secret does not hold what the controller wrote, or is gone.
var ErrAltered = errors.New("the Secret does not hold what the controller wrote")

// ErrExists is returned by Put where a Secret has come up under the name that was free when it was looked at.
var ErrExists = errors.New("a Secret of that name has come up meanwhile")

// State says what is found under a name.
type State int

const (
	// Absent means: nothing.
	Absent State = iota
	// Unchanged means: the session's Secret, in the version that was expected. It was not read.
	Unchanged
	// Intact means: the session's Secret, as the controller wrote it; Issue tells what is in it.
	Intact
	// Altered means: the session's Secret, and something else in it than the controller wrote.
	Altered
	// Leftover means: a Secret of an earlier session of the same name, which is gone.
	Leftover
	// Taken means: somebody else's.
	Taken
	// Going means: the session's Secret, which is being deleted and held up by somebody's finalizer.
	Going
)

// Found is a Secret as it was found.
type Found struct {
	State State
	// Name, UID and Version are the Secret's own.
	Name    string
	UID     types.UID
	Version string
	// Tell is whether a provider has to be told when its token is over.
	Tell bool
	// Emptied is whether a Secret that is Going has been emptied.
	Emptied bool
	// Issue is what an Intact Secret holds, the token aside.
	Issue Issue
	// Grant is, of a grant's Secret, which kind it keeps; SessionID and Attempt are what it is of.
	Grant     string
	SessionID string
	Attempt   int64
}

// Issue describes a token.
type Issue struct {
	SessionID string    `json:"sessionID"`
	Attempt   int64     `json:"attempt"`
	IssuedAt  time.Time `json:"issuedAt"`
	ExpiresAt time.Time `json:"expiresAt"`
	Email     string    `json:"email,omitempty"`
	Subject   string    `json:"subject,omitempty"`
	// Request stands for what the token was asked for.
	Request string `json:"request,omitempty"`
	// Tell is the provider, where it has to be told when the token is over.
	Tell *v1.ProviderReference `json:"tell,omitempty"`
}

// Store finds, writes and deletes the Secrets of sessions.
type Store struct {
	// Metadata reads Secrets as PartialObjectMetadata, from a cache with the index of IndexSession.
	Metadata client.Reader
	// Live reads Secrets from the API server.
	Live client.Reader
	// Writer writes them.
	Writer client.Writer
}

// Unlogged returns a context without a logger. From level 8 on, clients log what they send and receive: each request that has the content
// of a Secret in it is made with such a context, so that no level of the log shows a token or key.
func Unlogged(ctx context.Context) context.Context { return logr.NewContext(ctx, logr.Discard()) }

// Find says what is under a name. expected is the version that status has recorded; empty where none is expected.
func (s *Store) Find(ctx context.Context, session *v1.TerminalSession, name, expected string) (Found, error) {
	key := client.ObjectKey{Namespace: session.Namespace, Name: name}
	known := newMetadata()
	err := s.Metadata.Get(ctx, key, known, client.UnsafeDisableDeepCopy)
	switch {
	case apierrors.IsNotFound(err) && expected == "":
		return Found{State: Absent, Name: name}, nil
	case err != nil && !apierrors.IsNotFound(err):
		return Found{}, fmt.Errorf("looking up Secret %s: %w", key, err)
	case err == nil && owner(known, session) != Intact:
		return found(known, owner(known, session)), nil
	case err == nil && !known.DeletionTimestamp.IsZero():
		return found(known, Going), nil
	case err == nil && expected != "" && known.ResourceVersion == expected:
		return found(known, Unchanged), nil
	}

	// Something is not as recorded, or the cache is behind: only the API server knows.
	secret := &corev1.Secret{}
	if err := s.Live.Get(Unlogged(ctx), key, secret); apierrors.IsNotFound(err) {
		return Found{State: Absent, Name: name}, nil
	} else if err != nil {
		return Found{}, fmt.Errorf("reading Secret %s: %w", key, err)
	}
	f := found(secret, owner(secret, session))
	if f.State != Intact {
		return f, nil
	}
	if !secret.DeletionTimestamp.IsZero() {
		f.State = Going
		return f, nil
	}
	if expected != "" && f.Version == expected {
		f.State = Unchanged
		return f, nil
	}
	if secret.Type != TypeToken {
		f.State = Taken
		return f, nil
	}
	if f.Issue, err = parse(secret); err != nil {
		f.State = Altered
	}
	return f, nil
}

// Owner is the UID of what controls the Secret of a name, as the cache knows it; empty where there is no such Secret, or nothing does.
func (s *Store) Owner(ctx context.Context, key client.ObjectKey) (types.UID, error) {
	known := newMetadata()
	if err := s.Metadata.Get(ctx, key, known, client.UnsafeDisableDeepCopy); err != nil {
		return "", client.IgnoreNotFound(fmt.Errorf("looking up Secret %s: %w", key, err))
	}
	if ref := metav1.GetControllerOf(known); ref != nil {
		return ref.UID, nil
	}
	return "", nil
}

// Has is whether the API server has a Secret of that name which is the session's.
func (s *Store) Has(ctx context.Context, session *v1.TerminalSession, name string) (bool, error) {
	key, now := client.ObjectKey{Namespace: session.Namespace, Name: name}, newMetadata()
	if err := s.Live.Get(ctx, key, now); apierrors.IsNotFound(err) {
		return false, nil
	} else if err != nil {
		return false, fmt.Errorf("looking up Secret %s: %w", key, err)
	}
	return owner(now, session) == Intact, nil
}

// Put writes a token under found.Name: where nothing was found it creates the Secret, else it replaces what was found, in the version
// that was found. It returns the Secret's new version. Where it is not known whether the API server has done it, that is tried again for
// some seconds: another token would have to be got in place of this one, which nobody would have then.
func (s *Store) Put(ctx context.Context, session *v1.TerminalSession, over Found, token string, issue Issue) (string, error) {
	version, err := s.put(ctx, session, over, token, issue)
	for try := 0; unclear(err) && again(ctx, try); try++ {
		version, err = s.put(ctx, session, over, token, issue)
		if !apierrors.IsConflict(err) && !errors.Is(err, ErrExists) {
			continue
		}
		if there, ours := s.holds(ctx, client.ObjectKey{Namespace: session.Namespace, Name: over.Name}, token); ours {
			return there, nil // it was done the time before
		}
	}
	return version, err
}

// unclear is whether a failure leaves open what the API server has done, and may be over in a moment.
func unclear(err error) bool {
	return err != nil && passing(err) && !apierrors.IsConflict(err)
}

// holds is whether a Secret has a token in it, and in which version.
func (s *Store) holds(ctx context.Context, key client.ObjectKey, token string) (version string, ours bool) {
	secret := &corev1.Secret{}
	if err := s.Live.Get(Unlogged(ctx), key, secret); err != nil {
		return "", false
	}
	return secret.ResourceVersion, subtle.ConstantTimeCompare(secret.Data[KeyToken], []byte(token)) == 1
}

func (s *Store) put(ctx context.Context, session *v1.TerminalSession, over Found, token string, issue Issue) (string, error) {
	issue.IssuedAt, issue.ExpiresAt = issue.IssuedAt.UTC(), issue.ExpiresAt.UTC()
	encoded, err := json.Marshal(issue)
	if err != nil {
		return "", fmt.Errorf("describing the token: %w", err)
	}
	data := map[string][]byte{
		KeyToken:     []byte(token),
		KeyExpiresAt: []byte(issue.ExpiresAt.Format(time.RFC3339)),
		KeySessionID: []byte(issue.SessionID),
	}
	annotations := map[string]string{annotationIssue: string(encoded), annotationChecksum: checksum(data, string(encoded))}

	labels := map[string]any{LabelSession: session.Name, LabelTell: nil} // in a patch, nil takes a label away
	if issue.Tell != nil {
		labels[LabelTell] = "true"
	}
	if over.State == Absent {
		return s.create(ctx, session, over.Name, labels, data, annotations)
	}

	// A patch, so that labels and annotations that others have added stay.
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{
			"uid": over.UID, "resourceVersion": over.Version,
			"labels": labels, "annotations": annotations,
		},
		"data": data,
	})
	if err != nil {
		return "", fmt.Errorf("describing the token: %w", err)
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: session.Namespace, Name: over.Name}}
	err = s.Writer.Patch(Unlogged(ctx), secret, client.RawPatch(types.MergePatchType, patch))
	if apierrors.IsInvalid(err) && s.sealed(ctx, client.ObjectKeyFromObject(secret)) {
		if err := s.Delete(ctx, session.Namespace, over); err != nil {
			return "", err
		}
		return s.create(ctx, session, over.Name, labels, data, annotations)
	}
	if err != nil {
		return "", fmt.Errorf("replacing the token in Secret %s: %w", over.Name, err)
	}
	return secret.ResourceVersion, nil
}

func (s *Store) create(ctx context.Context, session *v1.TerminalSession, name string, labels map[string]any, data map[string][]byte, annotations map[string]string) (string, error) {
	given := map[string]string{}
	for label, value := range labels {
		if text, ok := value.(string); ok {
			given[label] = text
		}
	}
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: session.Namespace, Name: name,
			Labels: given, Annotations: annotations,
			OwnerReferences: []metav1.OwnerReference{ownerReference(session)},
		},
		Type: TypeToken,
		Data: data,
	}
	if err := s.Writer.Create(Unlogged(ctx), secret); apierrors.IsAlreadyExists(err) {
		return "", fmt.Errorf("creating Secret %s: %w", name, ErrExists)
	} else if err != nil {
		return "", fmt.Errorf("creating Secret %s: %w", name, err)
	}
	return secret.ResourceVersion, nil
}

// sealed is whether somebody has made a Secret immutable. Nobody can take that back: another has to stand in for it.
func (s *Store) sealed(ctx context.Context, key client.ObjectKey) bool {
	secret := &corev1.Secret{}
	return s.Live.Get(Unlogged(ctx), key, secret) == nil && secret.Immutable != nil && *secret.Immutable
}

// Token reads the access token from a Secret that was found. It fails where the Secret has changed since.
func (s *Store) Token(ctx context.Context, session *v1.TerminalSession, in Found) (string, Issue, error) {
	secret := &corev1.Secret{}
	key := client.ObjectKey{Namespace: session.Namespace, Name: in.Name}
	if err := s.Live.Get(Unlogged(ctx), key, secret); apierrors.IsNotFound(err) {
		return "", Issue{}, fmt.Errorf("reading Secret %s: %w", key, ErrAltered)
	} else if err != nil {
		return "", Issue{}, fmt.Errorf("reading Secret %s: %w", key, err)
	}
	if secret.ResourceVersion != in.Version {
		return "", Issue{}, fmt.Errorf("reading Secret %s: it has just been changed", key)
	}
	issue, err := parse(secret)
	if err != nil {
		return "", Issue{}, fmt.Errorf("reading Secret %s: %w", key, ErrAltered)
	}
	return string(secret.Data[KeyToken]), issue, nil
}

// Delete removes Secrets in the version that was found. One that is gone already is no error; one that has changed since, or made room for
// another, is: what there is now has to be looked at first.
func (s *Store) Delete(ctx context.Context, namespace string, secrets ...Found) error {
	var errs []error
	for _, f := range secrets {
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: f.Name}}
		err := s.Writer.Delete(ctx, secret, client.Preconditions{UID: &f.UID, ResourceVersion: &f.Version})
		if client.IgnoreNotFound(err) != nil {
			errs = append(errs, fmt.Errorf("deleting Secret %s/%s: %w", namespace, f.Name, err))
		}
	}
	return errors.Join(errs...)
}

// Empty takes the token or the grant out of a Secret that is Going: whoever holds it up has no claim to that.
func (s *Store) Empty(ctx context.Context, namespace string, f Found) error {
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": f.UID, "resourceVersion": f.Version, "labels": map[string]string{LabelEmptied: "true"}},
		"data":     map[string]any{KeyToken: nil, keyRefreshToken: nil, keyDeviceCode: nil},
	})
	if err != nil {
		return fmt.Errorf("emptying Secret %s: %w", f.Name, err)
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: f.Name}}
	err = s.Writer.Patch(Unlogged(ctx), secret, client.RawPatch(types.MergePatchType, patch))
	if err = client.IgnoreNotFound(err); err != nil && !apierrors.IsInvalid(err) { // an immutable one stays as it is
		return fmt.Errorf("emptying Secret %s: %w", f.Name, err)
	}
	return nil
}

// Of lists the Secrets that the session with the given UID owns, as the cache knows them. Those that belonged to an earlier session of
// the same name are Leftover; with an empty UID all are.
func (s *Store) Of(ctx context.Context, key client.ObjectKey, uid types.UID) ([]Found, error) {
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("SecretList"))
	if err := s.Metadata.List(ctx, list, client.InNamespace(key.Namespace), client.MatchingFields{IndexSession: key.Name}, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing the Secrets of session %s: %w", key, err)
	}
	for _, name := range usualNames(key.Name) {
		m := newMetadata()
		err := s.Metadata.Get(ctx, client.ObjectKey{Namespace: key.Namespace, Name: name}, m, client.UnsafeDisableDeepCopy)
		if client.IgnoreNotFound(err) != nil {
			return nil, fmt.Errorf("finding Secret %s of session %s: %w", name, key.Name, err)
		}
		if err == nil && m.Labels[LabelSession] == key.Name {
			list.Items = append(list.Items, *m)
		}
	}
	session := &v1.TerminalSession{ObjectMeta: metav1.ObjectMeta{Name: key.Name, UID: uid}}
	var all []Found
	for i := range list.Items {
		if state := owner(&list.Items[i], session); list.Items[i].DeletionTimestamp.IsZero() && (state == Intact || state == Leftover) {
			all = append(all, found(&list.Items[i], state))
		}
	}
	return all, nil
}

func found(secret metav1.Object, state State) Found {
	_, tell := secret.GetLabels()[LabelTell]
	_, emptied := secret.GetLabels()[LabelEmptied]
	return Found{
		State: state, Name: secret.GetName(), UID: secret.GetUID(), Version: secret.GetResourceVersion(), Tell: tell, Emptied: emptied,
		Grant: secret.GetLabels()[LabelGrant], SessionID: secret.GetLabels()[LabelSessionID], Attempt: attemptOf(secret),
	}
}

// owner tells whose a Secret is: Intact stands for the session's own.
func owner(secret metav1.Object, session *v1.TerminalSession) State {
	ref := metav1.GetControllerOf(secret)
	switch {
	case ref == nil, ref.Kind != "TerminalSession", ref.APIVersion != v1.GroupVersion.String():
		return Taken
	case ref.UID == session.UID:
		return Intact
	case ref.Name == session.Name:
		// Two objects of one name never live at once, so the owner is gone.
		return Leftover
	}
	return Taken
}

// ownerReference makes the session the Secret's controller. It does not block the session's deletion: setting that would need
// permission on the session's finalizers where the cluster enforces it, and nothing waits for the Secret.
func ownerReference(session *v1.TerminalSession) metav1.OwnerReference {
	yes := true
	return metav1.OwnerReference{
		APIVersion: v1.GroupVersion.String(), Kind: "TerminalSession", Name: session.Name, UID: session.UID, Controller: &yes,
	}
}

func parse(secret *corev1.Secret) (Issue, error) {
	encoded := secret.Annotations[annotationIssue]
	if checksum(secret.Data, encoded) != secret.Annotations[annotationChecksum] {
		return Issue{}, errors.New("it does not hold what the controller wrote")
	}
	var issue Issue
	if err := json.Unmarshal([]byte(encoded), &issue); err != nil {
		return Issue{}, errors.New("its description of the token cannot be read")
	}
	return issue, nil
}

// checksum is over what the controller wrote, and over nothing that others may have added.
func checksum(data map[string][]byte, issue string) string {
	h := sha256.New()
	for _, part := range [][]byte{data[KeyToken], data[KeyExpiresAt], data[KeySessionID], []byte(issue)} {
		_, _ = fmt.Fprintf(h, "%d:", len(part))
		_, _ = h.Write(part)
	}
	return hex.EncodeToString(h.Sum(nil))
}

func newMetadata() *metav1.PartialObjectMetadata {
	m := &metav1.PartialObjectMetadata{}
	m.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
	return m
}
