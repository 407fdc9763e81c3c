package manifests

import (
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"terminals.dev/session-controller/test/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m.Run) }

// TestEveryFolderToApplyCanBeBuilt has kubectl render what people apply, and looks for what must not be in it.
func TestEveryFolderToApplyCanBeBuilt(t *testing.T) {
	for folder, never := range map[string]string{
		"crd": "", "rbac": "", "default": "", "admission": "", "samples": "kind: Secret\n",
		"namespaced":           "kind: ClusterRole", // Roles alone
		"default-before-1.36":  "kind: Mutating",    // there is no such kind
		"admission/validating": "kind: Mutating",
		"admission/mutating":   "kind: Validating",
	} {
		t.Run(folder, func(t *testing.T) {
			if out := build(t, folder); never != "" && strings.Contains(out, never) {
				t.Errorf("config/%s has a %q", folder, never)
			}
		})
	}
}

func TestTheDefaultBefore136IsTheDefaultWithoutTheMutatingHalf(t *testing.T) {
	mutating := func(document string) bool { return strings.Contains(document, "kind: Mutating") }
	want := slices.DeleteFunc(documents(build(t, "default")), mutating)
	if diff := cmp.Diff(want, documents(build(t, "default-before-1.36"))); diff != "" {
		t.Errorf("config/default-before-1.36 is not config/default less the mutating half (-want +got):\n%s", diff)
	}
}

// TestNoPolicyHasANamespace finds a `namespace:` in a kustomization: kustomize does not know that policies are the cluster's.
func TestNoPolicyHasANamespace(t *testing.T) {
	policies := 0
	for _, document := range documents(build(t, "default")) {
		o := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(document), &o.Object); err != nil {
			t.Fatal(err)
		}
		if o.GroupVersionKind().Group != "admissionregistration.k8s.io" {
			continue
		}
		policies++
		if o.GetNamespace() != "" {
			t.Errorf("%s %s is in the namespace %s", o.GetKind(), o.GetName(), o.GetNamespace())
		}
	}
	if policies != 6 {
		t.Errorf("config/default has %d policies and bindings, want 6", policies)
	}
}

func build(t *testing.T, folder string) string {
	t.Helper()
	assets, err := testenv.Assets(t.Context(), "kubectl")
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), filepath.Join(assets, "kubectl"), "kustomize", "../../config/"+folder).CombinedOutput()
	if err != nil || len(out) == 0 {
		t.Fatalf("kubectl kustomize config/%s: %v\n%s", folder, err, out)
	}
	return string(out)
}

func documents(built string) []string { return strings.Split(strings.TrimSpace(built), "\n---\n") }
