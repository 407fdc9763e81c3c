package fault_test

import (
	"sigs.k8s.io/controller-runtime/pkg/client"
)

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
