package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/kubernetes"
)

// piece is how many seconds are in one CPU profile.
const piece = "3"

// profiled keeps profiles, where they are wanted, from now until what it returns is called: of the manager, if there is one, and of the API
// server, which has most of the work. The CPU's come in pieces of a few seconds, which go tool pprof takes together; the last one may reach
// a little beyond.
func (b *bench) profiled(ctx context.Context, what string) (done func() error) {
	if !b.profiles {
		return func() error { return nil }
	}
	keep := func(kind string, page []byte, err error) error {
		if err != nil {
			return err
		}
		folder := filepath.Join(filepath.Dir(b.out), "profiles")
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(folder, strings.ReplaceAll(what, " ", "-")+"-"+kind+".pprof"), page, 0o644)
	}
	ended := make(chan struct{})
	pieces, while := errgroup.WithContext(ctx)
	cpu := func(of string, profile func(context.Context) ([]byte, error)) {
		pieces.Go(func() error {
			for n := 1; ; n++ {
				page, err := profile(while)
				if err := keep(fmt.Sprintf("%scpu-%d", of, n), page, err); err != nil {
					return err
				}
				select {
				case <-ended:
					return nil
				default:
				}
			}
		})
	}
	cpu("server-", b.serverProfile)
	if b.manager != nil {
		cpu("", func(ctx context.Context) ([]byte, error) { return b.profile(ctx, "profile?seconds="+piece) })
	}
	return func() error {
		close(ended)
		if err := pieces.Wait(); err != nil || b.manager == nil {
			return err
		}
		for _, kind := range []string{"heap", "mutex"} {
			page, err := b.profile(ctx, kind)
			if err := keep(kind, page, err); err != nil {
				return err
			}
		}
		return nil
	}
}

// serverProfile takes a CPU profile of the API server.
func (p *plane) serverProfile(ctx context.Context) ([]byte, error) {
	client, err := kubernetes.NewForConfig(p.env.Config)
	if err != nil {
		return nil, fmt.Errorf("making a client for the API server's profile: %w", err)
	}
	page, err := client.Discovery().RESTClient().Get().AbsPath("/debug/pprof/profile").Param("seconds", piece).DoRaw(ctx)
	if err != nil {
		return nil, fmt.Errorf("taking the API server's profile: %w", err)
	}
	return page, nil
}
