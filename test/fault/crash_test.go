package fault_test

import (
	"net/http"
	"testing"
)

func TestCrash(t *testing.T) {
	eachScenario(t, 7, func(t *testing.T, s scenario, pick picker) {
		for _, where := range stepsOf(t, s) {
			pick(t, "before_call_"+where.title(), func(t *testing.T) { crash(t, s, where, false) })
			pick(t, "after_call_"+where.title(), func(t *testing.T) { crash(t, s, where, true) })
		}
	})
}

// crash plays a scenario whose manager is killed right before or right after a call.
func crash(t *testing.T, s scenario, where step, after bool) {
	disturbed(t, s, where, func(p *process, _ step, send func() (*http.Response, error)) (*http.Response, error) {
		if after {
			if answer, err := send(); err == nil {
				answer.Body.Close()
			}
		}
		p.run.excuse()
		p.run.note("process %d is killed", p.number)
		p.kill()
		return nil, errDead
	})
}
