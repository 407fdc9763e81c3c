package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// goBuild builds a binary into the file output. What go says is kept for the error: a build that succeeds is silent.
func goBuild(ctx context.Context, r release, b binary, output string) error {
	args := slices.Concat([]string{"build"}, r.flags(), []string{"-o", output, b.pkg})
	var said bytes.Buffer
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Stdout, cmd.Stderr = &said, &said
	// The user's proxy and caches are honoured; a workspace, a vendor folder or a cross build would lead astray.
	// An interrupted go leaves its work behind, so it works where the caller cleans up.
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-mod=readonly", "GOWORK=off",
		"GOOS="+runtime.GOOS, "GOARCH="+runtime.GOARCH, "GOTMPDIR="+filepath.Dir(output))

	// go does not pass a signal on to its compilers, and waits for them: the whole group has to get it.
	cmd.SysProcAttr = ownGroup()
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) }
	cmd.WaitDelay = 10 * time.Second

	runtime.LockOSThread() // ownGroup's death signal comes when the thread that started the child ends
	defer runtime.UnlockOSThread()
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, withoutDownloads(said.String()))
	}
	return nil
}

// withoutDownloads drops the hundreds of lines that say which module go is fetching.
func withoutDownloads(said string) string {
	lines := slices.DeleteFunc(strings.Split(strings.TrimSpace(said), "\n"), func(line string) bool {
		return strings.HasPrefix(line, "go: downloading ")
	})
	return strings.Join(lines, "\n")
}
