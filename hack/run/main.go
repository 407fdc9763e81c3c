// Command run is `make run`: a control plane, the controller as an ordinary process, and the sample sessions, all of it below
// .run in the working folder, up until it is told to stop.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"terminals.dev/session-controller/test/testenv"
)

func main() { testenv.Main(run) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C does not wait

	r := &runner{}
	err := r.up(ctx)
	if ctx.Err() != nil {
		fmt.Println("Stopping ...")
	} else if err != nil {
		fmt.Fprintln(os.Stderr, "make run:", err)
	}
	if down := r.down(); down != nil {
		fmt.Fprintln(os.Stderr, "make run: stopping:", down)
	}
	if err != nil && ctx.Err() == nil {
		return 1
	}
	return 0
}

// up does one step after the other, and then stays until the context is done.
func (r *runner) up(ctx context.Context) error {
	for _, step := range []struct {
		doing string
		do    func(context.Context) error
	}{
		{"taking the folder .run", r.takeFolder},
		{"building the manager", r.buildManager},
		{"making sure of etcd, kube-apiserver and kubectl", r.provideBinaries},
		{"starting etcd and kube-apiserver", r.startControlPlane},
		{"installing the CRDs of config/crd", r.installCRDs},
		{"installing the policies of config/admission", r.installAdmission},
		{"granting the manager what config/rbac says", r.grantRights},
		{"starting the manager", r.startManager},
		{"applying config/samples", r.applySamples},
		{"waiting until the sessions are ready", r.awaitSessions},
		{"kubectl get terminalsessions -A", r.showSessions},
	} {
		fmt.Println("==>", step.doing)
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.doing, err)
		}
	}
	return r.stay(ctx)
}
