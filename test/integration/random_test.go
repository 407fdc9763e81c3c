package integration_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/internal/provider"
	"terminals.dev/session-controller/internal/tokenstore"
)

// Sequences of events go through the reconcilers. To have one again:
// RANDOM_SEED=<seed> go test -run TestWhateverHappens ./test/integration. RANDOM_SEQUENCES and RANDOM_EVENTS make it longer.
const (
	randomSeed      = "RANDOM_SEED"
	randomSequences = "RANDOM_SEQUENCES"
	randomEvents    = "RANDOM_EVENTS"
)

func TestWhateverHappensThePromisesHold(t *testing.T) {
	t.Parallel()
	var seeds []uint64
	if seed := fromEnvironment(t, randomSeed, 0); seed != 0 {
		seeds = []uint64{seed}
	} else {
		for seed := range fromEnvironment(t, randomSequences, 7) {
			seeds = append(seeds, seed+1)
		}
		seeds = append(seeds, rand.Uint64()>>16) // and one that is new each time
	}
	for _, seed := range seeds {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			l := newLife(t, seed)
			defer func() {
				if t.Failed() {
					t.Logf("%s=%d has it again. What happened:\n%s", randomSeed, seed, strings.Join(l.story, "\n"))
				}
			}()
			for n := range fromEnvironment(t, randomEvents, 40) {
				l.happens(int(n))
				if t.Failed() {
					return
				}
			}
			t.Logf("%s=%d: the providers were asked %d times, and sessions came to rest %d times as one of %q",
				randomSeed, seed, l.calls, l.rests, slices.Sorted(maps.Keys(l.states)))
		})
	}
}

