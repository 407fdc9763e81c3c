package controllers

import (
	"sync"

	"k8s.io/apimachinery/pkg/types"
)

// written remembers what this process wrote last, until the cache has caught up. Correctness does not rest on it, that is the version
// lock's: it spares the calls that a look at one's own past would cost.
type written struct {
	mu   sync.Mutex
	last map[types.NamespacedName]versions
}

// versions are those that a write, or two in a row, have led from and to.
type versions struct{ earlier, from, to string }

// hides is whether what shows a version does not show the last write yet.
func (v versions) hides(version string) bool {
	return v.to != "" && (version == v.from || version == v.earlier)
}

// note records that a write has turned version from into version to. One that changed nothing is nothing to wait for.
func (w *written) note(key types.NamespacedName, from, to string) {
	if from == to {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.last == nil {
		w.last = map[types.NamespacedName]versions{}
	}
	next := versions{from: from, to: to}
	if before := w.last[key]; before.to == from {
		next.earlier = before.from
	}
	w.last[key] = next
}

// of returns the last write to an object. It is to be asked before the object is read: an event that comes in between takes it away.
func (w *written) of(key types.NamespacedName) versions {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last[key]
}

// seen drops the last write when the cache shows something newer than what it replaced.
func (w *written) seen(key types.NamespacedName, last versions) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.last[key] == last {
		delete(w.last, key)
	}
}

// own is whether a version is the one that the last write made: an event for it tells nothing new.
func (w *written) own(key types.NamespacedName, version string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	v := w.last[key]
	if v.to == version {
		delete(w.last, key)
		return true
	}
	return v.earlier != "" && v.from == version
}

func (w *written) forget(key types.NamespacedName) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.last, key)
}
