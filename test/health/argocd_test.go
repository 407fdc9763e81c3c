package health_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	lua "github.com/yuin/gopher-lua"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

const (
	argoFolder = "../../config/argocd"
	healthKey  = "resource.customizations.health."
)

// health is what Argo CD shows of an object.
type health struct {
	status, message string
}

// scripts are the health scripts of the ConfigMap that people apply, by group and kind, as Argo CD finds them.
var scripts = sync.OnceValues(func() (map[string]string, error) {
	out, err := env.Kubectl(context.Background(), "kustomize", argoFolder)
	if err != nil {
		return nil, err
	}
	found, err := configMap(out)
	if err != nil {
		return nil, err
	}
	all := map[string]string{}
	for key, script := range found.Data {
		if name, ok := strings.CutPrefix(key, healthKey); ok {
			group, kind, _ := strings.Cut(name, "_")
			all[group+"/"+kind] = script
		}
	}
	return all, nil
})

func configMap(manifest string) (*corev1.ConfigMap, error) {
	found := &corev1.ConfigMap{}
	if err := yaml.UnmarshalStrict([]byte(manifest), found); err != nil {
		return nil, err
	}
	return found, nil
}

// argo judges an object as Argo CD does: in a Lua of its own with the base and table libraries alone, the object in the global obj, and a
// second's time.
func argo(t *testing.T, obj *unstructured.Unstructured) health {
	t.Helper()
	all, err := scripts()
	if err != nil {
		t.Fatal(err)
	}
	gvk := obj.GroupVersionKind()
	script, ok := all[gvk.Group+"/"+gvk.Kind]
	if !ok {
		t.Fatalf("Argo CD has no health check for kind %s", gvk.Kind)
	}
	shown, err := run(t.Context(), script, obj.Object)
	if err != nil {
		t.Fatalf("the health check of kind %s fails: %v", gvk.Kind, err)
	}
	return shown
}

func run(ctx context.Context, script string, obj map[string]any) (health, error) {
	l := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer l.Close()
	for name, open := range map[string]lua.LGFunction{lua.BaseLibName: lua.OpenBase, lua.TabLibName: lua.OpenTable} {
		if err := l.CallByParam(lua.P{Fn: l.NewFunction(open), Protect: true}, lua.LString(name)); err != nil {
			return health{}, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	l.SetContext(ctx)
	l.SetGlobal("obj", toLua(l, obj))
	if err := l.DoString(script); err != nil {
		return health{}, err
	}
	table, ok := l.Get(-1).(*lua.LTable)
	if !ok {
		return health{}, fmt.Errorf("it returns no table, but %v", l.Get(-1))
	}
	shown := health{lua.LVAsString(table.RawGetString("status")), lua.LVAsString(table.RawGetString("message"))}
	if !slices.Contains([]string{"Healthy", "Progressing", "Degraded", "Suspended", "Missing"}, shown.status) {
		return health{}, fmt.Errorf("it returns %q, which is no health", shown.status)
	}
	return shown, nil
}

func toLua(l *lua.LState, value any) lua.LValue {
	switch v := value.(type) {
	case nil:
		return lua.LNil
	case bool:
		return lua.LBool(v)
	case string:
		return lua.LString(v)
	case int64:
		return lua.LNumber(v)
	case float64:
		return lua.LNumber(v)
	case []any:
		list := l.NewTable()
		for _, item := range v {
			list.Append(toLua(l, item))
		}
		return list
	case map[string]any:
		table := l.NewTable()
		for key, item := range v {
			table.RawSetString(key, toLua(l, item))
		}
		return table
	}
	panic(fmt.Sprintf("JSON has no %T", value))
}

func TestTheConfigMapHasTheScriptForEveryKindAndNothingElse(t *testing.T) {
	script, err := os.ReadFile(filepath.Join(argoFolder, "health", "health.lua"))
	if err != nil {
		t.Fatal(err)
	}
	found, err := configMap(kubectl(t, "kustomize", argoFolder))
	if err != nil {
		t.Fatal(err)
	}
	if found.Namespace != "argocd" || found.Name != "argocd-cm" || found.Labels["app.kubernetes.io/part-of"] != "argocd" {
		t.Errorf("it is %s/%s with labels %v: Argo CD looks at argocd/argocd-cm, and only where it is labelled as its part",
			found.Namespace, found.Name, found.Labels)
	}
	for _, crd := range crds(t) {
		key := healthKey + crd.Spec.Group + "_" + crd.Spec.Names.Kind
		if found.Data[key] != string(script) {
			t.Errorf("%s is not health.lua, but:\n%s", key, found.Data[key])
		}
		delete(found.Data, key)
	}
	for key := range found.Data {
		t.Errorf("%s is for no kind of config/crd/bases", key)
	}
}

// Argo CD's settings are in the same ConfigMap, and its installation is applied by kubectl too.
func TestApplyingTheHealthChecksLeavesArgoCDsOtherSettings(t *testing.T) {
	kubectl(t, "create", "namespace", "argocd")
	installation := filepath.Join(t.TempDir(), "argocd-cm.yaml")
	write(t, installation, settings)
	kubectl(t, "apply", "--server-side", "-n", "argocd", "-f", installation)

	kubectl(t, "apply", "--server-side", "--field-manager=terminals-health", "-k", argoFolder)
	wantSettingsAndChecks(t, get(t))
	kubectl(t, "apply", "--server-side", "-n", "argocd", "-f", installation)
	wantSettingsAndChecks(t, get(t))
}

func TestTheComponentAddsTheHealthChecksToAnInstallationByKustomize(t *testing.T) {
	dir := t.TempDir()
	here, err := filepath.Abs(filepath.Join(argoFolder, "health"))
	if err != nil {
		t.Fatal(err)
	}
	component, err := filepath.Rel(dir, here)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "argocd-cm.yaml"), settings)
	write(t, filepath.Join(dir, "kustomization.yaml"), "namespace: argocd\nresources: [argocd-cm.yaml]\ncomponents: ["+component+"]\n")
	found, err := configMap(kubectl(t, "kustomize", dir))
	if err != nil {
		t.Fatal(err)
	}
	wantSettingsAndChecks(t, found)
}

