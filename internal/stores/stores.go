// Package stores answers a client's reads out of the caches' own stores, for the kinds that every look at a session asks for. A client that
// reads from a cache finds out by reflection, each time, what it is asked for: a tenth of what a login takes.
package stores

import (
	"context"
	"fmt"
	"sync/atomic"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime/schema"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"

	v1 "terminals.dev/session-controller/api/v1"
)

// Client is a client whose reads of some kinds, and of the metadata of Secrets and namespaces, come from a cache's stores. Whatever else it is
// asked, and all of it before a store is filled, is the other client's to answer, so that there is no difference but what it costs.
type Client struct {
	client.Client
	sessions, bans, clusterBans, logouts, providers, clusterProviders, secrets, namespaces *store
}

// New returns a client that answers like the given one, which is to read from the given cache. Of a cache that is confined to namespaces it uses
// no stores, since there are several of each kind.
func New(ctx context.Context, c client.Client, from cache.Cache, clusterWide bool) (*Client, error) {
	all := &Client{Client: c}
	if !clusterWide {
		return all, nil
	}
	for object, to := range map[client.Object]**store{
		&v1.TerminalSession{}: &all.sessions, &v1.SessionLogout{}: &all.logouts,
		&v1.SessionBan{}: &all.bans, &v1.ClusterSessionBan{}: &all.clusterBans,
		&v1.SessionProvider{}: &all.providers, &v1.ClusterSessionProvider{}: &all.clusterProviders,
		metadataOf("Secret"): &all.secrets, metadataOf("Namespace"): &all.namespaces,
	} {
		gvk, err := apiutil.GVKForObject(object, c.Scheme())
		if err != nil {
			return nil, fmt.Errorf("finding out of what kind %T is: %w", object, err)
		}
		informer, err := from.GetInformer(ctx, object)
		if err != nil {
			return nil, fmt.Errorf("finding the cache of %s: %w", gvk.Kind, err)
		}
		if informer, ok := informer.(stored); ok {
			*to = &store{stored: informer, gvk: gvk}
		}
	}
	return all, nil
}

func metadataOf(kind string) *metav1.PartialObjectMetadata {
	m := &metav1.PartialObjectMetadata{}
	m.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind(kind))
	return m
}

// Get implements client.Reader.
func (c *Client) Get(ctx context.Context, key client.ObjectKey, out client.Object, opts ...client.GetOption) error {
	var done bool
	var err error
	switch out := out.(type) {
	case *v1.TerminalSession:
		done, err = get(c.sessions, key, out, opts)
	case *v1.SessionProvider:
		done, err = get(c.providers, key, out, opts)
	case *v1.ClusterSessionProvider:
		done, err = get(c.clusterProviders, key, out, opts)
	case *metav1.PartialObjectMetadata:
		done, err = get(c.metadata(out.Kind), key, out, opts)
	}
	if done {
		return err
	}
	return c.Client.Get(ctx, key, out, opts...)
}

// List implements client.Reader.
func (c *Client) List(ctx context.Context, out client.ObjectList, opts ...client.ListOption) error {
	var done bool
	var err error
	switch out := out.(type) {
	case *v1.TerminalSessionList:
		done, err = list(c.sessions, &out.Items, opts)
	case *v1.SessionBanList:
		done, err = list(c.bans, &out.Items, opts)
	case *v1.ClusterSessionBanList:
		done, err = list(c.clusterBans, &out.Items, opts)
	case *v1.SessionLogoutList:
		done, err = list(c.logouts, &out.Items, opts)
	case *v1.SessionProviderList:
		done, err = list(c.providers, &out.Items, opts)
	case *v1.ClusterSessionProviderList:
		done, err = list(c.clusterProviders, &out.Items, opts)
	case *metav1.PartialObjectMetadataList:
		done, err = list(c.metadata(out.Kind[:max(0, len(out.Kind)-len("List"))]), &out.Items, opts)
	}
	if done {
		return err
	}
	return c.Client.List(ctx, out, opts...)
}

