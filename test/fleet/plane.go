package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"terminals.dev/session-controller/test/testenv"
)

const (
	// ofProduct is the namespace of the sessions that the manager works on, and ofFloor that of the bare client's; of one length.
	ofProduct, ofFloor = "fleet", "floor"

	stopGrace = 20 * time.Second
)

// plane is the control plane and the manager.
type plane struct {
	env *testenv.Env
	// api is an administrator's client, and bare one with the manager's own rights, so that who asks makes no difference.
	api  client.WithWatch
	bare rest.Interface
	// server and etcd are process IDs.
	server, etcd int

	binary    string
	ports     [3]int // of every manager, so that a restart is one and no change of address
	profiling int    // the port
	arguments []string

	manager *testenv.Manager
	// begin is the CPU that a start takes where there are no sessions, the median of three.
	begin time.Duration
}

func startPlane(ctx context.Context, o options) (*plane, error) {
	env, err := testenv.Start(ctx, testenv.Options{
		Fsync: true,
		// Else the history of a large fleet fills etcd's 2 GiB.
		APIServerFlags: map[string]string{"etcd-compaction-interval": "2m"},
	})
	if err != nil {
		return nil, err
	}
	p := &plane{env: env}
	if err := p.equip(ctx, o); err != nil {
		return nil, errors.Join(err, env.Stop()) //nolint:contextcheck // it has to stop when the context is done, too
	}
	return p, nil
}

func (p *plane) equip(ctx context.Context, o options) (err error) {
	if p.api, err = p.env.Client(); err != nil {
		return err
	}
	if err = p.env.GrantManager(ctx); err != nil {
		return err
	}
	if err = p.env.InstallAdmission(ctx); err != nil {
		return err
	}
	if p.binary, err = testenv.BuildManager(ctx, filepath.Join(p.env.Dir, "bin")); err != nil {
		return err
	}
	ports, err := testenv.FreePorts(0, 0, 0, 0)
	if err != nil {
		return err
	}
	p.ports, p.profiling = [3]int(ports[:3]), ports[3]
	p.arguments = []string{"--endpoint-auth=None", "--allow-loopback-providers", "--pprof-bind-address=127.0.0.1:" + strconv.Itoa(p.profiling)}
	if o.profiles {
		p.arguments = append(p.arguments, "--pprof-mutex-fraction=10")
	}
	config, _, err := p.env.ServiceAccount(testenv.ManagerNamespace, testenv.ManagerAccount)
	if err != nil {
		return err
	}
	clients, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("making the bare client: %w", err)
	}
	p.bare = clients.CoreV1().RESTClient()
	if p.etcd, err = child("etcd"); err != nil {
		return err
	}
	if p.server, err = child("kube-apiserver"); err != nil {
		return err
	}
	return p.prepare(ctx)
}

// prepare makes the namespaces and the embedded provider, and finds what an empty start takes.
func (p *plane) prepare(ctx context.Context) error {
	if err := p.env.Apply(ctx, namespaces, embeddedProvider); err != nil {
		return err
	}
	if err := p.startManager(ctx); err != nil {
		return err
	}
	if _, err := p.env.Kubectl(ctx, "wait", "--for=condition=Ready", "clustersessionprovider/default", "--timeout=60s"); err != nil {
		return err
	}
	// The first start has made a signing key. Those that follow make one for the metrics' certificate, which takes now more, now less.
	var starts []float64
	for range 3 {
		if err := p.restartManager(ctx); err != nil {
			return err
		}
		if _, err := p.settled(ctx); err != nil {
			return err
		}
		used, err := cpu(p.manager.PID())
		if err != nil {
			return err
		}
		starts = append(starts, used.Seconds())
	}
	p.begin = time.Duration(median(starts) * float64(time.Second))
	return p.stopManager(ctx)
}

// startManager returns when the manager's caches are read.
func (p *plane) startManager(ctx context.Context) (err error) {
	p.manager, err = p.env.StartManager(ctx, testenv.ManagerOptions{
		Binary: p.binary, Dir: filepath.Join(p.env.Dir, "manager"), Args: p.arguments, Ports: p.ports,
	})
	return err
}

// stopManager ends the manager in order. One that has ended by itself is an error.
func (p *plane) stopManager(ctx context.Context) error {
	if p.manager == nil {
		return nil
	}
	ending := p.manager
	p.manager = nil
	if err := ending.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("stopping the manager: %w: %s; its last words:\n%s", err, ending.Exit(), ending.Tail(15))
	}
	ctx, cancel := context.WithTimeout(ctx, stopGrace)
	defer cancel()
	if err := ending.Wait(ctx); err != nil {
		return fmt.Errorf("stopping the manager: %w; its last words:\n%s", err, ending.Tail(15))
	}
	return nil
}

func (p *plane) restartManager(ctx context.Context) error {
	if err := p.stopManager(ctx); err != nil {
		return err
	}
	return p.startManager(ctx)
}

// stop ends everything. A manager that was refused something has not done what was measured.
func (p *plane) stop() error {
	log, err := os.ReadFile(filepath.Join(p.env.Dir, "manager", "manager.log"))
	if bytes.Contains(log, []byte("orbidden")) {
		err = errors.New("config/rbac does not grant all that the manager does")
	}
	return errors.Join(err, p.env.Stop())
}

// settled waits until the manager has used next to no CPU for a while, and returns when that began. Nobody asks the manager: its answers
// would cost more than what is measured.
func (p *plane) settled(ctx context.Context) (time.Time, error) {
	const calm, trifle = 2 * time.Second, 30 * time.Millisecond
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	var since time.Time
	var used time.Duration
	for {
		now, err := cpu(p.manager.PID())
		if err != nil {
			return since, fmt.Errorf("%w; the manager's last words:\n%s", err, p.manager.Tail(15))
		}
		if since.IsZero() || now-used > trifle {
			since, used = time.Now(), now
		}
		if time.Since(since) >= calm {
			return since, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return since, fmt.Errorf("waiting until the manager is quiet: %w", ctx.Err())
		}
	}
}
