package testenv

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
)

// StartControllerManager starts kube-controller-manager with the controllers that an operator's tests lean on: garbage
// collection, the deletion of namespaces, service accounts with their root certificate, and the check of policies against schemas.
func (e *Env) StartControllerManager(ctx context.Context) (*Process, error) {
	assets, err := Assets(ctx, "kube-controller-manager")
	if err != nil {
		return nil, err
	}
	ports, err := FreePorts(0)
	if err != nil {
		return nil, err
	}
	controllers := []string{
		"garbage-collector-controller",
		"namespace-controller",
		"root-ca-certificate-publisher-controller",
		"serviceaccount-controller",
		"validatingadmissionpolicy-status-controller",
	}
	return e.StartProcess(ctx, ProcessOptions{
		Path: filepath.Join(assets, "kube-controller-manager"),
		Args: []string{
			"--kubeconfig=" + e.file(adminKubeconfig),
			"--controllers=" + strings.Join(controllers, ","),
			"--root-ca-file=" + e.file("certs/apiserver.crt"),
			"--leader-elect=false",
			"--bind-address=127.0.0.1",
			"--secure-port=" + strconv.Itoa(ports[0]),
			"--cert-dir=" + e.file("certs"),
			"--kube-api-qps=1000", "--kube-api-burst=2000",
		},
		Log:   e.file("kube-controller-manager.log"),
		Ready: HTTPReady(fmt.Sprintf("https://127.0.0.1:%d/healthz", ports[0])),
	})
}
