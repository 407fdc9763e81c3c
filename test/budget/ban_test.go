package budget

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/test/testenv"
)

// TestABanOnAUserWithAThousandSessions has every Secret gone before the first status is written, and no login after it. The time that it
// takes is printed beside that of a bare client which deletes as many.
func TestABanOnAUserWithAThousandSessions(t *testing.T) {
	const ns, banned, workers = "ban", 1000, 16
	m := startManager(t, "--endpoint-auth=None")
	providerReady(t)
	for _, name := range []string{ns, ns + "-bare"} {
		if err := api.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}); err != nil {
			t.Fatal(err)
		}
	}
	at(t, workers, banned+10, func(ctx context.Context, n int) error {
		s := &v1.TerminalSession{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: fmt.Sprintf("till-%04d", n)}}
		s.Spec.Terminal.ID, s.Spec.User = s.Name, &v1.User{Email: "mallory@acme.example"}
		if n >= banned {
			s.Spec.User.Email = "anna@acme.example"
		}
		return api.Create(ctx, s)
	})
	until(t, m, ns, "established", isEstablished)

	secrets := tokens(t, ns)
	at(t, workers, banned, func(ctx context.Context, n int) error {
		like := &corev1.Secret{Type: secrets[n].Type, Data: secrets[n].Data}
		like.ObjectMeta = metav1.ObjectMeta{Namespace: ns + "-bare", Name: secrets[n].Name, Labels: secrets[n].Labels, Annotations: secrets[n].Annotations}
		return api.Create(ctx, like)
	})
	begin := time.Now()
	at(t, workers, banned, func(ctx context.Context, n int) error {
		return api.Delete(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: ns + "-bare", Name: secrets[n].Name}})
	})
	bare := time.Since(begin)

	gone := watched(t, &corev1.SecretList{}, ns)
	changed := watched(t, &v1.TerminalSessionList{}, ns)
	before := counts(t)
	begin = time.Now()
	ban := &v1.SessionBan{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "mallory"}}
	ban.Spec = v1.SessionBanSpec{Match: v1.BanMatch{User: "mallory@acme.example"}, Code: "UserBanned"}
	if err := api.Create(t.Context(), ban); err != nil {
		t.Fatal(err)
	}
	var last uint64
	for n := 0; n < banned; {
		if e := next(t, gone, m.Tail); e.Type == watch.Deleted {
			n, last = n+1, version(t, e)
		}
	}
	took := time.Since(begin)
	early := 0
	for n := 0; n < banned; {
		if e := next(t, changed, m.Tail); e.Type == watch.Modified && e.Object.(*v1.TerminalSession).Status.Phase == v1.PhaseTerminated {
			if n++; version(t, e) < last {
				early++
			}
		}
	}
	t.Logf("a ban on a user with %d sessions: the last Secret is gone after %s, a bare client deletes as many in %s (%.2f of its rate); all are reported after %s",
		banned, took.Round(time.Millisecond), bare.Round(time.Millisecond), bare.Seconds()/took.Seconds(), time.Since(begin).Round(time.Millisecond))
	if early > 2*workers {
		t.Errorf("%d sessions were reported before the last Secret was gone", early)
	}
	ended := func() error {
		if err := api.Get(t.Context(), client.ObjectKeyFromObject(ban), ban); err != nil {
			return err
		}
		if st := ban.Status; st.Enforced == nil || *st.Enforced != banned || *st.Matched != banned {
			return errors.New("the ban is not enforced yet")
		}
		return nil
	}
	for deadline := time.Now().Add(10 * time.Second); ended() != nil; <-time.After(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the ban says %+v: %v", ban.Status, ended())
		}
	}
	quiet(t, m, 0)
	cost := counts(t).Since(before).Writes()
	if got := cost.Of("sessionbans").Total() - 1; got > 40 { // the one is the test's
		t.Errorf("the ban's status is written %d times", got)
	}
	want := testenv.Counts{{Resource: "secrets", Verb: "DELETE", Code: "200"}: banned, {Resource: "terminalsessions", Subresource: "status", Verb: "PATCH", Code: "200"}: banned}
	for _, of := range []string{"secrets", "terminalsessions"} {
		if got := cost.Of(of); !maps.Equal(got, want.Of(of)) {
			t.Errorf("it takes the writes %v, want %v", got, want.Of(of))
		}
	}
	if left := tokens(t, ns); len(left) != 10 {
		t.Errorf("%d Secrets are left, want those of the 10 sessions that the ban does not match", len(left))
	}
}

// at does something n times, by so many workers.
func at(t *testing.T, workers, n int, do func(context.Context, int) error) {
	t.Helper()
	var wg sync.WaitGroup
	work, errs := make(chan int, n), make(chan error, n)
	for i := range n {
		work <- i
	}
	close(work)
	for range workers {
		wg.Go(func() {
			for i := range work {
				if err := do(t.Context(), i); err != nil {
					errs <- err
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		t.Fatal(err)
	}
}

func watched(t *testing.T, list client.ObjectList, namespace string) <-chan watch.Event {
	t.Helper()
	if err := api.List(t.Context(), list, client.InNamespace(namespace)); err != nil {
		t.Fatal(err)
	}
	w, err := api.Watch(t.Context(), list, client.InNamespace(namespace), &client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: list.GetResourceVersion()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
	return w.ResultChan()
}

func next(t *testing.T, events <-chan watch.Event, tail func(int) string) watch.Event {
	t.Helper()
	select {
	case e, open := <-events:
		if !open || e.Type == watch.Error {
			t.Fatalf("the watch has ended: %+v", e.Object)
		}
		return e
	case <-time.After(30 * time.Second):
		t.Fatalf("nothing more happens; the manager's last words:\n%s", tail(15))
	}
	return watch.Event{}
}

// version is the revision at which something happened.
func version(t *testing.T, e watch.Event) uint64 {
	t.Helper()
	v, err := strconv.ParseUint(e.Object.(client.Object).GetResourceVersion(), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}
