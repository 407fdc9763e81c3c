package main

import (
	"os"
	"strconv"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	terminalsv1 "terminals.dev/session-controller/api/v1"
)

func TestSecondRunIsTurnedAway(t *testing.T) {
	t.Chdir(t.TempDir())
	var first, second runner
	if err := first.takeFolder(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path("kubeconfig"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := second.takeFolder(t.Context()); err == nil || !strings.Contains(err.Error(), strconv.Itoa(os.Getpid())) {
		t.Errorf("the second run got %v, want an error that names the first", err)
	}
	if _, err := os.Stat(path("kubeconfig")); err != nil {
		t.Errorf("the second run did damage: %v", err)
	}

	if err := first.down(); err != nil {
		t.Fatal(err)
	}
	if err := second.takeFolder(t.Context()); err != nil {
		t.Errorf("after the first run: %v", err)
	}
	if _, err := os.Stat(path("kubeconfig")); !os.IsNotExist(err) {
		t.Error("what the first run left is still there")
	}
}

func TestUnready(t *testing.T) {
	session := func(name string, observed int64, status metav1.ConditionStatus) terminalsv1.TerminalSession {
		return terminalsv1.TerminalSession{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, Generation: 2},
			Status: terminalsv1.TerminalSessionStatus{Conditions: []metav1.Condition{{
				Type: terminalsv1.ConditionReady, Status: status, ObservedGeneration: observed, Reason: "Why", Message: "because",
			}}},
		}
	}
	got := unready([]terminalsv1.TerminalSession{
		session("ready", 2, metav1.ConditionTrue),
		session("stale", 1, metav1.ConditionTrue),
		session("failing", 2, metav1.ConditionFalse),
	})
	if want := "    shop/stale: not looked at yet\n    shop/failing: Why: because"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
