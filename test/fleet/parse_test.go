package main

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	v1 "terminals.dev/session-controller/api/v1"
)

func TestAnEventIsReadAsFarAsItIsNeeded(t *testing.T) {
	s, err := parseEvent([]byte(`{"type":"MODIFIED","object":{"metadata":{"name":"till-000007","resourceVersion":"42"},
		"spec":{"user":{"email":"anna@acme.example"}},"status":{"phase":"Established","token":{"secretName":"x","renewals":3}}}}`), noon)
	if err != nil {
		t.Fatal(err)
	}
	if want := (sight{at: noon, name: "till-000007", version: 42, phase: v1.PhaseEstablished, renewals: 3}); s != want {
		t.Errorf("it is read as %+v, want %+v", s, want)
	}
	if !established(s) || !renewed(s) || gone(s) {
		t.Errorf("%+v is not taken for established and renewed", s)
	}
	s, err = parseEvent([]byte(`{"type":"DELETED","object":{"kind":"PartialObjectMetadata","metadata":{"name":"x-token","resourceVersion":"43"}}}`), noon)
	if err != nil || !gone(s) {
		t.Errorf("a deletion is read as %+v: %v", s, err)
	}
}

func TestAWatchThatEndsSaysWhy(t *testing.T) {
	_, err := parseEvent([]byte(`{"type":"ERROR","object":{"kind":"Status","code":410,"message":"too old resource version"}}`), noon)
	if err == nil || !strings.Contains(err.Error(), "too old resource version") {
		t.Errorf("the error is %v, want the server's words in it", err)
	}
}

func TestMemoryIsReadFromWhatLinuxSays(t *testing.T) {
	got, err := parseStatus("Name:\tmanager\nVmHWM:\t   90000 kB\nVmRSS:\t   61440 kB\nRssAnon:\t   20480 kB\nRssFile:\t   40960 kB\nRssShmem:\t       0 kB\nThreads:\t9\n")
	if err != nil {
		t.Fatal(err)
	}
	if want := (resident{RSS: 60 * mib, Anon: 20 * mib, File: 40 * mib}); got != want {
		t.Errorf("it is %+v, want %+v", got, want)
	}
	if _, err := parseStatus("Name:\tmanager\n"); err == nil {
		t.Error("a process without memory is believed in")
	}
}

func TestAProcessThatHasEndedHasNoCPU(t *testing.T) {
	if used, err := cpu(os.Getpid()); err != nil || used < 0 {
		t.Errorf("this process has used %s: %v", used, err)
	}
	if _, err := cpu(1 << 30); err == nil {
		t.Error("a process that is not there has used CPU")
	}
}

func TestTheHeapIsReadFromTheProfilesEnd(t *testing.T) {
	got, err := parseHeap([]byte("heap profile: 1: 2 [3: 4] @ heap/1048576\n\n# runtime.MemStats\n# Alloc = 1\n# TotalAlloc = 700\n# HeapAlloc = 500\n# NumGC = 9\n"))
	if want := (heap{Live: 500, Total: 700, Collections: 9}); err != nil || got != want {
		t.Errorf("it is %+v, want %+v: %v", got, want, err)
	}
	if _, err := parseHeap([]byte("heap profile: 1: 2 [3: 4] @ heap/1048576\n")); err == nil {
		t.Error("a profile without figures is taken")
	}
}

func TestTheQueueIsReadFromTheManagersMetrics(t *testing.T) {
	got, err := parseFigures([]byte(`# TYPE workqueue_depth gauge
workqueue_depth{controller="terminalsession",name="terminalsession",priority="-10"} 3
workqueue_depth{controller="terminalsession",name="terminalsession",priority="20"} 4
workqueue_depth{controller="sessionban",name="sessionban"} 9
# TYPE controller_runtime_reconcile_total counter
controller_runtime_reconcile_total{controller="terminalsession",result="success"} 5
controller_runtime_reconcile_total{controller="terminalsession",result="requeue_after"} 6
# TYPE terminalsession_provider_requests_total counter
terminalsession_provider_requests_total{operation="Login",outcome="Issued",provider="embedded"} 2
`))
	if want := (figures{Looked: 11, Queued: 7, Calls: 2}); err != nil || got != want {
		t.Errorf("it is %+v, want %+v: %v", got, want, err)
	}
}

func TestOvertakenAreThoseWrittenAfterTheFirstOfTheOthers(t *testing.T) {
	renewals := map[string]sight{"a": {version: 1}, "b": {version: 5}, "c": {version: 7}}
	if got := overtaken(renewals, map[string]sight{"x": {version: 6}, "y": {version: 4}}); got != 2 {
		t.Errorf("%d are overtaken, want the 2 after version 4", got)
	}
	if got := overtaken(renewals, map[string]sight{"x": {version: 8}}); got != 0 {
		t.Errorf("%d are overtaken, want none", got)
	}
}

func TestTheBarShowsHowFarItIs(t *testing.T) {
	bar := drawBar("login", 50, 200, 10*time.Second)
	if strings.Count(bar, "#") != 7 || strings.Count(bar, ".") != 23 || !strings.Contains(bar, "50/200  5/s") {
		t.Errorf("at a quarter it is %q", bar)
	}
	if bar := drawBar("login", 300, 200, 0); strings.Count(bar, "#") != 30 {
		t.Errorf("beyond its end it is %q", bar)
	}
}

func TestThePictureIsXMLThatShowsEveryStage(t *testing.T) {
	picture := draw([]stage{
		{Sessions: 500, Resident: resident{RSS: 60 * mib}, Live: 10 * mib, Manager: 1.5, Server: 4, Etcd: 1, Requests: 2},
		{Sessions: 2000, Resident: resident{RSS: 70 * mib}, Live: 19 * mib, Manager: 1.4, Server: 4, Etcd: 1, Requests: 2},
	})
	for decoder := xml.NewDecoder(strings.NewReader(string(picture))); ; {
		if _, err := decoder.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("%v in\n%s", err, picture)
		}
	}
	for _, want := range []string{">500<", ">2000<", "RSS", "prefers-color-scheme: dark"} {
		if !strings.Contains(string(picture), want) {
			t.Errorf("there is no %q in it", want)
		}
	}
	if strings.Contains(string(picture), "NaN") || strings.Contains(string(picture), "Inf") {
		t.Errorf("something was divided by zero:\n%s", picture)
	}
}

func TestTheScaleOfAChartIsRound(t *testing.T) {
	for highest, want := range map[float64]float64{0: 1, 2.3: 0.5, 4.4: 1, 61: 20, 100: 20, 1.1: 0.2, 9: 2} {
		if got := roundStep(highest); !near(got, want) {
			t.Errorf("up to %g it goes by %g, want %g", highest, got, want)
		}
	}
}
