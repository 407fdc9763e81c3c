// Package e2e uses the controller as its users do: the manager is a process of its own with the rights of config/rbac, sessions are
// applied with kubectl, and tokens are checked through what the issuer serves. kube-controller-manager runs beside it.
package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/test/testenv"
)

func TestMain(m *testing.M) { testenv.Main(func() int { return suite(m) }) }

// What all tests share; each has a namespace of its own.
var (
	env     *testenv.Env
	manager *testenv.Manager
	api     client.WithWatch
	binary  string
)

func suite(m *testing.M) int {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Minute) // the first time, binaries are built
	defer cancel()
	if err := start(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	if strings.Contains(manager.Output(), "orbidden") {
		fmt.Fprintf(os.Stderr, "config/rbac does not grant all that the manager does:\n%s\n", manager.Output())
		code = 1
	}
	if n, err := brokenOff(ctx); err != nil || n > 0 {
		fmt.Fprintf(os.Stderr, "watches of the manager's that were broken off, which may last for five minutes at least: %d (%v)\n", n, err)
		code = 1
	}
	if err := env.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, "stopping:", err)
		return 1
	}
	return code
}

// brokenOff is how many watches have ended of a kind that the manager alone watches, which it does yet.
func brokenOff(ctx context.Context) (n int, err error) {
	metrics, err := env.Kubectl(ctx, "get", "--raw", "/metrics")
	if err != nil {
		return 0, err
	}
	of := func(metric string) int {
		found := regexp.MustCompile(`(?m)^` + metric + `,.*resource="clustersessionbans",.*verb="WATCH",.*\} (\d+)$`).FindStringSubmatch(metrics)
		if found == nil {
			return 0
		}
		n, _ := strconv.Atoi(found[1])
		return n
	}
	if of(`apiserver_longrunning_requests\{component="apiserver"`) == 0 {
		return 0, errors.New("there is no watch, or its metric has another form")
	}
	return of(`apiserver_request_total\{code="200"`), nil
}

func start(ctx context.Context) (err error) {
	if env, api, binary, err = testenv.StartProduct(ctx); err != nil {
		return err
	}
	if _, err = env.StartControllerManager(ctx); err != nil {
		return err
	}
	if manager, err = env.StartManager(ctx, testenv.ManagerOptions{
		Binary: binary, Dir: filepath.Join(env.Dir, "manager"), Args: []string{"--leader-elect=true"},
	}); err != nil {
		return err
	}
	return env.Apply(ctx, `
apiVersion: terminals.dev/v1
kind: ClusterSessionProvider
metadata: {name: default}
spec: {embedded: {}, allow: [{}]}`)
}

// namespace makes a namespace for one test.
func namespace(t *testing.T) string {
	t.Helper()
	name := strings.ToLower(strings.NewReplacer("_", "-", "/", "-").Replace(t.Name()))
	name = strings.Trim(name[:min(len(name), 50)], "-")
	kubectl(t, "create", "namespace", name)
	return name
}

func kubectl(t *testing.T, args ...string) string {
	t.Helper()
	out, err := env.Kubectl(t.Context(), args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func apply(t *testing.T, manifests ...string) {
	t.Helper()
	if err := env.Apply(t.Context(), manifests...); err != nil {
		t.Fatal(err)
	}
}

// manifest is a session with what else its spec has, in YAML's flow style.
func manifest(namespace, name, spec string) string {
	return fmt.Sprintf(`
apiVersion: terminals.dev/v1
kind: TerminalSession
metadata: {namespace: %s, name: %s}
spec: {terminal: {id: %[2]s}, merchantID: acme, %s}`, namespace, name, spec)
}

// eventually waits for something that nobody announces.
func eventually(t *testing.T, within time.Duration, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(within); ; {
		if is() {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s\nthe manager's last words:\n%s", within, what, manager.Tail(15))
		}
		<-time.After(20 * time.Millisecond)
	}
}

func get(t *testing.T, namespace, name string) *v1.TerminalSession {
	t.Helper()
	s := &v1.TerminalSession{}
	if err := api.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: name}, s); err != nil {
		t.Fatal(err)
	}
	return s
}

func established(t *testing.T, namespace, name string) *v1.TerminalSession {
	t.Helper()
	kubectl(t, "-n", namespace, "wait", "--for=condition=Established", "terminalsession/"+name, "--timeout=30s")
	return get(t, namespace, name)
}

func reason(s *v1.TerminalSession) string {
	if c := meta.FindStatusCondition(s.Status.Conditions, v1.ConditionReady); c != nil {
		return c.Reason
	}
	return ""
}