// settings are an Argo CD's own.
const settings = `
apiVersion: v1
kind: ConfigMap
metadata:
  name: argocd-cm
  labels: {app.kubernetes.io/name: argocd-cm, app.kubernetes.io/part-of: argocd}
data: {url: "https://argocd.example.com"}
`

func wantSettingsAndChecks(t *testing.T, found *corev1.ConfigMap) {
	t.Helper()
	if found.Data["url"] != "https://argocd.example.com" {
		t.Errorf("Argo CD's url is %q", found.Data["url"])
	}
	if want := len(crds(t)) + 1; len(found.Data) != want {
		t.Errorf("the ConfigMap has %d keys, want %d", len(found.Data), want)
	}
}

func get(t *testing.T) *corev1.ConfigMap {
	t.Helper()
	found := &corev1.ConfigMap{}
	if err := api.Get(t.Context(), client.ObjectKey{Namespace: "argocd", Name: "argocd-cm"}, found); err != nil {
		t.Fatal(err)
	}
	return found
}

// ready is a status with the condition Ready alone.
func ready(is string) map[string]any {
	return map[string]any{"observedGeneration": int64(1), "conditions": []any{map[string]any{"type": "Ready", "status": is}}}
}

// What the schema sees to is not taken for granted: a check that fails shows as Unknown, and so does the whole application.
func TestAnObjectWithoutAnyStatusIsProgressingInArgoCD(t *testing.T) {
	for name, status := range map[string]any{
		"no status":         nil,
		"an empty status":   map[string]any{},
		"no conditions":     map[string]any{"observedGeneration": int64(1)},
		"null conditions":   map[string]any{"observedGeneration": int64(1), "conditions": nil},
		"empty conditions":  map[string]any{"observedGeneration": int64(1), "conditions": []any{}},
		"Ready False alone": ready("False"),
		"Ready Unknown":     ready("Unknown"),
	} {
		t.Run(name, func(t *testing.T) {
			obj := &unstructured.Unstructured{Object: map[string]any{"status": status}}
			obj.SetAPIVersion("terminals.dev/v1")
			obj.SetKind("TerminalSession")
			obj.SetGeneration(1)
			if got := argo(t, obj); got.status != "Progressing" {
				t.Errorf("it is %+v", got)
			}
		})
	}
}

func write(t *testing.T, file, content string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func kubectl(t *testing.T, args ...string) string {
	t.Helper()
	out, err := env.Kubectl(t.Context(), args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
