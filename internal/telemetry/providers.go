package telemetry

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Circuit is whether a provider is asked.
type Circuit int

const (
	// CircuitClosed means: it is.
	CircuitClosed Circuit = iota
	// CircuitHalfOpen means: it has failed, and one at a time finds out whether it still does.
	CircuitHalfOpen
	// CircuitOpen means: it is left alone for a while.
	CircuitOpen
)

// ProviderHealth is how one provider that is asked over the network is.
type ProviderHealth struct {
	// Kind, Namespace and Name are the object's own.
	Kind, Namespace, Name string
	// Circuit is whether it is asked.
	Circuit Circuit
	// Reached is when it last answered anything; zero where it has not since the process began.
	Reached time.Time
}

// ProviderCollector tells how providers are, when it is asked: so one that is gone leaves nothing behind.
type ProviderCollector struct {
	// Health tells.
	Health func(context.Context) ([]ProviderHealth, error)
	// Timeout bounds one collection.
	Timeout time.Duration

	circuit, reached *prometheus.Desc
}

// NewProviderCollector makes a collector over something that tells.
func NewProviderCollector(health func(context.Context) ([]ProviderHealth, error)) *ProviderCollector {
	labels := []string{"kind", "namespace", "name"}
	return &ProviderCollector{
		Health: health, Timeout: 5 * time.Second,
		circuit: prometheus.NewDesc(namespace+"_provider_circuit_state",
			"Whether a provider is asked: 0 it is, 1 it has failed and is asked by one session at a time, 2 it is left alone for a while.", labels, nil),
		reached: prometheus.NewDesc(namespace+"_provider_last_reached_timestamp_seconds",
			"When a provider last answered anything, in seconds since 1970; not there before it has.", labels, nil),
	}
}

// Describe implements prometheus.Collector.
func (c *ProviderCollector) Describe(out chan<- *prometheus.Desc) {
	out <- c.circuit
	out <- c.reached
}

// Collect implements prometheus.Collector.
func (c *ProviderCollector) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), c.Timeout)
	defer cancel()
	all, err := c.Health(ctx)
	if err != nil {
		out <- prometheus.NewInvalidMetric(c.circuit, err)
		return
	}
	for _, p := range all {
		out <- prometheus.MustNewConstMetric(c.circuit, prometheus.GaugeValue, float64(p.Circuit), p.Kind, p.Namespace, p.Name)
		if !p.Reached.IsZero() {
			out <- prometheus.MustNewConstMetric(c.reached, prometheus.GaugeValue, float64(p.Reached.UnixMilli())/1000, p.Kind, p.Namespace, p.Name)
		}
	}
}
