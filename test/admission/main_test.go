// Package admission tries the policies of config/admission on a real API server, as the people and programs that they are for: each test
// asks as a user with the roles of config/rbac, never as the administrator whom nothing stops.
package admission

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/test/testenv"
)

// cluster is a control plane with policies, and its users.
type cluster struct {
	*testenv.Env
	// Anna and Ben run a shop: they write bans and logouts.
	anna, ben *user
	// gateway is bound to session-gateway, controller to what it does with bans and logouts.
	gateway, controller *user
	// admin stands above every role, but not above the policies.
	admin *user
}

// user is somebody who asks the API server.
type user struct {
	name       string
	api        client.Client
	config     *rest.Config
	kubeconfig string
	env        *testenv.Env
}

// both is the control plane with both halves, which all tests share but those of the validating half alone.
var both *cluster

func TestMain(m *testing.M) {
	testenv.Main(func() int {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Minute) // the first time, binaries are built
		defer cancel()
		code := 1
		if err := withBoth(ctx, func() { code = m.Run() }); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return code
	})
}

func withBoth(ctx context.Context, run func()) (err error) {
	ctrl.SetLogger(logr.Discard())
	env, err := testenv.Start(ctx, testenv.Options{})
	if err != nil {
		return err
	}
	stop := env.Stop
	defer func() { err = errors.Join(err, stop()) }()
	if _, err := env.StartControllerManager(ctx); err != nil {
		return err
	}
	if both, err = newCluster(ctx, env); err != nil {
		return err
	}
	if err := both.install(ctx, "config/admission"); err != nil {
		return err
	}
	if err := both.untilFilled(ctx); err != nil {
		return err
	}
	run()
	return nil
}

// newCluster makes users, and in the namespace default a session and a ban that are older than every policy.
func newCluster(ctx context.Context, env *testenv.Env) (*cluster, error) {
	c := &cluster{Env: env}
	if err := env.GrantManager(ctx); err != nil {
		return nil, err
	}
	account := func(name string) string { return "system:serviceaccount:" + testenv.ManagerNamespace + ":" + name }
	for name, u := range map[string]**user{
		"anna@acme.example": &c.anna, "ben@acme.example": &c.ben,
		account("session-gateway"): &c.gateway, account(testenv.ManagerAccount): &c.controller,
	} {
		config, kubeconfig, err := env.User(name)
		if err != nil {
			return nil, err
		}
		if *u, err = newUser(env, name, config, kubeconfig); err != nil {
			return nil, err
		}
	}
	file := filepath.Join(env.Dir, "admin.yaml")
	if err := env.Kubeconfig(file); err != nil {
		return nil, err
	}
	kubeconfig, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	if c.admin, err = newUser(env, "admin", env.Config, kubeconfig); err != nil {
		return nil, err
	}
	for _, role := range []string{"sessionban-admin", "sessionlogout-editor", "clustersessionban-admin"} {
		if err := c.bind(ctx, role, c.anna, c.ben); err != nil {
			return nil, err
		}
	}
	if err := c.bind(ctx, "session-gateway", c.gateway); err != nil {
		return nil, err
	}
	return c, env.Apply(ctx, session("default", "old"), manifest{kind: "SessionBan", namespace: "default", name: "old"}.String())
}

func newUser(env *testenv.Env, name string, config *rest.Config, kubeconfig []byte) (*user, error) {
	u := &user{name: name, config: config, env: env}
	var err error
	if u.api, err = client.New(config, client.Options{Scheme: scheme}); err != nil {
		return nil, err
	}
	u.kubeconfig = filepath.Join(env.Dir, strings.NewReplacer(":", "-", "@", "-").Replace(name)+".kubeconfig")
	return u, os.WriteFile(u.kubeconfig, kubeconfig, 0o600)
}

func (c *cluster) bind(ctx context.Context, role string, to ...*user) error {
	args := []string{"create", "clusterrolebinding", role, "--clusterrole=" + role}
	for _, u := range to {
		args = append(args, "--user="+u.name)
	}
	_, err := c.Kubectl(ctx, args...)
	return err
}

// install applies a folder with the validating half in it, and waits until that is in force: the API server takes policies up by and by.
func (c *cluster) install(ctx context.Context, folder string) error {
	if _, err := c.apply(ctx, folder); err != nil {
		return err
	}
	forged := manifest{kind: "SessionBan", namespace: "default", name: "forged", by: "somebody"}.object()
	if err := until(ctx, "a forged name is refused", func() error {
		return refusedBy("requested-by.terminals.dev", c.anna.api.Create(ctx, forged.DeepCopy(), client.DryRunAll))
	}); err != nil {
		return err
	}
	old := &v1.TerminalSession{}
	old.Namespace, old.Name = "default", "old"
	patch := client.RawPatch(types.MergePatchType, []byte(`{"status": {"phase": "Terminated"}}`))
	return until(ctx, "the gateway is refused a phase", func() error {
		return refusedBy("gateway.terminals.dev", c.gateway.api.Status().Patch(ctx, old.DeepCopy(), patch, client.DryRunAll))
	})
}

