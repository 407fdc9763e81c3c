package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/test/testenv"
)

// broken is a watch that a server breaks off after each of some parts.
func broken(parts ...string) *view {
	v := &view{sights: make(chan sight, 16), patience: time.Minute, version: "1", stop: func() {}}
	v.open = func(_ context.Context, version string) (io.ReadCloser, error) {
		if len(parts) == 0 {
			return nil, errors.New("the server is gone, at version " + version)
		}
		part := parts[0]
		parts = parts[1:]
		return io.NopCloser(strings.NewReader(part)), nil
	}
	return v
}

const first, second = `{"type":"ADDED","object":{"metadata":{"name":"a","resourceVersion":"7"}}}` + "\n",
	`{"type":"DELETED","object":{"metadata":{"name":"a","resourceVersion":"9"}}}` + "\n"

func TestAWatchThatIsBrokenOffGoesOnWhereItWas(t *testing.T) {
	v := broken(second)
	go v.read(t.Context(), io.NopCloser(strings.NewReader(first)))
	times, err := v.first(t.Context(), 1, gone, nil)
	if err != nil || len(times) != 1 {
		t.Errorf("after the break %d deletions are seen: %v", len(times), err)
	}
	err = v.until(t.Context(), gone)
	if err == nil || !strings.Contains(err.Error(), "at version 9") {
		t.Errorf("it is gone on with by %v, want version 9", err)
	}
}

func TestAWatchThatIsBrokenOffAgainAtOnceIsOver(t *testing.T) {
	v := broken("", "", "")
	go v.read(t.Context(), io.NopCloser(strings.NewReader("")))
	if err := v.until(t.Context(), gone); !errors.Is(err, io.EOF) {
		t.Errorf("the error is %v, want the end of the watch", err)
	}
}

func TestWhereNothingHappensTheBenchGivesUp(t *testing.T) {
	v := &view{sights: make(chan sight), patience: time.Millisecond, tail: func(int) string { return "panic: oh" }}
	if err := v.until(t.Context(), gone); err == nil || !strings.Contains(err.Error(), "panic: oh") {
		t.Errorf("the error is %v, want the manager's last words", err)
	}
}

func TestEachNumberIsWorkedOnOnceAndAFailureEndsAll(t *testing.T) {
	var seen [50]atomic.Int32
	must(t, each(t.Context(), 7, 10, 50, nil, func(_ context.Context, number int) error { seen[number].Add(1); return nil }))
	for number := range seen {
		if got, want := seen[number].Load(), int32(min(max(number-9, 0), 1)); got != want {
			t.Errorf("%d is worked on %d times, want %d", number, got, want)
		}
	}
	full := errors.New("full")
	done := atomic.Int32{}
	err := each(t.Context(), 2, 0, 1000, nil, func(context.Context, int) error {
		if done.Add(1) == 5 {
			return full
		}
		return nil
	})
	if !errors.Is(err, full) || done.Load() > 900 {
		t.Errorf("after the fifth has failed %d were done: %v", done.Load(), err)
	}
}

func TestTheBareClientWritesWhatTheProductWroteInTheSameSize(t *testing.T) {
	const uid, other = "11111111-2222-3333-4444-555555555555", "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"
	like := &sample{
		uid: uid, secret: []byte(`{"name":"till-999999-token","uid":"` + uid + `"}`), status: []byte(`{"status":{"secretName":"till-999999-token"}}`),
		renewedSecret: []byte(`{"data":{}}`), renewedStatus: []byte(`{"status":{}}`),
	}
	writes := like.login(7, other)
	if len(writes) != 2 || len(writes[0].body) != len(like.secret) || len(writes[1].body) != len(like.status) {
		t.Fatalf("a login is %d writes: %s", len(writes), writes)
	}
	if want := `{"name":"till-000007-token","uid":"` + other + `"}`; string(writes[0].body) != want {
		t.Errorf("the Secret is %s, want %s", writes[0].body, want)
	}
	if !strings.HasSuffix(writes[1].path, "/floor/terminalsessions/till-000007/status") {
		t.Errorf("status is written to %s", writes[1].path)
	}
	if writes := like.renewal(7, other); len(writes) != 2 || !strings.HasSuffix(writes[0].path, "/floor/secrets/till-000007-token") {
		t.Errorf("a renewal is %s", writes)
	}
	like.finalizer = []byte(`{}`)
	if writes := like.login(7, other); len(writes) != 3 || !bytes.Equal(writes[0].body, like.finalizer) {
		t.Errorf("with a finalizer a login is %s, want that it comes first", writes)
	}
}

