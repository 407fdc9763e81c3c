// Command controlplane makes sure that the binaries of a Kubernetes control plane exist and prints the folder that holds
// them. What is missing it builds from source, through the Go module proxy, once for each user and version:
//
//	go -C test/controlplane run . etcd kube-apiserver
//
// Without arguments it takes all of etcd, kube-apiserver, kube-controller-manager and kubectl. Where KUBEBUILDER_ASSETS is
// set, the binaries in that folder come first. Standard output is the folder alone; progress goes to standard error.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	dir, err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "controlplane:", err)
		os.Exit(1)
	}
	fmt.Println(dir)
}

func run(names []string) (string, error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go watchParent(ctx, cancel)

	rel, err := readRelease(".")
	if err != nil {
		return "", err
	}
	wanted, err := choose(names)
	if err != nil {
		return "", err
	}
	dir, err := rel.cacheDir()
	if err != nil {
		return "", err
	}
	s := store{dir: dir, release: rel, build: goBuild, progress: progress}
	return s.provide(ctx, os.Getenv("KUBEBUILDER_ASSETS"), wanted)
}

func progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
}

var errOrphaned = errors.New("the process that asked for this has ended")

// watchParent ends the work when whoever asked for it is gone. `go run` does not pass on the signals that it gets itself,
// and a build that nobody waits for would keep the machine busy for minutes.
func watchParent(ctx context.Context, cancel context.CancelCauseFunc) {
	parent := os.Getppid()
	for ctx.Err() == nil {
		if os.Getppid() != parent {
			cancel(errOrphaned)
		}
		time.Sleep(500 * time.Millisecond)
	}
}