// apply has kubectl apply a folder of ours.
func (c *cluster) apply(ctx context.Context, folder string, flags ...string) (string, error) {
	root, err := testenv.ModuleRoot()
	if err != nil {
		return "", err
	}
	return c.Kubectl(ctx, append([]string{"apply", "--server-side", "-k", filepath.Join(root, folder)}, flags...)...)
}

// untilFilled waits for the mutating half.
func (c *cluster) untilFilled(ctx context.Context) error {
	unnamed := manifest{kind: "SessionBan", namespace: "default", name: "unnamed"}.object()
	return until(ctx, "a name is filled in", func() error { return c.anna.api.Create(ctx, unnamed.DeepCopy(), client.DryRunAll) })
}

func refusedBy(policy string, err error) error {
	if err == nil {
		return errors.New("it is taken")
	}
	if (apierrors.IsInvalid(err) || apierrors.IsForbidden(err)) && strings.Contains(err.Error(), "'"+policy+"'") {
		return nil
	}
	return err
}

func until(ctx context.Context, what string, is func() error) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		err := is()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not in time: %s: %w", what, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// kubectl runs kubectl as the user.
func (u *user) kubectl(t *testing.T, args ...string) (string, error) {
	t.Helper()
	return u.env.Kubectl(t.Context(), append([]string{"--kubeconfig=" + u.kubeconfig}, args...)...)
}

// namespace makes a namespace for one test.
func (c *cluster) namespace(t *testing.T) string {
	t.Helper()
	name := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(t.Name()))
	name = strings.Trim(name[:min(len(name), 60)], "-")
	if _, err := c.Kubectl(t.Context(), "create", "namespace", name); err != nil {
		t.Fatal(err)
	}
	return name
}

// manifest is a ban or a logout as people write it.
type manifest struct {
	kind, namespace, name string
	// by is spec.requestedBy, left out where it is empty.
	by string
	// reason is what people may change later, of bans.
	reason string
}

// kinds are those with a requestedBy.
var kinds = []string{"SessionBan", "ClusterSessionBan", "SessionLogout"}

func (m manifest) object() *unstructured.Unstructured {
	spec := map[string]any{}
	if m.kind == "SessionLogout" {
		spec["selector"] = map[string]any{"user": "carla@acme.example"}
	} else {
		spec["match"] = map[string]any{"user": "mallory@acme.example"}
		spec["code"] = "UserBanned"
	}
	for field, value := range map[string]string{"requestedBy": m.by, "reason": m.reason} {
		if value != "" {
			spec[field] = value
		}
	}
	o := &unstructured.Unstructured{Object: map[string]any{"spec": spec}}
	o.SetGroupVersionKind(v1.GroupVersion.WithKind(m.kind))
	o.SetName(m.name)
	if m.kind != "ClusterSessionBan" {
		o.SetNamespace(m.namespace)
	}
	return o
}

func (m manifest) String() string {
	out, err := yaml.Marshal(m.object().Object)
	if err != nil {
		panic(err)
	}
	return string(out)
}

// file writes it down for kubectl.
func (m manifest) file(t *testing.T) string {
	t.Helper()
	return written(t, m.String())
}

func written(t *testing.T, content string) string {
	t.Helper()
	file, err := os.CreateTemp("", "manifest-*.yaml") // not in the test's own folder: kubectl takes a comma in a path for the end of it
	if err != nil {
		t.Fatal(err)
	}
	_, err = file.WriteString(content)
	if err := errors.Join(err, file.Close()); err != nil {
		t.Fatal(err)
	}
	return file.Name()
}

func session(namespace, name string) string {
	return fmt.Sprintf(`
apiVersion: terminals.dev/v1
kind: TerminalSession
metadata: {namespace: %s, name: %s}
spec: {terminal: {id: T-1}, merchantID: acme}`, namespace, name)
}

// requestedBy reads the name as it stands.
func (c *cluster) requestedBy(t *testing.T, o *unstructured.Unstructured) string {
	t.Helper()
	live := &unstructured.Unstructured{}
	live.SetGroupVersionKind(o.GroupVersionKind())
	if err := c.admin.api.Get(t.Context(), client.ObjectKeyFromObject(o), live); err != nil {
		t.Fatal(err)
	}
	return by(live)
}

func by(o *unstructured.Unstructured) string {
	name, _, _ := unstructured.NestedString(o.Object, "spec", "requestedBy")
	return name
}

// says checks that something was refused, in these words.
func says(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("it was taken")
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("the answer is %q, want that it says %q", err, word)
		}
	}
}
