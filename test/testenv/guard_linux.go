package testenv

import (
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// become has the kernel kill this process when its parent dies, and replaces it with the binary. The setting survives that.
func (c child) become() {
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		c.fail("tying it to its parent", err)
	}
	if os.Getppid() != c.parent {
		os.Exit(1) // the parent died before the kernel knew
	}
	c.fail("exec", syscall.Exec(c.binary, append([]string{c.binary}, os.Args[1:]...), os.Environ()))
}
