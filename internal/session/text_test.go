package session_test

import (
	"strings"
	"testing"
	"time"
	"unicode"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/internal/session"
)

// What comes from outside may be anything.
var texts = map[string]string{
	"too long":                  strings.Repeat("x", 5000),
	"too long, of many bytes":   strings.Repeat("é世😀", 2000),
	"control characters":        "one\ntwo\x00three\x1b[31mfour\x7f\tfive\r",
	"control characters of C1":  "one\u0085two\u009b31mthree",
	"turned around":             "one\u202etwo\u2066three\u200e",
	"no UTF-8":                  "one\xff\xfetwo\xc3(three\xed\xa0\x80",
	"nothing but no UTF-8":      strings.Repeat("\xff", 400),
	"a cut rune at the limit":   strings.Repeat("x", 255) + "😀😀",
	"nothing":                   "",
	"nothing but line breaks":   "\n\n\n",
	"line and paragraph breaks": "one\u2028two\u2029three",
	"right at the limit":        strings.Repeat("é", 256),
	"many lines":                strings.Repeat("a line\n", 1000),
	"a code of many bytes":      strings.Repeat("ß", 64) + "x",
	"an e-mail of the most":     strings.Repeat("a", 242) + "@acme.example",
	"an e-mail of one too many": strings.Repeat("a", 243) + "@acme.example",
}

func checkTexts(t *testing.T, st *v1.TerminalSessionStatus) {
	t.Helper()
	if wrong := beyond(st); wrong != "" {
		t.Errorf("the API server would refuse it: %s", wrong)
	}
	shown := []string{}
	if st.Error != nil {
		shown = append(shown, st.Error.Code, st.Error.Message)
	}
	if st.Hold != nil {
		shown = append(shown, st.Hold.Message)
	}
	if st.User != nil {
		shown = append(shown, st.User.Email, st.User.Subject)
	}
	if f := st.Flow; f != nil {
		shown = append(shown, f.VerificationURI, f.VerificationURIComplete, f.UserCode)
	}
	for _, c := range st.Conditions {
		shown = append(shown, c.Message)
	}
	for _, text := range shown {
		if strings.ContainsFunc(text, func(c rune) bool { return !unicode.IsPrint(c) || c == unicode.ReplacementChar }) {
			t.Errorf("%q has characters that cannot be shown", text)
		}
	}
	most := 8 << 10
	if f := st.Flow; f != nil { // which may have two URLs of any length that the schema allows
		most += len(f.VerificationURI) + len(f.VerificationURIComplete)
	}
	if size := len(show(st)); size > most {
		t.Errorf("status has %d bytes", size)
	}
}

func TestWhatAProviderSaysNeverBreaksTheLimits(t *testing.T) {
	for name, text := range texts {
		for _, answer := range answers[1:] {
			for _, given := range [][]func(*world){{}, {loggedIn, renewalDue}, {shown, nextPoll}} {
				t.Run(name+", "+string(answer.Kind), func(t *testing.T) {
					w := newWorld()
					for _, given := range given {
						given(w)
					}
					w.answer = &session.Failure{Kind: answer.Kind, Code: text, Message: text}
					w.look()
					checkTexts(t, &w.s.Status)
					if w.s.Status.Error == nil || w.s.Status.Error.Message == "" {
						t.Errorf("nothing is said: %s", show(w.s.Status.Error))
					}
				})
			}
		}
	}
}

func TestWhatAPersonIsToConfirmNeverBreaksTheLimits(t *testing.T) {
	for name, text := range texts {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			in := w.observe()
			pending := session.Pending{VerificationURI: text, VerificationURIComplete: text, UserCode: text, ExpiresAt: w.now.Add(time.Minute + time.Millisecond)}
			st := session.Report(in, session.Decide(in, w.now), session.Outcome{Pending: &pending}, w.now)
			checkTexts(t, &st)
			if !interaction(&st) || !st.Flow.ExpiresAt.Time.Equal(w.now.Add(time.Minute)) {
				t.Errorf("flow is %s", show(st.Flow))
			}
		})
	}
}

func TestWhomAProviderNamesNeverBreaksTheLimits(t *testing.T) {
	for name, text := range texts {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			w.s.Spec.User = nil
			in := w.observe()
			d := session.Decide(in, w.now)
			issued := session.Issued{
				SecretName: place, SecretVersion: "v1", SessionID: "session-1", Attempt: 1, IssuedAt: start, ExpiresAt: start.Add(month), UserEmail: text, UserSubject: text,
			}
			st := session.Report(in, d, session.Outcome{Issued: &issued}, w.now)
			checkTexts(t, &st)
			w.s.Status = st
			w.put(place, issued)
			w.s.Status.Token.SecretVersion = w.find(place).version
			wantLoggedOut(w)
			w.look()
			checkTexts(t, &w.s.Status)
		})
	}
}

func TestWhatAProvidersConditionSaysIsCutShort(t *testing.T) {
	for name, text := range texts {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			w.provider.Problem = session.Problem{Reason: v1.ReasonProviderNotReady, Message: "It is not ready: " + text}
			w.look()
			checkTexts(t, &w.s.Status)
		})
	}
}

// An annotation may have 256 KiB, and what was handled is recorded all the same.
func TestARequestOfAnyLengthIsHandledOnce(t *testing.T) {
	for name, value := range map[string]string{
		"short":                           "2026-03-01",
		"256 characters":                  strings.Repeat("x", 256),
		"257 characters":                  strings.Repeat("x", 257),
		"256 characters of several bytes": strings.Repeat("é", 256),
		"200 KiB":                         strings.Repeat("x", 200<<10),
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			loggedIn(w)
			w.request(v1.AnnotationRenewRequested, value)
			w.request(v1.AnnotationLoginRequested, value)
			w.rest(t)
			if w.renewals != 1 || w.logins != 1 {
				t.Errorf("it led to %d renewals and %d logins more", w.renewals, w.logins-1)
			}
			checkTexts(t, &w.s.Status)
			w.now = w.now.Add(time.Hour)
			w.rest(t)
			if w.renewals != 1 {
				t.Error("it is handled again")
			}
			w.request(v1.AnnotationRenewRequested, value+"y")
			w.rest(t)
			if w.renewals != 2 {
				t.Error("another value that begins alike is not handled")
			}
		})
	}
}

func TestAnObjectStaysSmall(t *testing.T) {
	w := newWorld()
	for range 4 {
		w.rest(t)
		w.delete(place)
		w.now = w.now.Add(time.Hour)
	}
	w.rest(t)
	if size := len(show(w.s)); size > 4<<10 {
		t.Errorf("an ordinary session that has been through a lot has %d bytes", size)
	}
	w.s.Annotations = map[string]string{v1.AnnotationLoginRequested: strings.Repeat("a", 256), v1.AnnotationRenewRequested: strings.Repeat("b", 256)}
	w.answer = &session.Failure{Kind: session.FailureBusy, Code: strings.Repeat("x", 100), Message: strings.Repeat("x", 1000)}
	w.look()
	checkTexts(t, &w.s.Status)
}
