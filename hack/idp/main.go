// Command idp is `make idp`: an OpenID provider on this machine to try oauth2 providers with, beside `make run`. It has users that everybody
// knows and forgets everything when it ends.
package main

import (
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"terminals.dev/session-controller/test/identityenv"
	"terminals.dev/session-controller/test/testenv"
)

// folder is where the CA's certificate and the manifest are.
const folder = ".run/idp"

func main() { testenv.Main(run) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := serve(ctx); err != nil && ctx.Err() == nil {
		fmt.Fprintln(os.Stderr, "make idp:", err)
		return 1
	}
	return 0
}

func serve(ctx context.Context) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	fmt.Println("==> making sure of the server, which is built from source the first time")
	server, err := identityenv.StartOIDC(ctx, identityenv.OIDCOptions{Dir: folder})
	if err != nil {
		return err
	}
	defer server.Kill()
	manifest := filepath.Join(folder, "provider.yaml")
	if err := os.WriteFile(manifest, []byte(manifestOf(server)), 0o600); err != nil {
		return err
	}
	fmt.Printf(`An OpenID provider is at %s, up until Ctrl-C. In another terminal:
  kubectl apply -f %s     # the SessionProvider idp of namespace shop
A person who confirms the login with a code:
  curl --cacert %s -X POST '%s/test/approve?user=anna&user_code=CODE'
`, server.Issuer, manifest, filepath.Join(folder, "ca.pem"), server.Issuer)
	<-ctx.Done()
	return nil
}

func manifestOf(server *identityenv.OIDC) string {
	return fmt.Sprintf(`apiVersion: v1
kind: Secret
metadata: {name: idp, namespace: shop}
stringData: {secret: %q}
---
apiVersion: terminals.dev/v1
kind: SessionProvider
metadata: {name: idp, namespace: shop}
spec:
  oauth2:
    issuerURL: %s
    clientID: %s
    clientAuthentication: {method: ClientSecretBasic, secretRef: {name: idp, key: secret}}
    grant: DeviceCode
    scopes: [openid, email, offline_access]
    caBundle: %s
`, identityenv.ClientSecret, server.Issuer, identityenv.ClientBasic, base64.StdEncoding.EncodeToString(server.CA))
}
