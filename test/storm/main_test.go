// Package storm has a whole fleet want something of an OpenID provider at once, and kills that in the middle. The manager is a process of
// its own; what came of it is asked of the API server, and of the book and the log of the OpenID provider.
package storm

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"terminals.dev/session-controller/test/identityenv"
	"terminals.dev/session-controller/test/testenv"
)

func TestMain(m *testing.M) { testenv.Main(func() int { return suite(m) }) }

var (
	env    *testenv.Env
	api    client.WithWatch
	binary string
)

func suite(m *testing.M) int {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Minute) // the first time, binaries are built
	defer cancel()
	ctrl.SetLogger(logr.Discard()) // what the informers have to say
	var err error
	if env, api, binary, err = testenv.StartProduct(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	if err := env.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, "stopping:", err)
		return 1
	}
	return code
}

func startManager(t *testing.T) *testenv.Manager {
	t.Helper()
	m, err := env.StartManager(t.Context(), testenv.ManagerOptions{
		Binary: binary, Dir: filepath.Join(env.Dir, "manager"), Args: []string{"--allow-loopback-providers", "--endpoint-auth=None"},
	})
	must(t, err)
	t.Cleanup(func() {
		m.Kill()
		if strings.Contains(m.Output(), "orbidden") {
			t.Error("config/rbac does not grant all that the manager does")
		}
		if t.Failed() {
			t.Log(m.Tail(40))
		}
	})
	return m
}

// server is an OpenID provider that comes back with its memory, at its address, each time that it is started.
type server struct {
	*identityenv.OIDC
	options identityenv.OIDCOptions
}

func startServer(t *testing.T) *server {
	t.Helper()
	// Not one of those that the system takes for connections: somebody else's would have it while the server is away.
	ports, err := testenv.FreePorts(20000 + os.Getpid()%10000)
	must(t, err)
	s := &server{options: identityenv.OIDCOptions{
		Dir: t.TempDir(), StateDir: t.TempDir(), Address: fmt.Sprintf("127.0.0.1:%d", ports[0]), TokenLifetime: 30 * 24 * time.Hour,
	}}
	s.start(t)
	t.Cleanup(func() { s.Kill() })
	return s
}

func (s *server) start(t *testing.T) {
	t.Helper()
	var err error
	s.OIDC, err = identityenv.StartOIDC(t.Context(), s.options)
	must(t, err)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
