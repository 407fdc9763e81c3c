package testenv

import (
	"context"
	"errors"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

func start(t *testing.T, script string, ready func(context.Context) error) (*Process, error) {
	t.Helper()
	p, err := StartProcess(t.Context(), ProcessOptions{Path: "sh", Args: []string{"-c", script}, Ready: ready})
	if err == nil {
		t.Cleanup(p.Kill)
	}
	return p, err
}

func TestProcessEndsInOrder(t *testing.T) {
	p, err := start(t, `trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.01; done`, nil)
	if err != nil {
		t.Fatal(err)
	}
	within(t, 5*time.Second, "the process is up", func() bool { return p.Output() == "up\n" })
	if err := p.Stop(5 * time.Second); err != nil || p.Tail(1) != "bye" {
		t.Errorf("stopping it: %v; it said %q", err, p.Output())
	}
}

func TestProcessThatWillNotEndIsKilled(t *testing.T) {
	p, err := start(t, `trap '' TERM; echo up; while :; do sleep 0.01; done`, nil)
	if err != nil {
		t.Fatal(err)
	}
	within(t, 5*time.Second, "the process is up", func() bool { return p.Output() == "up\n" })
	if err := p.Stop(100 * time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("stopping it: %v, want that its time was over", err)
	}
	var exit *exec.ExitError
	if err := p.Wait(t.Context()); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Errorf("it ended with %v, want that it was killed", err)
	}
}

func TestProcessThatEndsBeforeItIsReady(t *testing.T) {
	_, err := start(t, `echo no licence; exit 3`, func(context.Context) error { return errors.New("not yet") })
	if err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "no licence") {
		t.Errorf("error is %v, want its exit code and last words", err)
	}
}

func TestProcessThatIsNotThere(t *testing.T) {
	if _, err := StartProcess(t.Context(), ProcessOptions{Path: "no-such-program"}); !errors.Is(err, exec.ErrNotFound) {
		t.Errorf("error is %v, want that it was not found", err)
	}
}
