package processes

import (
	"slices"
	"testing"
	"time"
)

func TestACrashExcusesAsManyTokensAsItHadCallsUnderWay(t *testing.T) {
	t.Parallel()
	froze := time.Now()
	thawed, ended := froze.Add(20*time.Second), froze.Add(21*time.Second)
	before, since := froze.Add(-3*slack), froze.Add(-2*slack)
	crashes := []crash{
		{[]span{{froze, froze}, {thawed, ended}}, underway},
		{[]span{{before, since}}, 1},
		{[]span{{since, froze.Add(-slack)}}, 1},
	}
	tokens := func(n int, at time.Time) []time.Time { return slices.Repeat([]time.Time{at}, n) }
	for what, test := range map[string]struct {
		made []time.Time
		ok   bool
	}{
		"as many as were under way":             {tokens(underway, ended), true},
		"one more":                              {tokens(underway+1, ended), false},
		"half before and half afterwards":       {slices.Concat(tokens(underway/2, thawed), tokens(underway/2, froze.Add(slack/2))), true},
		"half before and more than half later":  {slices.Concat(tokens(underway/2+1, thawed), tokens(underway/2, froze.Add(slack/2))), false},
		"one while there was but one who acted": {tokens(1, froze.Add(2*slack)), false},
		"those of two calls and of a crash":     {slices.Concat(tokens(2, since), tokens(underway, thawed)), true},
		"three of two calls":                    {tokens(3, since), false},
		"each of the call that was its own":     {slices.Concat(tokens(1, froze.Add(-slack/2)), tokens(1, before)), true},
		"one long before":                       {tokens(1, before.Add(-slack)), false},
	} {
		v := &verdict{}
		v.grants(test.made, crashes)
		if ok := len(v.wrong) == 0; ok != test.ok {
			t.Errorf("%s: found is %q", what, v.wrong)
		}
	}
}
