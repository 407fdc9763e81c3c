package testenv

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
)

// Daemon is etcd or the kube-apiserver as a process that can be had hold of: it can be killed, or stopped and continued, and be started
// again as it was, with its data, its certificates and its address.
type Daemon struct {
	*Process
	env     *Env
	options ProcessOptions
}

// Daemons ends etcd and the kube-apiserver, of which envtest gives no hold, and starts them again as processes that Stop ends as well.
func (e *Env) Daemons(ctx context.Context) (etcd, server *Daemon, err error) {
	if err := e.stop(); err != nil {
		return nil, nil, fmt.Errorf("ending the control plane, to start it again: %w", err)
	}
	cp := &e.plane.ControlPlane
	etcd, err = e.daemon(ctx, etcdName, cp.Etcd.URL.JoinPath("health"))
	if err != nil {
		return nil, nil, err
	}
	server, err = e.daemon(ctx, serverName, cp.APIServer.SecureServing.URL("https", "readyz"))
	return etcd, server, err
}

func (e *Env) daemon(ctx context.Context, name string, ready *url.URL) (*Daemon, error) {
	link, err := guarded(e.binary(name))
	if err != nil {
		return nil, err
	}
	args, err := calledWith(link)
	if err != nil {
		return nil, err
	}
	d := &Daemon{env: e, options: ProcessOptions{
		Path: e.binary(name), Args: args, Log: e.file(name + ".log"), Ready: HTTPReady(ready.String()),
	}}
	d.Process, err = e.StartProcess(ctx, d.options)
	return d, err
}

// Restart starts it again, once it has ended, and waits until it is ready. For Stop it takes the place of the one before: etcd is to end
// after those that need it.
func (d *Daemon) Restart(ctx context.Context) error {
	select {
	case <-d.Done():
	default:
		return errors.New("restarting " + d.name + ": it is running")
	}
	again, err := StartProcess(ctx, d.options)
	if err != nil {
		return err
	}
	d.env.mu.Lock()
	defer d.env.mu.Unlock()
	d.env.processes[slices.Index(d.env.processes, d.Process)] = again
	d.Process = again
	return nil
}
