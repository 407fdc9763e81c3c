package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

var (
	etcd      = binaries[0]
	apiServer = binaries[1]
	manager   = binaries[2]
)

// recorder stands for `go build` and for standard error.
type recorder struct {
	mu    sync.Mutex
	built []string
	said  []string
}

func (r *recorder) build(_ context.Context, _ release, b binary, output string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.built = append(r.built, b.name)
	return os.WriteFile(output, []byte("built"), 0o755)
}

func (r *recorder) progress(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.said = append(r.said, fmt.Sprintf(format, args...))
}

func newStore(t *testing.T) (store, *recorder) {
	t.Helper()
	r := &recorder{}
	versions := map[string]string{etcdModule: "v3.0.0", kubernetesModule: "v1.0.0"}
	return store{
		dir:      filepath.Join(t.TempDir(), "cache"),
		release:  release{versions: versions},
		build:    r.build,
		progress: r.progress,
	}, r
}

func mustProvide(t *testing.T, s store, given string, wanted ...binary) string {
	t.Helper()
	dir, err := s.provide(t.Context(), given, wanted)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range wanted {
		if !executable(filepath.Join(dir, b.name)) {
			t.Errorf("%s is not in %s", b.name, dir)
		}
	}
	return dir
}

func TestBuildsOnlyWhatIsAskedForAndMissing(t *testing.T) {
	s, r := newStore(t)
	mustProvide(t, s, "", etcd)
	said := strings.Join(r.said, "\n")
	if !strings.HasPrefix(said, "building etcd v3.0.0") || !strings.Contains(said, "\nbuilt etcd v3.0.0") {
		t.Errorf("progress was %q", r.said)
	}
	r.said = nil
	if dir := mustProvide(t, s, "", etcd); dir != s.dir {
		t.Errorf("folder is %s, want %s", dir, s.dir)
	}
	if len(r.built) != 1 || len(r.said) != 0 {
		t.Errorf("built %v, said %q; want one build and nothing said the second time", r.built, r.said)
	}
}

func TestTwoAtOnceBuildOnce(t *testing.T) {
	s, r := newStore(t)
	waiting := make(chan struct{})
	var builds atomic.Int32
	s.build = func(ctx context.Context, rel release, b binary, output string) error {
		builds.Add(1)
		<-waiting // the lock is held until the other one is seen to wait for it
		return r.build(ctx, rel, b, output)
	}
	second := s
	second.progress = func(format string, _ ...any) {
		if strings.HasPrefix(format, "waiting for another process") {
			close(waiting)
		}
	}
	unlocked := make(chan struct{})
	s.progress = func(string, ...any) {
		select {
		case <-unlocked:
		default:
			close(unlocked) // the first thing said is that the build starts, with the lock held
		}
	}

	var group sync.WaitGroup
	group.Go(func() { mustProvide(t, s, "", etcd) })
	<-unlocked
	group.Go(func() { mustProvide(t, second, "", etcd) })
	group.Wait()
	if got := builds.Load(); got != 1 {
		t.Errorf("%d builds, want 1", got)
	}
}

func TestWaitingCanBeInterrupted(t *testing.T) {
	s, _ := newStore(t)
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	unlock, err := s.lock(t.Context(), etcd)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.provide(ctx, "", []binary{etcd}); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v, want that the context was cancelled", err)
	}
}

func TestFailedBuildLeavesNothing(t *testing.T) {
	s, r := newStore(t)
	s.build = func(_ context.Context, _ release, _ binary, output string) error {
		_ = os.WriteFile(output, []byte("half"), 0o755)
		return errors.New("no space left on device")
	}
	_, err := s.provide(t.Context(), "", []binary{etcd})
	if err == nil || !strings.Contains(err.Error(), "building etcd v3.0.0") || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("error is %v, want what was tried and why it failed", err)
	}
	left, _ := filepath.Glob(filepath.Join(s.dir, "*"))
	if len(left) != 1 || filepath.Base(left[0]) != "etcd.lock" {
		t.Errorf("left behind: %v", left)
	}

	// A build that was killed could not clean up; the next one does.
	if err := os.MkdirAll(filepath.Join(s.dir, "etcd.building", "work"), 0o755); err != nil {
		t.Fatal(err)
	}
	s.build = r.build
	mustProvide(t, s, "", etcd)
}

func TestGivenAssets(t *testing.T) {
	given := t.TempDir()
	for _, b := range []binary{etcd, apiServer} {
		if err := os.WriteFile(filepath.Join(given, b.name), []byte("given"), 0o755); err != nil {
			t.Fatal(err)
		}
	}

	t.Run("complete", func(t *testing.T) {
		s, r := newStore(t)
		if dir := mustProvide(t, s, given, etcd, apiServer); dir != given || len(r.built) != 0 {
			t.Errorf("folder is %s, built %v; want the given folder and no build", dir, r.built)
		}
	})
	t.Run("joined with what it lacks", func(t *testing.T) {
		s, r := newStore(t)
		for range 2 {
			dir := mustProvide(t, s, given, etcd, apiServer, manager)
			for name, want := range map[string]string{"etcd": "given", "kube-apiserver": "given", "kube-controller-manager": "built"} {
				if got, _ := os.ReadFile(filepath.Join(dir, name)); string(got) != want {
					t.Errorf("%s is the %q one, want the %q one", name, got, want)
				}
			}
		}
		if len(r.built) != 1 {
			t.Errorf("built %v, want kube-controller-manager alone, once", r.built)
		}
	})
	t.Run("not a folder", func(t *testing.T) {
		for _, path := range []string{"bin", filepath.Join(given, "etcd"), filepath.Join(given, "absent")} {
			s, r := newStore(t)
			if _, err := s.provide(t.Context(), path, []binary{etcd}); err == nil || len(r.built) != 0 {
				t.Errorf("%s: error %v, built %v; want an error and no build", path, err, r.built)
			}
		}
	})
}
