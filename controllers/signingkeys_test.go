package controllers

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/internal/provider/embedded"
	"terminals.dev/session-controller/internal/tokenstore"
)

func TestSessionsThatLogInAtOnceAfterAStartReadTheSigningKeyOnce(t *testing.T) {
	t.Parallel()
	key, err := embedded.NewKey(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	pem, err := key.MarshalPEM()
	if err != nil {
		t.Fatal(err)
	}
	server := &secrets{hold: make(chan struct{}), held: "default-key"}
	server.put("system", "default-key", "1", map[string]string{tokenstore.KeyPrivateKey: string(pem)})
	keys := newSigningKeys(clients(server), v1.KindClusterSessionProvider, "", "default")
	info := tokenstore.SigningKey{ID: key.ID, Name: "default-key", UID: types.UID("a"), Version: "1"}

	var began, all sync.WaitGroup
	for range 16 {
		began.Add(1)
		all.Go(func() {
			began.Done()
			if got, err := keys.load(context.Background(), &v1.ClusterSessionProvider{}, info); err != nil || got.ID != key.ID {
				t.Errorf("the key is %q, and the error %v", got.ID, err)
			}
		})
	}
	began.Wait()
	close(server.hold)
	all.Wait()
	if n := server.reads.Load(); n != 1 {
		t.Errorf("it is read %d times", n)
	}
	info.Version = "2"
	over, cancel := context.WithCancel(context.Background())
	cancel()
	keys.reading <- struct{}{} // somebody whose reading hangs
	if _, err := keys.load(over, &v1.ClusterSessionProvider{}, info); !errors.Is(err, context.Canceled) {
		t.Errorf("who has no time any more waits for the one who reads: %v", err)
	}
	<-keys.reading
	if _, err := keys.load(context.Background(), &v1.ClusterSessionProvider{}, info); err != nil || server.reads.Load() != 2 {
		t.Errorf("another version is not read: %d reads, %v", server.reads.Load(), err)
	}
}
