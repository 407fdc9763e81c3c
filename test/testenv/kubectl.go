package testenv

import (
	"context"
	"path/filepath"
	"sync"
)

// Kubectl runs kubectl as the administrator, out of reach of the user's own settings, and returns its standard output.
// An error has its standard error.
func (e *Env) Kubectl(ctx context.Context, args ...string) (string, error) {
	kubectl, err := kubectlPath(ctx)
	if err != nil {
		return "", err
	}
	env := []string{"KUBECONFIG=" + e.file(adminKubeconfig), "KUBECACHEDIR=" + e.file("kubectl-cache"), "KUBECTL_KUBERC=false"}
	return run(ctx, nil, env, kubectl, args...)
}

var kubectlFound struct {
	sync.Mutex
	path string
}

// kubectlPath asks for kubectl once: that costs as much as a call of it.
func kubectlPath(ctx context.Context) (string, error) {
	kubectlFound.Lock()
	defer kubectlFound.Unlock()
	if kubectlFound.path == "" {
		dir, err := Assets(ctx, "kubectl")
		if err != nil {
			return "", err
		}
		kubectlFound.path = filepath.Join(dir, "kubectl")
	}
	return kubectlFound.path, nil
}
