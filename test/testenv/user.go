package testenv

import (
	"fmt"
	"os"

	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

// User returns the access of a user who may do what RBAC grants to that name and those groups, also as a kubeconfig.
func (e *Env) User(name string, groups ...string) (*rest.Config, []byte, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	user, err := e.plane.AddUser(envtest.User{Name: name, Groups: groups}, &rest.Config{QPS: -1})
	if err != nil {
		return nil, nil, fmt.Errorf("making the user %s: %w", name, err)
	}
	kubeconfig, err := user.KubeConfig()
	if err != nil {
		return nil, nil, fmt.Errorf("writing a kubeconfig for the user %s: %w", name, err)
	}
	return user.Config(), kubeconfig, nil
}

// ServiceAccount returns the access of a user who has the name and groups of a service account, so that bindings to it apply.
// Unlike the account's own tokens it lasts as long as the control plane.
func (e *Env) ServiceAccount(namespace, name string) (*rest.Config, []byte, error) {
	return e.User("system:serviceaccount:"+namespace+":"+name, "system:serviceaccounts", "system:serviceaccounts:"+namespace)
}

// Kubeconfig writes the administrator's kubeconfig.
func (e *Env) Kubeconfig(path string) error {
	if err := os.WriteFile(path, e.plane.KubeConfig, 0o600); err != nil {
		return fmt.Errorf("writing the kubeconfig: %w", err)
	}
	return nil
}
