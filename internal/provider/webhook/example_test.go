package webhook_test

import (
	"bufio"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"terminals.dev/session-controller/internal/provider"
	"terminals.dev/session-controller/internal/provider/providertest"
	"terminals.dev/session-controller/internal/provider/webhook"
)

// The handler of docs/examples, built and run as its comment says, keeps every promise that it has to.
func TestTheExampleHandlerIsAGoodOne(t *testing.T) {
	authority := newAuthority(t)
	url := startExample(t, authority)
	client := func(t testing.TB) provider.Provider {
		t.Helper()
		p, err := webhook.New(webhook.Config{URL: url, CABundle: authority.bundle, BearerToken: bearer})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.Close)
		return p
	}
	providertest.Run(t, providertest.Harness{
		New:     client,
		Request: func(testing.TB) provider.Request { return request() },
		Secrets: []string{bearer},
	})
	t.Run("it asks who is there", func(t *testing.T) {
		p, err := webhook.New(webhook.Config{URL: url, CABundle: authority.bundle, BearerToken: "somebody-else"})
		if err != nil {
			t.Fatal(err)
		}
		_, err = p.Login(t.Context(), request())
		wantKind(t, err, provider.Misconfigured, "refuses the controller's credentials")
	})
}

// startExample returns the URL of a process that ends with the test.
func startExample(t *testing.T, authority *authority) string {
	t.Helper()
	dir := t.TempDir()
	program := filepath.Join(dir, "webhook-handler")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, "../../../docs/examples/webhook-handler")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the example: %v\n%s", err, out)
	}
	certificate, key := authority.sign(t, host, time.Now().Add(time.Hour))
	for name, data := range map[string][]byte{"tls.crt": certificate, "tls.key": key} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run := exec.CommandContext(t.Context(), program, "-listen", net.JoinHostPort(host, "0"))
	run.Dir, run.Env = dir, append(os.Environ(), "TOKEN="+bearer)
	output, err := run.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(output)
	if !lines.Scan() {
		t.Fatalf("the example has said nothing: %v", lines.Err())
	}
	_, address, found := strings.Cut(lines.Text(), "listening on ")
	if !found {
		t.Fatalf("the example says %q", lines.Text())
	}
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		for lines.Scan() {
			t.Log(lines.Text())
		}
		_ = run.Wait()
	}()
	t.Cleanup(func() { <-gone }) // the context of a test ends before its cleanups run
	return "https://" + address + "/sessions"
}
