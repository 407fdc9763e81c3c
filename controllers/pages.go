package controllers

import (
	"context"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
)

// pages reads what there is at first as lists, a page of 500 at a time, and not as events of a watch, one an object: of custom resources each
// such event is gone through nine times before it is an object, an item of a list four times. For the lists' sake the API server's answer is
// its newest, and never that of a moment that has passed.
type pages struct {
	cache.ListerWatcher
	from cache.ListerWatcherWithContext
}

// newInformer makes an informer that starts by pages, and is soon there again when the API server is.
func newInformer(from cache.ListerWatcher, of runtime.Object, resync time.Duration, by cache.Indexers) cache.SharedIndexInformer {
	return cache.NewSharedIndexInformer(pages{ListerWatcher: from, from: persistent{cache.ToListerWatcherWithContext(from)}}, of, resync, by)
}

// ListWithContext implements cache.ListerWithContext.
func (p pages) ListWithContext(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
	if o.ResourceVersion == "0" { // any will do: then the whole comes as one page, and may be old
		o.ResourceVersion = ""
	}
	return p.from.ListWithContext(ctx, o)
}

// WatchWithContext implements cache.WatcherWithContext.
func (p pages) WatchWithContext(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
	return p.from.WatchWithContext(ctx, o)
}

// IsWatchListSemanticsUnSupported tells the informer to list.
func (pages) IsWatchListSemanticsUnSupported() bool { return true }
