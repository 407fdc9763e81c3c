package integration_test

import (
	"fmt"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "terminals.dev/session-controller/api/v1"
	lifecycle "terminals.dev/session-controller/internal/session"
	"terminals.dev/session-controller/internal/tokenstore"
)

// expect checks what is to be seen of a session, as summary has it, and that it does not contradict itself.
func (h *harness) expect(name, want string) {
	h.t.Helper()
	s := h.get(name)
	if got := summary(s); got != want {
		h.t.Errorf("session %s is\n  %s, want\n  %s\n%s", name, got, want, message(s, v1.ConditionReady))
	}
	h.coherent(s)
}

// summary is what people see first: "Established: Ready (Established)", "NotLoggedIn, held Finished: Ready (Finished)", "NotLoggedIn:
// Stalled (ProviderNotFound)".
func summary(s *v1.TerminalSession) string {
	text := string(s.Status.Phase)
	if hold := s.Status.Hold; hold != nil {
		text += ", held " + string(hold.Reason)
	}
	ready := meta.FindStatusCondition(s.Status.Conditions, v1.ConditionReady)
	if ready == nil {
		return text + ": new"
	}
	var is []string
	for _, kind := range []string{v1.ConditionReady, v1.ConditionReconciling, v1.ConditionStalled} {
		if meta.IsStatusConditionTrue(s.Status.Conditions, kind) {
			is = append(is, kind)
		}
	}
	return fmt.Sprintf("%s: %s (%s)", text, strings.Join(is, " and "), ready.Reason)
}

// coherent checks what is always so.
func (h *harness) coherent(s *v1.TerminalSession) {
	h.t.Helper()
	st := &s.Status
	has := st.Phase == v1.PhaseEstablished || st.Phase == v1.PhaseTokenExpired
	if (st.Token != nil) != has || (st.SessionID != "") != has || (st.EstablishedAt != nil) != has {
		h.t.Errorf("session %s is %s, with token %v, session ID %q", s.Name, st.Phase, st.Token, st.SessionID)
	}
	if got, want := meta.IsStatusConditionTrue(st.Conditions, v1.ConditionEstablished), st.Phase == v1.PhaseEstablished; got != want {
		h.t.Errorf("session %s is %s, and its condition Established %v", s.Name, st.Phase, got)
	}
	for _, c := range st.Conditions {
		if c.ObservedGeneration != st.ObservedGeneration || c.Message == "" {
			h.t.Errorf("session %s was observed in generation %d, and has condition %+v", s.Name, st.ObservedGeneration, c)
		}
	}
	if has {
		h.holds(st.Token.SecretName, st.SessionID)
	}
}

// holds checks that a Secret holds a token of a session.
func (h *harness) holds(secretName, sessionID string) {
	h.t.Helper()
	if secret := h.secret(secretName); secret == nil || string(secret.Data[tokenstore.KeySessionID]) != sessionID {
		h.t.Errorf("Secret %s is %v, want a token of session %s", secretName, secret, sessionID)
	}
}

// expectWrites checks what the controller has written since it was last asked.
func (h *harness) expectWrites(want ...string) {
	h.t.Helper()
	writes, _ := h.wire.taken()
	if diff := cmp.Diff(want, writes, cmpopts.EquateEmpty()); diff != "" {
		h.t.Errorf("the writes are others (-want +got):\n%s", diff)
	}
}

// expectCalls checks what providers were asked since the last time.
func (h *harness) expectCalls(want ...string) {
	h.t.Helper()
	if diff := cmp.Diff(want, h.answers.taken(), cmpopts.EquateEmpty()); diff != "" {
		h.t.Errorf("the calls to the provider are others (-want +got):\n%s", diff)
	}
}

// expectNo checks that there is no Secret of a name.
func (h *harness) expectNo(secretName string) {
	h.t.Helper()
	if h.secret(secretName) != nil {
		h.t.Errorf("Secret %s is there", secretName)
	}
}

// expectMessage checks that a condition's message has some words in it.
func (h *harness) expectMessage(of client.Object, words ...string) {
	h.t.Helper()
	for _, w := range words {
		// A sentence begins with a capital.
		if text := message(of, v1.ConditionReady); !strings.Contains(text, w) && !strings.Contains(text, lifecycle.Sentence(w)) {
			h.t.Errorf("the message is %q, want it to have %q in it", text, w)
		}
	}
}

func message(of client.Object, kind string) string {
	var conditions []metav1.Condition
	switch o := of.(type) {
	case *v1.TerminalSession:
		conditions = o.Status.Conditions
	case v1.Provider:
		conditions = o.ProviderStatus().Conditions
	case v1.Ban:
		conditions = o.BanStatus().Conditions
	case *v1.SessionLogout:
		conditions = o.Status.Conditions
	}
	if c := meta.FindStatusCondition(conditions, kind); c != nil {
		return c.Message
	}
	return ""
}

// seconds is a time as status has it.
func seconds(t time.Time) metav1.Time { return metav1.NewTime(t.UTC().Truncate(time.Second)) }
