// Package fault_test does to the manager whatever can go wrong around it, at every step that it makes: it is killed, shown the past, told
// too little and too much, doubled, and refused. After each run everything is checked from outside.
package fault_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/go-logr/logr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"terminals.dev/session-controller/test/testenv"
)

var (
	whole = flag.Bool("whole", false, "Make every run there is. Default: a fixed sample.")
	seed  = flag.Uint64("seed", 1, "What is drawn by lot is drawn from this.")
)

// atOnce is how many runs go on at a time: most of what one takes is waiting.
const atOnce = "16"

// plane is what all runs share.
var plane struct {
	env *testenv.Env
	// admin is the hand of people, and the eye of the harness.
	admin    client.WithWatch
	identity *identity
}

func TestMain(m *testing.M) {
	testenv.Main(func() int {
		flag.Parse()
		code := 1
		if err := withPlane(func() { code = m.Run() }); err != nil {
			_, _ = fmt.Fprintln(os.Stderr, err)
			return 1
		}
		fmt.Print(tally.String())
		if code == 0 && tally.thin() {
			_, _ = fmt.Fprintln(os.Stderr, "too many of the steps at which something was to be done did not come")
			return 1
		}
		return code
	})
}

func withPlane(run func()) (err error) {
	if err := flag.Set("test.parallel", atOnce); err != nil {
		return err
	}
	ctrl.SetLogger(logr.Discard())
	if plane.env, err = testenv.Start(context.Background(), testenv.Options{}); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, plane.env.Stop()) }()
	if plane.admin, err = plane.env.Client(); err != nil {
		return fmt.Errorf("making a client: %w", err)
	}
	plane.identity = newIdentity()
	defer plane.identity.CloseClientConnections()
	run()
	return nil
}
