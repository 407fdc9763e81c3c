package session

import (
	"hash/fnv"
	"time"

	v1 "terminals.dev/session-controller/api/v1"
)

const (
	// backoffBase is the wait after the first failure; it doubles with each one more.
	backoffBase = 5 * time.Second
	// backoffCap is the longest wait, unless the provider asks for more.
	backoffCap = 10 * time.Minute
	// authTokenWait is the least wait for an auth token that is not there.
	authTokenWait = 10 * time.Minute
	// retryAfterCap bounds what a provider may ask for.
	retryAfterCap = 24 * time.Hour
)

// RenewalTime is when a token is to be renewed: renewBefore ahead of its expiry where renewBefore is below the lifetime received, else
// a third of that lifetime; pulled earlier by a spread of up to a tenth of the lifetime that is fixed for each object, so that a fleet
// logged in at once is not renewed at once; and never before half the lifetime. In whole seconds, as status is.
func RenewalTime(s *v1.TerminalSession, issuedAt, expiresAt time.Time) time.Time {
	lifetime := expiresAt.Sub(issuedAt)
	before := lifetime / 3
	if d := s.Spec.Token.RenewBefore; d != nil && d.Duration > 0 && d.Duration < lifetime {
		before = d.Duration
	}
	at := expiresAt.Add(-before - spread(s, lifetime/10))
	if earliest := issuedAt.Add(lifetime / 2); at.Before(earliest) {
		at = earliest
	}
	return at.Truncate(time.Second)
}

// spread is a share of most, from nothing to all of it, that is fixed for each object.
func spread(s *v1.TerminalSession, most time.Duration) time.Duration {
	h := fnv.New32a()
	_, _ = h.Write([]byte(s.UID))
	return time.Duration(float64(most) * float64(h.Sum32()) / (1 << 32))
}

// backoff is how long to wait after the given number of failures in a row.
func backoff(s *v1.TerminalSession, failures int32, f *Failure) time.Duration {
	wait := backoffCap
	if failures >= 1 && failures < 8 {
		wait = min(backoffBase<<(failures-1), backoffCap)
	}
	// A token of minutes has no ten minutes to wait: a tenth of its life leaves room for several tries before it is over.
	if t := s.Status.Token; t != nil {
		wait = min(wait, max(t.ExpiresAt.Sub(t.IssuedAt.Time)/10, time.Second))
	}
	wait += spread(s, wait/10)
	if f.Kind == FailureAuthTokenMissing {
		wait = max(wait, authTokenWait)
	}
	return max(wait, min(f.RetryAfter, retryAfterCap))
}
