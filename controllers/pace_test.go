package controllers

import (
	"strconv"
	"testing"
	"time"

	"github.com/google/uuid"
	"k8s.io/apimachinery/pkg/types"
)

func TestQuestionsOfAFleetAreSpreadEvenlyOverTheInterval(t *testing.T) {
	now, every := time.Date(2026, 3, 1, 12, 3, 20, 0, time.UTC), 5*time.Minute
	var tenths [10]int
	for n := range 10000 {
		at := slot(types.UID(uuid.NewSHA1(uuid.NameSpaceOID, []byte(strconv.Itoa(n))).String()), every, now)
		in := at.Sub(now)
		if in <= 0 || in > every {
			t.Fatalf("the first time is in %s", in)
		}
		tenths[min(int(in*10/every), 9)]++
	}
	for i, n := range tenths {
		if n < 800 || n > 1200 {
			t.Errorf("%d of 10000 are asked in tenth %d of the interval: %v", n, i, tenths)
		}
	}
}

func TestASessionsTurnsAreAnIntervalApart(t *testing.T) {
	now, every := time.Date(2026, 3, 1, 12, 3, 20, 0, time.UTC), 5*time.Minute
	for range 5 {
		next := slot("a", every, now)
		if after := slot("a", every, next); after.Sub(next) != every {
			t.Errorf("after %s comes %s", next, after)
		}
		now = next.Add(every / 3)
	}
}
