package session_test

import (
	"testing"
	"time"

	"terminals.dev/session-controller/internal/session"
)

func BenchmarkDecideAtRest(b *testing.B) {
	w := newWorld()
	loggedIn(w)
	in, now := w.observe(), w.now.Add(time.Hour)
	benchmarkDecide(b, in, now, session.ActionNone)
}

func BenchmarkDecideRenewal(b *testing.B) {
	w := newWorld()
	loggedIn(w)
	renewalDue(w)
	benchmarkDecide(b, w.observe(), w.now, session.ActionRenew)
}

func BenchmarkDecideLogin(b *testing.B) {
	w := newWorld()
	benchmarkDecide(b, w.observe(), w.now, session.ActionLogin)
}

func benchmarkDecide(b *testing.B, in session.Input, now time.Time, want session.Action) {
	b.ReportAllocs()
	for b.Loop() {
		if d := session.Decide(in, now); d.Action != want {
			b.Fatalf("it decides %s", d.Action)
		}
	}
}

func BenchmarkReportAtRest(b *testing.B) {
	w := newWorld()
	loggedIn(w)
	in := w.observe()
	benchmarkReport(b, in, session.Decide(in, w.now), session.Outcome{}, w.now)
}

func BenchmarkReportLogin(b *testing.B) {
	w := newWorld()
	in := w.observe()
	d := session.Decide(in, w.now)
	out, _ := w.act(d)
	benchmarkReport(b, in, d, out, w.now)
}

func benchmarkReport(b *testing.B, in session.Input, d session.Decision, out session.Outcome, now time.Time) {
	b.ReportAllocs()
	for b.Loop() {
		if st := session.Report(in, d, out, now); st.Token == nil {
			b.Fatal("there is no token")
		}
	}
}
