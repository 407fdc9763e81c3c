package testenv

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// scratch is this process's temporary folder, empty until Main has been called. It is the children's, too, and everything
// else's that asks for a temporary folder.
var scratch string

const (
	scratchPrefix = "session-controller-testenv-"
	unnamed       = "new-"
)

// makeScratch returns the folder's lock. The kernel gives that back when the process ends, which is how a later process knows
// what has been abandoned.
func makeScratch() (*os.File, error) {
	removeAbandoned()
	dir, err := os.MkdirTemp("", unnamed+scratchPrefix)
	if err != nil {
		return nil, err
	}
	lock, err := lockFolder(dir)
	if err != nil {
		return nil, err
	}
	// Only a folder that is locked gets the name by which others look for abandoned ones.
	scratch = filepath.Join(filepath.Dir(dir), strings.TrimPrefix(filepath.Base(dir), unnamed))
	return lock, errors.Join(os.Rename(dir, scratch), os.Setenv("TMPDIR", scratch))
}

func removeAbandoned() {
	dirs, _ := filepath.Glob(filepath.Join(os.TempDir(), scratchPrefix+"*"))
	for _, dir := range dirs {
		if lock, err := lockFolder(dir); err == nil {
			_ = os.RemoveAll(dir)
			lock.Close()
		}
	}
}

// lockFolder fails at once when somebody has the lock.
func lockFolder(dir string) (*os.File, error) {
	file, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		file.Close()
		return nil, fmt.Errorf("locking %s: %w", dir, err)
	}
	return file, nil
}
