package fault_test

import (
	"context"
	"fmt"
	"maps"
	"sync"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"

	v1 "terminals.dev/session-controller/api/v1"
)

// watched are the resources that the controllers watch where they are confined to namespaces.
var watched = map[string]schema.GroupVersionKind{
	"terminalsessions": v1.GroupVersion.WithKind("TerminalSession"),
	"sessionproviders": v1.GroupVersion.WithKind("SessionProvider"),
	"sessionbans":      v1.GroupVersion.WithKind("SessionBan"),
	"sessionlogouts":   v1.GroupVersion.WithKind("SessionLogout"),
	secrets:            {Version: "v1", Kind: "Secret"},
}

const secrets = "secrets"

// tracker stands before one handler of a controller's, and knows what that has been told: only then is the controller up to date, and not
// yet when the cache is.
type tracker struct {
	toolscache.ResourceEventHandler
	resource string

	mu   sync.Mutex
	told map[types.NamespacedName]string
}

// OnAdd implements toolscache.ResourceEventHandler.
func (k *tracker) OnAdd(obj any, initial bool) {
	k.ResourceEventHandler.OnAdd(obj, initial)
	k.note(obj, false)
}

// OnUpdate implements toolscache.ResourceEventHandler.
func (k *tracker) OnUpdate(before, after any) {
	k.ResourceEventHandler.OnUpdate(before, after)
	k.note(after, false)
}

// OnDelete implements toolscache.ResourceEventHandler.
func (k *tracker) OnDelete(obj any) {
	k.ResourceEventHandler.OnDelete(obj)
	if last, missed := obj.(toolscache.DeletedFinalStateUnknown); missed {
		obj = last.Obj
	}
	k.note(obj, true)
}

func (k *tracker) note(obj any, gone bool) {
	o, err := meta.Accessor(obj)
	if err != nil {
		panic(err) // informers tell of objects
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	key := types.NamespacedName{Namespace: o.GetNamespace(), Name: o.GetName()}
	if gone {
		delete(k.told, key)
		return
	}
	k.told[key] = version(o)
}

func (k *tracker) knows(live map[types.NamespacedName]string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return maps.Equal(k.told, live)
}

func version(o metav1.Object) string { return string(o.GetUID()) + "/" + o.GetResourceVersion() }

// trackedCache is a cache each of whose handlers has a tracker before it.
type trackedCache struct {
	cache.Cache
	process *process
}

func (p *process) newCache(config *rest.Config, o cache.Options) (cache.Cache, error) {
	c, err := cache.New(config, o)
	return trackedCache{c, p}, err
}

// GetInformer implements cache.Informers.
func (c trackedCache) GetInformer(ctx context.Context, obj client.Object, opts ...cache.InformerGetOption) (cache.Informer, error) {
	informer, err := c.Cache.GetInformer(ctx, obj, opts...)
	if err != nil {
		return nil, err
	}
	gvk, err := apiutil.GVKForObject(obj, plane.admin.Scheme())
	if err != nil {
		return nil, err
	}
	for resource, kind := range watched {
		if kind == gvk {
			return trackedInformer{informer, c.process, resource}, nil
		}
	}
	return nil, fmt.Errorf("%s is watched, and the harness does not know it", gvk)
}

type trackedInformer struct {
	cache.Informer
	process  *process
	resource string
}

// GetIndexer is where the manager looks things up.
func (i trackedInformer) GetIndexer() toolscache.Indexer {
	return i.Informer.(toolscache.SharedIndexInformer).GetIndexer()
}

// AddEventHandlerWithOptions implements cache.Informer; it is what sources call.
func (i trackedInformer) AddEventHandlerWithOptions(h toolscache.ResourceEventHandler, o toolscache.HandlerOptions,
) (toolscache.ResourceEventHandlerRegistration, error) {
	k := &tracker{ResourceEventHandler: h, resource: i.resource, told: map[types.NamespacedName]string{}}
	i.process.mu.Lock()
	i.process.trackers = append(i.process.trackers, k)
	i.process.mu.Unlock()
	return i.Informer.AddEventHandlerWithOptions(k, o)
}

// upToDate is whether every handler of a process has been told of everything there is, but for what is held back.
func (p *process) upToDate() bool {
	for resource := range watched {
		if p.run.feed.isHeld(resource) {
			continue
		}
		change := p.run.changeOf(resource)
		p.mu.Lock()
		verified, known := p.verified[resource]
		trackers := p.trackers
		p.mu.Unlock()
		if known && verified == change {
			continue
		}
		live := p.run.live(resource)
		for _, k := range trackers {
			if k.resource == resource && !k.knows(live) {
				return false
			}
		}
		p.mu.Lock()
		p.verified[resource] = change
		p.mu.Unlock()
	}
	return true
}
