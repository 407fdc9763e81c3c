package controllers

import (
	"context"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/internal/session"
	"terminals.dev/session-controller/internal/stores"
)

// Orders finds the bans and logouts that concern a session, and the sessions that they concern. All of it goes by index.
type Orders struct {
	// Reader reads from the cache.
	Reader client.Reader
	// Namespaces are those that are served. Empty, the whole cluster is; else ClusterSessionBans and namespaces are out of reach.
	Namespaces []string
	// Clock is the time of day.
	Clock clock.PassiveClock
}

func (o *Orders) clusterWide() bool { return len(o.Namespaces) == 0 }

// ban is the ban in force for a session, or nil.
func (o *Orders) ban(ctx context.Context, s *v1.TerminalSession) (*session.Ban, error) {
	bans, err := o.bansOn(ctx, s, true, false)
	if err != nil || len(bans) == 0 {
		return nil, err
	}
	labels, err := o.labelsOf(ctx, s.Namespace, bans)
	if err != nil {
		return nil, err
	}
	return session.InForce(bans, s, labels, o.Clock.Now()), nil
}

// bansOn are the bans of these kinds, of the cluster or not, that may match a session, be they in force or not.
func (o *Orders) bansOn(ctx context.Context, s *v1.TerminalSession, kinds ...bool) ([]v1.Ban, error) {
	var bans []v1.Ban
	for _, cluster := range kinds {
		for _, key := range session.Keys(s) {
			found, err := o.list(ctx, s.Namespace, cluster, stores.Where(indexMatch, key))
			if err != nil {
				return nil, err
			}
			bans = append(bans, found...)
		}
	}
	return slices.DeleteFunc(bans, func(b v1.Ban) bool { return !session.Matches(&b.BanSpec().Match, s) }), nil
}

// list lists bans of one namespace or of the cluster, where those may be read.
func (o *Orders) list(ctx context.Context, namespace string, cluster bool, by ...client.ListOption) ([]v1.Ban, error) {
	var bans []v1.Ban
	by = append(by, client.UnsafeDisableDeepCopy)
	if !cluster {
		list := &v1.SessionBanList{}
		if err := o.Reader.List(ctx, list, append(by, client.InNamespace(namespace))...); err != nil {
			return nil, fmt.Errorf("listing SessionBans: %w", err)
		}
		for i := range list.Items {
			bans = append(bans, &list.Items[i])
		}
		return bans, nil
	}
	if !o.clusterWide() {
		return nil, nil
	}
	list := &v1.ClusterSessionBanList{}
	if err := o.Reader.List(ctx, list, by...); err != nil {
		return nil, fmt.Errorf("listing ClusterSessionBans: %w", err)
	}
	for i := range list.Items {
		bans = append(bans, &list.Items[i])
	}
	return bans, nil
}

// labelsOf reads a namespace's labels where one of the bans goes by them.
func (o *Orders) labelsOf(ctx context.Context, namespace string, bans []v1.Ban) (map[string]string, error) {
	if !slices.ContainsFunc(bans, func(b v1.Ban) bool { return b.Namespaces() != nil }) {
		return nil, nil
	}
	ns, err := namespaceOf(ctx, o.Reader, namespace)
	if err != nil {
		return nil, err
	}
	if ns == nil { // it has just come up: nobody escapes a ban by labels that are not known
		return nil, fmt.Errorf("namespace %s is not in the cache yet", namespace)
	}
	return ns.Labels, nil
}

// logout is the logout that is to sign a session out, or nil.
func (o *Orders) logout(ctx context.Context, s *v1.TerminalSession) (*session.Logout, error) {
	running := &v1.SessionLogoutList{}
	err := o.Reader.List(ctx, running, client.InNamespace(s.Namespace), stores.Where(indexRunning, "true"), client.UnsafeDisableDeepCopy)
	if err != nil {
		return nil, fmt.Errorf("listing SessionLogouts: %w", err)
	}
	for i := range running.Items {
		if l := &running.Items[i]; session.SignsOut(l, s) {
			return session.LogoutOf(l), nil
		}
	}
	return nil, nil
}

