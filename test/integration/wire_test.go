package integration_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	v1 "terminals.dev/session-controller/api/v1"
)

// wire lies between the controllers of one test and the API server. It takes down every write, and every read that goes past the cache;
// it can kill the controller at a write, and show it a cache that is behind.
type wire struct {
	t     *testing.T
	clock clock.PassiveClock
	// seam, where it is set, is called around each write.
	seam func(write string, do func() error) error

	mu     sync.Mutex
	writes []string
	reads  []string
	// dirty are the objects that the cache may be behind with.
	dirty []client.Object
	// dates are when Secrets came up by the test's clock: the API server has only its own.
	dates map[types.UID]metav1.Time
	// frozen are the caches that are behind, by the kind of object that is to be read from them.
	frozen map[string]client.Reader
}

// killed is what a controller panics with where it is killed.
type killed struct{}

// moment is one at which a controller can be killed.
type moment struct {
	// write is the number of the write, from 1.
	write int
	// after is whether the API server has carried it out.
	after bool
}

func (m moment) String() string {
	if m.after {
		return fmt.Sprintf("right after write %d", m.write)
	}
	return fmt.Sprintf("right before write %d", m.write)
}

// killAt makes the controller end at a moment, as by kill -9.
func (w *wire) killAt(m moment) {
	n := 0
	w.seam = func(_ string, do func() error) error {
		if n++; n < m.write {
			return do()
		}
		if n == m.write && m.after {
			_ = do()
		}
		panic(killed{})
	}
}

// cached is the client that controllers read from the cache and write with.
func (w *wire) cached() client.Client {
	return interceptor.NewClient(plane.cached, interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
			if _, whole := obj.(*corev1.Secret); whole {
				w.t.Errorf("Secret %s is read into the cache whole: its metadata alone may be there", key)
			}
			err := w.reader(c, kindOf(obj)).Get(ctx, key, obj, opts...)
			w.date(obj)
			return err
		},
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			err := w.reader(c, kindOf(list)).List(ctx, list, opts...)
			w.dateAll(list)
			return err
		},
		Create: func(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.CreateOption) error {
			err := w.write("create "+kindOf(obj), obj, func() error { return c.Create(ctx, obj, opts...) })
			w.dateNew(obj, err)
			return err
		},
		Update: func(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.UpdateOption) error {
			return w.write("update "+kindOf(obj), obj, func() error { return c.Update(ctx, obj, opts...) })
		},
		Patch: func(ctx context.Context, c client.WithWatch, obj client.Object, patch client.Patch, opts ...client.PatchOption) error {
			return w.write("patch "+kindOf(obj), obj, func() error { return c.Patch(ctx, obj, patch, opts...) })
		},
		Delete: func(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.DeleteOption) error {
			return w.write("delete "+kindOf(obj), obj, func() error { return c.Delete(ctx, obj, opts...) })
		},
		SubResourceUpdate: func(ctx context.Context, c client.Client, sub string, obj client.Object, opts ...client.SubResourceUpdateOption) error {
			return w.write("update "+kindOf(obj)+"/"+sub, obj, func() error { return c.SubResource(sub).Update(ctx, obj, opts...) })
		},
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, obj client.Object, patch client.Patch, opts ...client.SubResourcePatchOption) error {
			return w.write("patch "+kindOf(obj)+"/"+sub, obj, func() error { return c.SubResource(sub).Patch(ctx, obj, patch, opts...) })
		},
	})
}

// live is the client that controllers ask the API server with.
func (w *wire) live() client.Client {
	return interceptor.NewClient(plane.live, interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
			w.read("get " + kindOf(obj) + " " + key.Name)
			err := c.Get(ctx, key, obj, opts...)
			w.date(obj)
			return err
		},
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			w.read("list " + kindOf(list))
			err := c.List(ctx, list, opts...)
			w.dateAll(list)
			return err
		},
	})
}

func (w *wire) write(what string, obj client.Object, do func() error) error {
	what += " " + obj.GetName()
	counted := func() error {
		w.mu.Lock()
		w.writes = append(w.writes, what)
		w.mu.Unlock()
		defer w.soil(obj)
		return do()
	}
	if w.seam != nil {
		return w.seam(what, counted)
	}
	return counted()
}

