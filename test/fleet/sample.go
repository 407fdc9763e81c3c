package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "terminals.dev/session-controller/api/v1"
)

// write is one request of the bare client.
type write struct {
	verb, path, media string
	body              []byte
}

const mergePatch = string(types.MergePatchType)

func (p *plane) do(ctx context.Context, w write) error {
	err := p.bare.Verb(w.verb).AbsPath(w.path).SetHeader("Content-Type", w.media).SetHeader("Accept", asJSON).Body(w.body).Do(ctx).Error()
	if err != nil {
		return fmt.Errorf("%s %s: %w", w.verb, w.path, err)
	}
	return nil
}

// sample is what the product has written for one session: the bare client writes copies of it, of the same sizes.
type sample struct {
	uid string
	// secret is the body of its creation; the rest are patches. finalizer is nil where the product sets none.
	finalizer, secret, status    []byte
	renewedSecret, renewedStatus []byte
}

// sampled is the number of the session that the sample is taken of.
const sampled = 999999

// sample has the manager, which has to be running, log a session in and renew it.
func (b *bench) sample(ctx context.Context, provider v1.ProviderReference) (*sample, error) {
	applied := newSession(ofProduct, sampled, provider)
	if err := b.api.Create(ctx, applied); err != nil {
		return nil, fmt.Errorf("taking a sample: %w", err)
	}
	done, secret, err := b.awaitOne(ctx, func(s *v1.TerminalSession) bool { return s.Status.Phase == v1.PhaseEstablished })
	if err != nil {
		return nil, err
	}
	taken := &sample{uid: string(applied.UID)}
	if len(done.Finalizers) > 0 {
		if taken.finalizer, err = json.Marshal(map[string]any{"metadata": map[string]any{"finalizers": done.Finalizers}}); err != nil {
			return nil, err
		}
	}
	if taken.secret, err = json.Marshal(applicable(secret)); err != nil {
		return nil, err
	}
	if taken.status, err = changes(applied, done); err != nil {
		return nil, err
	}
	if err := b.askForRenewal(ctx, sampled, sampled+1, "sample"); err != nil {
		return nil, err
	}
	again, secret, err := b.awaitOne(ctx, func(s *v1.TerminalSession) bool { return s.Status.Token != nil && s.Status.Token.Renewals > 0 })
	if err != nil {
		return nil, err
	}
	if taken.renewedStatus, err = changes(done, again); err != nil {
		return nil, err
	}
	taken.renewedSecret, err = json.Marshal(map[string]any{
		"metadata": map[string]any{"labels": secret.Labels, "annotations": secret.Annotations}, "data": secret.Data,
	})
	return taken, err
}

// awaitOne waits until the sample's session is so, and returns it and its Secret.
func (b *bench) awaitOne(ctx context.Context, is func(*v1.TerminalSession) bool) (*v1.TerminalSession, *corev1.Secret, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		s := &v1.TerminalSession{}
		if err := b.api.Get(ctx, client.ObjectKey{Namespace: ofProduct, Name: name(sampled)}, s); err != nil {
			return nil, nil, fmt.Errorf("taking a sample: %w; the manager's last words:\n%s", err, b.manager.Tail(15))
		}
		if is(s) {
			secret := &corev1.Secret{}
			err := b.api.Get(ctx, client.ObjectKey{Namespace: ofProduct, Name: tokenOf(s.Name)}, secret)
			return s, secret, err
		}
		<-time.After(20 * time.Millisecond) // until one session is there, not to measure anything
	}
}

// changes is the patch by which the product has come from one status to another.
func changes(before, after *v1.TerminalSession) ([]byte, error) {
	to := before.DeepCopy()
	to.Status = after.Status
	return client.MergeFrom(before).Data(to)
}

// applicable is a Secret as it was before the API server had it.
func applicable(secret *corev1.Secret) *corev1.Secret {
	return &corev1.Secret{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
		ObjectMeta: metav1.ObjectMeta{
			Name: secret.Name, Labels: secret.Labels, Annotations: secret.Annotations, OwnerReferences: secret.OwnerReferences,
		},
		Type: secret.Type, Data: secret.Data,
	}
}

// login are the writes that log a session of the floor in.
func (s *sample) login(number int, uid types.UID) []write {
	writes := []write{
		{http.MethodPost, secretsOf(ofFloor), asJSON, s.copied(s.secret, number, uid)},
		{http.MethodPatch, sessionsOf(ofFloor) + "/" + name(number) + "/status", mergePatch, s.copied(s.status, number, uid)},
	}
	if s.finalizer != nil {
		writes = append([]write{{http.MethodPatch, sessionsOf(ofFloor) + "/" + name(number), mergePatch, s.finalizer}}, writes...)
	}
	return writes
}

// renewal are those that renew it.
func (s *sample) renewal(number int, uid types.UID) []write {
	return []write{
		{http.MethodPatch, secretsOf(ofFloor) + "/" + tokenOf(name(number)), mergePatch, s.copied(s.renewedSecret, number, uid)},
		{http.MethodPatch, sessionsOf(ofFloor) + "/" + name(number) + "/status", mergePatch, s.copied(s.renewedStatus, number, uid)},
	}
}

// copied is what was written for the sample, for another session.
func (s *sample) copied(text []byte, number int, uid types.UID) []byte {
	text = bytes.ReplaceAll(text, []byte(name(sampled)), []byte(name(number)))
	return bytes.ReplaceAll(text, []byte(s.uid), []byte(uid))
}