func (c *Client) metadata(kind string) *store {
	switch kind {
	case "Secret":
		return c.secrets
	case "Namespace":
		return c.namespaces
	}
	return nil
}

// stored is an informer with one store.
type stored interface {
	GetIndexer() toolscache.Indexer
	HasSynced() bool
}

// store is where a cache has the objects of one kind.
type store struct {
	stored
	gvk    schema.GroupVersionKind
	filled atomic.Bool
}

// ready is whether a store is there and has been filled.
func (s *store) ready() bool {
	if s == nil || !s.filled.Load() && !s.HasSynced() {
		return false
	}
	s.filled.Store(true)
	return true
}

// object is a pointer to an API object.
type object[T any] interface {
	*T
	client.Object
	DeepCopyInto(into *T)
}

// fill makes out what a store has, which is the store's own where no copy is wanted.
func fill[T any, P object[T]](s *store, kept any, out P, unsafe *bool) error {
	has, ok := kept.(P)
	if !ok {
		return fmt.Errorf("the cache of %s has a %T", s.gvk.Kind, kept)
	}
	if unsafe != nil && *unsafe {
		*out = *has
	} else {
		has.DeepCopyInto(out)
	}
	out.GetObjectKind().SetGroupVersionKind(s.gvk)
	return nil
}

// get answers from the store, if that can.
func get[T any, P object[T]](s *store, key client.ObjectKey, out P, opts []client.GetOption) (done bool, err error) {
	if !s.ready() {
		return false, nil
	}
	o := client.GetOptions{}
	o.ApplyOptions(opts)
	at := key.Name
	if key.Namespace != "" {
		at = key.Namespace + "/" + key.Name
	}
	kept, there, err := s.GetIndexer().GetByKey(at)
	switch {
	case err != nil:
		return true, fmt.Errorf("finding %s %s: %w", s.gvk.Kind, at, err)
	case !there:
		return true, apierrors.NewNotFound(schema.GroupResource{Group: s.gvk.Group, Resource: s.gvk.Kind}, key.Name)
	}
	return true, fill(s, kept, out, o.UnsafeDisableDeepCopy)
}

// list answers from the store, if that can: what is asked for by a label, or by more than one field, is left to the client.
func list[T any, P object[T]](s *store, items *[]T, opts []client.ListOption) (done bool, err error) {
	if !s.ready() {
		return false, nil
	}
	o := client.ListOptions{}
	o.ApplyOptions(opts)
	if o.LabelSelector != nil || o.Continue != "" {
		return false, nil
	}
	var kept []any
	switch {
	case o.FieldSelector != nil:
		by := o.FieldSelector.Requirements()
		if len(by) != 1 {
			return false, nil
		}
		if kept, err = s.GetIndexer().ByIndex(indexOf(by[0].Field), keyOf(o.Namespace, by[0].Value)); err != nil {
			return false, nil //nolint:nilerr // the client says what is wrong with it
		}
	case o.Namespace != "":
		if kept, err = s.GetIndexer().ByIndex(toolscache.NamespaceIndex, o.Namespace); err != nil {
			return false, nil //nolint:nilerr // the client says what is wrong with it
		}
	default:
		kept = s.GetIndexer().List()
	}
	if o.Limit > 0 && int64(len(kept)) > o.Limit {
		kept = kept[:o.Limit]
	}
	*items = make([]T, len(kept))
	for i := range kept {
		if err := fill(s, kept[i], P(&(*items)[i]), o.UnsafeDisableDeepCopy); err != nil {
			return true, err
		}
	}
	return true, nil
}

// Where narrows a list to what an index has under a value. It is client.MatchingFields at two thirds of the cost: a login has some fifty of them.
func Where(index, value string) client.ListOption {
	return client.MatchingFieldsSelector{Selector: fields.OneTermEqualSelector(index, value)}
}

// indexOf and keyOf are how controller-runtime names an index over a field, and what is in it.
func indexOf(field string) string { return "field:" + field }

func keyOf(namespace, value string) string {
	if namespace == "" {
		namespace = "__all_namespaces"
	}
	return namespace + "/" + value
}
