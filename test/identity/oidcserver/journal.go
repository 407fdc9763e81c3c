package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// journal has each change of the book as a line, which is written before anybody hears of the change: a server that is killed knows
// afterwards whatever it has said. Without a file nothing is written.
type journal struct{ file *os.File }

// entry is a line. Without a value what is under the key is no more.
type entry struct {
	Shelf string          `json:"shelf"`
	Key   string          `json:"key"`
	Value json.RawMessage `json:"value,omitempty"`
}

// openJournal applies what a file has, and goes on with it. The last line may not be whole: nobody has heard of what it was to say.
func openJournal(path string, apply func(entry) error) (*journal, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	whole := bytes.LastIndexByte(content, '\n') + 1
	for line := range bytes.Lines(content[:whole]) {
		var e entry
		if err := json.Unmarshal(line, &e); err != nil {
			return nil, fmt.Errorf("reading %s: %w", path, err)
		}
		if err := apply(e); err != nil {
			return nil, fmt.Errorf("reading %s: %w", path, err)
		}
	}
	return &journal{file}, file.Truncate(int64(whole))
}

func (j *journal) write(e entry) {
	if j == nil {
		return
	}
	line, err := json.Marshal(e)
	if err == nil {
		_, err = j.file.Write(append(line, '\n'))
	}
	if err != nil { // no answer is to go out that the book does not know of
		fmt.Fprintln(os.Stderr, "oidcserver: writing the journal:", err)
		os.Exit(1)
	}
}

// shelf is one kind of things in the book.
type shelf[T any] struct {
	name string
	all  map[string]*T
	to   *journal
}

func newShelf[T any](name string) *shelf[T] { return &shelf[T]{name: name, all: map[string]*T{}} }

// put keeps what is new under a key, or has changed.
func (s *shelf[T]) put(key string, value *T) {
	content, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	s.to.write(entry{s.name, key, content})
	s.all[key] = value
}

func (s *shelf[T]) drop(key string) {
	if s.all[key] == nil {
		return
	}
	s.to.write(entry{s.name, key, nil})
	delete(s.all, key)
}

func (s *shelf[T]) apply(e entry) error {
	if e.Value == nil {
		delete(s.all, e.Key)
		return nil
	}
	value := new(T)
	s.all[e.Key] = value
	return json.Unmarshal(e.Value, value)
}

// discardArrivals notes nothing.
func discardArrivals(h http.Handler) http.Handler { return h }

// arrivalsIn notes in a file of a folder when each request came in, before anything is done about it: nanoseconds since 1970, method and
// path. What tests ask for in people's place does not count.
func arrivalsIn(folder string) (func(http.Handler) http.Handler, error) {
	file, err := os.OpenFile(filepath.Join(folder, "requests.log"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	return func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !strings.HasPrefix(r.URL.Path, "/test/") {
				fmt.Fprintf(file, "%d %s %s\n", time.Now().UnixNano(), r.Method, r.URL.Path)
			}
			h.ServeHTTP(w, r)
		})
	}, nil
}
