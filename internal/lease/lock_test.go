package lease_test

import (
	"testing"

	coordinationv1 "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/rest"

	"terminals.dev/session-controller/internal/lease"
)

func TestTheTimeLimitOfTheLeaseIsForNothingElse(t *testing.T) {
	t.Parallel()
	config := &rest.Config{Host: "https://127.0.0.1:6443", UserAgent: "manager"}
	lock, err := lease.NewLock(config, "ns", "name")
	if err != nil {
		t.Fatal(err)
	}
	if config.Timeout != 0 || config.UserAgent != "manager" {
		t.Errorf("whoever goes on with the configuration has a time limit of %s, as %q", config.Timeout, config.UserAgent)
	}
	own := lock.Client.(*coordinationv1.CoordinationV1Client).RESTClient().(*rest.RESTClient).Client
	if own.Timeout <= 0 || own.Timeout > lease.RenewDeadline/2 {
		t.Errorf("a request for the lease has a time limit of %s, want at most half of %s", own.Timeout, lease.RenewDeadline)
	}
}
