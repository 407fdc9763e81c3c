package testenv

import (
	"os"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

func TestControlPlane(t *testing.T) {
	start := time.Now()
	env, err := Start(t.Context(), Options{CRDs: []string{}, APIServerFlags: map[string]string{"v": "1"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("up in %s", time.Since(start))
	t.Cleanup(func() {
		start := time.Now()
		if err := env.Stop(); err != nil {
			t.Errorf("stopping: %v", err)
		}
		if _, err := os.Stat(env.Dir); !os.IsNotExist(err) {
			t.Errorf("%s is left behind", env.Dir)
		}
		t.Logf("down in %s", time.Since(start))
	})
	admin := clientFor(t, env.Config)

	t.Run("requests are counted", func(t *testing.T) {
		before := counts(t, env)
		for range 3 {
			configMap := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{GenerateName: "counted-"}}
			if _, err := admin.CoreV1().ConfigMaps("default").Create(t.Context(), configMap, metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		made := counts(t, env).Since(before).Of("configmaps")
		if want := (Request{Resource: "configmaps", Verb: "POST", Code: "201"}); made[want] != 3 || made.Writes().Total() != 3 {
			t.Errorf("counted %v, want 3 creations", made)
		}
	})

	t.Run("kubectl", func(t *testing.T) {
		out, err := env.Kubectl(t.Context(), "create", "namespace", "shop", "-o", "name")
		if err != nil || out != "namespace/shop\n" {
			t.Errorf("kubectl said %q, %v", out, err)
		}
		if _, err := env.Kubectl(t.Context(), "get", "namespace", "nowhere"); err == nil || !strings.Contains(err.Error(), "NotFound") {
			t.Errorf("error is %v, want what kubectl said", err)
		}
	})

	t.Run("a user may do what RBAC grants", func(t *testing.T) {
		config, _, err := env.ServiceAccount("shop", "reader")
		if err != nil {
			t.Fatal(err)
		}
		reader := clientFor(t, config)
		list := func() error {
			_, err := reader.CoreV1().ConfigMaps("shop").List(t.Context(), metav1.ListOptions{})
			return err
		}
		if err := list(); !apierrors.IsForbidden(err) {
			t.Errorf("without a binding: %v, want that it is forbidden", err)
		}
		for _, command := range []string{
			"create role reader -n shop --verb=list --resource=configmaps",
			"create rolebinding reader -n shop --role=reader --serviceaccount=shop:reader",
		} {
			if _, err := env.Kubectl(t.Context(), strings.Fields(command)...); err != nil {
				t.Fatal(err)
			}
		}
		within(t, 5*time.Second, "the bound user may read", func() bool { return list() == nil })
	})

	t.Run("kube-controller-manager", func(t *testing.T) {
		if _, err := env.StartControllerManager(t.Context()); err != nil {
			t.Fatal(err)
		}
		within(t, 20*time.Second, "the namespace has a service account", func() bool {
			_, err := admin.CoreV1().ServiceAccounts("shop").Get(t.Context(), "default", metav1.GetOptions{})
			return err == nil
		})
		if err := admin.CoreV1().Namespaces().Delete(t.Context(), "shop", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		within(t, 30*time.Second, "the namespace is gone", func() bool {
			_, err := admin.CoreV1().Namespaces().Get(t.Context(), "shop", metav1.GetOptions{})
			return apierrors.IsNotFound(err)
		})
	})
}

func clientFor(t *testing.T, config *rest.Config) kubernetes.Interface {
	t.Helper()
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func counts(t *testing.T, env *Env) Counts {
	t.Helper()
	c, err := env.RequestCounts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return c
}
