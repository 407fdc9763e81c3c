// Package testenv runs a real control plane, and the programs beside it, for tests and for trying things out.
//
// What it starts never outlives the process that asked for it, however that ends. To that end a test binary begins with
//
//	func TestMain(m *testing.M) { testenv.Main(m.Run) }
package testenv

import (
	"fmt"
	"os"
	"syscall"
	"time"
)

// Main is the first thing that a program using this package calls: for children, which are started through the program
// itself, it does not return but becomes the child. It calls run, removes the scratch folder and exits with run's code.
func Main(run func() int) {
	if child, ok := guardedChild(); ok {
		child.note()
		child.become()
	}
	lock, err := makeScratch()
	if err != nil {
		fmt.Fprintln(os.Stderr, "making a folder for what will be started:", err)
		os.Exit(1)
	}
	go endWithParent()
	code := run()
	_ = os.RemoveAll(scratch) // what resists is taken away by a later process
	_ = lock.Close()
	os.Exit(code)
}

// endWithParent asks this process to end when whoever started it is gone, so that killing `go test` or make is enough.
func endWithParent() {
	parent := os.Getppid()
	for os.Getppid() == parent {
		time.Sleep(500 * time.Millisecond)
	}
	_ = syscall.Kill(os.Getpid(), syscall.SIGTERM)
}
