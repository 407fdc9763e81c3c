package testenv

import (
	"context"
	"errors"
	"path/filepath"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

// StartProduct starts a control plane with everything on it that the manager and its users need, and builds the manager. What it returns
// is an administrator's client, and where the manager's binary is.
func StartProduct(ctx context.Context) (*Env, client.WithWatch, string, error) {
	env, err := Start(ctx, Options{})
	if err != nil {
		return nil, nil, "", err
	}
	api, binary, err := env.equip(ctx)
	if err != nil {
		return nil, nil, "", errors.Join(err, env.Stop()) //nolint:contextcheck // it has to stop when the context is done, too
	}
	return env, api, binary, nil
}

func (e *Env) equip(ctx context.Context) (api client.WithWatch, binary string, err error) {
	if api, err = e.Client(); err != nil {
		return nil, "", err
	}
	if err = e.GrantManager(ctx); err != nil {
		return nil, "", err
	}
	if err = e.InstallAdmission(ctx); err != nil {
		return nil, "", err
	}
	binary, err = BuildManager(ctx, filepath.Join(e.Dir, "bin"))
	return api, binary, err
}
