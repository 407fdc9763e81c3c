package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
)

// takeFolder makes sure that nobody else runs here, and takes away what the last run has left.
func (r *runner) takeFolder(context.Context) error {
	if err := os.MkdirAll(path("bin"), 0o755); err != nil {
		return err
	}
	lock, err := lockFile(path("lock"))
	if err != nil {
		return err
	}
	r.lock = lock
	return r.clear("bin/kubectl", "controlplane", "manager.log")
}

// clear takes away what gives access, and what else is named.
func (r *runner) clear(names ...string) error {
	for _, name := range append(names, "kubeconfig", "manager.kubeconfig", "tls") {
		if err := os.RemoveAll(path(name)); err != nil {
			return fmt.Errorf("taking away what a run has left: %w", err)
		}
	}
	return nil
}

// lockFile takes a lock that goes with this process, and leaves its ID for those who come too late.
func lockFile(name string) (*os.File, error) {
	file, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		holder, _ := os.ReadFile(name)
		err = fmt.Errorf("it is in use by another run, process %s: stop that one first", strings.TrimSpace(string(holder)))
	}
	if err == nil {
		err = errors.Join(file.Truncate(0), writePID(file))
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

func writePID(file *os.File) error {
	_, err := fmt.Fprintln(file, os.Getpid())
	return err
}
