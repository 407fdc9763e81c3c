package main

import "syscall"

// ownGroup puts a child into a process group of its own, and has the kernel interrupt it when this process dies.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGINT}
}
