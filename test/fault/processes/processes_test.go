package processes

import (
	"math/rand/v2"
	"testing"
)

func TestNobodyIsLoggedOutAndNoTokenIsLeftBehindWhen(t *testing.T) {
	chosen := *seed
	if chosen == 0 {
		chosen = rand.Uint64()
	}
	t.Logf("seed %d", chosen)
	s := &scene{load: newLoad(chosen), server: startServer(t)}
	must(t, furnish(t.Context(), s.server))

	t.Log("| fault | sessions | operations during it | restarts of managers | seconds until all is at rest | orphans | lost |")
	survived := t.Run("the only manager is killed again and again", func(t *testing.T) {
		s.replicas = keepReplicas(t, []string{"alone"}, "--leader-elect=false")
		s.load.establish(t)
		s.found, _ = rest(t, s.load)
		s.under(t, killed)
	})
	survived = survived && t.Run("and what is wrong is found", s.everyFaultIsFound)
	if !survived || !*whole {
		return
	}
	if !t.Run("the leader's connections fall silent", func(t *testing.T) {
		s.replicas = keepWired(t, []string{"near", "far"}, "--leader-elect=true")
		s.under(t, leaderCutOff)
	}) {
		return
	}
	etcd, server, err := env.Daemons(t.Context())
	must(t, err)
	s.replicas = keepReplicas(t, []string{"one", "other"}, "--leader-elect=true")
	for _, f := range []struct {
		name string
		do   fault
	}{
		{"the leader is killed", leaderKilled},
		{"the leader is told to end", leaderStopped},
		{"the leader stands still for longer than its lease lasts", leaderFrozen},
		{"the API server is killed", killing(server)},
		{"the API server stands still", freezing(server)},
		{"the API server is told to end", stopping(server)},
		{"etcd is killed", killing(etcd)},
		{"etcd stands still", freezing(etcd)},
		{"etcd is told to end", stopping(etcd)},
	} {
		if !t.Run(f.name, func(t *testing.T) { s.under(t, f.do) }) {
			return // what comes of the next one would tell nothing
		}
	}
}
