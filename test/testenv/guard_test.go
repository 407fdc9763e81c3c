package testenv

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// startAndWait is the helper: it starts all there is, prints where it listens and its process IDs, and waits to be killed.
func startAndWait() int {
	ctx := context.Background()
	env, err := Start(ctx, Options{CRDs: []string{}})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	manager, err := env.StartControllerManager(ctx)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	cp := env.plane.ControlPlane
	fmt.Println(cp.Etcd.URL.Host, cp.APIServer.SecureServing.URL("https", "").Host, manager.PID())
	select {}
}

func TestNothingOutlivesAKilledParent(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	helper := exec.Command(self)
	helper.Env = append(os.Environ(), helperVar+"=1")
	helper.Stderr = os.Stderr
	stdout, err := helper.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := helper.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = helper.Process.Kill()
		_ = helper.Wait()
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("the helper did not come up: %v", err)
	}
	said := strings.Fields(line)
	etcd, apiServer := said[0], said[1]
	manager, err := strconv.Atoi(said[2])
	if err != nil {
		t.Fatal(err)
	}
	for _, address := range []string{etcd, apiServer} {
		if !listens(address) {
			t.Errorf("nobody listens on %s before the helper is killed", address)
		}
	}

	if err := helper.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	within(t, 5*time.Second, "etcd is gone", func() bool { return !listens(etcd) })
	within(t, 5*time.Second, "kube-apiserver is gone", func() bool { return !listens(apiServer) })
	within(t, 5*time.Second, "kube-controller-manager is gone", func() bool {
		return errors.Is(syscall.Kill(manager, 0), syscall.ESRCH)
	})
}

func listens(address string) bool {
	conn, err := net.DialTimeout("tcp", address, time.Second)
	if err == nil {
		conn.Close()
	}
	return err == nil
}

// within polls, as nothing tells when a process of somebody else ends.
func within(t *testing.T, limit time.Duration, what string, holds func() bool) {
	t.Helper()
	for start := time.Now(); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Since(start) > limit {
			t.Errorf("after %s it does not hold that %s", limit, what)
			return
		}
	}
}
