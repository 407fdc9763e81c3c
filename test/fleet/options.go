package main

import (
	"context"
	"flag"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// options are the flags.
type options struct {
	n, rounds                int
	only                     []string
	idle                     time.Duration
	profiles                 bool
	out, thresholds, picture string
}

// fewest is the smallest fleet of which a tenth is still a number of sessions.
const fewest = 100

func parse(args []string) (options, error) {
	o, only := options{}, ""
	flags := flag.NewFlagSet("fleet", flag.ContinueOnError)
	flags.IntVar(&o.n, "n", 2000, "How many sessions the fleet has, 100 at least.")
	flags.IntVar(&o.rounds, "rounds", 3, "How many turns the product has; the bare client has one before each, and one after the last.")
	flags.StringVar(&only, "only", "", "Run these phases alone, separated by commas: "+strings.Join(names(), ", ")+". Default: all.")
	flags.DurationVar(&o.idle, "idle", time.Minute, "For how long the fleet is watched at rest.")
	flags.BoolVar(&o.profiles, "profiles", false, "Keep profiles of each phase in a folder beside -out: CPU, heap and mutex of the manager, CPU of the API server. They cost a little.")
	flags.StringVar(&o.out, "out", filepath.Join("build", "bench.json"), "The file that everything is written to.")
	flags.StringVar(&o.thresholds, "thresholds", filepath.Join("test", "fleet", "thresholds.yaml"), "The file with what is promised.")
	flags.StringVar(&o.picture, "picture", "", "Draw how cost grows with the fleet into this file, as SVG; with the phase memory. Default: nowhere.")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q: everything is said by flags", flags.Arg(0))
	}
	if o.n < fewest || o.rounds < 1 {
		return o, fmt.Errorf("-n %d -rounds %d: a run takes %d sessions and 1 round at least", o.n, o.rounds, fewest)
	}
	if o.only = strings.FieldsFunc(only, func(r rune) bool { return r == ',' || r == ' ' }); len(o.only) == 0 {
		o.only = names()
	}
	for _, name := range o.only {
		if !slices.Contains(names(), name) {
			return o, fmt.Errorf("-only has %q: there are %s", name, strings.Join(names(), ", "))
		}
	}
	return o, nil
}

// phase is a part of a run that can be had alone.
type phase struct {
	name, title string
	run         func(*bench, context.Context) error
}

// phases are in the order in which they run: the fleet that memory has made grow is at rest for those that follow.
var phases = []phase{
	{"throughput", "Logins and renewals against the floor", (*bench).throughput},
	{"memory", "Memory, and how cost grows", (*bench).memory},
	{"idle", "The fleet at rest", (*bench).atRest},
	{"restart", "A restart", (*bench).restart},
	{"latency", "Bans and logouts", (*bench).latency},
	{"webhook", "Logins by a webhook that answers after 20 ms", (*bench).webhook},
	{"storm", "Tokens that expire in the same second", (*bench).storm},
}

func names() (all []string) {
	for _, p := range phases {
		all = append(all, p.name)
	}
	return all
}

func (o options) wants(phase string) bool { return slices.Contains(o.only, phase) }

// full is whether every phase runs.
func (o options) full() bool {
	return !slices.ContainsFunc(names(), func(name string) bool { return !o.wants(name) })
}
