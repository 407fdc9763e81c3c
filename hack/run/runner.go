package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"terminals.dev/session-controller/internal/provider/embedded"
	"terminals.dev/session-controller/test/testenv"
)

const folder = ".run"

// runner is what has been started so far.
type runner struct {
	lock    *os.File
	env     *testenv.Env
	manager *testenv.Manager
	binary  string // of the manager
}

func path(elem ...string) string { return filepath.Join(append([]string{folder}, elem...)...) }

func (r *runner) buildManager(ctx context.Context) (err error) {
	r.binary, err = testenv.BuildManager(ctx, path("bin"))
	return err
}

func (r *runner) provideBinaries(ctx context.Context) error {
	dir, err := testenv.Assets(ctx, "etcd", "kube-apiserver", "kubectl")
	if err != nil {
		return err
	}
	return os.Symlink(filepath.Join(dir, "kubectl"), path("bin", "kubectl"))
}

func (r *runner) startControlPlane(ctx context.Context) (err error) {
	if r.env, err = testenv.Start(ctx, testenv.Options{Dir: path("controlplane"), CRDs: []string{}}); err != nil {
		return err
	}
	return r.env.Kubeconfig(path("kubeconfig"))
}

func (r *runner) installCRDs(ctx context.Context) error {
	return r.kubectl(ctx,
		[]string{"apply", "--server-side", "-k", "config/crd"},
		[]string{"wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"},
	)
}

func (r *runner) installAdmission(ctx context.Context) error { return r.env.InstallAdmission(ctx) }

func (r *runner) grantRights(ctx context.Context) error { return r.env.GrantManager(ctx) }

func (r *runner) applySamples(ctx context.Context) error {
	return r.kubectl(ctx, []string{"apply", "-k", "config/samples"})
}

func (r *runner) kubectl(ctx context.Context, commands ...[]string) error {
	for _, args := range commands {
		if _, err := r.env.Kubectl(ctx, args...); err != nil {
			return err
		}
	}
	return nil
}

func (r *runner) startManager(ctx context.Context) (err error) {
	r.manager, err = r.env.StartManager(ctx, testenv.ManagerOptions{
		Binary: r.binary, Dir: folder, Ports: [3]int{9443, 8443, 8081},
		Args: []string{"--allow-private-providers", "--allow-loopback-providers"}, // what one tries out is on this machine, or near it
	})
	if err != nil {
		return err
	}
	fmt.Printf("    issuer %s, metrics %s, probes %s/readyz\n", r.manager.Issuer, r.manager.Metrics, r.manager.Probes)
	return nil
}

func (r *runner) showSessions(ctx context.Context) error {
	table, err := r.env.Kubectl(ctx, "get", "terminalsessions", "-A")
	fmt.Print(table)
	return err
}

const goOn = `
Up. Ctrl-C stops and removes everything. To go on, in another terminal and from this folder:

  export KUBECONFIG=$PWD/.run/kubeconfig PATH=$PWD/.run/bin:$PATH ISSUER=%s

  kubectl get terminalsession demo -n shop -o wide --watch   # a token of two minutes: see it renew
  kubectl explain terminalsession.spec

  TOKEN=$(kubectl get secret till-01-token -n shop -o jsonpath='{.data.token}' | base64 -d)
  curl --cacert .run/tls/ca.crt $ISSUER/jwks                 # the keys that the token verifies with
  curl --cacert .run/tls/ca.crt -d token=$TOKEN \
    -H "Authorization: Bearer $(kubectl create token introspector -n shop)" $ISSUER/introspect
  kubectl delete terminalsession till-01 -n shop             # its Secret goes; ask again: inactive

Logs are .run/manager.log, .run/controlplane/kube-apiserver.log and .run/controlplane/etcd.log; they stay.
`

// stay returns when it is told to, or with an error when the manager does not stay.
func (r *runner) stay(ctx context.Context) error {
	fmt.Printf(goOn, r.manager.Issuer+embedded.Path("", "default"))
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-r.manager.Done():
		return r.managerEnded()
	}
}

func (r *runner) managerEnded() error {
	return fmt.Errorf("the manager ended: %s; the end of %s:\n%s", r.manager.Exit(), path("manager.log"), r.manager.Tail(20))
}

func (r *runner) down() error {
	var errs []error
	if r.env != nil {
		errs = append(errs, r.env.Stop())
	}
	if r.lock != nil { // else the folder is another run's
		errs = append(errs, r.clear("controlplane/etcd", "controlplane/certs"), r.lock.Close())
	}
	return errors.Join(errs...)
}
