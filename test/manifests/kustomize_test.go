package manifests

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"terminals.dev/session-controller/test/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m.Run) }

// TestEveryFolderToApplyCanBeBuilt has kubectl render what people apply, and looks for what must not be in it.
func TestEveryFolderToApplyCanBeBuilt(t *testing.T) {
	assets, err := testenv.Assets(t.Context(), "kubectl")
	if err != nil {
		t.Fatal(err)
	}
	for folder, never := range map[string]string{
		"crd": "", "rbac": "", "default": "", "samples": "kind: Secret\n",
		"namespaced": "kind: ClusterRole", // Roles alone
	} {
		t.Run(folder, func(t *testing.T) {
			out, err := exec.CommandContext(t.Context(), filepath.Join(assets, "kubectl"), "kustomize", "../../config/"+folder).CombinedOutput()
			if err != nil || len(out) == 0 {
				t.Fatalf("kubectl kustomize config/%s: %v\n%s", folder, err, out)
			}
			if never != "" && strings.Contains(string(out), never) {
				t.Errorf("config/%s has a %q", folder, never)
			}
		})
	}
}
