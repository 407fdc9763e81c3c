package testenv

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

// Options says what control plane to start. The zero value is the usual one.
type Options struct {
	// CRDs are files or folders to install; empty but not nil is none. Default: those of this module.
	CRDs []string
	// APIServerFlags are set on kube-apiserver, by name without the dashes, and replace those that it would have.
	APIServerFlags map[string]string
	// Dir is a folder for data and logs, which stays. Default: one that goes with Stop.
	Dir string
	// Fsync has etcd write through to the disk, as it does in production and as measurements need.
	Fsync bool
}

// Env is an etcd and a kube-apiserver, with what was started beside them.
type Env struct {
	// Config is an administrator's, without a limit of requests.
	Config *rest.Config
	// Dir holds data and logs: etcd.log, kube-apiserver.log.
	Dir string

	plane     *envtest.Environment
	assets    string // the folder of the binaries
	temporary bool
	stop      func() error

	mu        sync.Mutex
	processes []*Process
}

const (
	etcdName        = "etcd"
	serverName      = "kube-apiserver"
	adminKubeconfig = "admin.kubeconfig"

	startTimeout = time.Minute // machines that run tests are often busy
	stopGrace    = 20 * time.Second
)

// Start starts a control plane, and installs the CRDs. The binaries are made sure of by Assets.
func Start(ctx context.Context, o Options) (*Env, error) {
	assets, err := Assets(ctx, etcdName, serverName)
	if err != nil {
		return nil, err
	}
	if o.CRDs == nil {
		root, err := ModuleRoot()
		if err != nil {
			return nil, err
		}
		o.CRDs = []string{filepath.Join(root, "config", "crd", "bases")}
	}
	e := &Env{Dir: o.Dir, assets: assets, temporary: o.Dir == ""}
	if err := e.configure(o); err != nil {
		return nil, fmt.Errorf("preparing the control plane: %w", err)
	}
	if err := e.start(ctx); err != nil {
		return nil, fmt.Errorf("starting the control plane: %w; the API server's last words:\n%s",
			err, tail(e.file(serverName+".log"), 20))
	}
	return e, nil
}

func (e *Env) binary(name string) string { return filepath.Join(e.assets, name) }

func (e *Env) file(name string) string { return filepath.Join(e.Dir, name) }

// configure names every path, so that envtest looks for none in the environment and leaves nothing in the temporary folder.
func (e *Env) configure(o Options) (err error) {
	if e.temporary {
		e.Dir, err = os.MkdirTemp(scratch, "env-")
	} else {
		e.Dir, err = filepath.Abs(e.Dir)
	}
	if err != nil {
		return err
	}
	if err := os.RemoveAll(e.file("certs")); err != nil { // of an earlier run: envtest would not take them up again
		return err
	}
	if err := errors.Join(os.MkdirAll(e.file("certs"), 0o700), os.MkdirAll(e.file("etcd"), 0o700)); err != nil {
		return err
	}

	ports, err := lastingPorts()
	if err != nil {
		return err
	}
	etcd := &envtest.Etcd{DataDir: e.file("etcd"), URL: &url.URL{Scheme: "http", Host: fmt.Sprintf("127.0.0.1:%d", ports[0])}}
	if o.Fsync {
		etcd.Configure().Disable("unsafe-no-fsync")
	}
	server := &envtest.APIServer{CertDir: e.file("certs")}
	server.Address, server.Port = "127.0.0.1", strconv.Itoa(ports[1])
	server.Configure().Set("shutdown-watch-termination-grace-period", "1s") // else Stop waits for every watch that is still open
	for name, value := range o.APIServerFlags {
		server.Configure().Set(name, value)
	}
	if etcd.Path, err = guarded(e.binary(etcdName)); err != nil {
		return err
	}
	if server.Path, err = guarded(e.binary(serverName)); err != nil {
		return err
	}
	e.plane = &envtest.Environment{
		CRDDirectoryPaths:        o.CRDs,
		ErrorIfCRDPathMissing:    true,
		UseExistingCluster:       new(false),
		ControlPlaneStartTimeout: startTimeout,
		ControlPlaneStopTimeout:  stopGrace,
	}
	e.plane.ControlPlane.Etcd = etcd
	e.plane.ControlPlane.APIServer = server
	e.plane.ControlPlane.KubectlPath = "kubectl" // not used
	return nil
}

// lastingPorts are those of etcd and the kube-apiserver: if possible none that the system takes for connections, one of which could have a port while
// its process is away, be it a connection to that very port.
func lastingPorts() ([]int, error) {
	first := 10000 + 2*(os.Getpid()%5000)
	return FreePorts(first, first+1)
}

func (e *Env) start(ctx context.Context) error {
	etcdLog, err := openLog(e.file(etcdName+".log"), "")
	if err != nil {
		return err
	}
	serverLog, err := openLog(e.file(serverName+".log"), "")
	if err != nil {
		return err
	}
	cp := &e.plane.ControlPlane
	cp.Etcd.Out, cp.Etcd.Err = etcdLog, etcdLog
	cp.APIServer.Out, cp.APIServer.Err = serverLog, serverLog

	end, ended, started := make(chan struct{}), make(chan error, 1), make(chan error, 1)
	e.stop = sync.OnceValue(func() error { close(end); return <-ended })
	go func() {
		started <- onOwnThread(func() error {
			_, err := e.plane.Start()
			if err != nil {
				return errors.Join(err, e.plane.Stop())
			}
			return nil
		}, func() {
			<-end
			ended <- e.plane.Stop()
			etcdLog.Close()
			serverLog.Close()
		})
	}()
	select {
	case err = <-started:
	case <-ctx.Done():
		close(end) // envtest cannot be interrupted; what it starts yet is stopped when it is done
		return ctx.Err()
	}
	if err != nil {
		return err
	}
	e.Config = rest.CopyConfig(e.plane.Config)
	e.Config.QPS, e.Config.Burst = -1, 0
	return e.Kubeconfig(e.file(adminKubeconfig))
}

// Etcd is the URL at which etcd serves its clients, in plain http and without any credentials.
func (e *Env) Etcd() string { return e.plane.ControlPlane.Etcd.URL.String() }

// Stop ends all that was started, the latest first.
func (e *Env) Stop() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	var errs []error
	for _, p := range slices.Backward(e.processes) {
		select {
		case <-p.Done(): // whoever ended it knows
		default:
			errs = append(errs, p.Stop(stopGrace))
		}
	}
	e.processes = nil
	errs = append(errs, e.stop())
	if e.temporary {
		errs = append(errs, os.RemoveAll(e.Dir))
	}
	return errors.Join(errs...)
}

// StartProcess is the function of that name, for a process that Stop is to end.
func (e *Env) StartProcess(ctx context.Context, o ProcessOptions) (*Process, error) {
	p, err := StartProcess(ctx, o)
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.processes = append(e.processes, p)
	return p, nil
}
