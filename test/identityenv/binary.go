// Package identityenv runs real identity servers for tests: an OpenID provider made of github.com/zitadel/oidc's op package, and Ory
// Hydra. Their binaries are built from source the first time (see test/identity). A test binary that uses it begins with testenv.Main.
package identityenv

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"terminals.dev/session-controller/test/testenv"
)

// binary returns the path of a program, and builds it where it is not there yet.
func binary(ctx context.Context, name string) (string, error) {
	root, err := testenv.ModuleRoot()
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, "go", "-C", filepath.Join(root, "test", "identity"), "run", ".", name)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	cmd.Env = append(os.Environ(), "GOWORK=off")
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("providing %s: %w", name, err)
	}
	return strings.TrimSpace(out.String()), nil
}
