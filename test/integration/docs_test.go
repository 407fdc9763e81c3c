package integration_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

var yamlBlock = regexp.MustCompile("(?s)```yaml\n(.*?)```")

func TestTheAPIServerTakesEveryExampleOfTheProviderPages(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	pages, err := filepath.Glob("../../docs/providers/*.md")
	if err != nil || len(pages) == 0 {
		t.Fatalf("found %v (%v)", pages, err)
	}
	kinds := map[string]int{}
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, block := range yamlBlock.FindAllSubmatch(text, -1) {
			// What is commented out is part of the example: it must be right as well.
			for _, example := range []string{string(block[1]), commentedIn(string(block[1]))} {
				h.dryRun(filepath.Base(page), example, kinds)
			}
		}
	}
	for _, kind := range []string{"TerminalSession", "SessionProvider", "ClusterSessionProvider", "Secret"} {
		if kinds[kind] == 0 {
			t.Errorf("no page has an example of kind %s", kind)
		}
	}
}

// commentedIn has the optional fields of an example that have no alternative beside them.
func commentedIn(example string) string {
	return regexp.MustCompile(`(?m)^(\s*)# (issuerURL:.*|caBundle:.*)$`).ReplaceAllString(example, "$1$2")
}

// strictly has the API server refuse a field that there is not.
var strictly = &client.CreateOptions{Raw: &metav1.CreateOptions{FieldValidation: metav1.FieldValidationStrict}}

func (h *harness) dryRun(page, example string, kinds map[string]int) {
	h.t.Helper()
	decoder := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader([]byte(example)), 4096)
	for {
		obj := &unstructured.Unstructured{}
		if err := decoder.Decode(&obj.Object); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			h.t.Fatalf("%s: %v in\n%s", page, err, example)
		}
		kinds[obj.GetKind()]++
		if !strings.HasPrefix(obj.GetKind(), "Cluster") {
			obj.SetNamespace(h.namespace)
		}
		if err := h.api.Create(h.ctx, obj, client.DryRunAll, strictly); err != nil {
			h.t.Errorf("%s: the API server refuses %s %s: %v", page, obj.GetKind(), obj.GetName(), err)
		}
	}
}
