package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestChoose(t *testing.T) {
	if all, err := choose(nil); err != nil || len(all) != len(binaries) {
		t.Errorf("no name: %v, %v; want all", all, err)
	}
	if got, err := choose([]string{"kubectl", "etcd"}); err != nil || list(got) != "kubectl, etcd" {
		t.Errorf("two names: %v, %v", got, err)
	}
	if _, err := choose([]string{"kubelet"}); err == nil || !strings.Contains(err.Error(), "kubelet") {
		t.Errorf("unknown name: %v", err)
	}
}

// What is built must be the tools of this module, so that go.mod alone says what they are.
func TestBinariesAreTheModulesTools(t *testing.T) {
	goMod, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range binaries {
		if !strings.Contains(string(goMod), "\n\t"+b.pkg+"\n") {
			t.Errorf("%s is not among the tools of go.mod", b.pkg)
		}
	}
}

func TestReleaseKey(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("go.mod", "module m\n\nrequire (\n\tk8s.io/kubernetes v1.2.3\n\tgo.etcd.io/etcd/server/v3 v3.4.5\n)\n")
	write("go.sum", "")
	first, err := readRelease(dir)
	if err != nil {
		t.Fatal(err)
	}
	flags := strings.Join(first.flags(), " ")
	for _, want := range []string{"gitVersion=v1.2.3 ", "gitMajor=1 ", "gitMinor=2 "} {
		if !strings.Contains(flags, want) {
			t.Errorf("flags are %s, want %s in them", flags, want)
		}
	}
	key, err := first.cacheDir()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(key, "kubernetes-v1.2.3_etcd-v3.4.5_") {
		t.Errorf("folder is %s", key)
	}

	write("go.sum", "changed")
	second, err := readRelease(dir)
	if err != nil {
		t.Fatal(err)
	}
	if first.sum == second.sum {
		t.Error("the key does not change with go.sum")
	}
}
