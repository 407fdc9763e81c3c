package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"terminals.dev/session-controller/test/testenv"
)

// compare reports what the turns of the bare client and of the product have come to, under keys that begin with a prefix. Each of the product's is
// compared with the mean of the bare client's before it and after it: a machine that is shared becomes faster and slower within minutes.
func (r *report) compare(prefix, what string, c comparison) {
	ratios := func(of, beside func(outcome) float64) (each []float64) {
		for i, product := range c.product {
			each = append(each, 2*of(product)/(beside(c.floor[i])+beside(c.floor[i+1])))
		}
		return each
	}
	values := func(of func(outcome) float64, outcomes []outcome) (each []float64) {
		for _, o := range outcomes {
			each = append(each, of(o))
		}
		return each
	}
	overall, middle := func(o outcome) float64 { return o.Overall }, func(o outcome) float64 { return o.Middle }
	r.median(prefix+".ofFloor", what+" a second, against the bare client's", "", ratios(overall, overall))
	r.median(prefix+".middleOfFloor", "the same over the middle 80 %", "", ratios(middle, middle))
	r.median(prefix+".perSecond", what+" a second", "/s", values(overall, c.product))
	r.median(prefix+".floor.perSecond", "the bare client's", "/s", values(overall, c.floor))

	each := func(of func(costs) time.Duration) func(outcome) float64 {
		return func(o outcome) float64 { return of(o.costs).Seconds() * 1000 / float64(o.sessions) }
	}
	manager, server := each(func(c costs) time.Duration { return c.Manager }), each(func(c costs) time.Duration { return c.Server })
	etcd := each(func(c costs) time.Duration { return c.Etcd })
	r.median(prefix+".cpu.manager", "CPU of the manager, each", "ms", values(manager, c.product))
	r.median(prefix+".cpu.server", "CPU of kube-apiserver, each", "ms", values(server, c.product))
	r.median(prefix+".cpu.etcd", "CPU of etcd, each", "ms", values(etcd, c.product))
	r.median(prefix+".floor.cpu.server", "CPU of kube-apiserver for the bare client, each", "ms", values(server, c.floor))
	// Of a machine that is half as fast, both are twice as much.
	r.median(prefix+".cpu.share", "CPU of the manager, of what kube-apiserver takes for the bare client", "", ratios(manager, server))
	r.median(prefix+".floor.cpu.etcd", "CPU of etcd for the bare client, each", "ms", values(etcd, c.floor))

	r.median(prefix+".writes", "API writes, each", "", values(func(o outcome) float64 { return float64(o.writes()) / float64(o.sessions) }, c.product))
	r.median(prefix+".reads", "API reads, each", "", values(func(o outcome) float64 { return float64(o.reads()) / float64(o.sessions) }, c.product))
	last := c.product[len(c.product)-1]
	r.requests(prefix, last.Requests, last.sessions)
}

// requests reports them by verb and resource, for each session.
func (r *report) requests(prefix string, counts testenv.Counts, sessions int) {
	sums := map[string]int{}
	for request, n := range counts {
		resource := request.Resource
		if request.Subresource != "" {
			resource += "/" + request.Subresource
		}
		sums[request.Verb+" "+resource+" "+request.Code] += n
	}
	for _, kind := range slices.Sorted(maps.Keys(sums)) {
		key := prefix + ".requests." + strings.ReplaceAll(kind, " ", ".")
		r.add(key, fmt.Sprintf("    %s, each", kind), float64(sums[kind])/float64(sessions), "")
	}
}
