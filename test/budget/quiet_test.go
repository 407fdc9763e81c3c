package budget

import (
	"bufio"
	"crypto/tls"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"terminals.dev/session-controller/test/testenv"
)

// quiet waits until the manager has looked at every session since it started, and has nothing left to do.
func quiet(t *testing.T, m *testenv.Manager, looks int) {
	t.Helper()
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	var got map[string]float64
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); {
		got = scrape(client, m.Metrics)
		if got != nil && got["reconciled"] >= float64(looks) && got["queued"] == 0 && got["working"] == 0 {
			return
		}
		<-time.After(50 * time.Millisecond)
	}
	t.Fatalf("the manager does not come to rest: %v", got)
}

// scrape reads from the manager's metrics how often it has looked at sessions, how many wait, and how many are being worked on; nil while
// it serves none yet.
func scrape(client *http.Client, url string) map[string]float64 {
	response, err := client.Get(url)
	if err != nil {
		return nil
	}
	defer response.Body.Close()
	got := map[string]float64{}
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), " ")
		number, err := strconv.ParseFloat(value, 64)
		if err != nil || !strings.Contains(name, `"terminalsession"`) {
			continue
		}
		switch {
		case strings.HasPrefix(name, "controller_runtime_reconcile_total{"):
			got["reconciled"] += number
		case strings.HasPrefix(name, "workqueue_depth{"):
			got["queued"] += number
		case strings.HasPrefix(name, "controller_runtime_active_workers{"):
			got["working"] += number
		}
	}
	return got
}
