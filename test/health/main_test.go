// Package health_test checks what pipelines make of the status of every kind: kstatus, by which Flux and others judge, and the health
// script for Argo CD. Each object is kept by a real API server and judged as it comes back from there. Statuses are what the controller
// makes of them wherever that can be had without it.
package health_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"terminals.dev/session-controller/test/testenv"
)

// shop is the namespace that all tests share.
const shop = "shop"

// The API server that all tests share.
var (
	env *testenv.Env
	api client.WithWatch
)

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
	if env, err = testenv.Start(ctx, testenv.Options{}); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, env.Stop()) }()
	if api, err = env.Client(); err != nil {
		return err
	}
	if err := api.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: shop}}); err != nil {
		return fmt.Errorf("making the tests' namespace: %w", err)
	}
	run()
	return nil
}
