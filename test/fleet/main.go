// Command fleet is `make bench`: it measures what a fleet of sessions costs, on an etcd and a kube-apiserver of its own and with the
// manager as a process of its own, and ends with an error where something is not as promised.
//
// How to read what it prints is in docs/performance.md; what is promised is in thresholds.yaml.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/go-logr/logr"
	ctrl "sigs.k8s.io/controller-runtime"

	"terminals.dev/session-controller/test/testenv"
)

func main() { testenv.Main(run) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)   // a second Ctrl-C does not wait
	ctrl.SetLogger(logr.Discard()) // what the clients have to say
	o, err := parse(os.Args[1:])
	if err == nil {
		err = measure(ctx, o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "make bench:", err)
		return 1
	}
	return 0
}

// bench is one run.
type bench struct {
	options
	*plane
	*progress
	report *report
	// workers is how many the bare client does best with; zero until that was measured.
	workers int
}

// measure runs the phases that were asked for, one after the other, and judges what they have found.
func measure(ctx context.Context, o options) (err error) {
	limits, err := readThresholds(o.thresholds)
	if err != nil {
		return err
	}
	b := &bench{options: o, progress: newProgress(os.Stderr), report: newReport(o)}
	b.say("starting etcd, kube-apiserver and the manager")
	if b.plane, err = startPlane(ctx, o); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.stop()) }() //nolint:contextcheck // it has to stop when the context is done, too
	for _, p := range phases {
		if !o.wants(p.name) {
			continue
		}
		b.report.section(p.name, p.title)
		if err := p.run(b, ctx); err != nil {
			return errors.Join(fmt.Errorf("%s: %w", p.title, err), b.conclude(limits, false))
		}
	}
	return b.conclude(limits, b.full())
}

// conclude writes what was found, prints it, and says what was promised and is not kept; full is whether everything was measured.
func (b *bench) conclude(limits []threshold, full bool) error {
	broken := b.report.judge(limits, full)
	b.report.print(os.Stdout)
	if err := b.report.write(b.out); err != nil {
		return err
	}
	fmt.Printf("\nWritten to %s.\n", b.out)
	if b.picture != "" && len(b.report.Growth) > 0 {
		if err := os.WriteFile(b.picture, draw(b.report.Growth), 0o644); err != nil {
			return fmt.Errorf("writing the picture: %w", err)
		}
	}
	return broken
}