func fromEnvironment(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// life is a namespace in which anything may happen, and what is remembered of it.
type life struct {
	*harness
	r     *rand.Rand
	story []string
	names []string
	bans  []v1.Ban
	outs  []*v1.SessionLogout
	// asks numbers requests and objects; calls counts what the provider was asked.
	asks, calls int
	// states are those in which sessions came to rest, so many times.
	states map[string]bool
	rests  int
	answer answer
	// looked is when the providers were looked at last.
	looked time.Time
	// blind is whether the controller is shown a cache that is behind.
	blind bool
	// attempts are the numbers reached so far, by object; current and over are session IDs, by object and for ever.
	attempts map[types.UID]int64
	current  map[types.UID]string
	over     map[string]bool
}

func newLife(t *testing.T, seed uint64) *life {
	t.Helper()
	l := &life{
		harness: newHarness(t), r: rand.New(rand.NewPCG(seed, 1)), names: []string{"till-1", "till-2", "till-3"},
		attempts: map[types.UID]int64{}, current: map[types.UID]string{}, over: map[string]bool{}, states: map[string]bool{},
	}
	l.provide(sessionProvider("other"))
	l.answers.say(func(give func() (provider.Token, error)) (provider.Token, error) {
		l.called()
		if l.answer == nil {
			return give()
		}
		return l.answer(give)
	})
	return l
}

func pick[T any](l *life, of ...T) T { return of[l.r.IntN(len(of))] }

func (l *life) next() string { l.asks++; return strconv.Itoa(l.asks) }

func (l *life) told(format string, args ...any) {
	l.story = append(l.story, l.clock.Now().UTC().Format(time.DateTime)+" "+fmt.Sprintf(format, args...))
}

// find is a session as the API server has it, or nil.
func (l *life) find(name string) *v1.TerminalSession {
	l.t.Helper()
	s := &v1.TerminalSession{}
	if err := l.api.Get(l.ctx, l.key(name), s); client.IgnoreNotFound(err) != nil {
		l.t.Fatal(err)
	} else if err != nil {
		return nil
	}
	return s
}

// happens is one event, with what the controller makes of it.
func (l *life) happens(n int) {
	l.t.Helper()
	way := l.r.IntN(100)
	switch {
	case way < 4: // the controller is shown an old cache of one kind
		kind := pick(l, "TerminalSession", "Secret", "SessionBan", "SessionLogout")
		old := l.frozen()
		l.event(n)
		l.told("  and the cache is behind with %s", kind)
		l.restart()
		l.blind, l.wire.frozen = true, map[string]client.Reader{kind: old}
		for _, name := range l.shuffled() {
			_, _ = l.try(name) // a conflict, if anything
		}
		l.blind, l.wire.frozen = false, nil
		l.restart()
	case way < 20:
		at := moment{write: 1 + l.r.IntN(4), after: l.r.IntN(2) == 0}
		l.event(n)
		if l.killed(at, l.round) {
			l.told("  and the controller is killed %s", at)
		}
		l.restart()
		l.step(time.Second) // by when it is up again
	case way < 25:
		l.told("the controller is restarted")
		l.restart()
		l.wire.taken()
		l.round()
		if writes, _ := l.wire.taken(); len(writes) > 0 {
			l.t.Errorf("nothing has happened but a restart, and the controller writes %v", writes)
		}
	default:
		l.event(n)
	}
	l.rest()
	l.told("  %s", strings.Join(l.seen(), "; "))
	l.promises()
}

func (l *life) shuffled() []string {
	names := slices.Clone(l.names)
	l.r.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	return names
}

// round has the controller look at everything once, in any order.
func (l *life) round() {
	l.t.Helper()
	var looks []func()
	for _, name := range l.names {
		looks = append(looks, func() { l.reconcile(name) })
	}
	for _, out := range l.outs {
		looks = append(looks, func() { l.advance(out) })
	}
	for _, b := range l.bans {
		looks = append(looks, func() { l.count(b) })
	}
	if l.clock.Now() != l.looked { // their keys are due by time alone
		l.looked = l.clock.Now()
		for _, p := range []string{issuer, "other"} {
			looks = append(looks, func() { l.look(l.provider(p)) })
		}
	}
	l.r.Shuffle(len(looks), func(i, j int) { looks[i], looks[j] = looks[j], looks[i] })
	for _, look := range looks {
		look()
	}
}

// rest has the controller look until nothing is left to do.
func (l *life) rest() {
	l.t.Helper()
	for range 12 {
		before := len(l.wire.writes)
		l.round()
		if len(l.wire.writes) == before {
			return
		}
	}
	l.t.Fatalf("it does not come to rest: %v", l.wire.writes[max(0, len(l.wire.writes)-20):])
}

func (l *life) seen() []string {
	var seen []string
	for _, name := range l.names {
		if s := l.find(name); s != nil {
			l.rests++
			l.states[summary(s)] = true
			seen = append(seen, name+" "+summary(s))
		}
	}
	return seen
}

// event is one thing that happens outside of the controller.
func (l *life) event(n int) {
	l.t.Helper()
	name := pick(l, l.names...)
	s := l.find(name)
	if n < len(l.names) {
		name = l.names[n]
		s = l.find(name)
	}
	if s == nil {
		l.comes(name)
		return
	}
	switch l.r.IntN(16) {
	case 0, 1, 2:
		l.edits(s)
	case 3, 12:
		annotation := pick(l, v1.AnnotationLoginRequested, v1.AnnotationRenewRequested)
		l.told("%s: %s", name, annotation)
		l.annotate(name, annotation, l.next())
	case 4:
		l.told("%s is deleted", name)
		l.delete(s)
		if l.r.IntN(2) == 0 {
			l.comes(name)
		}
	case 5, 6:
		if l.r.IntN(4) < 2+len(l.bans) {
			l.unbanned()
		} else {
			l.banned()
		}
	case 7:
		l.answersOtherwise()
	case 8:
		l.signedOut()
	case 9:
		report := map[string]any{
			"instanceID": pick(l, "app-1", "app-2"), "paymentAppVersion": pick(l, "4.2.0", "4.3.0"),
			"paymentAppInstanceID": pick(l, "pay-1", "pay-2"), "lastActiveAt": l.clock.Now().UTC().Format(time.RFC3339),
		}
		l.told("%s reports %v", name, report)
		l.reports(name, report)
	case 10:
		l.meddles(s)
	case 11:
		l.answersOtherwise()
	default:
		d := pick(l, time.Second, 30*time.Second, 11*time.Minute, time.Hour, 24*time.Hour, 7*24*time.Hour, 31*24*time.Hour)
		l.step(d)
		l.told("%s later", d)
	}
}

func (l *life) comes(name string) {
	l.t.Helper()
	s := session(name, pick(l, func(*v1.TerminalSessionSpec) {}, oneShot, func(s *v1.TerminalSessionSpec) { s.User = nil }))
	s.Spec.Terminal.ID = "T-" + name
	l.told("%s is applied: %s, %+v", name, s.Spec.Type, s.Spec.User)
	l.apply(s)
}

// edits changes spec in one thing.
func (l *life) edits(s *v1.TerminalSession) {
	l.t.Helper()
	what, change := "", func(*v1.TerminalSessionSpec) {}
	switch l.r.IntN(10) {
	case 0:
		users := []*v1.User{{Email: "anna@acme.example"}, {Email: "bob@acme.example"}, nil}
		user := pick(l, users...)
		what, change = fmt.Sprintf("user %v", user), func(s *v1.TerminalSessionSpec) { s.User = user }
	case 1:
		merchant := pick(l, "acme", "bakery")
		what, change = "merchant "+merchant, func(s *v1.TerminalSessionSpec) { s.MerchantID = merchant }
	case 2:
		at := pick(l, issuer, issuer, "other", "missing")
		what, change = "provider "+at, func(s *v1.TerminalSessionSpec) { s.ProviderRef.Name = at }
	case 3:
		secret := pick(l, "", "shared", s.Name+"-moved")
		what, change = "secretName "+secret, inSecret(secret)
	case 4:
		kind := pick(l, v1.Continuous, v1.OneShot)
		what, change = "type "+string(kind), func(s *v1.TerminalSessionSpec) { s.Type = kind }
	case 5, 6:
		desired := pick(l, v1.LoggedIn, v1.LoggedIn, v1.LoggedOut)
		what, change = "desiredState "+string(desired), func(s *v1.TerminalSessionSpec) { s.DesiredState = desired }
	case 7:
		relogin := pick(l, v1.ReloginAutomatic, v1.ReloginOnRequest)
		what, change = "relogin "+string(relogin), func(s *v1.TerminalSessionSpec) { s.Relogin = relogin }
	case 8:
		heartbeat := pick(l, nil, &v1.Heartbeat{Timeout: lasting(5 * time.Minute)})
		what, change = fmt.Sprintf("heartbeat %t", heartbeat != nil), func(s *v1.TerminalSessionSpec) { s.Heartbeat = heartbeat }
	case 9:
		ttl := pick(l, nil, new(int32(0)), new(int32(3600)))
		what, change = fmt.Sprintf("a ttl: %t", ttl != nil), func(s *v1.TerminalSessionSpec) { s.TTLSecondsAfterFinished = ttl }
	}
	l.told("%s: %s", s.Name, what)
	l.edit(s.Name, to(change))
}

func (l *life) banned() {
	l.t.Helper()
	match := pick(l,
		v1.BanMatch{User: "Anna@acme.example"}, v1.BanMatch{User: "bob@acme.example"}, v1.BanMatch{User: "mallory@acme.example"},
		v1.BanMatch{TerminalID: "T-till-1"}, v1.BanMatch{MerchantID: "bakery"}, v1.BanMatch{SerialNumber: "SN-0"},
		v1.BanMatch{User: "anna@acme.example", TerminalID: "T-till-2"},
	)
	name := "ban-" + l.next()
	change := func(s *v1.SessionBanSpec) {
		s.Match, s.Code = match, "Code"+name[4:]
		if l.r.IntN(2) == 0 {
			s.ExpiresAt = new(seconds(l.clock.Now().Add(pick(l, -time.Minute, time.Minute, time.Hour, 10*24*time.Hour))))
		}
	}
	var b v1.Ban
	if l.r.IntN(3) == 0 {
		b = l.clusterBan(name, change)
	} else {
		b = ban(name, change)
	}
	l.told("%s %s on %+v until %v", kindOf(b), b.GetName(), match, b.BanSpec().ExpiresAt)
	l.apply(b)
	l.bans = append(l.bans, b)
}

func (l *life) unbanned() {
	l.t.Helper()
	if len(l.bans) == 0 {
		l.banned()
		return
	}
	i := l.r.IntN(len(l.bans))
	l.told("%s is deleted", l.bans[i].GetName())
	l.delete(l.bans[i])
	l.bans = slices.Delete(l.bans, i, i+1)
}

func (l *life) signedOut() {
	l.t.Helper()
	out := logout("out-"+l.next(), pick(l,
		func(*v1.SessionLogoutSpec) {},
		selecting(v1.LogoutSelector{User: "anna@acme.example"}),
		selecting(v1.LogoutSelector{Names: []string{"till-1", "till-2"}}),
		selecting(v1.LogoutSelector{MerchantID: "acme", TerminalID: "T-till-3"}),
		func(s *v1.SessionLogoutSpec) { s.Except = &v1.LogoutExcept{Names: []string{"till-1"}} },
		func(s *v1.SessionLogoutSpec) { s.DryRun = new(true) },
		func(s *v1.SessionLogoutSpec) { s.MaxAffected = 1 },
		func(s *v1.SessionLogoutSpec) { s.EstablishedBefore = new(seconds(l.clock.Now().Add(-time.Hour))) },
		func(s *v1.SessionLogoutSpec) { s.TTLSecondsAfterFinished = new(int32(60)) },
	))
	l.told("SessionLogout %s: %+v", out.Name, out.Spec)
	l.apply(out)
	l.outs = append(l.outs, out)
}

// meddles: somebody has his hands on the token's Secret.
func (l *life) meddles(s *v1.TerminalSession) {
	l.t.Helper()
	if s.Status.Token == nil {
		return
	}
	secret := l.secret(s.Status.Token.SecretName)
	switch way := l.r.IntN(3); {
	case secret == nil:
	case way == 0:
		l.told("Secret %s is deleted", secret.Name)
		l.delete(secret)
	case way == 1:
		l.told("Secret %s is altered", secret.Name)
		change(l.harness, secret, putting(tokenstore.KeyToken, "forged"))
	default:
		l.told("Secret %s is touched", secret.Name)
		metav1.SetMetaDataLabel(&secret.ObjectMeta, "touched", l.next())
		change(l.harness, l.secret(secret.Name), putting("note", l.next()))
	}
}

// answersOtherwise has the providers answer otherwise from now on.
func (l *life) answersOtherwise() {
	busy := refuse(&provider.Error{Kind: provider.Busy, RetryAfter: time.Minute, Message: "busy"})
	n := l.r.IntN(18)
	l.told("the providers answer otherwise (%d)", n)
	l.answer = []answer{
		unavailable, rejected, grantDead, banned, busy, wrongIdentity, lasts(time.Hour), lasts(time.Minute),
		refuse(&provider.Error{Kind: provider.AuthTokenMissing, Message: "no auth token"}),
		refuse(&provider.Error{Kind: provider.Misconfigured, Message: "misconfigured"}),
		l.once(meanwhile(func() { l.banned(); l.sync() })),
		l.once(meanwhile(func() {
			l.signedOut()
			l.advance(l.outs[len(l.outs)-1])
			l.sync()
		})),
		nil, nil, nil, nil, nil, nil,
	}[n]
}

// once answers so at the next call, and then leaves it to the provider itself.
func (l *life) once(a answer) answer {
	return func(give func() (provider.Token, error)) (provider.Token, error) {
		l.answer = nil
		return a(give)
	}
}

// called checks, at the very moment when a provider is asked, that it may be.
func (l *life) called() {
	l.calls++
	if l.blind {
		return // what it cannot know of
	}
	key, _, _ := strings.Cut(l.answers.attempts[len(l.answers.attempts)-1], "/")
	for _, name := range l.names {
		s := l.find(name)
		if s == nil || string(s.UID) != key {
			continue
		}
		st := &s.Status
		asked := s.Annotations[v1.AnnotationLoginRequested] != "" && s.Annotations[v1.AnnotationLoginRequested] != st.LastHandledLoginRequest
		switch bans := l.bansOn(s); {
		case len(bans) > 0:
			l.t.Errorf("a provider is asked for %s in spite of %v", name, bans)
		case s.Spec.DesiredState == v1.LoggedOut || !s.DeletionTimestamp.IsZero():
			l.t.Errorf("a provider is asked for %s, which is not wanted", name)
		case st.Hold != nil && st.Hold.Reason != v1.HoldRejected && !asked && strings.EqualFold(st.Hold.User, email(s)):
			l.t.Errorf("a provider is asked for %s, which is held as %s", name, st.Hold.Reason)
		}
	}
}

// email is whom spec names.
func email(s *v1.TerminalSession) string {
	if s.Spec.User == nil {
		return ""
	}
	return s.Spec.User.Email
}

// bansOn are the codes of the bans in force that match a session.
func (l *life) bansOn(s *v1.TerminalSession) []string {
	person := email(s)
	if person == "" && s.Status.User != nil {
		person = s.Status.User.Email
	}
	var codes []string
	for _, b := range l.bans {
		m, at := b.BanSpec().Match, b.BanSpec().ExpiresAt
		if (at == nil || l.clock.Now().Before(at.Time)) && (m.User == "" || strings.EqualFold(m.User, person)) &&
			(m.TerminalID == "" || m.TerminalID == s.Spec.Terminal.ID) && (m.SerialNumber == "" || m.SerialNumber == s.Spec.Terminal.SerialNumber) &&
			(m.MerchantID == "" || m.MerchantID == s.Spec.MerchantID) {
			codes = append(codes, b.BanSpec().Code)
		}
	}
	return codes
}

// promises checks, from outside, what is always so at rest.
func (l *life) promises() {
	l.t.Helper()
	kept := map[string]bool{}
	for _, name := range l.names {
		s := l.find(name)
		if s == nil {
			continue
		}
		l.coherent(s)
		l.remembers(s)
		st, now := &s.Status, l.clock.Now()
		ready := meta.FindStatusCondition(st.Conditions, v1.ConditionReady)
		if st.Token != nil {
			kept[st.Token.SecretName] = true
		}
		switch bans := l.bansOn(s); {
		case ready == nil || st.ObservedGeneration != s.Generation:
			l.t.Errorf("%s is not reported on: %+v", name, st)
		case len(bans) > 0 && (st.Phase != v1.PhaseTerminated || ready.Reason != v1.ReasonBanInForce || !slices.Contains(bans, st.Error.Code)):
			l.t.Errorf("%s is under a ban (%v), and is %s, %+v", name, bans, summary(s), st.Error)
		case len(bans) == 0 && ready.Reason == v1.ReasonBanInForce:
			l.t.Errorf("%s is under no ban, and is %s", name, summary(s))
		case len(bans) == 0 && s.Spec.DesiredState == v1.LoggedOut && summary(s) != "NotLoggedIn: Ready (LoggedOut)":
			l.t.Errorf("%s is to be logged out, and is %s", name, summary(s))
		case st.Phase == v1.PhaseEstablished && !now.Before(st.Token.ExpiresAt.Time):
			l.t.Errorf("%s is Established with a token that was over at %v", name, st.Token.ExpiresAt)
		case st.Phase == v1.PhaseEstablished && s.Spec.User != nil && st.User != nil && !strings.EqualFold(st.User.Email, s.Spec.User.Email):
			l.t.Errorf("%s is Established for %s", name, st.User.Email)
		case st.Hold != nil && st.Hold.Reason == v1.HoldSignedOut && (st.Hold.By != "carol@acme.example" || st.LastLogoutUID == ""):
			l.t.Errorf("%s does not tell who has signed it out: %+v", name, st.Hold)
		case len(st.Recent) > 3:
			l.t.Errorf("%s remembers %d sessions", name, len(st.Recent))
		}
	}
	for _, secret := range l.tokenSecrets() {
		if !kept[secret.Name] {
			l.t.Errorf("Secret %s is left of nobody's session", secret.Name)
		}
	}
	for _, out := range l.outs {
		if err := l.api.Get(l.ctx, l.key(out.Name), out); client.IgnoreNotFound(err) != nil {
			l.t.Fatal(err)
		} else if err == nil && out.Status.CompletedAt == nil {
			l.t.Errorf("SessionLogout %s is not over: %+v", out.Name, out.Status)
		}
	}
	l.outs = slices.DeleteFunc(l.outs, func(out *v1.SessionLogout) bool {
		return out.Spec.TTLSecondsAfterFinished == nil || out.Status.CompletedAt == nil
	})
}

// remembers checks what only grows.
func (l *life) remembers(s *v1.TerminalSession) {
	l.t.Helper()
	number := int64(0)
	if a := s.Status.Attempt; a != nil {
		number = a.Number
	}
	if number < l.attempts[s.UID] {
		l.t.Errorf("%s has counted %d attempts, and before %d", s.Name, number, l.attempts[s.UID])
	}
	l.attempts[s.UID] = number
	if was, is := l.current[s.UID], s.Status.SessionID; was != is {
		l.over[was] = was != ""
		if is != "" && l.over[is] {
			l.t.Errorf("%s has session %s again", s.Name, is)
		}
		l.current[s.UID] = is
	}
}
