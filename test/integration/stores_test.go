package integration_test

import (
	"context"
	"fmt"
	"maps"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/internal/stores"
)

// lookups are a cache, a client that reads from it, one that reads from its stores, and how often that one asks the first.
type lookups struct {
	plain  client.Client
	stores *stores.Client
	passed int
}

// lookups makes a cache of its own, with an index over a label.
func (h *harness) lookups() *lookups {
	h.t.Helper()
	c, err := cache.New(plane.env.Config, cache.Options{Scheme: plane.live.Scheme()})
	if err != nil {
		h.t.Fatal(err)
	}
	all := &lookups{}
	if all.plain, err = client.New(plane.env.Config, client.Options{Scheme: plane.live.Scheme(), Cache: &client.CacheOptions{Reader: c}}); err != nil {
		h.t.Fatal(err)
	}
	watching, err := client.NewWithWatch(plane.env.Config, client.Options{Scheme: plane.live.Scheme()})
	if err != nil {
		h.t.Fatal(err)
	}
	counted := interceptor.NewClient(watching, interceptor.Funcs{
		Get: func(ctx context.Context, _ client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			all.passed++
			return all.plain.Get(ctx, key, o, opts...)
		},
		List: func(ctx context.Context, _ client.WithWatch, o client.ObjectList, opts ...client.ListOption) error {
			all.passed++
			return all.plain.List(ctx, o, opts...)
		},
	})
	for _, o := range []client.Object{&v1.TerminalSession{}, &v1.SessionBan{}, &v1.ClusterSessionBan{}} {
		err := c.IndexField(h.ctx, o, "of", func(o client.Object) []string { return []string{o.GetLabels()["of"]} })
		if err != nil {
			h.t.Fatal(err)
		}
	}
	if all.stores, err = stores.New(h.ctx, counted, c, true); err != nil {
		h.t.Fatal(err)
	}
	go func() { _ = c.Start(h.ctx) }()
	if !c.WaitForCacheSync(h.ctx) {
		h.t.Fatal("the cache does not fill")
	}
	return all
}

