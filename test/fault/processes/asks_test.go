package processes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "terminals.dev/session-controller/api/v1"
)

const (
	namespace = "fire"
	// patience is for how long one request is waited for. One that is not answered is made again.
	patience = 5 * time.Second
	// settled is how old a session is that is signed out: the limit of a logout is a time in whole seconds.
	settled = 2 * time.Second
)

func named(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: namespace, Name: name} }

// persist makes a request until the API server has said that it is done, as whoever wants it would. What is asked for twice is asked for once.
func persist(ctx context.Context, ask func(context.Context) error) error {
	for {
		try, cancel := context.WithTimeout(ctx, patience)
		err := ask(try)
		cancel()
		if err == nil || apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) {
			return err
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		}
	}
}

// look reads a session; one that is not there is nil.
func look(ctx context.Context, name string) (*v1.TerminalSession, error) {
	s := &v1.TerminalSession{}
	err := persist(ctx, func(ctx context.Context) error {
		err := api.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, s)
		if apierrors.IsNotFound(err) {
			s = nil
			return nil
		}
		return err
	})
	return s, err
}

func create(ctx context.Context, o client.Object) error {
	return persist(ctx, func(ctx context.Context) error {
		err := api.Create(ctx, o.DeepCopyObject().(client.Object))
		if apierrors.IsAlreadyExists(err) { // made by a request of which nobody heard
			return nil
		}
		return err
	})
}

func remove(ctx context.Context, o client.Object) error {
	return persist(ctx, func(ctx context.Context) error { return client.IgnoreNotFound(api.Delete(ctx, o)) })
}

func patch(ctx context.Context, name string, change map[string]any) error {
	content, err := json.Marshal(change)
	if err != nil {
		return err
	}
	return persist(ctx, func(ctx context.Context) error {
		return api.Patch(ctx, &v1.TerminalSession{ObjectMeta: named(name)}, client.RawPatch(types.MergePatchType, content))
	})
}

func annotate(ctx context.Context, name, annotation, value string) error {
	return patch(ctx, name, map[string]any{"metadata": map[string]any{"annotations": map[string]string{annotation: value}}})
}

// The requests of the load, each of which has a step of it.

func (t *till) create(ctx context.Context, step int64) error {
	t.asked(step, "creation", 1)
	s := &v1.TerminalSession{ObjectMeta: named(t.name)}
	s.Spec.Terminal.ID = t.name
	s.Spec.User = &v1.User{Email: email(t.user)}
	s.Spec.ProviderRef = v1.ProviderReference{Kind: v1.KindSessionProvider, Name: "idp"}
	s.Spec.AuthTokenSecretRef = &v1.TokenKeyReference{Name: users[t.user]}
	t.wish = wishIn
	return create(ctx, s)
}

func (t *till) delete(ctx context.Context, step int64) error {
	t.asked(step, "deletion", 0)
	t.wish = wishGone
	return remove(ctx, &v1.TerminalSession{ObjectMeta: named(t.name)})
}

func (t *till) renewal(ctx context.Context, step int64) error {
	t.asked(step, "renewal", 0)
	t.renew = fmt.Sprint(step)
	return annotate(ctx, t.name, v1.AnnotationRenewRequested, t.renew)
}

func (t *till) handOver(ctx context.Context, step int64) error {
	t.asked(step, "handover", 1)
	t.user = (t.user + 1) % len(users)
	return patch(ctx, t.name, map[string]any{"spec": map[string]any{
		"user": map[string]string{"email": email(t.user)}, "authTokenSecretRef": map[string]string{"name": users[t.user]},
	}})
}

func (t *till) want(ctx context.Context, step int64, state v1.DesiredState) error {
	if t.wish = wishOut; state == v1.LoggedIn {
		t.wish = wishIn
	}
	t.asked(step, string(state), map[v1.DesiredState]int{v1.LoggedIn: 1}[state])
	return patch(ctx, t.name, map[string]any{"spec": map[string]any{"desiredState": state}})
}

func (t *till) ban(ctx context.Context, step int64) error {
	t.asked(step, "ban", 0)
	t.wish, t.order = wishBanned, fmt.Sprintf("%s-%d", t.name, step)
	b := &v1.SessionBan{ObjectMeta: named(t.order)}
	b.Spec = v1.SessionBanSpec{Match: v1.BanMatch{TerminalID: t.name}, Code: "DeviceLost"}
	return create(ctx, b)
}

func (t *till) lift(ctx context.Context, step int64) error {
	t.asked(step, "end of the ban", 1)
	t.wish = wishIn
	return remove(ctx, &v1.SessionBan{ObjectMeta: named(t.order)})
}

func (t *till) signOut(ctx context.Context, step int64) error {
	t.asked(step, "logout", 0)
	t.wish, t.order = wishHeld, fmt.Sprintf("%s-%d", t.name, step)
	l := &v1.SessionLogout{ObjectMeta: named(t.order)}
	l.Spec.Selector = &v1.LogoutSelector{Names: []string{t.name}}
	return create(ctx, l)
}

func (t *till) login(ctx context.Context, step int64) error {
	t.asked(step, "login", 1)
	t.wish = wishIn
	return annotate(ctx, t.name, v1.AnnotationLoginRequested, fmt.Sprint(step))
}

// canBeSignedOut is whether a logout made now is sure to be for the session that there is: one that is in use, and has been for a while.
func canBeSignedOut(s *v1.TerminalSession) bool {
	return s != nil && s.Status.Phase == v1.PhaseEstablished && s.Status.ObservedGeneration == s.Generation &&
		meta.IsStatusConditionTrue(s.Status.Conditions, v1.ConditionReady) && time.Since(s.Status.EstablishedAt.Time) > settled
}

func isHeld(s *v1.TerminalSession) bool { return s != nil && s.Status.Hold != nil }
