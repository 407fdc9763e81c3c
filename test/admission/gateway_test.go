package admission

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/test/testenv"
)

// statusProperties are the fields of a session's status, as the CRD has them.
func statusProperties(t *testing.T) map[string]any {
	t.Helper()
	root, err := testenv.ModuleRoot()
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(filepath.Join(root, "config", "crd", "bases", "terminals.dev_terminalsessions.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	crd := map[string]any{}
	if err := yaml.Unmarshal(content, &crd); err != nil {
		t.Fatal(err)
	}
	versions, _, _ := unstructured.NestedSlice(crd, "spec", "versions")
	schema := versions[0].(map[string]any)["schema"].(map[string]any)
	properties, found, err := unstructured.NestedMap(schema, "openAPIV3Schema", "properties", "status", "properties")
	if err != nil || !found || properties["client"] == nil || len(properties) < 10 {
		t.Fatalf("the status schema's properties are %v, %v", slices.Collect(maps.Keys(properties)), err)
	}
	return properties
}

// sample makes a value that a schema takes. Values of another number differ.
func sample(t *testing.T, schema map[string]any, number int) any {
	t.Helper()
	if values, ok := schema["enum"].([]any); ok {
		return values[number%len(values)]
	}
	switch schema["type"] {
	case "object":
		value := map[string]any{}
		for name, property := range schema["properties"].(map[string]any) {
			value[name] = sample(t, property.(map[string]any), number)
		}
		return value
	case "array":
		return []any{sample(t, schema["items"].(map[string]any), number)}
	case "integer":
		return int64(number + 7)
	case "boolean":
		return number%2 == 0
	case "string":
		if schema["format"] == "date-time" {
			return fmt.Sprintf("2026-01-02T03:04:0%dZ", number)
		}
		return fmt.Sprintf("sample%d", number)
	}
	t.Fatalf("there is no sample of the type %v", schema["type"])
	return nil
}

func samples(t *testing.T, number int) map[string]any {
	t.Helper()
	status := map[string]any{}
	for field, schema := range statusProperties(t) {
		status[field] = sample(t, schema.(map[string]any), number)
	}
	return status
}

// newSession makes a session, as far as the API server fills it in.
func newSession(t *testing.T) *unstructured.Unstructured {
	t.Helper()
	o := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(session(both.namespace(t), "till-07")), &o.Object); err != nil {
		t.Fatal(err)
	}
	if err := both.admin.api.Create(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	return o
}

// patchStatus sends some fields of status as a merge patch, in which nil takes one away, and leaves the answer in o.
func patchStatus(t *testing.T, u *user, o client.Object, fields map[string]any, options ...client.SubResourcePatchOption) error {
	t.Helper()
	patch, err := json.Marshal(map[string]any{"status": fields})
	if err != nil {
		t.Fatal(err)
	}
	return u.api.Status().Patch(t.Context(), o, client.RawPatch(types.MergePatchType, patch), options...)
}

// TestTheGatewayChangesNoFieldOfStatusButClient goes over the CRD's schema, so a field that is new is covered as well.
func TestTheGatewayChangesNoFieldOfStatusButClient(t *testing.T) {
	t.Parallel()
	o := newSession(t)
	one, two := samples(t, 1), samples(t, 2)
	refused := 0
	try := func(how, field string, value any) {
		t.Run(how+" "+field, func(t *testing.T) {
			was, _, _ := unstructured.NestedFieldNoCopy(o.Object, "status", field)
			answer := o.DeepCopy()
			// The controller may: so it is no fault of the value that the gateway may not.
			if err := patchStatus(t, both.controller, answer, map[string]any{field: value}, client.DryRunAll); err != nil {
				t.Fatal(err)
			}
			if is, _, _ := unstructured.NestedFieldNoCopy(answer.Object, "status", field); reflect.DeepEqual(was, is) {
				t.Fatalf("it changes nothing: %v", is)
			}
			err := patchStatus(t, both.gateway, o.DeepCopy(), map[string]any{field: value}, client.DryRunAll)
			if field == "client" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			says(t, err, "'gateway.terminals.dev'", "nothing but status.client, and this changes status."+field+"; apply status.client alone")
			if !apierrors.IsForbidden(err) {
				t.Errorf("the answer is %v, want that it is forbidden", err)
			}
			refused++
		})
	}
	fields := slices.Sorted(maps.Keys(one))
	for _, field := range fields {
		try("adds", field, one[field])
	}
	if err := patchStatus(t, both.controller, o, one); err != nil {
		t.Fatal(err)
	}
	for _, field := range fields {
		try("changes", field, two[field])
		try("removes", field, nil)
	}
	if want := 3 * (len(fields) - 1); refused != want {
		t.Errorf("%d changes were refused, want %d: three of each field but client", refused, want)
	}
}

func TestTheGatewayIsToldEachFieldThatItMustNotChange(t *testing.T) {
	t.Parallel()
	err := patchStatus(t, both.gateway, newSession(t), map[string]any{
		"client": map[string]any{"version": "4.2.1"}, "phase": "Established", "sessionID": "s-1",
	})
	says(t, err, "this changes status.")
	_, changed, _ := strings.Cut(err.Error(), "this changes ")
	changed, _, _ = strings.Cut(changed, ";")
	got := strings.Split(changed, ", ")
	slices.Sort(got)
	if want := []string{"status.phase", "status.sessionID"}; !slices.Equal(got, want) {
		t.Errorf("it names %v, want %v", got, want)
	}
}

// applied is what the gateway applies: the session's name, and status.client whole.
func applied(o *unstructured.Unstructured, status map[string]any) *unstructured.Unstructured {
	a := &unstructured.Unstructured{Object: map[string]any{"status": status}}
	a.SetGroupVersionKind(v1.GroupVersion.WithKind("TerminalSession"))
	a.SetNamespace(o.GetNamespace())
	a.SetName(o.GetName())
	return a
}

func apply(t *testing.T, u *user, o *unstructured.Unstructured) error {
	t.Helper()
	report := client.ApplyConfigurationFromUnstructured(o)
	return u.api.Status().Apply(t.Context(), report, client.FieldOwner("session-gateway"), client.ForceOwnership)
}

func TestTheGatewayAppliesWhatTheTerminalReports(t *testing.T) {
	t.Parallel()
	o := newSession(t)
	status := samples(t, 1)
	delete(status, "client")
	if err := patchStatus(t, both.controller, o, status); err != nil {
		t.Fatal(err)
	}
	kept, _, _ := unstructured.NestedMap(o.Object, "status")
	for name, report := range map[string]map[string]any{
		"a report":             {"version": "4.2.1", "platform": "Android", "lastActiveAt": "2026-01-02T03:04:05Z"},
		"a later one":          {"version": "4.2.2", "platform": "Android", "lastActiveAt": "2026-01-02T03:05:05Z"},
		"one that says less":   {"lastActiveAt": "2026-01-02T03:06:05Z"},
		"one of unknown words": {"platform": "Fridge", "ip": "behind the counter", "paymentAppVersion": "???"},
	} {
		t.Run(name, func(t *testing.T) {
			answer := applied(o, map[string]any{"client": report})
			if err := apply(t, both.gateway, answer); err != nil {
				t.Fatal(err)
			}
			got, _, _ := unstructured.NestedMap(answer.Object, "status")
			if !reflect.DeepEqual(got["client"], any(report)) {
				t.Errorf("client is %v, want %v", got["client"], report)
			}
			delete(got, "client")
			if !reflect.DeepEqual(got, kept) {
				t.Errorf("the rest of status is %v, want %v", got, kept)
			}
		})
	}
	t.Run("nothing, which takes its fields away", func(t *testing.T) {
		answer := applied(o, map[string]any{})
		if err := apply(t, both.gateway, answer); err != nil {
			t.Fatal(err)
		}
		if report, found, _ := unstructured.NestedMap(answer.Object, "status", "client"); found {
			t.Errorf("client is %v, want none", report)
		}
	})
	t.Run("and a phase", func(t *testing.T) {
		err := apply(t, both.gateway, applied(o, map[string]any{"client": map[string]any{"version": "4.2.3"}, "phase": "Terminated"}))
		says(t, err, "this changes status.phase;")
	})
}

func TestTheGatewayCannotTouchAnythingElse(t *testing.T) {
	t.Parallel()
	o := newSession(t)
	patch := client.RawPatch(types.MergePatchType, []byte(`{"spec": {"merchantID": "mallory"}, "metadata": {"labels": {"by": "gateway"},
		"annotations": {"terminals.dev/login-requested": "now"}, "finalizers": ["acme.example/stay"]}, "status": {"client": {"version": "1"}}}`))
	if err := both.gateway.api.Status().Patch(t.Context(), o.DeepCopy(), patch); err != nil {
		t.Fatal(err)
	}
	live := o.DeepCopy()
	if err := both.admin.api.Get(t.Context(), client.ObjectKeyFromObject(o), live); err != nil {
		t.Fatal(err)
	}
	if version, _, _ := unstructured.NestedString(live.Object, "status", "client", "version"); version != "1" {
		t.Errorf("status.client.version is %q, want 1", version)
	}
	metadata := len(live.GetLabels()) + len(live.GetAnnotations()) + len(live.GetFinalizers())
	if metadata > 0 || !reflect.DeepEqual(live.Object["spec"], o.Object["spec"]) {
		t.Errorf("by way of status it changed spec or metadata: %v", live.Object)
	}

	for what, do := range map[string]func() error{
		"a patch":         func() error { return both.gateway.api.Patch(t.Context(), o.DeepCopy(), patch) },
		"an update":       func() error { return both.gateway.api.Update(t.Context(), live.DeepCopy()) },
		"a status update": func() error { return both.gateway.api.Status().Update(t.Context(), live.DeepCopy()) },
		"a deletion":      func() error { return both.gateway.api.Delete(t.Context(), o.DeepCopy()) },
		"a creation": func() error {
			other := applied(o, nil)
			other.SetName("other")
			return both.gateway.api.Create(t.Context(), other)
		},
		"a ban": func() error {
			return both.gateway.api.Create(t.Context(), manifest{kind: "SessionBan", namespace: o.GetNamespace(), name: "x"}.object())
		},
	} {
		if err := do(); !apierrors.IsForbidden(err) {
			t.Errorf("%s: %v, want that it is forbidden", what, err)
		}
	}
	if err := both.gateway.api.Get(t.Context(), client.ObjectKeyFromObject(o), live); err != nil {
		t.Errorf("reading: %v", err)
	}
}

func TestOthersAreNotKeptFromStatus(t *testing.T) {
	t.Parallel()
	for name, u := range map[string]*user{"the controller": both.controller, "an administrator": both.admin} {
		t.Run(name, func(t *testing.T) {
			if err := patchStatus(t, u, newSession(t), samples(t, 1)); err != nil {
				t.Error(err)
			}
		})
	}
}
