// Package telemetry is what the controller tells of itself: metrics, in the ecosystem's style and without a label per session.
package telemetry

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "terminals.dev/session-controller/api/v1"
)

const namespace = "terminalsession"

// Metrics are the controller's own metrics, beside those of controller-runtime.
type Metrics struct {
	requests  *prometheus.CounterVec
	durations *prometheus.HistogramVec
	ended     *prometheus.CounterVec
	revoked   *prometheus.CounterVec
}

// RevocationOutcome is what became of a token that a provider was to be told of.
type RevocationOutcome string

const (
	// Revoked means: the provider was told.
	Revoked RevocationOutcome = "Revoked"
	// Expired means: the token was over by itself before the provider could be told.
	Expired RevocationOutcome = "Expired"
	// Refused means: the provider was told, and said no.
	Refused RevocationOutcome = "Refused"
	// Lost means: somebody had deleted or altered the Secret with the token, so that nobody could be told.
	Lost RevocationOutcome = "Lost"
)

// NewMetrics makes the metrics and registers them.
func NewMetrics(registry prometheus.Registerer) *Metrics {
	m := &Metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "provider_requests_total",
			Help: "Calls to providers, by the provider's kind, the operation and the outcome: Issued, Revoked, or the kind of failure.",
		}, []string{"provider", "operation", "outcome"}),
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Name: "provider_request_duration_seconds",
			Help:    "How long calls to providers took, by the provider's kind and the operation.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 4, 9),
		}, []string{"provider", "operation"}),
		ended: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "ended_total",
			Help: "Sessions that ended, by the reason.",
		}, []string{"reason"}),
		revoked: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "revocations_total",
			Help: "Tokens that a provider was to be told of, by what became of them: Revoked, Expired, Refused, Lost.",
		}, []string{"outcome"}),
	}
	for _, outcome := range []RevocationOutcome{Revoked, Expired, Refused, Lost} {
		m.revoked.WithLabelValues(string(outcome)) // there from the start, so that the first one is a rise
	}
	registry.MustRegister(m.requests, m.durations, m.ended, m.revoked)
	return m
}

// ProviderRequest counts one call to a provider.
func (m *Metrics) ProviderRequest(provider, operation, outcome string, took time.Duration) {
	m.requests.WithLabelValues(provider, operation, outcome).Inc()
	m.durations.WithLabelValues(provider, operation).Observe(took.Seconds())
}

// SessionEnded counts a session that ended.
func (m *Metrics) SessionEnded(reason string) { m.ended.WithLabelValues(reason).Inc() }

// Revocation counts a token by what became of it.
func (m *Metrics) Revocation(outcome RevocationOutcome) {
	m.revoked.WithLabelValues(string(outcome)).Inc()
}

// SessionCollector counts the sessions in a cache when it is asked, so that the figures need no upkeep.
type SessionCollector struct {
	Cache client.Reader
	// Timeout bounds one collection.
	Timeout time.Duration

	sessions, expiry *prometheus.Desc
}

// NewSessionCollector makes a collector over a cache.
func NewSessionCollector(cache client.Reader) *SessionCollector {
	return &SessionCollector{
		Cache: cache, Timeout: 5 * time.Second,
		sessions: prometheus.NewDesc(namespace+"_sessions", "Sessions by phase, and by whether they are ready.", []string{"phase", "ready"}, nil),
		expiry: prometheus.NewDesc(namespace+"_earliest_expiry_timestamp_seconds",
			"When the first of the access tokens in use expires, in seconds since 1970; not there without one.", nil, nil),
	}
}

// Describe implements prometheus.Collector.
func (c *SessionCollector) Describe(out chan<- *prometheus.Desc) {
	out <- c.sessions
	out <- c.expiry
}

// Collect implements prometheus.Collector.
func (c *SessionCollector) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), c.Timeout)
	defer cancel()
	list := &v1.TerminalSessionList{}
	if err := c.Cache.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
		out <- prometheus.NewInvalidMetric(c.sessions, err)
		return
	}
	type group struct{ phase, ready string }
	counts := map[group]int{}
	var earliest time.Time
	for i := range list.Items {
		st := &list.Items[i].Status
		counts[group{string(st.Phase), readiness(st)}]++
		if t := st.Token; t != nil && (earliest.IsZero() || t.ExpiresAt.Time.Before(earliest)) {
			earliest = t.ExpiresAt.Time
		}
	}
	for g, n := range counts {
		out <- prometheus.MustNewConstMetric(c.sessions, prometheus.GaugeValue, float64(n), g.phase, g.ready)
	}
	if !earliest.IsZero() {
		out <- prometheus.MustNewConstMetric(c.expiry, prometheus.GaugeValue, float64(earliest.Unix()))
	}
}

func readiness(st *v1.TerminalSessionStatus) string {
	for i := range st.Conditions {
		if st.Conditions[i].Type == v1.ConditionReady {
			return string(st.Conditions[i].Status)
		}
	}
	return "Unknown"
}

// RevocationCollector tells how many tokens wait for their provider to be told, when it is asked.
type RevocationCollector struct {
	// Count counts them.
	Count func(context.Context) (int, error)
	// Timeout bounds one collection.
	Timeout time.Duration

	pending *prometheus.Desc
}

// NewRevocationCollector makes a collector over something that counts.
func NewRevocationCollector(count func(context.Context) (int, error)) *RevocationCollector {
	return &RevocationCollector{
		Count: count, Timeout: 5 * time.Second,
		pending: prometheus.NewDesc(namespace+"_revocations_pending", "Tokens that a provider is yet to be told of.", nil, nil),
	}
}

// Describe implements prometheus.Collector.
func (c *RevocationCollector) Describe(out chan<- *prometheus.Desc) { out <- c.pending }

// Collect implements prometheus.Collector.
func (c *RevocationCollector) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), c.Timeout)
	defer cancel()
	n, err := c.Count(ctx)
	if err != nil {
		out <- prometheus.NewInvalidMetric(c.pending, err)
		return
	}
	out <- prometheus.MustNewConstMetric(c.pending, prometheus.GaugeValue, float64(n))
}