func TestAStoreAnswersLikeTheClientThatReadsFromIt(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	labels := func(o client.Object, of string) client.Object {
		o.SetLabels(map[string]string{"of": of})
		return o
	}
	in := func(o client.Object) client.Object {
		o.SetNamespace(h.namespace)
		return o
	}
	ban := func(name string) *v1.SessionBan {
		return &v1.SessionBan{
			ObjectMeta: metav1.ObjectMeta{Namespace: h.namespace, Name: name},
			Spec:       v1.SessionBanSpec{Match: v1.BanMatch{TerminalID: name}, Code: "Stolen"},
		}
	}
	everywhere := &v1.ClusterSessionBan{ObjectMeta: metav1.ObjectMeta{Name: h.namespace}}
	everywhere.Spec.Match, everywhere.Spec.Code = v1.BanMatch{TerminalID: "nobody"}, "Stolen"
	for _, o := range []client.Object{
		labels(in(session("till-1")), "a"), labels(in(session("till-2")), "a"), labels(in(session("till-3")), "b"),
		labels(ban("one"), "a"), labels(ban("two"), "b"), labels(everywhere, "a"),
	} {
		if err := plane.live.Create(h.ctx, o); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { _ = plane.live.Delete(context.WithoutCancel(h.ctx), everywhere) })

	all, here := h.lookups(), client.InNamespace(h.namespace)
	metadata := func(kind string) *metav1.PartialObjectMetadataList {
		list := &metav1.PartialObjectMetadataList{}
		list.SetGroupVersionKind(secretsMetadata().GroupVersionKind())
		list.Kind = kind
		return list
	}
	for what, ask := range map[string]struct {
		list  client.ObjectList
		by    []client.ListOption
		count int
		// passes is whether the store cannot answer.
		passes bool
	}{
		"by namespace":                {&v1.TerminalSessionList{}, []client.ListOption{here}, 3, false},
		"by index":                    {&v1.TerminalSessionList{}, []client.ListOption{here, client.MatchingFields{"of": "a"}}, 2, false},
		"by index everywhere":         {&v1.TerminalSessionList{}, []client.ListOption{client.MatchingFields{"of": "b"}}, 1, false},
		"as they are":                 {&v1.TerminalSessionList{}, []client.ListOption{here, client.MatchingFields{"of": "b"}, client.UnsafeDisableDeepCopy}, 1, false},
		"none":                        {&v1.TerminalSessionList{}, []client.ListOption{client.InNamespace("none")}, 0, false},
		"by label":                    {&v1.TerminalSessionList{}, []client.ListOption{here, client.MatchingLabels{"of": "a"}}, 2, true},
		"bans by index":               {&v1.SessionBanList{}, []client.ListOption{here, client.MatchingFields{"of": "b"}}, 1, false},
		"bans of the cluster":         {&v1.ClusterSessionBanList{}, []client.ListOption{client.MatchingFields{"of": "a"}}, 1, false},
		"metadata of Secrets":         {metadata("SecretList"), []client.ListOption{here}, 1, false},
		"metadata of something else":  {metadata("ConfigMapList"), []client.ListOption{client.InNamespace("none")}, 0, true},
		"by an index that is missing": {&v1.SessionLogoutList{}, []client.ListOption{client.MatchingFields{"of": "a"}}, 0, true},
	} {
		other := ask.list.DeepCopyObject().(client.ObjectList)
		all.passed = 0
		err := all.stores.List(h.ctx, ask.list, ask.by...)
		passed := all.passed > 0
		if otherErr := all.plain.List(h.ctx, other, ask.by...); fmt.Sprint(err) != fmt.Sprint(otherErr) {
			t.Errorf("%s: %v, and %v", what, err, otherErr)
		}
		if got, want := versions(t, ask.list), versions(t, other); !maps.Equal(got, want) || len(got) != ask.count {
			t.Errorf("%s: %v, and %v", what, got, want)
		}
		if passed != ask.passes {
			t.Errorf("%s: the client was asked: %t", what, passed)
		}
	}

	few := &v1.SessionBanList{}
	if err := all.stores.List(h.ctx, few, here, client.Limit(1)); err != nil || len(few.Items) != 1 {
		t.Errorf("asked for one ban of two: %d, %v", len(few.Items), err)
	}

	for _, name := range []string{"till-1", "no-such"} {
		mine, other, key := &v1.TerminalSession{}, &v1.TerminalSession{}, types.NamespacedName{Namespace: h.namespace, Name: name}
		all.passed = 0
		err, otherErr := all.stores.Get(h.ctx, key, mine), all.plain.Get(h.ctx, key, other)
		if fmt.Sprint(err) != fmt.Sprint(otherErr) || mine.ResourceVersion != other.ResourceVersion || mine.GroupVersionKind() != other.GroupVersionKind() || all.passed != 0 {
			t.Errorf("%s: %v, and %v", name, err, otherErr)
		}
	}
	kept, again := &v1.TerminalSession{}, &v1.TerminalSession{}
	key := types.NamespacedName{Namespace: h.namespace, Name: "till-1"}
	if err := all.stores.Get(h.ctx, key, kept); err != nil {
		t.Fatal(err)
	}
	kept.Labels["of"] = "changed"
	if err := all.stores.Get(h.ctx, key, again); err != nil || again.Labels["of"] != "a" {
		t.Errorf("what is done to a copy is done to the store: %v, %v", again.Labels, err)
	}
}

// versions are the objects of a list with their versions.
func versions(t *testing.T, list client.ObjectList) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := meta.EachListItem(list, func(o runtime.Object) error {
		item := o.(client.Object)
		found[item.GetNamespace()+"/"+item.GetName()] = item.GetResourceVersion()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
