package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// profiled keeps profiles of the manager, where they are wanted, from now until what it returns is called. The CPU's come in pieces of a
// few seconds, which go tool pprof takes together; the last one may reach a little beyond.
func (b *bench) profiled(ctx context.Context, what string) (done func() error) {
	if !b.profiles {
		return func() error { return nil }
	}
	ended, failed := make(chan struct{}), make(chan error, 1)
	keep := func(kind, path string) error {
		page, err := b.profile(ctx, path)
		if err != nil {
			return err
		}
		folder := filepath.Join(filepath.Dir(b.out), "profiles")
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(folder, strings.ReplaceAll(what, " ", "-")+"-"+kind+".pprof"), page, 0o644)
	}
	go func() {
		for piece := 1; ; piece++ {
			if err := keep(fmt.Sprintf("cpu-%d", piece), "profile?seconds=3"); err != nil {
				failed <- err
				return
			}
			select {
			case <-ended:
				failed <- nil
				return
			default:
			}
		}
	}()
	return func() error {
		close(ended)
		if err := <-failed; err != nil {
			return err
		}
		if err := keep("heap", "heap"); err != nil {
			return err
		}
		return keep("mutex", "mutex")
	}
}
