package main

import (
	"context"
	"fmt"
	"time"

	"terminals.dev/session-controller/test/testenv"
)

// costs is what was spent between two moments.
type costs struct {
	// Manager, Server and Etcd are CPU time.
	Manager, Server, Etcd time.Duration
	// Requests are those for the kinds that the manager deals with, watches left aside: they are counted when they end, which is as long as the
	// process lives, or longer.
	Requests testenv.Counts
}

// dealtWith are the resources that the manager reads and writes. The API server has requests of its own for others.
var dealtWith = []string{
	"terminalsessions", "secrets", "events", "namespaces", "sessionproviders", "clustersessionproviders",
	"sessionbans", "clustersessionbans", "sessionlogouts", "tokenreviews", "subjectaccessreviews",
}

// meter begins to count. What it returns tells the costs so far; a manager that was not there yet is counted from its start.
func (p *plane) meter(ctx context.Context) (func(context.Context) (costs, error), error) {
	requests, err := p.env.RequestCounts(ctx) // costs the server something, so it comes before the rest
	if err != nil {
		return nil, err
	}
	pid := 0
	if p.manager != nil {
		pid = p.manager.PID()
	}
	before, err := p.used()
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) (costs, error) {
		after, err := p.used()
		if err != nil {
			return costs{}, err
		}
		if p.manager != nil && p.manager.PID() != pid {
			before.Manager = 0
		}
		counted, err := p.env.RequestCounts(ctx)
		if err != nil {
			return costs{}, err
		}
		spent := costs{
			Manager: after.Manager - before.Manager, Server: after.Server - before.Server, Etcd: after.Etcd - before.Etcd,
			Requests: testenv.Counts{},
		}
		for _, resource := range dealtWith {
			for request, n := range counted.Since(requests).Of(resource) {
				if request.Verb != "WATCH" {
					spent.Requests[request] = n
				}
			}
		}
		return spent, nil
	}, nil
}

// used is the CPU time that each process has used since it began.
func (p *plane) used() (c costs, err error) {
	if p.manager != nil {
		if c.Manager, err = cpu(p.manager.PID()); err != nil {
			return c, fmt.Errorf("%w; the manager's last words:\n%s", err, p.manager.Tail(15))
		}
	}
	if c.Server, err = cpu(p.server); err != nil {
		return c, err
	}
	c.Etcd, err = cpu(p.etcd)
	return c, err
}

// writes is how many of the requests change something.
func (c costs) writes() int { return c.Requests.Writes().Total() }

// reads is how many do not.
func (c costs) reads() int { return c.Requests.Total() - c.writes() }
