// Package manifests checks what stands in config against itself.
package manifests

import (
	"os"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"
)

// TestTheNamespacedRoleIsTheClusterRoleWithoutWhatIsTheClusters keeps the hand-written Role in step with the generated ClusterRole.
func TestTheNamespacedRoleIsTheClusterRoleWithoutWhatIsTheClusters(t *testing.T) {
	ofTheCluster := []string{"namespaces", "tokenreviews", "subjectaccessreviews", "clustersessionproviders", "clustersessionproviders/status",
		"clustersessionbans", "clustersessionbans/status"}
	var want, got rbacv1.ClusterRole
	read(t, "../../config/rbac/role.yaml", &want)
	read(t, "../../config/namespaced/role/role.yaml", &got)
	if diff := cmp.Diff(grants(want.Rules, ofTheCluster), grants(got.Rules, nil)); diff != "" {
		t.Errorf("config/namespaced/role/role.yaml is not config/rbac/role.yaml less %v (-want +got):\n%s", ofTheCluster, diff)
	}
}

func read(t *testing.T, file string, into any) {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(content, into); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

// grants are the rules, one line for each group, resource and verb, less some resources.
func grants(rules []rbacv1.PolicyRule, less []string) []string {
	var all []string
	for _, rule := range rules {
		for _, group := range rule.APIGroups {
			for _, resource := range rule.Resources {
				for _, verb := range rule.Verbs {
					if !slices.Contains(less, resource) {
						all = append(all, group+"/"+resource+" "+verb)
					}
				}
			}
		}
	}
	slices.Sort(all)
	return all
}
