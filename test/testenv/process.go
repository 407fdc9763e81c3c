package testenv

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// ProcessOptions says what to start.
type ProcessOptions struct {
	// Path is the program, or a name to be found on the PATH.
	Path string
	Args []string
	// Env is added to this process's environment.
	Env []string
	// Log is the file for everything that the process prints; it is appended to. Default: a new file in the scratch folder.
	Log string
	// Ready is asked until it returns nil. Default: a process that has been started is ready.
	Ready func(ctx context.Context) error
}

// Process is a program that runs beside the test, and ends with it.
type Process struct {
	// Started is when the process began.
	Started time.Time

	name string
	log  string
	cmd  *exec.Cmd
	done chan struct{}
	err  error // of the wait, once done is closed
}

// StartProcess starts a program and waits until it is ready, for a minute at most. The context is for the waiting alone: the
// process goes on when it is done.
func StartProcess(ctx context.Context, o ProcessOptions) (*Process, error) {
	p := &Process{name: filepath.Base(o.Path), done: make(chan struct{})}
	if err := p.start(o); err != nil {
		return nil, fmt.Errorf("starting %s: %w", p.name, err)
	}
	if o.Ready == nil {
		return p, nil
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := p.await(ctx, o.Ready); err != nil {
		p.Kill()
		return nil, fmt.Errorf("waiting for %s to be ready: %w; its last words:\n%s", p.name, err, p.Tail(20))
	}
	return p, nil
}

func (p *Process) start(o ProcessOptions) error {
	path, err := guarded(o.Path)
	if err != nil {
		return err
	}
	log, err := openLog(o.Log, p.name)
	if err != nil {
		return err
	}
	defer log.Close()
	p.log = log.Name()
	p.cmd = exec.Command(path, o.Args...)
	p.cmd.Env = append(os.Environ(), o.Env...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a Ctrl-C is for this process, which ends the others in order
	p.Started = time.Now()
	return onOwnThread(p.cmd.Start, func() {
		p.err = p.cmd.Wait()
		close(p.done)
	})
}

func openLog(path, name string) (*os.File, error) {
	if path == "" {
		return os.CreateTemp(scratch, name+"-*.log")
	}
	return os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
}

func (p *Process) await(ctx context.Context, ready func(context.Context) error) error {
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-time.After(50 * time.Millisecond): // a process says to nobody that it has come up
		case <-p.done:
			return fmt.Errorf("it ended: %s", p.Exit())
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		}
	}
}

// PID is the process ID.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Exit says how the process ended, once it has: "exit status 1", "signal: killed".
func (p *Process) Exit() string { return p.cmd.ProcessState.String() }

// Wait waits for the end of the process. Its error is the context's or, after an exit code other than zero, an *exec.ExitError.
func (p *Process) Wait(ctx context.Context) error {
	select {
	case <-p.done:
		return p.err
	case <-ctx.Done():
		return fmt.Errorf("waiting for %s to end: %w", p.name, ctx.Err())
	}
}

// Signal sends a signal; to a process that has ended it is os.ErrProcessDone.
func (p *Process) Signal(s syscall.Signal) error {
	select {
	case <-p.done:
		return os.ErrProcessDone
	default:
		return syscall.Kill(-p.PID(), s)
	}
}

// Kill ends the process at once, and returns when it is gone.
func (p *Process) Kill() {
	_ = p.Signal(syscall.SIGKILL)
	<-p.done
}

// Stop asks the process to end, kills it when it has not done so in time, and returns when it is gone.
// The error says that it had to be killed, or what its exit code was if that was not zero.
// A program that does not handle the signal ends by it, which is no error.
func (p *Process) Stop(grace time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	_ = p.Signal(syscall.SIGTERM)
	err := p.Wait(ctx)
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGTERM {
		return nil
	}
	if err != nil {
		p.Kill()
	}
	return err
}

// Output is what the process has printed so far.
func (p *Process) Output() string {
	content, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(content)
}

// Tail is the last lines of what the process has printed.
func (p *Process) Tail(lines int) string { return tail(p.log, lines) }

func tail(log string, lines int) string {
	content, err := os.ReadFile(log)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(string(content), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// HTTPReady is a ProcessOptions.Ready that wants a 200 from a URL. It trusts any certificate.
func HTTPReady(url string) func(context.Context) error {
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, // it is only asked whether it is up
		DisableKeepAlives: true,
	}}
	return func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		response, err := client.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("%s says %s", url, response.Status)
		}
		return nil
	}
}

// run runs a program to its end, under guard, and returns what it printed to standard output.
// The error has what it printed to standard error, unless that was passed through.
func run(ctx context.Context, stderr *os.File, env []string, name string, args ...string) (string, error) {
	path, err := guarded(name)
	if err != nil {
		return "", err
	}
	var stdout, complaint bytes.Buffer
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = &stdout, &complaint
	if stderr != nil {
		cmd.Stderr = stderr
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) }
	cmd.WaitDelay = 15 * time.Second

	done := make(chan error, 1)
	if err := onOwnThread(cmd.Start, func() { done <- cmd.Wait() }); err != nil {
		return "", err
	}
	if err := <-done; err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return stdout.String(), fmt.Errorf("%s %s: %w\n%s", filepath.Base(name), strings.Join(args, " "), err, complaint.String())
	}
	return stdout.String(), nil
}
