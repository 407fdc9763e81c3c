package fault_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr/funcr"
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/controllers"
	"terminals.dev/session-controller/internal/egress"
	"terminals.dev/session-controller/internal/provider"
	"terminals.dev/session-controller/internal/telemetry"
)

// process is a whole manager: what main makes of flags, on a wire. Killed, nothing that it still tries gets through, so that it ends in
// order is not to be seen from outside.
type process struct {
	run    *run
	number int
	cancel context.CancelFunc
	dead   atomic.Bool
	// asking are the calls of providers that are under way, and concerned those of which something may still be done with what came of them: their
	// contexts are not over.
	asking, concerned atomic.Int64

	mu          sync.Mutex
	controllers int
	queues      []*queue
	trackers    []*tracker
	// verified is at which change of a resource its caches were found up to date.
	verified map[string]int
}

// start starts one more manager of a run.
func (r *run) start() *process {
	r.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	p := &process{run: r, cancel: cancel, verified: map[string]int{}}
	r.mu.Lock()
	r.started++
	p.number = r.started
	r.mu.Unlock()

	own := rest.CopyConfig(plane.env.Config)
	own.ContentType = "application/json"
	own.Wrap(func(next http.RoundTripper) http.RoundTripper { return &wire{process: p, next: next} })
	caches := controllers.CacheOptions()
	controllers.Confine(&caches, r.own, []string{r.namespace})
	mgr, err := ctrl.NewManager(own, ctrl.Options{
		Scheme: plane.admin.Scheme(), Cache: caches, NewCache: p.newCache, Metrics: metricsserver.Options{BindAddress: "0"},
		MapperProvider: func(*rest.Config, *http.Client) (meta.RESTMapper, error) { return plane.admin.RESTMapper(), nil },
		Controller:     config.Controller{SkipNameValidation: new(true)}, // there are many managers in this process
		Logger:         funcr.New(p.log, funcr.Options{}),
	})
	if err == nil {
		_, err = controllers.Setup(ctx, counting{mgr, p}, controllers.Options{
			Namespace: r.own, Namespaces: []string{r.namespace}, IssuerURL: "https://sessions.test", Concurrent: 4,
			Metrics: telemetry.NewMetrics(prometheus.NewRegistry()), Recorder: &events.FakeRecorder{}, Clock: r.clock,
			Egress: egress.Allow{Loopback: true}, Wrap: p.gate, NewQueue: p.newQueue,
		})
	}
	if err != nil {
		cancel()
		r.t.Fatalf("setting up a manager: %v", err)
	}
	r.mu.Lock()
	r.processes = append(r.processes, p)
	r.mu.Unlock()
	r.note("process %d starts", p.number)
	go func() {
		if err := mgr.Start(ctx); err != nil && !p.isDead() {
			r.broken(fmt.Errorf("process %d ended: %w", p.number, err))
		}
	}()
	return p
}

// kill is kill -9.
func (p *process) kill() {
	p.dead.Store(true)
	p.cancel()
}

func (p *process) isDead() bool { return p.dead.Load() }

// log takes down what controllers say, but not that they start and stop.
func (p *process) log(_, line string) {
	if strings.Contains(line, `"reconcileID"`) || strings.Contains(line, `"error"`) {
		p.run.note("process %d says %s", p.number, line)
	}
}

// counting counts the controllers that a manager is to run.
type counting struct {
	ctrl.Manager
	process *process
}

// Add implements manager.Manager.
func (c counting) Add(r manager.Runnable) error {
	if _, is := r.(reconcile.Reconciler); is {
		c.process.mu.Lock()
		c.process.controllers++
		c.process.mu.Unlock()
	}
	return c.Manager.Add(r)
}

func (p *process) newQueue(_ string, limiter workqueue.TypedRateLimiter[reconcile.Request]) workqueue.TypedRateLimitingInterface[reconcile.Request] {
	q := newQueue(p.run.clock, limiter)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.queues = append(p.queues, q)
	return q
}

func (p *process) all() []*queue {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.queues
}

// begun is whether all controllers work.
func (p *process) begun() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.controllers == 0 || len(p.queues) < p.controllers {
		return false
	}
	for _, q := range p.queues {
		if !q.begun() {
			return false
		}
	}
	return true
}

// working is how many reconciles are under way, and ready how many could be.
func (p *process) working() (working, ready int) {
	for _, q := range p.all() {
		w, r := q.busy()
		working, ready = working+w, ready+r
	}
	return working, ready
}

// next is the soonest time that a controller waits for; zero if none does.
func (p *process) next() (soonest time.Time) {
	for _, q := range p.all() {
		if at := q.next(); !at.IsZero() && (soonest.IsZero() || at.Before(soonest)) {
			soonest = at
		}
	}
	return soonest
}

// entries is how many entries its queues have had.
func (p *process) entries() (n int) {
	for _, q := range p.all() {
		n += q.entries()
	}
	return n
}

func (p *process) wake() {
	for _, q := range p.all() {
		q.wake()
	}
}

// gate is put around the client of each provider: a killed process asks nobody.
func (p *process) gate(_ v1.Provider, asked provider.Provider) provider.Provider {
	return gate{asked, p}
}
