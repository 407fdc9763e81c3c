package testenv

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
)

// Assets makes sure that binaries of the control plane exist, building those that are missing, which takes minutes the first
// time, and returns the folder that holds them. The names are etcd, kube-apiserver, kube-controller-manager and kubectl.
// Progress goes to standard error.
func Assets(ctx context.Context, names ...string) (string, error) {
	root, err := ModuleRoot()
	if err != nil {
		return "", err
	}
	args := append([]string{"-C", filepath.Join(root, "test", "controlplane"), "run", "."}, names...)
	out, err := run(ctx, os.Stderr, []string{"GOWORK=off"}, "go", args...)
	if err != nil {
		return "", fmt.Errorf("providing the control plane's binaries: %w", err)
	}
	return strings.TrimSpace(out), nil
}

// BuildManager builds this module's main package into dir and returns the binary's path.
func BuildManager(ctx context.Context, dir string) (string, error) {
	root, err := ModuleRoot()
	if err != nil {
		return "", err
	}
	path, err := filepath.Abs(filepath.Join(dir, "manager"))
	if err != nil {
		return "", err
	}
	if _, err := run(ctx, nil, nil, "go", "-C", root, "build", "-o", path, "."); err != nil {
		return "", fmt.Errorf("building the manager: %w", err)
	}
	return path, nil
}

// ModuleRoot is the folder of this module's go.mod, found from the working folder as go does it.
var ModuleRoot = sync.OnceValues(func() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("asking `go env GOMOD` for the module's folder: %w", err)
	}
	file := strings.TrimSpace(string(out))
	if filepath.Base(file) != "go.mod" {
		return "", fmt.Errorf("the working folder is not in the session controller's module")
	}
	return filepath.Dir(file), nil
})
