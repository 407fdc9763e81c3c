package health_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
	"sigs.k8s.io/yaml"

	v1 "terminals.dev/session-controller/api/v1"
)

// verdict is what people expect to be told: by kstatus, and by Argo CD.
type verdict struct {
	kstatus status.Status
	argo    string
}

// There are no others, so the two never contradict each other.
var (
	current     = verdict{status.CurrentStatus, "Healthy"}
	inProgress  = verdict{status.InProgressStatus, "Progressing"}
	failed      = verdict{status.FailedStatus, "Degraded"}
	terminating = verdict{status.TerminatingStatus, "Progressing"}
)

// row is one object with one status.
type row struct {
	name string
	// object is made with this spec, and status makes its status as the controller would.
	object client.Object
	status func(*testing.T, client.Object)
	want   verdict
	// reason is that of the condition which people look at.
	reason string
}

// judgeRows has the API server keep each object, and has it judged with its status, after a change of spec that nobody has looked at yet,
// and while it is being deleted.
func judgeRows(t *testing.T, rows []row) {
	t.Helper()
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			obj := create(t, r.object)
			r.status(t, obj)
			if err := api.Status().Update(t.Context(), obj); err != nil {
				t.Fatal(err)
			}
			kept := live(t, obj)
			reason, message := said(kept)
			if reason != r.reason || message == "" {
				t.Errorf("it says %q, for reason %q, want %q", message, reason, r.reason)
			}
			if got := wantVerdict(t, kept, r.want); got != message {
				t.Errorf("Argo CD says %q, and the object %q", got, message)
			}

			if editSpec(obj) {
				if err := api.Update(t.Context(), obj); err != nil {
					t.Fatal(err)
				}
				wantVerdict(t, live(t, obj), inProgress)
			}

			obj.SetFinalizers([]string{"terminals.dev/test"})
			if err := api.Update(t.Context(), obj); err != nil {
				t.Fatal(err)
			}
			if err := api.Delete(t.Context(), obj); err != nil {
				t.Fatal(err)
			}
			going := live(t, obj)
			wantVerdict(t, going, terminating)
			// Deletion makes another generation, which the controller may have looked at already.
			patch(t, api.Status(), obj, fmt.Sprintf(`{"status":{"observedGeneration":%d}}`, going.GetGeneration()))
			wantVerdict(t, live(t, obj), terminating)
			patch(t, api, obj, `{"metadata":{"finalizers":null}}`)
		})
	}
}

// patch merges something into an object, or into its status.
func patch[Option any](t *testing.T, into interface {
	Patch(context.Context, client.Object, client.Patch, ...Option) error
}, obj client.Object, change string) {
	t.Helper()
	if err := into.Patch(t.Context(), obj, client.RawPatch(types.MergePatchType, []byte(change))); err != nil {
		t.Fatal(err)
	}
}

var objects atomic.Int64

// create makes an object like another, under a name of its own.
func create(t *testing.T, like client.Object) client.Object {
	t.Helper()
	obj := like.DeepCopyObject().(client.Object)
	obj.SetName(fmt.Sprint("health-", objects.Add(1)))
	namespaced, err := api.IsObjectNamespaced(obj)
	if err != nil {
		t.Fatal(err)
	}
	if namespaced {
		obj.SetNamespace(shop)
	}
	if err := api.Create(t.Context(), obj); err != nil {
		t.Fatal(err)
	}
	return obj
}

// live is an object as the API server has it.
func live(t *testing.T, obj client.Object) *unstructured.Unstructured {
	t.Helper()
	gvk, err := apiutil.GVKForObject(obj, api.Scheme())
	if err != nil {
		t.Fatal(err)
	}
	kept := &unstructured.Unstructured{}
	kept.SetGroupVersionKind(gvk)
	if err := api.Get(t.Context(), client.ObjectKeyFromObject(obj), kept); err != nil {
		t.Fatal(err)
	}
	return kept
}

// wantVerdict has an object judged by both, and returns what Argo CD says.
func wantVerdict(t *testing.T, obj *unstructured.Unstructured, want verdict) string {
	t.Helper()
	got, message := judged(t, obj)
	if got != want {
		t.Errorf("kstatus says %s and Argo CD %s (%s), want %s and %s\n%s",
			got.kstatus, got.argo, message, want.kstatus, want.argo, show(obj.Object["status"]))
	}
	return message
}