// hand is a client of the test's own, whose writes do not count.
func (w *wire) hand() client.Client {
	return interceptor.NewClient(plane.live, interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.CreateOption) error {
			defer w.soil(obj)
			return c.Create(ctx, obj, opts...)
		},
		Patch: func(ctx context.Context, c client.WithWatch, obj client.Object, patch client.Patch, opts ...client.PatchOption) error {
			defer w.soil(obj)
			return c.Patch(ctx, obj, patch, opts...)
		},
		Delete: func(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.DeleteOption) error {
			defer w.soil(obj)
			return c.Delete(ctx, obj, opts...)
		},
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, obj client.Object, patch client.Patch, opts ...client.SubResourcePatchOption) error {
			defer w.soil(obj)
			return c.SubResource(sub).Patch(ctx, obj, patch, opts...)
		},
	})
}

// soil notes that the cache may be behind with an object.
func (w *wire) soil(written client.Object) {
	var obj client.Object
	switch kind := kindOf(written); kind {
	case "TerminalSession":
		obj = &v1.TerminalSession{}
	case "SessionProvider":
		obj = &v1.SessionProvider{}
	case "ClusterSessionProvider":
		obj = &v1.ClusterSessionProvider{}
	case "SessionBan":
		obj = &v1.SessionBan{}
	case "ClusterSessionBan":
		obj = &v1.ClusterSessionBan{}
	case "SessionLogout":
		obj = &v1.SessionLogout{}
	case "Secret", "Namespace":
		m := &metav1.PartialObjectMetadata{} // all that the cache has of these
		m.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind(kind))
		obj = m
	default:
		return
	}
	obj.SetNamespace(written.GetNamespace())
	obj.SetName(written.GetName())
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dirty = append(w.dirty, obj)
}

// dirtied returns what has been written since the last time.
func (w *wire) dirtied() []client.Object {
	w.mu.Lock()
	defer w.mu.Unlock()
	dirty := w.dirty
	w.dirty = nil
	return dirty
}

func (w *wire) read(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reads = append(w.reads, what)
}

// taken returns what was written, and read past the cache, since the last time.
func (w *wire) taken() (writes, reads []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	writes, reads = w.writes, w.reads
	w.writes, w.reads = nil, nil
	return writes, reads
}

func (w *wire) reader(fresh client.Reader, kind string) client.Reader {
	if old := w.frozen[kind]; old != nil {
		return old
	}
	return fresh
}

func (w *wire) dateNew(obj client.Object, err error) {
	if err != nil || kindOf(obj) != "Secret" {
		return
	}
	w.mu.Lock()
	w.dates[obj.GetUID()] = metav1.NewTime(w.clock.Now())
	w.mu.Unlock()
	w.date(obj)
}

func (w *wire) date(obj client.Object) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if at, known := w.dates[obj.GetUID()]; known {
		obj.SetCreationTimestamp(metav1.NewTime(at.Truncate(1e9)))
	}
}

func (w *wire) dateAll(list client.ObjectList) {
	if list, ok := list.(*metav1.PartialObjectMetadataList); ok {
		for i := range list.Items {
			w.date(&list.Items[i])
		}
	}
}

// kindOf is the kind of an object, or of what a list lists.
func kindOf(obj any) string {
	switch o := obj.(type) {
	case *v1.TerminalSessionList:
		return "TerminalSession"
	case *v1.SessionProviderList:
		return "SessionProvider"
	case *v1.ClusterSessionProviderList:
		return "ClusterSessionProvider"
	case *v1.SessionBanList:
		return "SessionBan"
	case *v1.ClusterSessionBanList:
		return "ClusterSessionBan"
	case *v1.SessionLogoutList:
		return "SessionLogout"
	case *metav1.PartialObjectMetadataList:
		return "Secret"
	case client.Object:
		gvk, err := apiutil.GVKForObject(o, plane.live.Scheme())
		if err != nil {
			panic(err)
		}
		return gvk.Kind
	}
	panic(fmt.Sprintf("%T is of no kind that the controllers deal with", obj))
}
