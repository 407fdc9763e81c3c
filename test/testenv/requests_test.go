package testenv

import (
	"maps"
	"testing"
)

const metricsPage = `# TYPE apiserver_request_total counter
apiserver_request_total{code="200",group="terminals.dev",resource="terminalsessions",subresource="status",verb="PATCH"} 7
apiserver_request_total{code="200",group="terminals.dev",resource="terminalsessions",subresource="",verb="LIST"} 2
apiserver_request_total{code="201",group="",resource="secrets",subresource="",verb="POST"} 3
apiserver_request_total{code="201",dry_run="All",group="",resource="secrets",subresource="",verb="POST"} 1
`

func TestCounts(t *testing.T) {
	counts, err := parseCounts([]byte(metricsPage))
	if err != nil {
		t.Fatal(err)
	}
	status := Request{Resource: "terminalsessions", Subresource: "status", Verb: "PATCH", Code: "200"}
	created := Request{Resource: "secrets", Verb: "POST", Code: "201"}
	if got, want := counts.Writes(), (Counts{status: 7, created: 4}); !maps.Equal(got, want) {
		t.Errorf("writes are %v, want %v", got, want)
	}
	if got, want := counts.Since(Counts{status: 5, created: 4}).Writes(), (Counts{status: 2}); !maps.Equal(got, want) {
		t.Errorf("writes since then are %v, want %v", got, want)
	}
	if got := counts.Of("terminalsessions").Total(); got != 9 {
		t.Errorf("%d requests for sessions, want 9", got)
	}
}
