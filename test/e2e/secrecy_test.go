package e2e

import (
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// TestNoTokenLeavesItsSecret searches everything that the controller says for every token and key that there is.
func TestNoTokenLeavesItsSecret(t *testing.T) {
	ns := namespace(t)
	apply(t, manifest(ns, "till-1", ""), manifest(ns, "till-2", ""), manifest(ns, "stalled", "providerRef: {name: nobody}"))
	established(t, ns, "till-1")
	established(t, ns, "till-2")
	kubectl(t, "-n", ns, "annotate", "ts", "till-2", "terminals.dev/renew-requested=now")
	eventually(t, 10*time.Second, "it is renewed", func() bool { return get(t, ns, "till-2").Status.Token.Renewals == 1 })
	kubectl(t, "-n", ns, "delete", "secret", "till-1-token")
	eventually(t, 10*time.Second, "there is a new session", func() bool { return secret(t, ns, "till-1-token") != nil })

	said := map[string]string{
		"the manager's log": manager.Output(),
		"sessions":          kubectl(t, "get", "ts,sprov,csprov", "-A", "-o", "yaml", "--show-managed-fields"),
		"events":            kubectl(t, "get", "events", "-A", "-o", "yaml"),
		"metrics":           metricsPage(t),
		"Secrets' metadata": metadataOfSecrets(t),
	}
	for where, text := range said {
		if len(text) == 0 {
			t.Errorf("%s: nothing to search", where)
		}
		for _, part := range secrets(t) {
			if strings.Contains(text, part) {
				t.Errorf("%s: a part of a token or key, beginning with %.12s, stands there", where, part)
			}
		}
	}
}

// secrets are all tokens, each part of them, and each line of the keys.
func secrets(t *testing.T) []string {
	t.Helper()
	list := &corev1.SecretList{}
	if err := api.List(t.Context(), list); err != nil {
		t.Fatal(err)
	}
	var parts []string
	for _, s := range list.Items {
		if token := string(s.Data["token"]); s.Type == "terminals.dev/token" {
			parts = append(parts, strings.Split(token, ".")[1:]...)
		}
		for line := range strings.Lines(string(s.Data["key.pem"])) {
			if !strings.HasPrefix(line, "-----") {
				parts = append(parts, strings.TrimSpace(line))
			}
		}
	}
	if len(parts) < 6 {
		t.Fatalf("there are only %d parts of secrets to search for", len(parts))
	}
	return parts
}

func metadataOfSecrets(t *testing.T) string {
	t.Helper()
	list := &corev1.SecretList{}
	if err := api.List(t.Context(), list); err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, s := range list.Items {
		text.WriteString(s.ObjectMeta.String())
	}
	return text.String()
}

func metricsPage(t *testing.T) string {
	t.Helper()
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	page, err := getWith(t.Context(), client, manager.Metrics, metricsBearer(t))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(page, "terminalsession_sessions{") {
		t.Fatalf("the metrics have no sessions:\n%.500s", page)
	}
	return page
}

func metricsBearer(t *testing.T) string {
	t.Helper()
	apply(t, `
apiVersion: v1
kind: ServiceAccount
metadata: {namespace: default, name: prometheus}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: e2e-metrics}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: session-metrics-reader}
subjects: [{kind: ServiceAccount, namespace: default, name: prometheus}]`)
	return strings.TrimSpace(kubectl(t, "create", "token", "prometheus"))
}

func getWith(ctx context.Context, client *http.Client, url, bearer string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	request.Header.Set("Authorization", "Bearer "+bearer)
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return string(body), err
}
