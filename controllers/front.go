package controllers

import (
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

const (
	// frontSize is how many of those who were denied come back soon.
	frontSize = 8
	// frontSoonest and frontLatest bound when they do, where it does not take longer until anybody may go.
	frontSoonest = 10 * time.Millisecond
	frontLatest  = time.Second
	// frontPatience is for how long somebody is waited for who does not come back in time.
	frontPatience = 2 * time.Second
)

// comer is who asks for leave: a session, and how urgent it is.
type comer struct {
	key      types.NamespacedName
	priority int
}

// front has the most urgent of those who were denied, the most urgent first. Nobody who is less urgent goes before them.
type front []awaited

// awaited is somebody who is to come back, and is waited for until then.
type awaited struct {
	comer
	until time.Time
}

// ahead is how many go before somebody. Who has not come back in time is not waited for any longer.
func (f *front) ahead(now time.Time, who comer) (n int) {
	*f = slices.DeleteFunc(*f, func(a awaited) bool { return now.After(a.until) })
	for _, a := range *f {
		if a.key != who.key && a.priority > who.priority {
			n++
		}
	}
	return n
}

// join gives somebody a place behind those who are as urgent, if there is one. Then whoever is the last of too many has none any more.
func (f *front) join(who comer) (rank int, ok bool) {
	f.drop(who.key)
	for rank < len(*f) && (*f)[rank].priority >= who.priority {
		rank++
	}
	if rank == frontSize {
		return 0, false
	}
	*f = slices.Insert(*f, rank, awaited{comer: who})
	*f = (*f)[:min(len(*f), frontSize)]
	return rank, true
}

func (f *front) drop(key types.NamespacedName) {
	*f = slices.DeleteFunc(*f, func(a awaited) bool { return a.key == key })
}
