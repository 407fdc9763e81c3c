package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// lock takes the right to build a binary; another process that has it is waited for. The kernel gives the lock back
// when its holder ends, however it ends, so the file itself may stay.
func (s store) lock(ctx context.Context, b binary) (unlock func(), err error) {
	file, err := os.OpenFile(filepath.Join(s.dir, b.name+".lock"), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("taking the lock to build %s: %w", b.name, err)
	}
	said := time.Time{}
	for {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { file.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			file.Close()
			return nil, fmt.Errorf("taking the lock %s: %w", file.Name(), err)
		}
		if time.Since(said) > 30*time.Second {
			s.progress("waiting for another process that is building %s ...", b.name)
			said = time.Now()
		}
		select { // a blocking flock cannot be interrupted by the context
		case <-ctx.Done():
			file.Close()
			return nil, fmt.Errorf("waiting for another build of %s: %w", b.name, context.Cause(ctx))
		case <-time.After(200 * time.Millisecond):
		}
	}
}
