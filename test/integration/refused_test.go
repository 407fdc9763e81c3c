package integration_test

import (
	"errors"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	v1 "terminals.dev/session-controller/api/v1"
)

// refusing is an API server that refuses one write, as by a quota.
func refusing(write string) func(string, func() error) error {
	return func(made string, do func() error) error {
		if made == write {
			return apierrors.NewForbidden(schema.GroupResource{Resource: "secrets"}, "till-1-token", errors.New("exceeded quota"))
		}
		return do()
	}
}

func TestASecretThatTheAPIServerRefusesIsToldInStatusAndNotAskedForTimeAndAgain(t *testing.T) {
	t.Parallel()
	h := newTelling(t)
	h.apply(session("till-1"))
	h.wire.seam = refusing("create Secret till-1-token")
	for range 5 {
		_, _ = h.try("till-1")
	}
	h.expect("till-1", "NotLoggedIn: Stalled (SecretRefused)")
	h.expectMessage(h.get("till-1"), "refuses Secret till-1-token (Forbidden)", "quota", "admission policy")
	h.expectCalls("Login")
	h.expectAside(h.answers.tokens...)

	h.wire.seam = nil
	h.untilBackoffIsOver("till-1")
	h.settle("till-1")
	h.expect("till-1", "Established: Ready (Established)")
}

func TestTheExpiryIsToldEvenWhereTheSecretCannotBeWritten(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.loggedIn(session("till-1"))
	h.wire.seam = refusing("patch Secret till-1-token")
	h.step(month + time.Hour)
	_, _ = h.try("till-1")
	if s := h.get("till-1"); s.Status.Phase == v1.PhaseEstablished {
		t.Error("the session is Established with a token that is dead")
	}
}
