package fault_test

import (
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "terminals.dev/session-controller/api/v1"
)

// wellSeen is a run in which everything is as it should be: an established session, a refresh token, and a ban on somebody else.
func wellSeen() outside {
	s := v1.TerminalSession{ObjectMeta: metav1.ObjectMeta{Name: "till-1", UID: "uid-1"}}
	s.Spec.Terminal.ID = "T-0042"
	s.Status.Phase, s.Status.SessionID = v1.PhaseEstablished, "session-1"
	s.Status.Token = &v1.TokenStatus{SecretName: "till-1-token", SecretVersion: "7"}
	mine := []metav1.OwnerReference{{UID: s.UID, Controller: new(true)}}
	return outside{
		sessions: []v1.TerminalSession{s},
		bans:     []v1.SessionBan{{Spec: v1.SessionBanSpec{Match: v1.BanMatch{TerminalID: "T-0099"}}}},
		tokens: []corev1.Secret{{
			ObjectMeta: metav1.ObjectMeta{Name: "till-1-token", ResourceVersion: "7", OwnerReferences: mine},
			Data:       map[string][]byte{"token": []byte("access-2"), "sessionID": []byte("session-1")},
		}},
		grants: []corev1.Secret{{
			ObjectMeta: metav1.ObjectMeta{Name: "till-1-grant", OwnerReferences: mine}, Data: map[string][]byte{"refreshToken": []byte("refresh-2")},
		}},
		live: []entryOfBook{{access: "access-1"}, {access: "access-2", refresh: "refresh-2"}},
		kept: map[string]string{"access-1": "session-1", "access-2": "session-1"},
	}
}

func TestEveryBrokenPromiseIsNoticed(t *testing.T) {
	if wrong, orphans := wellSeen().violations(); len(wrong)+len(orphans) > 0 {
		t.Fatalf("of a run in order it says %v, and orphans %v", wrong, orphans)
	}
	for name, c := range map[string]struct {
		spoil func(*outside)
		says  string
	}{
		"a Secret of a session that is gone": {func(o *outside) { o.sessions = nil }, "Secret till-1-token has no session"},
		"a Secret of an earlier session":     {func(o *outside) { o.sessions[0].UID = "uid-2" }, "Secret till-1-token has no session"},
		"a revocation that is left": {func(o *outside) {
			o.revocations = []corev1.Secret{{ObjectMeta: metav1.ObjectMeta{Name: "revocation-1"}}}
		}, "revocation revocation-1 is left"},
		"a session stuck in deletion": {func(o *outside) { o.sessions[0].DeletionTimestamp = new(metav1.Now()) }, "stuck in deletion"},
		"no Secret":                   {func(o *outside) { o.tokens = nil }, "its Secret is not there"},
		"an empty Secret":             {func(o *outside) { o.tokens[0].Data["token"] = nil }, "its Secret is empty"},
		"another session's token":     {func(o *outside) { o.tokens[0].Data["sessionID"] = []byte("session-2") }, "another session's"},
		"a token that status does not tell of": {
			func(o *outside) { o.tokens[0].ResourceVersion = "8" }, "in another version than status tells of",
		},
		"a status without a token": {func(o *outside) { o.sessions[0].Status.Token = nil }, "status tells of none"},
		"a dead token":             {func(o *outside) { o.live = o.live[:1] }, "the provider does not honour it"},
		"a banned session's Secret": {
			func(o *outside) { o.bans[0].Spec.Match.TerminalID = "T-0042" }, "is banned and has a Secret",
		},
		"a token that was never kept": {func(o *outside) { delete(o.kept, "access-1") }, "access-1"},
		"a token that outlives its session": {
			func(o *outside) {
				o.tokens[0].Data["sessionID"], o.sessions[0].Status.SessionID = []byte("session-2"), "session-2"
			}, "access-1",
		},
		"a refresh token that was never kept": {func(o *outside) { o.grants = nil }, "refresh-2"},
	} {
		t.Run(name, func(t *testing.T) {
			seen := wellSeen()
			c.spoil(&seen)
			wrong, orphans := seen.violations()
			if !strings.Contains(strings.Join(slices.Concat(wrong, orphans), "\n"), c.says) {
				t.Errorf("it says %v, and orphans %v, want %q among it", wrong, orphans, c.says)
			}
		})
	}
}

func TestEveryOtherEndIsNoticed(t *testing.T) {
	well := end{phase: v1.PhaseEstablished, tokens: 1, grants: 1}
	if wrong := wellSeen().differences(well); len(wrong) > 0 {
		t.Fatalf("of a run in order it says %v", wrong)
	}
	for name, other := range map[string]end{
		"phase": {phase: v1.PhaseTerminated, tokens: 1, grants: 1}, "reason": {phase: v1.PhaseEstablished, ready: "Other", tokens: 1, grants: 1},
		"tokens": {phase: v1.PhaseEstablished, grants: 1}, "grants": {phase: v1.PhaseEstablished, tokens: 1}, "gone": {gone: true, tokens: 1, grants: 1},
	} {
		if len(wellSeen().differences(other)) == 0 {
			t.Errorf("another %s is not noticed", name)
		}
	}
}
