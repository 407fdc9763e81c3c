// Package processes has real processes die, hang and end while a fleet is being worked on: the manager, the kube-apiserver and etcd. What
// came of it is asked of the API server, and of the OpenID provider's own book of issued and revoked tokens.
package processes

import (
	"context"
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/go-logr/logr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"terminals.dev/session-controller/test/testenv"
)

var (
	whole = flag.Bool("whole", false, "do every fault, which takes minutes; default: only those that each change must survive")
	seed  = flag.Uint64("seed", 0, "of the load, as it was printed; 0: another one each time")
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
	ctrl.SetLogger(logr.Discard())
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

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// until waits for a condition that nobody tells of.
func until(t *testing.T, within time.Duration, what string, is func() bool) {
	t.Helper()
	for late := time.Now().Add(within); !is(); <-time.After(50 * time.Millisecond) {
		if time.Now().After(late) {
			t.Fatalf("not within %s: %s", within, what)
		}
	}
}
