package fault_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/utils/clock"
)

// book is what an issuer has written down of the tokens that it gave out. It is as strict as there are any: a refresh token works once, the
// access token before it is over then, and one that is used again ends everything that came of its login (RFC 9700 section 4.14.2).
type book struct {
	clock clock.PassiveClock

	mu       sync.Mutex
	families []*family
	said     int
}

// family is everything that came of one login.
type family struct {
	// key is the idempotency key that it was begun with, if there was one.
	key             string
	access, refresh string
	until           time.Time
	// spent are the refresh tokens that were used, and over the access tokens before the last.
	spent, over []string
	dead        bool
}

// entryOfBook is what was given out at once, or is left of it.
type entryOfBook struct{ access, refresh string }

func (e entryOfBook) String() string { return strings.TrimSpace(e.access + " " + e.refresh) }

// begin is a login.
func (b *book) begin(key string, refreshes bool) entryOfBook {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, f := range b.families {
		if key != "" && f.key == key {
			return entryOfBook{f.access, f.refresh}
		}
	}
	f := &family{key: key}
	b.families = append(b.families, f)
	return b.give(f, refreshes)
}

// refresh goes on with the family that has a refresh token.
func (b *book) refresh(with string) (entryOfBook, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, f := range b.families {
		if with != "" && f.refresh == with && !f.dead {
			f.spent, f.over = append(f.spent, f.refresh), append(f.over, f.access)
			return b.give(f, true), true
		}
		f.dead = f.dead || slices.Contains(f.spent, with)
	}
	return entryOfBook{}, false
}

// give is called under the lock.
func (b *book) give(f *family, refreshes bool) entryOfBook {
	b.said++
	f.access, f.until = fmt.Sprintf("access-%d", b.said), b.clock.Now().Add(lifetime)
	if refreshes {
		f.refresh = fmt.Sprintf("refresh-%d", b.said)
	}
	return entryOfBook{f.access, f.refresh}
}

// revoke ends an access token alone, and with a refresh token all that came of its login (RFC 7009 section 2.1).
func (b *book) revoke(token string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, f := range b.families {
		f.dead = f.dead || token != "" && f.refresh == token
		if f.access == token {
			f.until = time.Time{}
		}
	}
}

// honours is whether an access token holds.
func (b *book) honours(access string) bool {
	return slices.ContainsFunc(b.live(), func(e entryOfBook) bool { return access != "" && e.access == access })
}

// live is what is honoured now, by login.
func (b *book) live() (live []entryOfBook) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, f := range b.families {
		left := entryOfBook{refresh: f.refresh}
		if b.clock.Now().Before(f.until) {
			left.access = f.access
		}
		if !f.dead && left != (entryOfBook{}) {
			live = append(live, left)
		}
	}
	return live
}
