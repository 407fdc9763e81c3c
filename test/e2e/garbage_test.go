package e2e

import (
	"strings"
	"testing"
	"time"
)

func TestANamespaceWithSessionsIsDeletedAndNothingHangs(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	var sessions []string
	for _, name := range []string{"till-1", "till-2", "till-3"} {
		sessions = append(sessions, manifest(ns, name, "providerRef: {kind: SessionProvider, name: own}"))
	}
	apply(t, append(sessions, `
apiVersion: terminals.dev/v1
kind: SessionProvider
metadata: {namespace: `+ns+`, name: own}
spec: {embedded: {}}`)...)
	kubectl(t, "-n", ns, "wait", "--for=condition=Established", "ts", "--all", "--timeout=30s")
	kubectl(t, "delete", "namespace", ns, "--timeout=60s")
	if out := kubectl(t, "get", "namespace", ns, "--ignore-not-found"); out != "" {
		t.Errorf("the namespace is still there:\n%s", out)
	}
}

func TestGarbageCollectionTakesTheKeysOfADeletedProvider(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	provider := `
apiVersion: terminals.dev/v1
kind: SessionProvider
metadata: {namespace: ` + ns + `, name: own}
spec: {embedded: {}}`
	apply(t, provider)
	kubectl(t, "-n", ns, "wait", "--for=condition=Ready", "sessionprovider/own", "--timeout=30s")
	keys := func() string {
		return kubectl(t, "-n", ns, "get", "secrets", "-l", "terminals.dev/provider=own", "-o", "name")
	}
	before := keys()
	if strings.Count(before, "\n") != 1 {
		t.Fatalf("the provider has keys %q, want one", before)
	}
	kubectl(t, "-n", ns, "delete", "sessionprovider", "own")
	eventually(t, 30*time.Second, "the key is gone", func() bool { return keys() == "" })
	apply(t, provider)
	kubectl(t, "-n", ns, "wait", "--for=condition=Ready", "sessionprovider/own", "--timeout=30s")
	if after := keys(); after == before || strings.Count(after, "\n") != 1 {
		t.Errorf("the provider made anew has keys %q, the old one had %q", after, before)
	}
}