// matchedBy are the sessions that a ban matches. Where the labels of a namespace are not known yet it fails, unless those are wanted that
// may match: whoever is only to be woken looks for itself.
func (o *Orders) matchedBy(ctx context.Context, b v1.Ban, mayMatch bool) ([]*v1.TerminalSession, error) {
	list := &v1.TerminalSessionList{}
	err := o.Reader.List(ctx, list, client.InNamespace(b.GetNamespace()), ofKey(session.KeyOf(&b.BanSpec().Match)), client.UnsafeDisableDeepCopy)
	if err != nil {
		return nil, fmt.Errorf("listing the sessions that %s matches: %w", b.GetName(), err)
	}
	selected := map[string]bool{}
	var matched []*v1.TerminalSession
	for i := range list.Items {
		s := &list.Items[i]
		if !s.DeletionTimestamp.IsZero() || !session.Matches(&b.BanSpec().Match, s) {
			continue
		}
		if _, known := selected[s.Namespace]; !known {
			labels, err := o.labelsOf(ctx, s.Namespace, []v1.Ban{b})
			if err != nil && !mayMatch {
				return nil, err
			}
			selected[s.Namespace] = err != nil || session.Selects(b, labels)
		}
		if selected[s.Namespace] {
			matched = append(matched, s)
		}
	}
	return matched, nil
}

// signedOutBy are the sessions that a logout is still to sign out.
func (o *Orders) signedOutBy(ctx context.Context, l *v1.SessionLogout) ([]*v1.TerminalSession, error) {
	list := &v1.TerminalSessionList{}
	by := []client.ListOption{client.InNamespace(l.Namespace), client.UnsafeDisableDeepCopy}
	if sel := l.Spec.Selector; sel != nil {
		if keys := session.KeysOf(sel.User, sel.SerialNumber, sel.TerminalID, sel.MerchantID); len(keys) > 0 {
			by = append(by, ofKey(keys[0]))
		}
	}
	if err := o.Reader.List(ctx, list, by...); err != nil {
		return nil, fmt.Errorf("listing the sessions that SessionLogout %s selects: %w", l.Name, err)
	}
	var affected []*v1.TerminalSession
	for i := range list.Items {
		if s := &list.Items[i]; session.SignsOut(l, s) {
			affected = append(affected, s)
		}
	}
	return affected, nil
}

// indexOrders adds the indexes over bans and logouts, and those over sessions that they go by.
func indexOrders(ctx context.Context, indexer client.FieldIndexer, clusterWide bool) error {
	match := func(o client.Object) []string { return []string{session.KeyOf(&o.(v1.Ban).BanSpec().Match)} }
	if err := indexer.IndexField(ctx, &v1.SessionBan{}, indexMatch, match); err != nil {
		return fmt.Errorf("indexing SessionBans: %w", err)
	}
	if clusterWide {
		if err := indexer.IndexField(ctx, &v1.ClusterSessionBan{}, indexMatch, match); err != nil {
			return fmt.Errorf("indexing ClusterSessionBans: %w", err)
		}
	}
	err := indexer.IndexField(ctx, &v1.SessionLogout{}, indexRunning, func(o client.Object) []string {
		if session.Running(o.(*v1.SessionLogout)) {
			return []string{"true"}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("indexing SessionLogouts: %w", err)
	}
	return nil
}

// banOf is an empty ban of a kind.
func newBan(cluster bool) v1.Ban {
	if cluster {
		return &v1.ClusterSessionBan{}
	}
	return &v1.SessionBan{}
}

// isGoing is whether an object is being deleted.
func isGoing(o metav1.Object) bool { return !o.GetDeletionTimestamp().IsZero() }
