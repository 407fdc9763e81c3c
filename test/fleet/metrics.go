package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"net/http"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// figures are what the manager counts of itself.
type figures struct {
	// Looked is how often it has looked at a session since it began, and Queued how many sessions wait to be looked at.
	Looked, Queued int
	// Calls is how many calls to providers were made.
	Calls int
}

// anyCertificate asks the manager, whose certificate nobody has signed.
var anyCertificate = &http.Client{Transport: &http.Transport{
	TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true,
}}

// figures asks the manager. It counts its sessions to answer, so it is asked only where nothing is being measured.
func (p *plane) figures(ctx context.Context) (figures, error) {
	page, err := get(ctx, anyCertificate, p.manager.Metrics)
	if err != nil {
		return figures{}, fmt.Errorf("reading the manager's metrics: %w", err)
	}
	return parseFigures(page)
}

func parseFigures(page []byte) (figures, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(page))
	if err != nil {
		return figures{}, fmt.Errorf("parsing the manager's metrics: %w", err)
	}
	sum := func(family string, of string) (sum float64) {
		for _, metric := range families[family].GetMetric() {
			fits := of == ""
			for _, l := range metric.GetLabel() {
				fits = fits || l.GetValue() == of
			}
			if fits {
				sum += metric.GetCounter().GetValue() + metric.GetGauge().GetValue()
			}
		}
		return sum
	}
	const sessions = "terminalsession"
	return figures{
		Looked: int(sum("controller_runtime_reconcile_total", sessions)), Queued: int(sum("workqueue_depth", sessions)),
		Calls: int(sum("terminalsession_provider_requests_total", "")),
	}, nil
}
