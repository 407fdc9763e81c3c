package integration_test

import (
	"slices"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "terminals.dev/session-controller/api/v1"
)

// reports is what the gateway does when a terminal tells of itself: a server-side apply of status.client.
func (h *harness) reports(name string, client map[string]any) {
	h.t.Helper()
	applied := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": v1.GroupVersion.String(), "kind": "TerminalSession",
		"metadata": map[string]any{"namespace": h.namespace, "name": name},
		"status":   map[string]any{"client": client},
	}}
	if err := plane.live.SubResource("status").Apply(h.ctx, applyOf(applied), gateway); err != nil {
		h.t.Fatalf("the gateway's report: %v", err)
	}
	h.wire.soil(h.get(name))
}

const gateway = client.FieldOwner("gateway")

var applyOf = client.ApplyConfigurationFromUnstructured

func TestOnAHandoverTheOldSessionEndsBeforeTheNewOneIsEstablished(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.loggedIn(session("till-1"))
	old := h.get("till-1").Status.SessionID
	h.edit("till-1", func(s *v1.TerminalSession) { s.Spec.MerchantID = "bakery" })

	h.reconcile("till-1")
	h.expectWrites("delete Secret till-1-token", "patch TerminalSession/status till-1")
	h.expectCalls()
	h.expectNo("till-1-token")

	h.settle("till-1")
	h.expectCalls("Login")
	h.expect("till-1", "Established: Ready (Established)")
	st := h.get("till-1").Status
	if st.SessionID == old || len(st.Recent) != 1 || st.Recent[0].SessionID != old || st.Recent[0].End != v1.ReasonHandedOver {
		t.Errorf("after %s status is %+v", old, st)
	}
	if want := "Normal HandedOver: Session " + old + " of anna@acme.example has ended."; !slices.Equal(h.events, []string{want}) {
		t.Errorf("the events are %q, want %q", h.events, want)
	}
	if got := string(h.secret("till-1-token").Data["sessionID"]); got != st.SessionID {
		t.Errorf("the Secret is of session %s, status of %s", got, st.SessionID)
	}
}

func TestWhatTheGatewayWritesIsComparedAndNeverTouched(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.loggedIn(session("till-1"))
	first := h.get("till-1").Status.SessionID
	h.reports("till-1", map[string]any{"paymentAppVersion": "4.2.0", "platform": "Toaster"})
	h.settle("till-1")
	if st := h.get("till-1").Status; st.SessionID != first || st.Binding.PaymentAppVersion != "4.2.0" || st.Client.Platform != "Toaster" {
		t.Fatalf("the first report leads to %+v", st)
	}

	h.reports("till-1", map[string]any{"paymentAppVersion": "4.3.0", "platform": "Toaster"})
	h.settle("till-1")

	st := h.get("till-1").Status
	if st.SessionID == first || st.Recent[0].End != v1.ReasonPaymentAppUpdated || st.Binding.PaymentAppVersion != "4.3.0" || st.Client.PaymentAppVersion != "4.3.0" {
		t.Errorf("another version leads to %+v", st)
	}
	h.expect("till-1", "Established: Ready (Established)")
	for _, entry := range h.get("till-1").ManagedFields {
		if entry.Manager == "gateway" && entry.Subresource == "status" {
			return
		}
	}
	t.Error("the gateway no longer owns what it wrote")
}

func TestAfterALostLinkTheTerminalIsWaitedFor(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.loggedIn(session("till-1", func(s *v1.TerminalSessionSpec) { s.Heartbeat = &v1.Heartbeat{Timeout: lasting(5 * time.Minute)} }))
	h.step(4 * time.Minute)
	h.reports("till-1", map[string]any{"lastActiveAt": h.clock.Now().UTC().Format(time.RFC3339)})
	if after := h.reconcile("till-1").RequeueAfter; after != 5*time.Minute {
		t.Errorf("after a report it is looked at again in %s, want in the 5 minutes that silence may last", after)
	}
	h.step(5*time.Minute - time.Second)
	h.settle("till-1")
	h.expect("till-1", "Established: Ready (Established)")

	h.step(time.Second)
	h.settle("till-1")
	h.expect("till-1", "Establishing: Reconciling (LinkLost)")
	h.expectNo("till-1-token")
	h.step(time.Hour)
	h.settle("till-1")
	h.expect("till-1", "Establishing: Reconciling (LinkLost)")

	h.reports("till-1", map[string]any{"lastActiveAt": h.clock.Now().UTC().Format(time.RFC3339)})
	h.settle("till-1")
	h.expect("till-1", "Established: Ready (Established)")
}

func TestARestartIsNoSilence(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.loggedIn(session("till-1", func(s *v1.TerminalSessionSpec) { s.Heartbeat = &v1.Heartbeat{Timeout: lasting(5 * time.Minute)} }))
	h.step(time.Hour)
	h.restart()
	h.settle("till-1")
	h.expect("till-1", "Established: Ready (Established)")
}

func TestAFinishedSessionIsRemovedAfterItsTime(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.loggedIn(session("till-1", oneShot, func(s *v1.TerminalSessionSpec) { s.TTLSecondsAfterFinished = new(int32(60)) }))
	h.step(month)
	if after := h.reconcile("till-1").RequeueAfter; after > time.Minute || after <= 59*time.Second {
		t.Errorf("the finished session is looked at again in %s, want in the minute that it has", after)
	}
	h.step(time.Minute)
	h.reconcile("till-1")
	if err := h.api.Get(h.ctx, h.key("till-1"), &v1.TerminalSession{}); !apierrors.IsNotFound(err) {
		t.Errorf("the session is still there: %v", err)
	}
}
