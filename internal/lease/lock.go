package lease

import (
	"fmt"
	"os"

	"github.com/google/uuid"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coordinationv1 "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// NewLock makes the lock that a manager would make for itself: a Lease object, held under the machine's name and a random one. A request is
// waited for half as long as there is to renew, so that one that hangs does not cost the lease.
func NewLock(config *rest.Config, namespace, name string) (*resourcelock.LeaseLock, error) {
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("naming who holds the lease: %w", err)
	}
	config = rest.AddUserAgent(rest.CopyConfig(config), "leader-election") // a copy: with this time limit every watch would be broken off
	config.Timeout = RenewDeadline / 2
	client, err := coordinationv1.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("setting up a client for the lease: %w", err)
	}
	return &resourcelock.LeaseLock{
		LeaseMeta:  metav1.ObjectMeta{Namespace: namespace, Name: name},
		Client:     client,
		LockConfig: resourcelock.ResourceLockConfig{Identity: host + "_" + uuid.NewString()},
	}, nil
}
