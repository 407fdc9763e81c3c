package controllers

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "terminals.dev/session-controller/api/v1"
)

func TestALogoutThatIsToBeginGoesBeforeThoseThatCountAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := priorityqueue.New[reconcile.Request]("test")
		defer q.ShutDown()
		running := later(func(context.Context, client.Object) []reconcile.Request {
			return []reconcile.Request{{NamespacedName: types.NamespacedName{Name: "running"}}}
		}, nil)
		running.Create(t.Context(), event.CreateEvent{Object: &v1.TerminalSession{}}, q)
		time.Sleep(2 * recount)
		synctest.Wait()
		begins := &v1.SessionLogout{ObjectMeta: metav1.ObjectMeta{Name: "begins"}}
		(&handler.EnqueueRequestForObject{}).Create(t.Context(), event.CreateEvent{Object: begins}, q)
		for _, want := range []string{"begins", "running"} {
			if next, _ := q.Get(); next.Name != want {
				t.Errorf("%s comes, want %s", next.Name, want)
			}
		}
	})
}
