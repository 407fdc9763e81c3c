package processes

import (
	"context"
	"fmt"
	"maps"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/internal/tokenstore"
	"terminals.dev/session-controller/test/testenv"
)

const (
	// restWithin is how soon after the load all is as it was asked for. A lease that nobody gave back is waited for, and what has failed again
	// and again for as long as the API server was away is tried again as late as that again.
	restWithin = time.Minute
	// quiet is for how long nobody writes then.
	quiet = 3 * time.Second
)

// found is what the API server has.
type found struct {
	sessions map[string]*v1.TerminalSession
	// secrets are those with tokens, grants and revocations, wherever they are.
	secrets, revocations []corev1.Secret
}

func read(ctx context.Context) (found, error) {
	f := found{sessions: map[string]*v1.TerminalSession{}}
	sessions, secrets, revocations := &v1.TerminalSessionList{}, &corev1.SecretList{}, &corev1.SecretList{}
	if err := api.List(ctx, sessions, client.InNamespace(namespace)); err != nil {
		return f, fmt.Errorf("listing the sessions: %w", err)
	}
	if err := api.List(ctx, secrets, client.HasLabels{tokenstore.LabelSession}); err != nil {
		return f, fmt.Errorf("listing the Secrets: %w", err)
	}
	if err := api.List(ctx, revocations, client.HasLabels{tokenstore.LabelRevocation}); err != nil {
		return f, fmt.Errorf("listing the revocations: %w", err)
	}
	for i := range sessions.Items {
		f.sessions[sessions.Items[i].Name] = &sessions.Items[i]
	}
	f.secrets, f.revocations = secrets.Items, revocations.Items
	return f, nil
}

// rest waits until all is as the load asked for, nothing is left to revoke, and nobody writes any more. It returns what there is then, and
// since when.
func rest(t *testing.T, l *load) (found, time.Time) {
	t.Helper()
	late, why := time.Now().Add(restWithin), ""
	for {
		var f found
		if f, why = asAsked(t, l); why == "" {
			since := time.Now()
			if why = writes(t); why == "" {
				return f, since
			}
		}
		if time.Now().After(late) {
			t.Fatalf("%s: not at rest after %s: %s", l.where(), restWithin, why)
		}
		<-time.After(100 * time.Millisecond)
	}
}

// asAsked reads what there is, and what is not as it should be.
func asAsked(t *testing.T, l *load) (found, string) {
	t.Helper()
	f, err := read(t.Context())
	if err != nil {
		return f, err.Error()
	}
	n, first := 0, ""
	for _, till := range l.tills {
		if why := till.amiss(f.sessions[till.name]); why != "" {
			n++
			first = fmt.Sprintf("%s: %s", till, why)
		}
	}
	if n > 0 {
		return f, fmt.Sprintf("%d sessions are not as they were asked for, such as %s", n, first)
	}
	if len(f.revocations) > 0 {
		return f, fmt.Sprintf("%d tokens are yet to be revoked", len(f.revocations))
	}
	return f, ""
}

// writes are those that the API server has counted while it should have been quiet; whoever leads goes on renewing its lease.
func writes(t *testing.T) string {
	t.Helper()
	before, err := env.RequestCounts(t.Context())
	if err != nil {
		return err.Error()
	}
	<-time.After(quiet)
	after, err := env.RequestCounts(t.Context())
	if err != nil {
		return err.Error()
	}
	written := after.Since(before).Writes()
	maps.DeleteFunc(written, func(r testenv.Request, _ int) bool { return r.Resource == "leases" })
	if len(written) > 0 {
		return fmt.Sprintf("in %s there were the writes %v", quiet, written)
	}
	return ""
}
