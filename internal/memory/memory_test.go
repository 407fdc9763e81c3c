package memory

import (
	"runtime"
	"testing"
)

func TestMemoryIsGivenBackOnceABurstIsOverAndNotAtRest(t *testing.T) {
	t.Parallel()
	const mib = 1 << 20
	var w watch
	for _, look := range []struct {
		what string
		now  uint64
		want bool
	}{
		{"a start that read nothing", mib / 2, false},
		{"a fleet that is being read", 40 * mib, false},
		{"and is still", 90 * mib, false},
		{"it is read", 90*mib + mib/2, true},
		{"rest", 91 * mib, false},
		{"rest", 91*mib + mib/2, false},
		{"a few logins", 96 * mib, false},
		{"rest", 96*mib + mib/2, false},
		{"a few logins more, which come to a burst", 99 * mib, false},
		{"rest", 99*mib + mib/2, true},
		{"rest", 100 * mib, false},
	} {
		got := w.over(look.now)
		if got {
			w.released = look.now
		}
		if got != look.want {
			t.Errorf("%s, %d MiB in all: given back: %t, want %t", look.what, look.now/mib, got, look.want)
		}
	}
}

func TestWhatIsAllocatedIsCounted(t *testing.T) {
	before := allocated()
	block := make([]byte, 8<<20)
	if got := allocated() - before; got < 8<<20 {
		t.Errorf("8 MiB count as %d bytes", got)
	}
	runtime.KeepAlive(block)
}
