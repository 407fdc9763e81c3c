// Package integration_test runs the reconcilers against a real API server. Time is a clock that the tests set, and Reconcile is called by
// hand: nothing happens that a test has not asked for, so no test waits to see whether something will.
package integration_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/cluster"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/controllers"
	"terminals.dev/session-controller/test/testenv"
)

// systemNamespace is the controller's own.
const systemNamespace = "session-controller-system"

// plane is the control plane that all tests share. Each has a namespace of its own in it.
var plane struct {
	env *testenv.Env
	// live asks the API server. It is the tests' own hand, and what the controllers call the API reader.
	live client.WithWatch
	// cached reads from a cache made as the manager makes it.
	cached client.WithWatch
}

func TestMain(m *testing.M) {
	testenv.Main(func() int {
		code := 1
		if err := withPlane(func() { code = m.Run() }); err != nil {
			_, _ = fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return code
	})
}

func withPlane(run func()) (err error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ctrl.SetLogger(logr.Discard())
	if plane.env, err = testenv.Start(ctx, testenv.Options{}); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, plane.env.Stop()) }()
	defer cancel() // before Stop: the API server waits for watches

	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1.AddToScheme(scheme)); err != nil {
		return err
	}
	c, err := cluster.New(plane.env.Config, func(o *cluster.Options) {
		o.Scheme, o.Cache = scheme, controllers.CacheOptions()
	})
	if err != nil {
		return fmt.Errorf("setting up the cache: %w", err)
	}
	if err := controllers.Index(ctx, c.GetFieldIndexer(), true); err != nil {
		return err
	}
	if plane.live, err = client.NewWithWatch(plane.env.Config, client.Options{Scheme: scheme}); err != nil {
		return err
	}
	withCache := client.Options{Scheme: scheme, Cache: &client.CacheOptions{Reader: c.GetCache()}}
	if plane.cached, err = client.NewWithWatch(plane.env.Config, withCache); err != nil {
		return err
	}
	go func() { _ = c.Start(ctx) }()
	if !c.GetCache().WaitForCacheSync(ctx) {
		return errors.New("the cache does not fill")
	}
	if err := plane.live.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: systemNamespace}}); err != nil {
		return fmt.Errorf("making the controller's namespace: %w", err)
	}
	run()
	return nil
}
