package testenv

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "terminals.dev/session-controller/api/v1"
)

// InstallAdmission installs the policies of config/admission, and waits until they fill in who asks: the API server takes policies up by
// and by, and until it has taken up the one that fills a name in, the other may refuse objects that have none.
func (e *Env) InstallAdmission(ctx context.Context) error {
	root, err := ModuleRoot()
	if err != nil {
		return err
	}
	if _, err := e.Kubectl(ctx, "apply", "--server-side", "-k", filepath.Join(root, "config", "admission")); err != nil {
		return err
	}
	api, err := e.Client()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		ban := &v1.SessionBan{ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, Name: "unnamed"}}
		ban.Spec = v1.SessionBanSpec{Match: v1.BanMatch{TerminalID: "none"}, Code: "Tried"}
		err := api.Create(ctx, ban, client.DryRunAll)
		if err == nil && ban.Spec.RequestedBy != "" {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting until the policies of config/admission are in force: %w", errors.Join(ctx.Err(), err))
		case <-time.After(20 * time.Millisecond):
		}
	}
}
