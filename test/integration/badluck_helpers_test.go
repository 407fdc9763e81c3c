package integration_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/internal/tokenstore"
	"terminals.dev/session-controller/test/identityenv"
)

// marker is a word that servers put into whatever they answer, and that nobody is to read.
const marker = "quincunx7301"

const (
	providerNotReady = "NotLoggedIn: Stalled (ProviderNotReady)"
	misconfigured    = "NotLoggedIn: Stalled (ProviderMisconfigured)"
	outOfReach       = "Establishing: Reconciling (ProviderUnavailable)"
	ready            = "True (Ready)"
)

// The places at a server that can go wrong.
const (
	atDiscovery = "/.well-known/openid-configuration"
	atToken     = "/token"
	atWebhook   = "/sessions"
)

// unlucky is a server that answers as it should, until it is told otherwise.
type unlucky struct {
	*server
	front *identityenv.Front
}

func newUnlucky(t *testing.T) *unlucky {
	t.Helper()
	front := identityenv.StartFront()
	s := &unlucky{&server{Server: front.Server, metadata: map[string]any{}, live: map[string]string{}}, front}
	front.Handle(http.HandlerFunc(s.serve))
	t.Cleanup(func() {
		front.CloseClientConnections()
		front.Close()
	})
	return s
}

// at has one path answered by something else.
func (s *unlucky) at(path string, answer http.HandlerFunc) {
	s.front.Instead(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != path {
			return false
		}
		answer(w, r)
		return true
	})
}

// elsewhere is a server that nobody is to ask. It counts whoever connects.
type elsewhere struct {
	net.Listener
	came atomic.Int64
}

func newElsewhere(t *testing.T) *elsewhere {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e := &elsewhere{Listener: listener}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			e.came.Add(1)
			_ = conn.Close()
		}
	}()
	return e
}

// expectNobody checks that nobody has connected.
func (e *elsewhere) expectNobody(t *testing.T) {
	t.Helper()
	if n := e.came.Load(); n > 0 {
		t.Errorf("a server that nobody is to ask was connected to %d times", n)
	}
}

func (e *elsewhere) port() int { return e.Addr().(*net.TCPAddr).Port }

// says answers with some bytes.
func says(status int, kind, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", kind)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func saysJSON(status int, format string, args ...any) http.HandlerFunc {
	return says(status, "application/json", fmt.Sprintf(format, args...))
}

// silence takes a request, and leaves it at that until the client goes, which shows once the body was read.
func silence(_ http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	<-r.Context().Done()
	panic(http.ErrAbortHandler)
}

// endless answers with 100 MB, and fails the test where somebody reads them.
func endless(t *testing.T) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		block := strings.Repeat(marker, 1<<20/len(marker))
		for n := range 100 {
			if _, err := io.WriteString(w, block); err != nil {
				if n > 20 { // what the kernel and both ends keep in between is a few
					t.Errorf("%d MB of the answer were read", n)
				}
				return
			}
		}
		t.Error("all of the answer was read")
	}
}

const page = "<!doctype html><title>" + marker + "</title>"

// expectUntold checks that some words stand in nothing that the controller has told, and that the servers' marker stands in no Secret but
// where tokens do.
func (h *harness) expectUntold(words ...string) {
	h.t.Helper()
	for what, text := range h.told() {
		for _, word := range append(words, marker) {
			if at := strings.Index(text, word); word != "" && at >= 0 {
				h.t.Errorf("%.20q is in %s: ...%s", word, what, text[max(0, at-200):min(len(text), at+200)])
			}
		}
	}
	list := &corev1.SecretList{}
	if err := h.api.List(h.ctx, list, client.InNamespace(h.namespace)); err != nil {
		h.t.Fatal(err)
	}
	for i := range list.Items {
		for key, value := range list.Items[i].Data {
			if strings.Contains(string(value), marker) && !slices.Contains([]string{tokenstore.KeyToken, "refreshToken", "deviceCode"}, key) {
				h.t.Errorf("the key %s of Secret %s has something else that the server said: %s", key, list.Items[i].Name, value)
			}
		}
	}
}

// settled has everybody look who has reason to: the provider too, where a call has failed that concerns it as a whole.
func (h *harness) settled(p *v1.SessionProvider) {
	h.t.Helper()
	h.settle("till-1")
	if h.again(p); meta.IsStatusConditionTrue(p.Status.Conditions, v1.ConditionReady) {
		h.step(2 * time.Second)
		h.look(p)
		h.settle("till-1")
	}
}

// expectTrouble checks how a provider and a session stand, that whichever of them can be mended says how, and that there is no token.
func (h *harness) expectTrouble(p *v1.SessionProvider, provider, session string, words ...string) {
	h.t.Helper()
	h.expectProvider(p, provider)
	h.expect("till-1", session)
	h.expectMessage(h.get("till-1"), words...)
	if provider != ready {
		h.expectMessage(p, words...)
	}
	h.expectNo("till-1-token")
}

// redirects leads to another server, with the request as it is.
func redirects(_ *testing.T, _ *unlucky, to *elsewhere) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Note", marker)
		http.Redirect(w, r, "https://"+to.Addr().String()+"/"+marker, http.StatusTemporaryRedirect)
	}
}

// anybody asks for nobody in particular where a provider does not say who logs in.
func anybody(p *v1.SessionProvider) func(*v1.TerminalSessionSpec) {
	return func(s *v1.TerminalSessionSpec) {
		if p.Spec.OAuth2 != nil {
			s.User = nil
		}
	}
}
