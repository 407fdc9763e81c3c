package fault_test

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// answers are how an API server answers badly.
var answers = []struct {
	name string
	// writes is whether it does so to writes alone.
	writes bool
	do     func(send func() (*http.Response, error)) (*http.Response, error)
}{
	{"conflict", true, func(func() (*http.Response, error)) (*http.Response, error) {
		return refusal(http.StatusConflict, metav1.StatusReasonConflict, "the object has been modified"), nil
	}},
	{"too_many_requests", false, func(func() (*http.Response, error)) (*http.Response, error) {
		answer := refusal(http.StatusTooManyRequests, metav1.StatusReasonTooManyRequests, "too many requests")
		answer.Header.Set("Retry-After", "1")
		return answer, nil
	}},
	{"internal_error", false, func(func() (*http.Response, error)) (*http.Response, error) {
		return refusal(http.StatusInternalServerError, metav1.StatusReasonInternalError, "etcdserver: no leader"), nil
	}},
	{"answer_lost", false, func(send func() (*http.Response, error)) (*http.Response, error) {
		if answer, err := send(); err == nil {
			answer.Body.Close()
		}
		return nil, errCut
	}},
}

func TestBadServer(t *testing.T) {
	eachScenario(t, 29, func(t *testing.T, s scenario, pick picker) {
		for _, answer := range answers {
			for _, where := range ofServer(stepsOf(t, s), answer.writes) {
				for _, times := range []int{1, 3} {
					name := fmt.Sprintf("%s_%d_times_from_%s", answer.name, times, where.title())
					pick(t, name, func(t *testing.T) { answersBadly(t, s, where, times, answer.writes, answer.do) })
				}
			}
		}
	})
}

// answersBadly has the API server answer badly to a step, and to as many more of the next as there are to be.
func answersBadly(t *testing.T, s scenario, where step, times int, writes bool, bad func(func() (*http.Response, error)) (*http.Response, error)) {
	disturbed(t, s, where, func(p *process, now step, send func() (*http.Response, error)) (*http.Response, error) {
		if !now.is(where) {
			return send()
		}
		var hit atomic.Int64
		p.run.then(func(_ *process, next step, send func() (*http.Response, error)) (*http.Response, error) {
			if next.calls() || writes && !next.writes() || hit.Add(1) >= int64(times) {
				return send()
			}
			p.run.note("the API server answers badly")
			return bad(send)
		})
		p.run.note("the API server answers badly")
		return bad(send)
	})
}
