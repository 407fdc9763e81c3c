package integration_test

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/controllers"
	"terminals.dev/session-controller/internal/tokenstore"
)

// leadingFor has the controller lead when it asks for the first n times, and not any more then.
func (h *harness) leadingFor(n int) {
	asked := 0
	h.providers.Leading = func() bool {
		asked++
		return asked <= n
	}
}

// expectTurnedAway checks that a look at a session asks nobody, writes nothing, and is made again a second later.
func (h *harness) expectTurnedAway(s *strict, name string) {
	h.t.Helper()
	h.wire.taken()
	s.taken()
	result, err := h.once(name)
	if err != nil || result.RequeueAfter != time.Second {
		h.t.Errorf("it is looked at again after %s (%v), want a second", result.RequeueAfter, err)
	}
	if calls := s.taken(); len(calls) > 0 {
		h.t.Errorf("who does not lead has asked %v", calls)
	}
	h.expectWrites()
}

func TestWhoDoesNotLeadLeavesASessionAlone(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	s := newServing(h)
	h.apply(session("till-1"))
	h.leadingFor(0)
	h.expectTurnedAway(s, "till-1")
	h.providers.Leading = nil
	h.settle("till-1")
	h.expect("till-1", established)
}

func TestWhoLeadsNoMoreWhenAProviderIsToBeAskedDoesNotAskIt(t *testing.T) {
	t.Parallel()
	for what, due := range map[string]func(*testing.T) (*harness, *strict){
		"Login": func(t *testing.T) (*harness, *strict) {
			h := newHarness(t)
			s := newServing(h)
			s.untold = true // else the finalizer is put on before
			h.apply(session("till-1"))
			return h, s
		},
		"Renew": func(t *testing.T) (*harness, *strict) {
			h := newHarness(t)
			s := newServing(h)
			s.refreshes = true
			h.apply(session("till-1"))
			h.settle("till-1")
			h.untilRenewal("till-1")
			return h, s
		},
		"Check": func(t *testing.T) (*harness, *strict) {
			h, s := newChecking(t)
			h.step(6 * time.Minute)
			return h, s
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			h, s := due(t)
			h.leadingFor(1)
			h.expectTurnedAway(s, "till-1")
			h.providers.Leading = nil
			h.settle("till-1")
			h.expect("till-1", established)
			if calls := s.taken(); !slices.Equal(calls, []string{what}) {
				t.Errorf("who leads again has asked %v, want %s", calls, what)
			}
		})
	}
}

func TestWhoLeadsNoMoreRevokesNothing(t *testing.T) {
	t.Parallel()
	h := newRevoking(t)
	h.putAside(h.ended("s-1", month))
	h.leadingFor(0)
	h.wake()
	h.run(0)
	h.expectTold()
	h.expectWaiting(1)
	h.providers.Leading = nil
	h.run(time.Second)
	h.expectTold("s-1")
	h.expectWaiting(0)
}

// reconciled is how many reconciles there were in this process, by controller.
func reconciled(t *testing.T) map[string]float64 {
	t.Helper()
	families, err := metrics.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]float64{}
	for _, f := range families {
		if f.GetName() != "controller_runtime_reconcile_total" {
			continue
		}
		for _, m := range f.Metric {
			for _, l := range m.Label {
				if l.GetName() == "controller" {
					found[l.GetValue()] += m.GetCounter().GetValue()
				}
			}
		}
	}
	return found
}

// TestAManagerThatDoesNotLeadDoesNothing runs the controllers by themselves, and alone: see TestWhatWakesASession.
func TestAManagerThatDoesNotLeadDoesNothing(t *testing.T) {
	h := newRevoking(t)
	aside := h.ended("s-1", month)
	if err := h.sessions.Store.PutAside(h.loud, systemNamespace, aside); err != nil {
		t.Fatal(err)
	}
	b := ban("nobody", func(s *v1.SessionBanSpec) { s.Match.User = "nobody@acme.example" })
	l := logout("nobody", func(s *v1.SessionLogoutSpec) { s.All, s.Selector = nil, &v1.LogoutSelector{Names: []string{"nobody"}} })
	h.apply(b, l, sessionProvider("second"), session("till-1"))
	before, leads := reconciled(t), atomic.Bool{}
	h.harness.manage(func(o *controllers.Options) { o.Leading, o.Wrap = leads.Load, h.told.wrap })

	// undone are those of all controllers who have not done what there is for them to do.
	undone := func() (left []string) {
		h.read(b.Name, b)
		h.read(l.Name, l)
		waiting := &corev1.SecretList{}
		of := client.MatchingLabels{tokenstore.LabelRevocation: aside.Provider.Label()}
		if err := h.api.List(h.ctx, waiting, client.InNamespace(systemNamespace), of); err != nil {
			t.Fatal(err)
		}
		for who, done := range map[string]bool{
			"terminalsession": h.get("till-1").Status.Phase == v1.PhaseEstablished, "sessionprovider": len(h.provider("second").Status.Conditions) > 0,
			"sessionban": b.Status.Matched != nil, "sessionlogout": l.Status.StartedAt != nil, "revocation": len(waiting.Items) == 0,
		} {
			if !done {
				left = append(left, who)
			}
		}
		slices.Sort(left)
		return left
	}
	all := undone()
	h.awaitThat(t, func() (string, bool) {
		now := reconciled(t)
		who := slices.IndexFunc(all, func(who string) bool { return now[who] == before[who] })
		return fmt.Sprintf("of %v not all have looked", all), who < 0
	})
	if left := undone(); !slices.Equal(left, all) || len(all) != 5 {
		t.Errorf("nobody leads, and of %v only %v have done nothing", all, left)
	}
	h.expectTold()
	if s := h.get("till-1"); h.secret("till-1-token") != nil || len(s.Finalizers) > 0 || len(s.Status.Conditions) > 0 {
		t.Errorf("nobody leads, and the session is begun: %+v", s)
	}
	leads.Store(true)
	h.awaitThat(t, func() (string, bool) {
		left := undone()
		return fmt.Sprintf("it leads, and %v have done nothing", left), len(left) == 0
	})
	h.expectTold("s-1")
}
