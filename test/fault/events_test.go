package fault_test

import (
	"net/http"
	"testing"
)

// manyEvents is more than a scenario makes of one kind.
const manyEvents = 20

// troubles are what can become of watches.
var troubles = []struct {
	name string
	do   func(*run)
}{
	{"cut", func(r *run) { r.feed.cut(false) }},
	{"compacted", func(r *run) { r.feed.cut(true) }},
	{"coalesced", func(r *run) {
		// What happens meanwhile is never told, but for what has come of it all.
		r.lags()
		r.feed.hold(all)
		r.whenLetGo(func() { r.feed.cut(true) })
	}},
	{"last_doubled", func(r *run) { r.feed.replay(1) }},
	{"all_doubled", func(r *run) { r.feed.replay(manyEvents) }},
}

func TestEvents(t *testing.T) {
	eachScenario(t, 19, func(t *testing.T, s scenario, pick picker) {
		for _, trouble := range troubles {
			for _, where := range changing(stepsOf(t, s)) {
				pick(t, trouble.name+"_before_"+where.title(), func(t *testing.T) {
					disturbed(t, s, where, func(p *process, _ step, send func() (*http.Response, error)) (*http.Response, error) {
						p.run.note("the events are %s", trouble.name)
						trouble.do(p.run)
						return send()
					})
				})
			}
		}
	})
}
