package storm

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"terminals.dev/session-controller/test/identityenv"
)

// inOneSecond is how many requests came in within a second, where they were most.
func inOneSecond(arrivals []identityenv.Arrival) (most int) {
	first := 0
	for last := range arrivals {
		for arrivals[last].At.Sub(arrivals[first].At) >= time.Second {
			first++
		}
		most = max(most, last-first+1)
	}
	return most
}

// above is how many more requests came in within any span of time than a rate gives in it, where that was most: the burst that it took.
func above(arrivals []identityenv.Arrival, rate int) (most float64) {
	level := 0.0
	for i, a := range arrivals {
		if i > 0 {
			level = max(level-float64(rate)*a.At.Sub(arrivals[i-1].At).Seconds(), 0)
		}
		level++
		most = max(most, level)
	}
	return most
}

// calls are those to providers that the manager has counted: how many, by operation and outcome.
func (f *fleet) calls(t *testing.T) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, f.manager.Metrics, nil)
	must(t, err)
	c := &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true, // the certificate is of the manager's own making
	}}
	resp, err := c.Do(req)
	must(t, err)
	defer resp.Body.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(resp.Body)
	must(t, err)
	var found []string
	for _, m := range families["terminalsession_provider_requests_total"].GetMetric() {
		label := map[string]string{}
		for _, l := range m.GetLabel() {
			label[l.GetName()] = l.GetValue()
		}
		found = append(found, fmt.Sprintf("%d %s %s", int(m.GetCounter().GetValue()), label["operation"], label["outcome"]))
	}
	return strings.Join(found, ", ")
}
