package testenv

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"k8s.io/client-go/tools/clientcmd"
)

// ManagerNamespace is where the manager is at home, and ManagerAccount is the service account whose rights it has.
const (
	ManagerNamespace = "session-controller-system"
	ManagerAccount   = "session-controller"
)

// ManagerOptions says how to run the manager.
type ManagerOptions struct {
	// Binary is the manager, as BuildManager makes it.
	Binary string
	// Dir is where kubeconfig, certificate and log are written.
	Dir string
	// Args are added to the usual flags.
	Args []string
	// Through is where the API server is reached, as host and port, if elsewhere than at its own address.
	Through string
	// Ports are those of issuer, metrics and probes, where they are free.
	Ports [3]int
}

// Manager is the manager as a process of its own.
type Manager struct {
	*Process
	// Issuer, Metrics and Probes are the URLs at which it serves; CA is the file that Issuer's certificate is checked against.
	Issuer, Metrics, Probes, CA string
}

// GrantManager makes the manager's namespace and gives its service account the rights of config/rbac.
func (e *Env) GrantManager(ctx context.Context) error {
	root, err := ModuleRoot()
	if err != nil {
		return err
	}
	for _, args := range [][]string{
		{"create", "namespace", ManagerNamespace},
		{"apply", "--namespace=" + ManagerNamespace, "-k", filepath.Join(root, "config", "rbac")},
	} {
		if _, err := e.Kubectl(ctx, args...); err != nil {
			return fmt.Errorf("granting the manager its rights: %w", err)
		}
	}
	return nil
}

// StartManager runs the manager with the rights of its service account, not with an administrator's, and waits until it is ready.
func (e *Env) StartManager(ctx context.Context, o ManagerOptions) (*Manager, error) {
	if err := os.MkdirAll(o.Dir, 0o755); err != nil {
		return nil, err
	}
	_, kubeconfig, err := e.ServiceAccount(ManagerNamespace, ManagerAccount)
	if err != nil {
		return nil, err
	}
	if o.Through != "" {
		if kubeconfig, err = redirected(kubeconfig, o.Through); err != nil {
			return nil, err
		}
	}
	ports, err := FreePorts(o.Ports[:]...)
	if err != nil {
		return nil, err
	}
	access, tls := filepath.Join(o.Dir, "manager.kubeconfig"), filepath.Join(o.Dir, "tls")
	if err := errors.Join(os.WriteFile(access, kubeconfig, 0o600), Certificate(tls)); err != nil {
		return nil, err
	}
	local := func(i int) string { return fmt.Sprintf("127.0.0.1:%d", ports[i]) }
	m := &Manager{
		Issuer:  fmt.Sprintf("https://localhost:%d", ports[0]),
		Metrics: "https://" + local(1) + "/metrics",
		Probes:  "http://" + local(2),
		CA:      filepath.Join(tls, "ca.crt"),
	}
	m.Process, err = e.StartProcess(ctx, ProcessOptions{
		Path: o.Binary,
		Args: append([]string{
			"--kubeconfig=" + access,
			"--namespace=" + ManagerNamespace,
			"--leader-elect=false",
			"--issuer-bind-address=" + local(0),
			"--metrics-bind-address=" + local(1),
			"--health-probe-bind-address=" + local(2),
			"--issuer-cert-dir=" + tls,
			"--issuer-url=" + m.Issuer,
		}, o.Args...),
		Log:   filepath.Join(o.Dir, "manager.log"),
		Ready: HTTPReady(m.Probes + "/readyz"),
	})
	return m, err
}

// redirected is a kubeconfig whose clusters are reached at another address.
func redirected(kubeconfig []byte, to string) ([]byte, error) {
	access, err := clientcmd.Load(kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("reading a kubeconfig: %w", err)
	}
	for _, cluster := range access.Clusters {
		cluster.Server = "https://" + to
	}
	return clientcmd.Write(*access)
}
