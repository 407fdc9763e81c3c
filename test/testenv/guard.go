package testenv

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
)

// A child is started through a link to this very program, which, being called by that name, sees to it that it dies with
// its parent and only then becomes the real binary. So even those children are guarded that other packages start.
// Beside the link lie two more that say what to become, and for whom; the child leaves there what it was called with.
const (
	realLink   = ".real"   // the binary
	parentLink = ".parent" // the process ID of the parent
	argsFile   = ".args"   // the arguments of the child that was started last, in JSON
)

var guards = struct {
	sync.Mutex
	links map[string]string // by the binary's path
}{links: map[string]string{}}

// guarded returns the path by which to start the binary so that it ends with this process. It is to be used in onOwnThread.
func guarded(binary string) (string, error) {
	if scratch == "" {
		return "", errors.New("testenv.Main has not been called: it must be the first thing that TestMain or main does")
	}
	path, err := exec.LookPath(binary)
	if err != nil {
		return "", fmt.Errorf("looking for a program to start: %w", err)
	}
	if path, err = filepath.Abs(path); err != nil {
		return "", fmt.Errorf("looking for a program to start: %w", err)
	}

	guards.Lock()
	defer guards.Unlock()
	if link, ok := guards.links[path]; ok {
		return link, nil
	}
	link, err := linkGuard(path)
	if err != nil {
		return "", fmt.Errorf("guarding %s: %w", path, err)
	}
	guards.links[path] = link
	return link, nil
}

func linkGuard(binary string) (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp(scratch, "guard-")
	if err != nil {
		return "", err
	}
	link := filepath.Join(dir, filepath.Base(binary))
	return link, errors.Join(
		os.Symlink(binary, filepath.Join(dir, realLink)),
		os.Symlink(strconv.Itoa(os.Getpid()), filepath.Join(dir, parentLink)),
		os.Symlink(self, link),
	)
}

// onOwnThread calls start, and if that succeeds rest, on a thread that nothing else uses, and returns after start.
// To the kernel a child's parent is the thread that forked it: children started in start are safe until rest is over.
func onOwnThread(start func() error, rest func()) error {
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := start()
		started <- err
		if err == nil {
			rest()
		}
	}()
	return <-started
}

// child is what this process is to become.
type child struct {
	binary string
	parent int
}

// guardedChild says whether this process was started by a path from guarded.
func guardedChild() (child, bool) {
	dir := filepath.Dir(os.Args[0])
	binary, err := os.Readlink(filepath.Join(dir, realLink))
	if err != nil {
		return child{}, false
	}
	parent, err := os.Readlink(filepath.Join(dir, parentLink))
	if err != nil {
		return child{}, false
	}
	pid, err := strconv.Atoi(parent)
	return child{binary: binary, parent: pid}, err == nil
}

// note leaves word of the arguments, for those that another package has made up.
func (c child) note() {
	args, err := json.Marshal(os.Args[1:])
	if err == nil {
		err = os.WriteFile(filepath.Join(filepath.Dir(os.Args[0]), argsFile), args, 0o600)
	}
	if err != nil {
		c.fail("noting its arguments", err)
	}
}

// calledWith returns what the child that was last started by a path from guarded was called with.
func calledWith(link string) ([]string, error) {
	content, err := os.ReadFile(filepath.Join(filepath.Dir(link), argsFile))
	if err != nil {
		return nil, fmt.Errorf("reading what %s was called with: %w", filepath.Base(link), err)
	}
	var args []string
	if err := json.Unmarshal(content, &args); err != nil {
		return nil, fmt.Errorf("reading what %s was called with: %w", filepath.Base(link), err)
	}
	return args, nil
}

// fail ends a child that could not become what it should.
func (c child) fail(doing string, err error) {
	fmt.Fprintf(os.Stderr, "starting %s: %s: %v\n", c.binary, doing, err)
	os.Exit(127)
}
