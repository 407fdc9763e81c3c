//go:build unix && !linux

package testenv

import (
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"
)

// become runs the binary as a child, and kills it when the parent is gone. Both are in one process group, and all who
// signal do so by group: this process has to outlive the signal, not to pass it on.
func (c child) become() {
	signal.Notify(make(chan os.Signal, 1), syscall.SIGINT, syscall.SIGTERM)
	cmd := exec.Command(c.binary, os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		c.fail("exec", err)
	}
	go func() {
		for os.Getppid() == c.parent {
			time.Sleep(200 * time.Millisecond)
		}
		_ = syscall.Kill(0, syscall.SIGKILL)
	}()
	if err := cmd.Wait(); cmd.ProcessState == nil {
		c.fail("wait", err)
	}
	if status := cmd.ProcessState.Sys().(syscall.WaitStatus); status.Signaled() {
		signal.Reset()
		_ = syscall.Kill(os.Getpid(), status.Signal()) // so that the parent sees what the child died of
		select {}
	}
	os.Exit(cmd.ProcessState.ExitCode())
}
