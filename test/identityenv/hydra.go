package identityenv

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/cookiejar"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"terminals.dev/session-controller/test/testenv"
)

// Hydra is a running Ory Hydra with SQLite, behind a Front that speaks TLS for it and adds to its discovery document the introspection
// endpoint, which Hydra has at its administrative port and leaves out.
type Hydra struct {
	*testenv.Process
	*Front
	public, admin string
}

// StartHydra starts Hydra with its files in dir.
func StartHydra(ctx context.Context, dir string) (*Hydra, error) {
	path, err := binary(ctx, "hydra")
	if err != nil {
		return nil, err
	}
	ports, err := testenv.FreePorts(0, 0)
	if err != nil {
		return nil, err
	}
	h := &Hydra{Front: StartFront(), public: fmt.Sprintf("http://127.0.0.1:%d", ports[0]), admin: fmt.Sprintf("http://127.0.0.1:%d", ports[1])}
	env := []string{
		"DSN=sqlite://" + filepath.Join(dir, "hydra.sqlite") + "?_fk=true", "SECRETS_SYSTEM=only-for-tests-0123456789", "LOG_LEVEL=warn",
		"SERVE_PUBLIC_HOST=127.0.0.1", "SERVE_PUBLIC_PORT=" + strconv.Itoa(ports[0]),
		"SERVE_ADMIN_HOST=127.0.0.1", "SERVE_ADMIN_PORT=" + strconv.Itoa(ports[1]),
		"URLS_SELF_ISSUER=" + h.URL, "URLS_LOGIN=" + h.URL + "/login", "URLS_CONSENT=" + h.URL + "/consent",
		"STRATEGIES_ACCESS_TOKEN=opaque", "STRATEGIES_SCOPE=wildcard", "SQA_OPT_OUT=true", // it reports to its makers otherwise
	}
	migrate := exec.CommandContext(ctx, path, "migrate", "sql", "-e", "--yes")
	migrate.Env = append(os.Environ(), env...)
	if out, err := migrate.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("preparing Hydra's database: %w\n%s", err, out)
	}
	h.Process, err = testenv.StartProcess(ctx, testenv.ProcessOptions{
		Path: path, Args: []string{"serve", "all", "--dev"}, Env: env,
		Ready: func(ctx context.Context) error {
			_, err := h.ask(ctx, http.MethodGet, "/health/ready", nil)
			return err
		},
	})
	if err != nil {
		h.Close()
		return nil, err
	}
	return h, h.arrange()
}

// Stop ends Hydra and what is in front of it.
func (h *Hydra) Stop() {
	h.Close()
	h.Kill()
}

// arrange puts both ports behind the Front.
func (h *Hydra) arrange() error {
	public, err := url.Parse(h.public)
	if err != nil {
		return err
	}
	admin, err := url.Parse(h.admin)
	if err != nil {
		return err
	}
	h.Handle(&httputil.ReverseProxy{
		ErrorLog: log.New(io.Discard, "", 0),
		Rewrite: func(r *httputil.ProxyRequest) {
			if r.SetURL(public); strings.HasPrefix(r.In.URL.Path, "/admin/") {
				r.SetURL(admin)
			}
			r.Out.Host = r.In.Host
			r.SetXForwarded()
		},
		ModifyResponse: func(resp *http.Response) error {
			if resp.Request.URL.Path != "/.well-known/openid-configuration" {
				return nil
			}
			var document map[string]any
			if err := json.NewDecoder(resp.Body).Decode(&document); err != nil {
				return err
			}
			document["introspection_endpoint"] = h.URL + "/admin/oauth2/introspect"
			body, err := json.Marshal(document)
			resp.Body = io.NopCloser(bytes.NewReader(body))
			resp.Header.Del("Content-Length")
			resp.ContentLength = int64(len(body))
			return err
		},
	})
	return nil
}

// AddClient registers an OAuth client with the given properties.
func (h *Hydra) AddClient(ctx context.Context, properties map[string]any) error {
	_, err := h.ask(ctx, http.MethodPost, "/admin/clients", properties)
	return err
}

// TrustIssuer lets assertions that are signed with a key, a public JWK, be exchanged for tokens of a subject.
func (h *Hydra) TrustIssuer(ctx context.Context, properties map[string]any) error {
	_, err := h.ask(ctx, http.MethodPost, "/admin/trust/grants/jwt-bearer/issuers", properties)
	return err
}

// Introspect is what Hydra says of an access token, or a refresh token.
func (h *Hydra) Introspect(ctx context.Context, token string) (Introspection, error) {
	return introspect(ctx, http.DefaultClient, h.admin+"/admin/oauth2/introspect", token)
}

// Authorize goes through the authorization code flow in a person's place, and returns the code. Hydra's tokens that can be refreshed begin
// with one.
func (h *Hydra) Authorize(ctx context.Context, client, redirect, subject, scope string, claims map[string]any) (string, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return "", err
	}
	browser := *h.Client()
	browser.Jar = jar
	browser.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	next := h.URL + "/oauth2/auth?" + url.Values{
		"client_id": {client}, "response_type": {"code"}, "scope": {scope}, "redirect_uri": {redirect}, "state": {"12345678"},
	}.Encode()
	for range 10 {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, next, nil)
		if err != nil {
			return "", err
		}
		resp, err := browser.Do(req)
		if err != nil {
			return "", err
		}
		resp.Body.Close()
		to, err := resp.Location()
		if err != nil {
			return "", fmt.Errorf("%s at %s: %w", resp.Status, req.URL.Path, err)
		}
		switch {
		case to.Query().Get("login_challenge") != "":
			next, err = h.answer(ctx, "login", to.Query().Get("login_challenge"), map[string]any{"subject": subject})
		case to.Query().Get("consent_challenge") != "":
			next, err = h.answer(ctx, "consent", to.Query().Get("consent_challenge"), map[string]any{
				"grant_scope": strings.Fields(scope), "session": map[string]any{"id_token": claims},
			})
		case strings.HasPrefix(to.String(), redirect):
			if code := to.Query().Get("code"); code != "" {
				return code, nil
			}
			return "", fmt.Errorf("no code: %s", to.Query())
		default:
			next = to.String()
		}
		if err != nil {
			return "", err
		}
	}
	return "", fmt.Errorf("too many redirects")
}

// answer accepts a login or a consent, and returns where to go on.
func (h *Hydra) answer(ctx context.Context, kind, challenge string, properties map[string]any) (string, error) {
	at := "/admin/oauth2/auth/requests/" + kind + "/accept?" + kind + "_challenge=" + url.QueryEscape(challenge)
	body, err := h.ask(ctx, http.MethodPut, at, properties)
	if err != nil {
		return "", err
	}
	var next struct {
		To string `json:"redirect_to"`
	}
	return next.To, json.Unmarshal([]byte(body), &next)
}

func (h *Hydra) ask(ctx context.Context, method, path string, value any) (string, error) {
	encoded, err := json.Marshal(value)
	if err != nil {
		return "", err
	}
	req, err := http.NewRequestWithContext(ctx, method, h.admin+path, bytes.NewReader(encoded))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/json")
	return send(http.DefaultClient, req)
}
