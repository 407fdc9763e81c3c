package fault_test

import (
	"fmt"
	"strings"
)

// step is one call that a manager makes while a scenario goes on, of the API server or of the provider. Which it is again in another run is
// told by its name and by how many of that name came before: the order of those that are made at the same time is not always the same.
type step struct {
	number, nth int
	name        string
}

func (s step) is(other step) bool { return s.name == other.name && s.nth == other.nth }

// calls is whether it is one of the provider.
func (s step) calls() bool { return strings.HasPrefix(s.name, "ASK ") }

// writes is whether it is a write to the API server.
func (s step) writes() bool {
	verb, _, _ := strings.Cut(s.name, " ")
	return (request{verb: verb}).writes()
}

// title names a step in the name of a test.
func (s step) title() string {
	return fmt.Sprintf("%d_%s", s.number, strings.NewReplacer(" ", "_", "/", "-").Replace(s.name))
}

// changing are the steps that change anything, here or at the provider.
func changing(steps []step) (some []step) {
	for _, s := range steps {
		if s.writes() || s.calls() {
			some = append(some, s)
		}
	}
	return some
}

// ofServer are the steps that the API server is asked at, or those of them that write.
func ofServer(steps []step, writes bool) (some []step) {
	for _, s := range steps {
		if !s.calls() && (s.writes() || !writes) {
			some = append(some, s)
		}
	}
	return some
}
