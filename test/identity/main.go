// Command identity makes sure that an identity server for tests exists and prints the path of its binary. What is missing it builds
// from source, through the Go module proxy, once for each user and version:
//
//	go -C test/identity run . oidcserver
//	go -C test/identity run . hydra
//
// Standard output is the path alone; progress goes to standard error. Hydra's SQLite is C, so that one takes a C compiler.
package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// program is one that can be asked for.
type program struct {
	module string   // its folder here
	args   []string // of go build
	files  []string // what it is made of: another of these makes another binary
	env    []string
	takes  string // to build the first time, on 2 cores
}

var programs = map[string]program{
	"oidcserver": {
		module: ".", args: []string{"./oidcserver"}, files: []string{"go.mod", "go.sum", "oidcserver/*.go"}, env: []string{"CGO_ENABLED=0"},
		takes: "10 seconds",
	},
	"hydra": {
		module: "hydra", args: []string{"-tags", "sqlite", "github.com/ory/hydra/v2"}, files: []string{"hydra/go.mod", "hydra/go.sum"},
		env: []string{"CGO_ENABLED=1"}, takes: "2 to 5 minutes",
	},
}

func main() {
	path, err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "identity:", err)
		os.Exit(1)
	}
	fmt.Println(path)
}

func run(names []string) (string, error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if len(names) != 1 || programs[names[0]].module == "" {
		return "", errors.New("name one of oidcserver and hydra")
	}
	name := names[0]
	p := programs[name]
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("finding the folder to keep %s in: %w", name, err)
	}
	sum, err := p.sum()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "terminal-session-controller", fmt.Sprintf("identity-%s_%s-%s_%s", name, runtime.GOOS, runtime.GOARCH, sum))
	path := filepath.Join(dir, name)
	if executable(path) {
		return path, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	unlock, err := lock(ctx, filepath.Join(dir, "lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	if executable(path) {
		return path, nil // whoever had the lock has built it
	}
	return path, p.build(ctx, name, path)
}

// sum tells one build from another.
func (p program) sum() (string, error) {
	hash := sha256.New()
	fmt.Fprint(hash, p.args, p.env, runtime.Version())
	for _, pattern := range p.files {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			return "", fmt.Errorf("there is no %s here: is this run as `go -C test/identity run .`?", pattern)
		}
		for _, file := range files {
			content, err := os.ReadFile(file)
			if err != nil {
				return "", err
			}
			fmt.Fprintf(hash, "%s %d\n%s", file, len(content), content)
		}
	}
	return fmt.Sprintf("%x", hash.Sum(nil))[:12], nil
}

// build is called with the lock held. The binary appears under its name only when it is whole.
func (p program) build(ctx context.Context, name, path string) error {
	fmt.Fprintf(os.Stderr, "building %s from source (about %s the first time on 2 cores) ...\n", name, p.takes)
	start := time.Now()
	scratch := path + ".building"
	defer os.Remove(scratch)
	cmd := exec.CommandContext(ctx, "go", slices.Concat([]string{"build", "-trimpath", "-ldflags", "-s -w", "-o", scratch}, p.args)...)
	var said bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr = p.module, &said, &said
	// The user's proxy and caches are honoured; a workspace, a vendor folder or a cross build would lead astray.
	cmd.Env = slices.Concat(os.Environ(), p.env,
		[]string{"GOFLAGS=-mod=readonly", "GOWORK=off", "GOOS=" + runtime.GOOS, "GOARCH=" + runtime.GOARCH})
	if err := cmd.Run(); err != nil {
		lines := slices.DeleteFunc(strings.Split(said.String(), "\n"), func(line string) bool {
			return strings.HasPrefix(line, "go: downloading ")
		})
		return fmt.Errorf("building %s: %w\n%s", name, err, strings.Join(lines, "\n"))
	}
	fmt.Fprintf(os.Stderr, "built %s in %.0fs\n", name, time.Since(start).Seconds())
	return os.Rename(scratch, path)
}

// lock takes the right to build; the kernel gives it back when its holder ends, however it ends.
func lock(ctx context.Context, path string) (unlock func(), err error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	for {
		if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err == nil {
			return func() { file.Close() }, nil
		} else if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			file.Close()
			return nil, fmt.Errorf("taking the lock %s: %w", path, err)
		}
		select { // a blocking flock cannot be interrupted by the context
		case <-ctx.Done():
			file.Close()
			return nil, context.Cause(ctx)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}
