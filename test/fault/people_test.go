package fault_test

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "terminals.dev/session-controller/api/v1"
)

// answerTime is for how long an answer is kept back at most.
const answerTime = 100 * time.Millisecond

// meanwhile has people do what they do while the provider is asked, and keeps the answer back until the session has ended without it. Where a
// fault has that take long, the answer comes first, to whoever is still there.
func (r *run) meanwhile(ctx context.Context) {
	do := r.scenario.meanwhile
	r.mu.Lock()
	now := do != nil && r.acting && !r.interrupted
	r.interrupted = r.interrupted || now
	r.mu.Unlock()
	if !now {
		return
	}
	do(r)
	ctx, stop := context.WithTimeout(ctx, answerTime)
	defer stop()
	for ctx.Err() == nil && !r.isOver() {
		time.Sleep(lookEvery)
	}
}

// isOver is whether the session is as the scenario ends.
func (r *run) isOver() bool {
	s := &v1.TerminalSession{}
	if err := plane.admin.Get(r.ctx, client.ObjectKey{Namespace: r.namespace, Name: theSession}, s); err != nil {
		return client.IgnoreNotFound(err) == nil
	}
	ready := meta.FindStatusCondition(s.Status.Conditions, v1.ConditionReady)
	return ready != nil && ready.Reason == r.scenario.want.ready
}

// apply has people create an object.
func (r *run) apply(obj client.Object, resource string) {
	r.t.Helper()
	obj.SetNamespace(r.namespace)
	r.note("somebody applies %s %s", resource, obj.GetName())
	if err := plane.admin.Create(r.ctx, obj); err != nil {
		r.t.Fatal(err)
	}
	r.touch(resource)
}

// edit has people change an object, and nothing but what they mean.
func edit[T client.Object](r *run, obj T, resource string, change func(T)) {
	r.t.Helper()
	if err := plane.admin.Get(r.ctx, client.ObjectKey{Namespace: r.namespace, Name: obj.GetName()}, obj); err != nil {
		r.t.Fatal(err)
	}
	before := obj.DeepCopyObject().(client.Object)
	change(obj)
	r.note("somebody edits %s %s", resource, obj.GetName())
	if err := plane.admin.Patch(r.ctx, obj, client.MergeFrom(before), client.FieldOwner("somebody")); err != nil {
		r.t.Fatal(err)
	}
	r.touch(resource)
}

// delete has people delete an object.
func (r *run) delete(obj client.Object, resource string) {
	r.t.Helper()
	obj.SetNamespace(r.namespace)
	r.note("somebody deletes %s %s", resource, obj.GetName())
	if err := plane.admin.Delete(r.ctx, obj); err != nil {
		r.t.Fatal(err)
	}
	r.touch(resource)
}
