package main

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// binary is one program of the control plane.
type binary struct {
	name   string
	pkg    string
	module string // whose version is the binary's
	takes  string // to build the first time, on 2 cores
}

var binaries = []binary{
	{"etcd", etcdModule, etcdModule, "1 minute"},
	{"kube-apiserver", kubernetesModule + "/cmd/kube-apiserver", kubernetesModule, "4 minutes"},
	{"kube-controller-manager", kubernetesModule + "/cmd/kube-controller-manager", kubernetesModule, "3 minutes"},
	{"kubectl", kubernetesModule + "/cmd/kubectl", kubernetesModule, "1 minute"},
}

const (
	etcdModule       = "go.etcd.io/etcd/server/v3"
	kubernetesModule = "k8s.io/kubernetes"
)

// choose finds the named binaries; no name means all.
func choose(names []string) ([]binary, error) {
	if len(names) == 0 {
		return binaries, nil
	}
	var chosen []binary
	for _, name := range names {
		i := slices.IndexFunc(binaries, func(b binary) bool { return b.name == name })
		if i < 0 {
			return nil, fmt.Errorf("no binary is called %q; there are %s", name, list(binaries))
		}
		chosen = append(chosen, binaries[i])
	}
	return chosen, nil
}

// release says what is built: this module's requirements and the flags.
type release struct {
	versions map[string]string // by module
	sum      string            // of everything that makes one build differ from another
}

// readRelease reads the module in dir. It needs no network.
func readRelease(dir string) (release, error) {
	edit := exec.Command("go", "mod", "edit", "-json")
	edit.Dir = dir
	out, err := edit.Output()
	if err != nil {
		return release{}, fmt.Errorf("reading go.mod with `go mod edit -json` (is Go installed, and is this run as "+
			"`go -C test/controlplane run .`?): %w", withStderr(err))
	}
	var mod struct {
		Require []struct{ Path, Version string }
	}
	if err := json.Unmarshal(out, &mod); err != nil {
		return release{}, fmt.Errorf("reading the output of `go mod edit -json`: %w", err)
	}
	r := release{versions: map[string]string{}}
	for _, m := range mod.Require {
		r.versions[m.Path] = m.Version
	}
	for _, m := range []string{etcdModule, kubernetesModule} {
		if r.versions[m] == "" {
			return release{}, fmt.Errorf("go.mod does not require %s", m)
		}
	}

	hash := sha256.New()
	for _, name := range []string{"go.mod", "go.sum"} {
		content, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return release{}, fmt.Errorf("reading what is to be built: %w", err)
		}
		hash.Write(content)
	}
	hash.Write(fmt.Append(nil, r.flags()))
	r.sum = fmt.Sprintf("%x", hash.Sum(nil))[:12]
	return r, nil
}

// withStderr adds what a command said to an error that only gives its exit code.
func withStderr(err error) error {
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && len(exit.Stderr) > 0 {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(string(exit.Stderr)))
	}
	return err
}

// flags are those of `go build`. Kubernetes has no version of its own unless it is set at link time, and clients ask for it.
func (r release) flags() []string {
	version := r.versions[kubernetesModule]
	major, rest, _ := strings.Cut(strings.TrimPrefix(version, "v"), ".")
	minor, _, _ := strings.Cut(rest, ".")
	const set = " -X k8s.io/component-base/version."
	return []string{"-trimpath", "-ldflags", "-s -w" +
		set + "gitVersion=" + version + set + "gitMajor=" + major + set + "gitMinor=" + minor + set + "gitTreeState=clean"}
}

// cacheDir is where this release is kept, outside of the checkout so that every clone shares it.
func (r release) cacheDir() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("finding the folder to keep the control plane in: %w", err)
	}
	key := fmt.Sprintf("kubernetes-%s_etcd-%s_%s-%s_%s",
		r.versions[kubernetesModule], r.versions[etcdModule], runtime.GOOS, runtime.GOARCH, r.sum)
	return filepath.Join(cache, "terminal-session-controller", "controlplane", key), nil
}
