package testenv

import (
	"context"
	"errors"
	"os"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "terminals.dev/session-controller/api/v1"
)

// Client is an administrator's typed client, without a cache.
func (e *Env) Client() (client.WithWatch, error) {
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		return nil, err
	}
	if err := v1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	return client.NewWithWatch(e.Config, client.Options{Scheme: scheme})
}

// Apply has kubectl apply manifests.
func (e *Env) Apply(ctx context.Context, manifests ...string) error {
	file, err := os.CreateTemp(e.Dir, "apply-*.yaml")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	_, err = file.WriteString(strings.Join(manifests, "\n---\n"))
	if err := errors.Join(err, file.Close()); err != nil {
		return err
	}
	_, err = e.Kubectl(ctx, "apply", "-f", file.Name())
	return err
}
