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

// own knows what this process has just written of a session, so that its event need not bring the session back: that look would find what
// the one before has left. Others whom it concerns hear of it all the same.
type own struct {
	mu   sync.Mutex
	last map[types.NamespacedName]ownWrite // by session
}

// ownWrite is one write of an object.
type ownWrite struct {
	object string
	// version is what it has come to; empty while it is under way.
	version string
	// heard is the version that an event told of meanwhile, which may come before the answer, and unclear that this was another than the answer's.
	heard   string
	unclear bool
}

// begin is to be called before the write.
func (o *own) begin(session types.NamespacedName, object string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.last == nil {
		o.last = map[types.NamespacedName]ownWrite{}
	}
	o.last[session] = ownWrite{object: object}
}

// end is to be called after the write, with the object's version; empty where the write has failed. It is whether the event has come already.
func (o *own) end(session types.NamespacedName, version string) (told bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	w := o.last[session]
	if version == "" || w.heard == version {
		delete(o.last, session)
		return version != ""
	}
	w.version, w.unclear = version, w.heard != ""
	o.last[session] = w
	return false
}

// is says whether an event of an object tells of this process's own write.
func (o *own) is(session types.NamespacedName, object, version string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	w, known := o.last[session]
	switch {
	case !known || w.object != object:
		return false
	case w.version == "":
		w.heard = version
		o.last[session] = w
		return true
	case w.version == version && !w.unclear:
		delete(o.last, session)
		return true
	}
	return false
}

// unclear is, once, whether an event was held back that told of something else than the write.
func (o *own) unclear(session types.NamespacedName) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	w := o.last[session]
	if w.unclear {
		delete(o.last, session)
	}
	return w.unclear
}

// forget is to be called when a session is looked at: if the cache does not show the write yet, then its event is news.
func (o *own) forget(session types.NamespacedName) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.last, session)
}
