package controllers

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"

	v1 "terminals.dev/session-controller/api/v1"
)

// flaky is an API server without objects that can be away.
type flaky struct {
	mu        sync.Mutex
	away      error // what it answers; nil while it is up
	unwatched error // what it answers to watches alone
	listed    int
	watches   []*watch.FakeWatcher
	asked     int
	watched   time.Time // when it has let somebody watch last
}

func (f *flaky) asks() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	return f.away
}

func (f *flaky) List(metav1.ListOptions) (runtime.Object, error) {
	f.mu.Lock()
	f.listed++
	f.mu.Unlock()
	return &v1.TerminalSessionList{ListMeta: metav1.ListMeta{ResourceVersion: "1"}}, f.asks()
}

func (f *flaky) Watch(metav1.ListOptions) (watch.Interface, error) {
	if err := errors.Join(f.asks(), f.unwatched); err != nil {
		return nil, err
	}
	w := watch.NewFake()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.watches, f.watched = append(f.watches, w), time.Now()
	return w, nil
}

// is has the server answer so from now on, which breaks all watches off.
func (f *flaky) is(away error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.away = away
	for _, w := range f.watches {
		w.Stop()
	}
	f.watches = nil
}

// inform has an informer follow what a server has, while do is done.
func (f *flaky) inform(t *testing.T, do func()) {
	ctx, cancel := context.WithCancel(t.Context())
	informer := newInformer(f, &v1.TerminalSession{}, 0, nil)
	// What handles errors by default waits by a clock that it shares with other tests.
	if err := informer.SetWatchErrorHandlerWithContext(func(context.Context, *cache.Reflector, error) {}); err != nil {
		t.Fatal(err)
	}
	over := make(chan struct{})
	go func() {
		defer close(over)
		informer.RunWithContext(ctx)
	}()
	do()
	cancel()
	<-over
}

// returns has the server be back, and a minute pass in which it is to be watched again, soon.
func (f *flaky) returns(t *testing.T) {
	t.Helper()
	f.is(nil)
	back := time.Now()
	time.Sleep(time.Minute)
	synctest.Wait()
	if took := f.watched.Sub(back); took < 0 || took > 5*time.Second {
		t.Errorf("it was watched %s after the server was back", took)
	}
}

var forbidden = apierrors.NewForbidden(schema.GroupResource{}, "", errors.New("roles are not known yet"))

func TestACacheGoesOnWithinFiveSecondsOfWhenTheAPIServerIsBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const outages = 10
		f := &flaky{}
		f.inform(t, func() {
			for range outages {
				time.Sleep(20 * time.Second)
				f.is(syscall.ECONNREFUSED)
				time.Sleep(20 * time.Second)
				f.is(apierrors.NewServiceUnavailable("shutting down"))
				time.Sleep(20 * time.Second)
				f.is(forbidden)
				time.Sleep(time.Second)
				f.returns(t)
			}
		})
		if most := outages * (61/3 + 8); f.asked > most {
			t.Errorf("the server was asked %d times, want %d at most", f.asked, most)
		}
	})
}

func TestACacheIsReadWithinFiveSecondsOfWhenTheAPIServerIsThere(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &flaky{away: &url.Error{Op: "Get", URL: "https://127.0.0.1", Err: syscall.EHOSTUNREACH}}
		f.inform(t, func() {
			time.Sleep(time.Hour)
			f.returns(t)
		})
	})
}

func TestACacheThatMayNotBeWatchedIsReadAnewInstead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &flaky{unwatched: forbidden}
		f.inform(t, func() {
			time.Sleep(time.Hour)
			synctest.Wait()
		})
		if f.listed < 30 {
			t.Errorf("within an hour it was read %d times, want once in two minutes at least", f.listed)
		}
	})
}

func TestWhatTheAPIServerMeansIsNotAskedAgain(t *testing.T) {
	t.Parallel()
	for name, err := range map[string]error{
		"the version is too old": apierrors.NewResourceExpired("too old resource version"),
		"the version is not there yet": &apierrors.StatusError{ErrStatus: metav1.Status{
			Code: http.StatusGatewayTimeout, Reason: metav1.StatusReasonTimeout,
			Details: &metav1.StatusDetails{Causes: []metav1.StatusCause{{Type: metav1.CauseTypeResourceVersionTooLarge}}},
		}},
		"there is no such kind":                 apierrors.NewNotFound(schema.GroupResource{}, ""),
		"the answer is none that is understood": errors.New("no kind is registered"),
		"the question is wrong":                 apierrors.NewBadRequest("no"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			asked := 0
			_, is := persist(t.Context(), func() (any, error) { asked++; return nil, err })
			if !errors.Is(is, err) || asked != 1 {
				t.Errorf("asked %d times: %v", asked, is)
			}
		})
	}
}

func TestAnInformerThatIsToEndEndsWhileTheAPIServerIsAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Hour+time.Millisecond, cancel)
		began := time.Now()
		_, err := persist(ctx, func() (any, error) { return nil, syscall.ECONNREFUSED })
		if took := time.Since(began); !errors.Is(err, context.Canceled) || took != time.Hour+time.Millisecond {
			t.Errorf("it ended after %s: %v", took, err)
		}
	})
}
