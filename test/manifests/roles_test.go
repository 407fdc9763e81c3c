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

// TestBansAndLogoutsAreForWhomTheyAreMeant adds the roles up as a cluster does: edit has what view has, and admin what edit has.
func TestBansAndLogoutsAreForWhomTheyAreMeant(t *testing.T) {
	aggregated := map[string][]string{}
	byName := map[string][]string{}
	content, err := os.ReadFile("../../config/rbac/user_roles.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, document := range documents(string(content)) {
		var role rbacv1.ClusterRole
		if err := yaml.Unmarshal([]byte(document), &role); err != nil {
			t.Fatal(err)
		}
		byName[role.Name] = grants(role.Rules, nil)
		added := false
		for _, to := range []string{"view", "edit", "admin"} {
			added = added || role.Labels["rbac.authorization.k8s.io/aggregate-to-"+to] == "true"
			if added {
				aggregated[to] = append(aggregated[to], byName[role.Name]...)
			}
		}
	}
	for _, test := range []struct {
		role, resource, verb string
		may                  bool
	}{
		{"view", "sessionbans", "get", true}, {"view", "sessionlogouts", "get", true}, {"view", "clustersessionbans", "get", false},
		{"view", "sessionbans", "create", false}, {"view", "sessionlogouts", "create", false},
		{"edit", "sessionlogouts", "create", true}, {"edit", "sessionbans", "create", false}, {"edit", "sessionbans", "delete", false},
		{"admin", "sessionbans", "create", true}, {"admin", "clustersessionbans", "create", false}, {"admin", "clustersessionbans", "get", false},
		{"admin", "sessionbans/status", "patch", false}, {"admin", "sessionlogouts/status", "patch", false},
	} {
		if may := slices.Contains(aggregated[test.role], "terminals.dev/"+test.resource+" "+test.verb); may != test.may {
			t.Errorf("whether %s may %s %s is %t, want %t", test.role, test.verb, test.resource, may, test.may)
		}
	}
	if !slices.Contains(byName["clustersessionban-admin"], "terminals.dev/clustersessionbans create") {
		t.Error("clustersessionban-admin cannot be handed out")
	}
}

// TestInItsOwnNamespaceTheControllerChangesNoSecret keeps the Role for revocations to what they take.
func TestInItsOwnNamespaceTheControllerChangesNoSecret(t *testing.T) {
	var got rbacv1.Role
	read(t, "../../config/namespaced/controller/revocations_role.yaml", &got)
	want := []string{"/secrets create", "/secrets delete", "/secrets get", "/secrets list", "/secrets watch"}
	if diff := cmp.Diff(want, grants(got.Rules, nil)); diff != "" {
		t.Errorf("config/namespaced/controller/revocations_role.yaml grants something else (-want +got):\n%s", diff)
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
