package fault_test

import (
	"bufio"
	"bytes"
	"io"
	"sync"
)

// stream is one watch of a manager's, event by event.
type stream struct {
	resource string
	inner    io.ReadCloser

	mu      sync.Mutex
	changed *sync.Cond
	// waiting is what is to be told yet, and told what was.
	waiting, told [][]byte
	// rest is what is left of an event that is being read.
	rest   []byte
	isHeld bool
	// err is how it ends, once there is nothing more to be told; broken is whether that is at once.
	err            error
	broken, closed bool
}

func newStream(resource string, inner io.ReadCloser) *stream {
	s := &stream{resource: resource, inner: inner}
	s.changed = sync.NewCond(&s.mu)
	go s.pump()
	return s
}

// pump takes in what the API server says, as it says it.
func (s *stream) pump() {
	lines := bufio.NewReader(s.inner)
	for {
		line, err := lines.ReadBytes('\n')
		s.mu.Lock()
		if len(line) > 0 {
			s.waiting = append(s.waiting, line)
		}
		s.err = err
		s.changed.Broadcast()
		s.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// Read implements io.Reader.
func (s *stream) Read(into []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.closed:
			return 0, io.ErrClosedPipe
		case s.broken:
			return 0, io.ErrUnexpectedEOF
		case len(s.rest) > 0:
			n := copy(into, s.rest)
			s.rest = s.rest[n:]
			return n, nil
		case s.isHeld:
		case len(s.waiting) > 0:
			s.rest, s.waiting = s.waiting[0], s.waiting[1:]
			if !bytes.Contains(s.rest, []byte(`"type":"BOOKMARK"`)) {
				s.told = append(s.told, s.rest)
			}
			continue
		case s.err != nil:
			return 0, s.err
		}
		s.changed.Wait()
	}
}

// Close implements io.Closer.
func (s *stream) Close() error {
	s.mu.Lock()
	s.closed = true
	s.changed.Broadcast()
	s.mu.Unlock()
	return s.inner.Close()
}

func (s *stream) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

func (s *stream) hold(hold bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.isHeld = hold
	s.changed.Broadcast()
}

// cut breaks it off, whatever there was to be told.
func (s *stream) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken = true
	s.changed.Broadcast()
}

// replay tells the last events once more.
func (s *stream) replay(last int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	again := s.told[max(0, len(s.told)-last):]
	s.waiting = append(append([][]byte{}, again...), s.waiting...)
	s.changed.Broadcast()
}
