package embedded

import (
	"cmp"
	"slices"
	"time"
)

// MaxTokenLifetime is the longest that a token may live, and so how long a key is published after it has signed its last one.
const MaxTokenLifetime = 8760 * time.Hour

// maxLead is the longest that a key is published before it signs. Verifiers seldom keep a JWKS for longer.
const maxLead = 24 * time.Hour

// Plan is what a provider's keys need at one moment.
type Plan struct {
	// Active is the ID of the key that signs; empty when there is no key yet.
	Active string
	// CreateNext asks for a new key.
	CreateNext bool
	// Retire are the IDs of the keys to be deleted, oldest first: no token that they signed is valid any more.
	Retire []string
	// Next is when these same keys will need another plan; zero if never. A key that comes or goes changes the plan too.
	Next time.Time
}

// Schedule plans the rotation of a provider's keys. It depends on its arguments alone, and not on the order of keys.
//
// A new key is made when the newest is older than the interval less a lead of a tenth of it, at most 24 hours. It signs once it
// has been published for that lead, so that verifiers which cache the JWKS know it by then; only the very first key signs at once.
// A key is retired when its successor has signed for MaxTokenLifetime. So a little over MaxTokenLifetime/interval keys are
// published at a time, a number that whoever sets the interval must keep reasonable. An interval of zero or less ends rotation: no
// key is made but the first.
//
// A key from the future counts like any other: a clock that is wrong may delay a rotation, but it multiplies no keys, and there is
// always one that signs.
func Schedule(keys []KeyInfo, interval time.Duration, now time.Time) Plan {
	if len(keys) == 0 {
		return Plan{CreateNext: true}
	}
	keys = slices.SortedFunc(slices.Values(keys), func(a, b KeyInfo) int {
		return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID))
	})
	oldest, newest := keys[0], keys[len(keys)-1]

	plan := Plan{Active: oldest.ID}
	due := func(at time.Time) bool {
		if !now.Before(at) {
			return true
		}
		if plan.Next.IsZero() || at.Before(plan.Next) {
			plan.Next = at
		}
		return false
	}

	lead := leadOf(interval)
	for i, key := range keys[1:] {
		activeFrom := key.CreatedAt.Add(lead)
		if !due(activeFrom) {
			break
		}
		plan.Active = key.ID
		if predecessor := keys[i]; due(activeFrom.Add(MaxTokenLifetime)) {
			plan.Retire = append(plan.Retire, predecessor.ID)
		}
	}
	plan.CreateNext = interval > 0 && due(newest.CreatedAt.Add(interval-lead))
	return plan
}

func leadOf(interval time.Duration) time.Duration {
	if interval <= 0 {
		return maxLead
	}
	return min(interval/10, maxLead)
}
