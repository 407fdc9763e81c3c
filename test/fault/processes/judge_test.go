package processes

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"terminals.dev/session-controller/internal/tokenstore"
)

// everyFaultIsFound has each thing that is judged be wrong, in what was read while nobody is at work: a judge who never complains is none.
func (s *scene) everyFaultIsFound(t *testing.T) {
	i := slices.IndexFunc(s.load.tills, func(t *till) bool { return t.wish == wishIn })
	till, none := s.load.tills[i], s.load.tills[slices.IndexFunc(s.load.tills, func(t *till) bool { return t.wish != wishIn })]
	session := s.found.sessions[till.name]
	of := func(f *found, kind corev1.SecretType) *corev1.Secret {
		return &f.secrets[slices.IndexFunc(f.secrets, func(s corev1.Secret) bool {
			return s.Labels[tokenstore.LabelSession] == till.name && s.Type == kind
		})]
	}
	now := s.account(t)
	for what, tamper := range map[string]func(f *found, before *account){
		"is there yet of": func(f *found, _ *account) { of(f, tokenstore.TypeToken).Labels[tokenstore.LabelSession] = none.name },
		"no such session": func(f *found, _ *account) { of(f, tokenstore.TypeToken).Labels[tokenstore.LabelSession] = "nobody" },
		"1 Secrets":       func(f *found, _ *account) { of(f, tokenstore.TypeGrant).Labels[tokenstore.LabelSession] = "nobody" },
		"is another's":    func(f *found, _ *account) { of(f, tokenstore.TypeToken).OwnerReferences[0].UID = "another" },
		"not those":       func(f *found, _ *account) { of(f, tokenstore.TypeToken).ResourceVersion = "0" },
		"Dead:1":          func(f *found, _ *account) { of(f, tokenstore.TypeToken).Data[tokenstore.KeyToken] = []byte("forged") },
		"Spent:1":         func(f *found, _ *account) { of(f, tokenstore.TypeGrant).Data["refreshToken"] = []byte("forged") },
		"when no call was interrupted": func(f *found, before *account) {
			before.at = time.Time{}
			of(f, tokenstore.TypeToken).ResourceVersion = "0"
		},
		"logins":      func(_ *found, before *account) { before.logins-- },
		"had session": func(f *found, _ *account) { f.sessions[till.name].Status.SessionID = "another" },
	} {
		f, before := found{sessions: maps.Clone(s.found.sessions)}, now
		f.sessions[till.name] = session.DeepCopy()
		for _, secret := range s.found.secrets {
			f.secrets = append(f.secrets, *secret.DeepCopy())
		}
		tamper(&f, &before)
		v, err := s.judge(t.Context(), f, before, nil)
		must(t, err)
		if !strings.Contains(strings.Join(v.wrong, "\n"), what) {
			t.Errorf("found are %q, want something with %q", v.wrong, what)
		}
	}
	s.unrestIsFound(t, till)
}

// unrestIsFound has things be asked for that nobody does.
func (s *scene) unrestIsFound(t *testing.T, of *till) {
	t.Helper()
	want := func(what string) {
		t.Helper()
		if _, why := asAsked(t, s.load); !strings.Contains(why, what) {
			t.Errorf("found is %q, want something with %q", why, what)
		}
	}
	if _, why := asAsked(t, s.load); why != "" {
		t.Errorf("all is at rest, and found is %q", why)
	}
	left := &corev1.Secret{ObjectMeta: named("left")}
	left.Labels = map[string]string{tokenstore.LabelRevocation: "idp"}
	must(t, create(t.Context(), left))
	want("yet to be revoked")
	must(t, remove(t.Context(), left))

	asked := make(chan error, 1)
	time.AfterFunc(quiet/2, func() { asked <- of.renewal(t.Context(), s.load.step.Add(1)) })
	if why := writes(t); !strings.Contains(why, "terminalsessions") {
		t.Errorf("somebody has written, and found is %q", why)
	}
	must(t, <-asked)
	want("a renewal is asked for yet")
}
