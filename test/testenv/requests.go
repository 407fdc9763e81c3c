package testenv

import (
	"bytes"
	"context"
	"fmt"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"k8s.io/client-go/kubernetes"
)

// Request is a kind of request to the API server, in the words of its metrics: the verb is the HTTP method, but for
// LIST, WATCH, APPLY (a server-side apply) and DELETECOLLECTION.
type Request struct {
	Resource, Subresource, Verb, Code string
}

// Counts says how many requests of each kind there were.
type Counts map[Request]int

// Since leaves what has been added since an earlier count.
func (c Counts) Since(earlier Counts) Counts {
	return c.filter(func(r Request, n int) int { return n - earlier[r] })
}

// Writes leaves the requests that change something.
func (c Counts) Writes() Counts {
	return c.filter(func(r Request, n int) int {
		switch r.Verb {
		case "POST", "PUT", "PATCH", "APPLY", "DELETE", "DELETECOLLECTION":
			return n
		}
		return 0
	})
}

// Of leaves the requests for one resource and its subresources.
func (c Counts) Of(resource string) Counts {
	return c.filter(func(r Request, n int) int {
		if r.Resource == resource {
			return n
		}
		return 0
	})
}

// Total is the sum.
func (c Counts) Total() int {
	sum := 0
	for _, n := range c {
		sum += n
	}
	return sum
}

func (c Counts) filter(keep func(Request, int) int) Counts {
	kept := Counts{}
	for r, n := range c {
		if n = keep(r, n); n != 0 {
			kept[r] = n
		}
	}
	return kept
}

// RequestCounts asks the API server how many requests it has answered since it started, from whomever.
func (e *Env) RequestCounts(ctx context.Context) (Counts, error) {
	client, err := kubernetes.NewForConfig(e.Config)
	if err != nil {
		return nil, fmt.Errorf("making a client for the API server's metrics: %w", err)
	}
	page, err := client.Discovery().RESTClient().Get().AbsPath("/metrics").DoRaw(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the API server's metrics: %w", err)
	}
	return parseCounts(page)
}

func parseCounts(page []byte) (Counts, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(page))
	if err != nil {
		return nil, fmt.Errorf("parsing the API server's metrics: %w", err)
	}
	counts := Counts{}
	for _, metric := range families["apiserver_request_total"].GetMetric() {
		label := map[string]string{}
		for _, l := range metric.GetLabel() {
			label[l.GetName()] = l.GetValue()
		}
		request := Request{label["resource"], label["subresource"], label["verb"], label["code"]}
		counts[request] += int(metric.GetCounter().GetValue())
	}
	return counts, nil
}
