package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	terminalsv1 "terminals.dev/session-controller/api/v1"
)

const readyWithin = 2 * time.Minute

// awaitSessions waits until every session is Ready, and says which are not whenever that changes.
func (r *runner) awaitSessions(ctx context.Context) error {
	scheme := runtime.NewScheme()
	if err := terminalsv1.AddToScheme(scheme); err != nil {
		return err
	}
	reader, err := client.New(r.env.Config, client.Options{Scheme: scheme})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, readyWithin, errors.New("they are not after "+readyWithin.String()))
	defer cancel()
	ticker := time.NewTicker(time.Second) // a list now and then needs no care for broken watches
	defer ticker.Stop()
	for said := ""; ; {
		var sessions terminalsv1.TerminalSessionList
		if err := reader.List(ctx, &sessions); err != nil {
			return err
		}
		waiting := unready(sessions.Items)
		if waiting == "" {
			return nil
		}
		if waiting != said {
			fmt.Println(waiting)
			said = waiting
		}
		select {
		case <-ticker.C:
		case <-r.manager.Done():
			return r.managerEnded()
		case <-ctx.Done():
			return fmt.Errorf("%w; see %s", context.Cause(ctx), path("manager.log"))
		}
	}
}

// unready is a line for each session that is not Ready for the spec that it has now.
func unready(sessions []terminalsv1.TerminalSession) string {
	var lines []string
	for _, s := range sessions {
		ready := meta.FindStatusCondition(s.Status.Conditions, terminalsv1.ConditionReady)
		switch {
		case ready == nil || ready.ObservedGeneration != s.Generation:
			lines = append(lines, fmt.Sprintf("    %s/%s: not looked at yet", s.Namespace, s.Name))
		case ready.Status != metav1.ConditionTrue:
			lines = append(lines, fmt.Sprintf("    %s/%s: %s: %s", s.Namespace, s.Name, ready.Reason, ready.Message))
		}
	}
	return strings.Join(lines, "\n")
}