// judged is what kstatus and Argo CD make of an object, and what the latter says.
func judged(t *testing.T, obj *unstructured.Unstructured) (verdict, string) {
	t.Helper()
	computed, err := status.Compute(obj)
	if err != nil {
		t.Fatalf("kstatus: %v", err)
	}
	shown := argo(t, obj)
	return verdict{computed.Status, shown.status}, shown.message
}

// said is the reason and the message of the condition that people look at.
func said(obj *unstructured.Unstructured) (reason, message string) {
	list, _, _ := unstructured.NestedSlice(obj.Object, "status", "conditions")
	for _, kind := range []string{v1.ConditionReady, v1.ConditionEnforced, v1.ConditionComplete, v1.ConditionFailed, v1.ConditionReconciling} {
		for _, item := range list {
			if c := item.(map[string]any); c["type"] == kind {
				reason, _, _ = unstructured.NestedString(c, "reason")
				message, _, _ = unstructured.NestedString(c, "message")
				return reason, message
			}
		}
	}
	return "", ""
}

// editSpec changes something in spec that may be changed; a logout has nothing of the kind.
func editSpec(obj client.Object) bool {
	switch o := obj.(type) {
	case *v1.TerminalSession:
		o.Spec.Display = &v1.Display{Session: "Till 7"}
	case v1.Provider:
		o.ProviderSpec().RateLimit.Burst++
	case v1.Ban:
		o.BanSpec().Reason = "another"
	default:
		return false
	}
	return true
}

// applied is every kind as people apply it, with as little as it takes.
var applied = map[string]client.Object{
	"TerminalSession":        newSession(),
	"SessionProvider":        &v1.SessionProvider{Spec: v1.SessionProviderSpec{Embedded: &v1.EmbeddedProvider{}}},
	"ClusterSessionProvider": clusterProvider(),
	"SessionBan":             &v1.SessionBan{Spec: banSpec},
	"ClusterSessionBan":      &v1.ClusterSessionBan{Spec: v1.ClusterSessionBanSpec{SessionBanSpec: banSpec}},
	"SessionLogout":          &v1.SessionLogout{Spec: v1.SessionLogoutSpec{All: new(true)}},
}

func TestAFreshObjectOfEveryKindIsInProgress(t *testing.T) {
	for _, crd := range crds(t) {
		t.Run(crd.Spec.Names.Kind, func(t *testing.T) {
			object, known := applied[crd.Spec.Names.Kind]
			if !known {
				t.Fatal("there is no such object in the tests")
			}
			obj := create(t, object)
			wantVerdict(t, live(t, obj), inProgress)
			if err := api.Delete(t.Context(), obj); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// Of each kind there is something that people wait for, and something that tells them to act.
func TestEveryKindCanBecomeCurrentAndFailed(t *testing.T) {
	reached := map[string][]status.Status{}
	for _, r := range slices.Concat(sessionRows(), providerRows(), banRows(), logoutRows()) {
		kind := reflect.TypeOf(r.object).Elem().Name()
		reached[kind] = append(reached[kind], r.want.kstatus)
	}
	for _, crd := range crds(t) {
		for _, want := range []status.Status{status.CurrentStatus, status.FailedStatus} {
			kind := crd.Spec.Names.Kind
			if kind == "SessionBan" && want == status.FailedStatus {
				continue // all that can be wrong with one is rejected
			}
			if !slices.Contains(reached[kind], want) {
				t.Errorf("no %s in the tables is %s", kind, want)
			}
		}
	}
}

// crd is the part of a CustomResourceDefinition that is looked at here.
type crd struct {
	Spec struct {
		Group    string
		Names    struct{ Kind string }
		Versions []struct {
			Schema struct{ OpenAPIV3Schema schema }
		}
	}
}

type schema struct {
	Properties map[string]schema
	Enum       []string
}

// enum has the values that a field may have.
func (c *crd) enum(path ...string) []string {
	at := c.Spec.Versions[0].Schema.OpenAPIV3Schema
	for _, field := range path {
		at = at.Properties[field]
	}
	return at.Enum
}

// crds are those that are installed.
func crds(t *testing.T) []crd {
	t.Helper()
	files, err := filepath.Glob("../../config/crd/bases/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("there are no CRDs: %v", err)
	}
	all := make([]crd, len(files))
	for i, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := yaml.Unmarshal(content, &all[i]); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
	}
	return all
}

func show(value any) string {
	text, err := yaml.Marshal(value)
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(text))
}

// conditions are these, as they stand for an object in its first generation.
func conditions(all ...metav1.Condition) []metav1.Condition {
	for i := range all {
		all[i].ObservedGeneration, all[i].LastTransitionTime = 1, metav1.NewTime(start)
	}
	return all
}
