// Package gitops uses the samples as a pipeline does: applied with kubectl, compared with kubectl, while the controller is at work.
package gitops

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/controllers"
	"terminals.dev/session-controller/test/testenv"
)

// looks is how often each sample is looked at.
const looks = 1000

func TestMain(m *testing.M) { testenv.Main(func() int { return suite(m) }) }

var (
	env     *testenv.Env
	api     client.WithWatch
	manager *testenv.Manager
)

func suite(m *testing.M) int {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Minute) // the first time, binaries are built
	defer cancel()
	if err := start(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	if err := env.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, "stopping:", err)
		return 1
	}
	return code
}

func start(ctx context.Context) (err error) {
	var binary string
	if env, api, binary, err = testenv.StartProduct(ctx); err != nil {
		return err
	}
	manager, err = env.StartManager(ctx, testenv.ManagerOptions{
		Binary: binary, Dir: filepath.Join(env.Dir, "manager"), Args: []string{"--endpoint-auth=None", "--zap-log-level=error"},
	})
	return err
}

func TestAfterAThousandLooksNothingDiffersFromWhatWasApplied(t *testing.T) {
	const samples = "../../config/samples"
	kubectl(t, "apply", "-k", samples)
	kubectl(t, "wait", "-n", "shop", "--for=condition=Ready", "terminalsessions", "--all", "--timeout=60s")
	kubectl(t, "wait", "-n", "shop", "--for=condition=Complete", "sessionlogouts", "--all", "--timeout=60s")
	for _, bans := range []string{"sessionbans", "clustersessionbans"} {
		kubectl(t, "wait", "-n", "shop", "--for=condition=Enforced", bans, "--all", "--timeout=60s")
	}

	applied := objects(t, kubectl(t, "kustomize", samples))
	sessions := 0
	var others []*unstructured.Unstructured
	for _, obj := range applied {
		switch {
		case obj.GetKind() == "TerminalSession":
			sessions++
		case obj.GroupVersionKind().Group == v1.GroupVersion.Group:
			others = append(others, obj)
		}
	}
	if sessions < 6 || len(others) < 4 {
		t.Fatalf("there are %d sessions and %d other samples", sessions, len(others))
	}
	before := looked(t)
	versions := statuses(t, applied)
	// A label of their namespace has every session in it looked at, an annotation whatever bears it.
	at(t, len(others)+1, func(which int) {
		for n := range looks {
			var obj client.Object = &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}}
			field := "labels"
			if which < len(others) {
				obj, field = others[which].DeepCopy(), "annotations"
			}
			patch := fmt.Sprintf(`{"metadata":{%q:{"test/looked-at":"%d"}}}`, field, n)
			if err := api.Patch(t.Context(), obj, client.RawPatch(types.MergePatchType, []byte(patch)), client.FieldOwner("test")); err != nil {
				t.Error(err)
				return
			}
		}
	})
	want := map[string]int{
		"terminalsession": looks * sessions, "clustersessionprovider": looks, "sessionban": looks, "clustersessionban": looks, "sessionlogout": looks,
	}
	for n := 0; ; n++ { // looks that come together are one, so some are forced once more
		missing := ""
		for controller, now := range looked(t) {
			if made := now - before[controller]; made < want[controller] {
				missing += fmt.Sprintf(" %s %d of %d", controller, made, want[controller])
			}
		}
		if missing == "" {
			break
		}
		if n == 20000 {
			t.Fatalf("looks are missing:%s", missing)
		}
		for _, obj := range append(others, namespace()) {
			field := map[bool]string{true: "labels", false: "annotations"}[obj.GetKind() == "Namespace"]
			patch := fmt.Sprintf(`{"metadata":{%q:{"test/looked-at":"again-%d"}}}`, field, n)
			if err := api.Patch(t.Context(), obj.DeepCopy(), client.RawPatch(types.MergePatchType, []byte(patch)), client.FieldOwner("test")); err != nil {
				t.Fatal(err)
			}
		}
	}

	if out, err := env.Kubectl(t.Context(), "diff", "-k", samples); err != nil || out != "" {
		t.Errorf("kubectl diff finds (%v):\n%s", err, out)
	}
	if out, err := env.Kubectl(t.Context(), "diff", "--server-side", "--force-conflicts", "--field-manager=kubectl-client-side-apply", "-k", samples); err != nil || out != "" {
		t.Errorf("kubectl diff --server-side finds (%v):\n%s", err, out)
	}
	for name, version := range statuses(t, applied) {
		if name != "TerminalSession demo" && version != versions[name] { // demo is renewed each minute
			t.Errorf("the status of %s was written at rest:\n%s\n%s", name, versions[name], version)
		}
	}
	for _, obj := range applied {
		if obj.GroupVersionKind().Group == v1.GroupVersion.Group {
			unowned(t, obj)
		}
	}
}

// unowned checks that the controller has written nothing but status.
func unowned(t *testing.T, obj *unstructured.Unstructured) {
	t.Helper()
	live := obj.DeepCopy()
	if err := api.Get(t.Context(), client.ObjectKeyFromObject(obj), live); err != nil {
		t.Fatal(err)
	}
	reported := false
	for _, entry := range live.GetManagedFields() {
		if entry.Manager != controllers.FieldManager {
			continue
		}
		reported = true
		fields := map[string]any{}
		if err := json.Unmarshal(entry.FieldsV1.GetRawBytes(), &fields); err != nil {
			t.Fatal(err)
		}
		delete(fields, "f:status")
		if entry.Subresource != "status" || len(fields) > 0 {
			t.Errorf("the controller manages %v of %s %s (subresource %q)", fields, live.GetKind(), live.GetName(), entry.Subresource)
		}
	}
	if !reported {
		t.Errorf("the controller has reported nothing on %s %s", live.GetKind(), live.GetName())
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

func objects(t *testing.T, manifests string) []*unstructured.Unstructured {
	t.Helper()
	var all []*unstructured.Unstructured
	for _, document := range strings.Split(manifests, "\n---\n") {
		obj := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(document), &obj.Object); err != nil {
			t.Fatal(err)
		}
		all = append(all, obj)
	}
	return all
}

func namespace() *unstructured.Unstructured {
	obj := &unstructured.Unstructured{}
	obj.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	obj.SetName("shop")
	return obj
}

// statuses are the statuses of the samples, by kind and name.
func statuses(t *testing.T, of []*unstructured.Unstructured) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, obj := range of {
		live := obj.DeepCopy()
		if err := api.Get(t.Context(), client.ObjectKeyFromObject(obj), live); err != nil {
			t.Fatal(err)
		}
		status, err := json.Marshal(live.Object["status"])
		if err != nil {
			t.Fatal(err)
		}
		all[obj.GetKind()+" "+obj.GetName()] = string(status)
	}
	return all
}

// at does something for each of n things at once.
func at(t *testing.T, n int, do func(int)) {
	t.Helper()
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { do(i) })
	}
	if wg.Wait(); t.Failed() {
		t.FailNow()
	}
}

var reconciled = regexp.MustCompile(`(?m)^controller_runtime_reconcile_total\{controller="([a-z]+)",result="[a-z_]+"\} (\S+)$`)

// looked is how often each controller has looked at something, by the manager's metrics.
func looked(t *testing.T) map[string]int {
	t.Helper()
	unchecked := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	response, err := unchecked.Get(manager.Metrics)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	page, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]int{}
	for _, match := range reconciled.FindAllStringSubmatch(string(page), -1) {
		n, err := strconv.ParseFloat(match[2], 64)
		if err != nil {
			t.Fatal(err)
		}
		all[match[1]] += int(n)
	}
	return all
}