func TestEachTurnIsComparedWithThoseBeforeAndAfterIt(t *testing.T) {
	turn := func(rate float64, writes int) outcome {
		return outcome{pace: pace{Overall: rate, Middle: 2 * rate}, sessions: 10, costs: costs{
			Manager: 20 * time.Millisecond, Server: 50 * time.Millisecond, Requests: testenv.Counts{{Resource: "secrets", Verb: "POST"}: writes, {Resource: "secrets", Verb: "GET"}: 5},
		}}
	}
	r := newReport(options{n: 100, rounds: 3})
	r.section("throughput", "Throughput")
	r.compare("login", "logins", comparison{
		floor: []outcome{turn(100, 0), turn(200, 0), turn(300, 0), turn(500, 0)}, product: []outcome{turn(135, 20), turn(125, 20), turn(320, 30)},
	})
	for key, want := range map[string]float64{
		"login.ofFloor": 0.8, "login.middleOfFloor": 0.8, "login.perSecond": 135, "login.floor.perSecond": 250, "login.cpu.manager": 2, "login.cpu.share": 0.4,
		"login.writes": 2, "login.reads": 0.5, "login.requests.POST.secrets.": 3,
	} {
		if f := r.figure(key); f == nil || !near(f.Value, want) {
			t.Errorf("%s is %+v, want %g", key, f, want)
		}
	}
	if each := r.figure("login.ofFloor").Each; !slices.Equal(each, []float64{0.9, 0.5, 0.8}) {
		t.Errorf("the turns are %v", each)
	}
}

func TestTheWebhooksTokensEndInTheSameSecondWheneverTheyAreAskedFor(t *testing.T) {
	h := &hook{asked: map[v1.SessionReviewOperation][]time.Time{}}
	end := noon.Add(time.Minute)
	h.expireAt(end)
	asked := &v1.SessionReviewRequest{UID: "u/1", Operation: v1.ReviewLogin}
	asked.Session.LifetimeSeconds = 2592000
	for _, ms := range []int{0, 1, 999, 1000, 30500} {
		arrived := at(ms)[0]
		got := h.answer(asked, arrived)
		if over := arrived.Add(time.Duration(got.Token.ExpiresInSeconds) * time.Second).Sub(end); over < 0 || over >= time.Second {
			t.Errorf("a token asked for after %d ms ends %s after the others", ms, over)
		}
		if got.UID != asked.UID || len(got.Token.Value) != tokenLength || got.Token.Value != token(asked.UID) {
			t.Errorf("the answer is %+v", got)
		}
	}
	if got := h.arrivals(v1.ReviewLogin); len(got) != 5 || !slices.IsSortedFunc(got, time.Time.Compare) {
		t.Errorf("it remembers %v", got)
	}
	asked.Operation = v1.ReviewRenew
	if got := h.answer(asked, noon); got.Token.ExpiresInSeconds != asked.Session.LifetimeSeconds {
		t.Errorf("a renewed token lives for %d s, want as long as was asked for", got.Token.ExpiresInSeconds)
	}
}

func TestAStormLastsAsLongAsTheRateNeeds(t *testing.T) {
	if got := lifetime(100); got != shortest {
		t.Errorf("of a small fleet it is %s, want %s", got, shortest)
	}
	if got, rate := lifetime(20000), spare*20000/(share*lifetime(20000).Seconds()); rate > highest+1e-6 {
		t.Errorf("of a large fleet it is %s, at %g renewals a second", got, rate)
	}
}

func TestFlagsThatMakeNoRunAreRefused(t *testing.T) {
	for _, args := range [][]string{{"-n", "99"}, {"-rounds", "0"}, {"-only", "memory,nothing"}, {"memory"}, {"-no"}} {
		if o, err := parse(args); err == nil {
			t.Errorf("%v are taken as %+v", args, o)
		}
	}
	o, err := parse([]string{"-only", "memory, idle"})
	if err != nil || !o.wants("idle") || o.wants("storm") || o.full() {
		t.Errorf("-only is taken as %+v: %v", o, err)
	}
	if o, err := parse(nil); err != nil || o.n != 2000 || !o.full() {
		t.Errorf("by default a run is %+v: %v", o, err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
