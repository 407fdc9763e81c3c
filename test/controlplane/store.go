package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// store is the folder in which one release's binaries are kept.
type store struct {
	dir      string
	release  release
	build    func(ctx context.Context, r release, b binary, output string) error
	progress func(format string, args ...any)
}

// provide returns a folder that holds all wanted binaries. Those in the given folder, if one is given, come first.
func (s store) provide(ctx context.Context, given string, wanted []binary) (string, error) {
	if given == "" {
		return s.dir, s.ensure(ctx, wanted)
	}
	// A relative path would be taken from this module's folder, and an absent one is a slip of the pen:
	// neither should end in minutes of building.
	if info, err := os.Stat(given); !filepath.IsAbs(given) || err != nil || !info.IsDir() {
		return "", fmt.Errorf("KUBEBUILDER_ASSETS is %q, which is not the absolute path of a folder", given)
	}
	var missing []binary
	for _, b := range wanted {
		if !executable(filepath.Join(given, b.name)) {
			missing = append(missing, b)
		}
	}
	if len(missing) == 0 {
		return given, nil
	}
	s.progress("KUBEBUILDER_ASSETS has no %s: taking that from source, and the rest from %s", list(missing), given)
	if err := s.ensure(ctx, missing); err != nil {
		return "", err
	}
	return s.join(given, wanted)
}

func (s store) ensure(ctx context.Context, wanted []binary) error {
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return fmt.Errorf("making the folder to keep the control plane in: %w", err)
	}
	for _, b := range wanted {
		if err := s.ensureOne(ctx, b); err != nil {
			return err
		}
	}
	return nil
}

func (s store) ensureOne(ctx context.Context, b binary) error {
	path := filepath.Join(s.dir, b.name)
	if executable(path) {
		return nil
	}
	unlock, err := s.lock(ctx, b)
	if err != nil {
		return err
	}
	defer unlock()
	if executable(path) {
		return nil // whoever had the lock has built it
	}
	if err := s.buildOne(ctx, b, path); err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("building %s: %w", b.name, context.Cause(ctx))
		}
		return fmt.Errorf("building %s %s from %s: %w", b.name, s.release.versions[b.module], b.pkg, err)
	}
	return nil
}

// buildOne is called with the lock held. The binary appears under its name only when it is whole.
func (s store) buildOne(ctx context.Context, b binary, path string) error {
	scratch := path + ".building"
	if err := os.RemoveAll(scratch); err != nil { // of a build that was killed
		return err
	}
	if err := os.Mkdir(scratch, 0o755); err != nil {
		return err
	}
	defer os.RemoveAll(scratch)

	version, start := s.release.versions[b.module], time.Now()
	s.progress("building %s %s from source (about %s the first time on 2 cores) ...", b.name, version, b.takes)
	stop := every(30*time.Second, func() {
		s.progress("still building %s, for %s now", b.name, time.Since(start).Round(time.Second))
	})
	defer stop()

	output := filepath.Join(scratch, b.name)
	if err := s.build(ctx, s.release, b, output); err != nil {
		return err
	}
	if err := os.Rename(output, path); err != nil {
		return err
	}
	s.progress("built %s %s in %.0fs", b.name, version, time.Since(start).Seconds())
	return nil
}

// join makes a folder of links to the given folder's binaries and, where it has none, to those of the store.
// Links are replaced in one step, because others may be using the folder.
func (s store) join(given string, wanted []binary) (string, error) {
	dir := filepath.Join(s.dir, fmt.Sprintf("joined-%x", sha256.Sum256([]byte(given)))[:len("joined-")+12])
	scratch := filepath.Join(dir, fmt.Sprintf("new-%d", os.Getpid()))
	if err := os.MkdirAll(scratch, 0o755); err != nil {
		return "", fmt.Errorf("making a folder that joins KUBEBUILDER_ASSETS and %s: %w", s.dir, err)
	}
	defer os.RemoveAll(scratch)
	for _, b := range wanted {
		target := filepath.Join(given, b.name)
		if !executable(target) {
			target = filepath.Join(s.dir, b.name)
		}
		link := filepath.Join(scratch, b.name)
		if err := os.Symlink(target, link); err != nil {
			return "", fmt.Errorf("linking to %s: %w", target, err)
		}
		if err := os.Rename(link, filepath.Join(dir, b.name)); err != nil {
			return "", fmt.Errorf("linking to %s: %w", target, err)
		}
	}
	return dir, nil
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

func list(bs []binary) string {
	var names []string
	for _, b := range bs {
		names = append(names, b.name)
	}
	return strings.Join(names, ", ")
}

// every calls f at each interval until the function that it returns is called.
func every(interval time.Duration, f func()) (stop func()) {
	ticker, done := time.NewTicker(interval), make(chan struct{})
	go func() {
		for {
			select {
			case <-ticker.C:
				f()
			case <-done:
				return
			}
		}
	}()
	return func() { ticker.Stop(); close(done) }
}
