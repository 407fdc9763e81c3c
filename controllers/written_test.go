package controllers

import (
	"testing"

	"k8s.io/apimachinery/pkg/types"
)

func TestOnlyWhatASessionsOwnWriteHasComeToIsNoNewsToIt(t *testing.T) {
	t.Parallel()
	till := types.NamespacedName{Namespace: "shop", Name: "till-1"}
	for name, row := range map[string]struct {
		happens func(t *own) (wakes bool)
		wakes   bool
	}{
		"its event comes after the answer": {happens: func(t *own) bool {
			t.begin(till, "till-1-token")
			t.end(till, "5")
			return !t.is(till, "till-1-token", "5") || t.unclear(till)
		}},
		"its event comes before the answer": {happens: func(t *own) bool {
			t.begin(till, "till-1-token")
			early := t.is(till, "till-1-token", "5")
			t.end(till, "5")
			return !early || t.unclear(till)
		}},
		"somebody changes it afterwards": {wakes: true, happens: func(t *own) bool {
			t.begin(till, "till-1-token")
			t.end(till, "5")
			t.is(till, "till-1-token", "5")
			return !t.is(till, "till-1-token", "6")
		}},
		"somebody changes it before the answer comes": {wakes: true, happens: func(t *own) bool {
			t.begin(till, "till-1-token")
			t.is(till, "till-1-token", "6")
			t.end(till, "5")
			return t.unclear(till)
		}},
		"both changes are told of as one": {wakes: true, happens: func(t *own) bool {
			t.begin(till, "till-1-token")
			t.end(till, "5")
			return !t.is(till, "till-1-token", "6")
		}},
		"the write has failed": {wakes: true, happens: func(t *own) bool {
			t.begin(till, "till-1-token")
			t.end(till, "")
			return !t.is(till, "till-1-token", "5")
		}},
		"the session is looked at before its event comes": {wakes: true, happens: func(t *own) bool {
			t.begin(till, "till-1-token")
			t.end(till, "5")
			t.forget(till)
			return !t.is(till, "till-1-token", "5")
		}},
		"it is another Secret": {wakes: true, happens: func(t *own) bool {
			t.begin(till, "till-1-token")
			t.end(till, "5")
			return !t.is(till, "till-1-grant", "5")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := row.happens(&own{}); got != row.wakes {
				t.Errorf("it wakes the session: %t, want %t", got, row.wakes)
			}
		})
	}
}
