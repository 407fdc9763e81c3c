package fault_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

const (
	// leaseTime is how long two leaders may act at a time: until the lease of the one that does not hear of it is over.
	leaseTime = 15 * time.Second
	// leaderSeeds and fewLeaderSeeds are how many orders of their calls are tried, in the whole and in the short version.
	leaderSeeds, fewLeaderSeeds = 10, 1
)

func TestTwoLeaders(t *testing.T) {
	seeds := uint64(fewLeaderSeeds)
	if *whole {
		seeds = leaderSeeds
	}
	eachScenario(t, 1, func(t *testing.T, s scenario, _ picker) {
		for lot := *seed; lot < *seed+seeds; lot++ {
			t.Run(fmt.Sprintf("lot_%d", lot), func(t *testing.T) { twoLeaders(t, s, lot) })
		}
	})
}

// twoLeaders plays a scenario with two managers that act, until one of them is killed when a lease's length is over.
func twoLeaders(t *testing.T, s scenario, lot uint64) {
	t.Parallel()
	tally.run(t)
	r := newRun(t, s)
	r.leading = leaseTime
	r.bring()
	first, second := r.living()[0], r.start()
	r.quiesce()
	r.turns = newTurns(lot)
	r.afterwards(func(r *run) {
		loser := []*process{first, second}[rand.New(rand.NewPCG(lot, 1)).IntN(2)]
		r.note("process %d hears that it does not lead, and ends", loser.number)
		loser.kill()
		r.turns.end()
		r.settle()
	})
	r.act()
	r.check()
	r.stop()
}
