package providertest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"terminals.dev/session-controller/internal/provider"
)

// fails fails the test unless an error is as every error has to be, and of a kind that fits.
func (s *suite) fails(t *testing.T, what string, about question, err error, kinds ...provider.Kind) {
	t.Helper()
	var e *provider.Error
	switch {
	case err == nil:
		t.Errorf("%s succeeded, want %v", what, kinds)
		return
	case !errors.As(err, &e):
		t.Errorf("%s failed with %T, want a *provider.Error", what, err)
		return
	case !slices.Contains(kinds, e.Kind):
		t.Errorf("%s failed with %v, want %v", what, err, kinds)
	}
	if utf8.RuneCountInString(e.Message) > 256 || utf8.RuneCountInString(e.Code) > 64 || strings.ContainsAny(e.Message+e.Code, "\r\n") {
		t.Errorf("%s: code or message has several lines, or is longer than 64 or 256 characters", what)
	}
	if e.RetryAfter < 0 {
		t.Errorf("%s says to wait %s", what, e.RetryAfter)
	}
	if reveals(texts(err), append([]string{Marker, about.Token, about.RefreshToken, about.AuthToken, about.pending.Handle}, s.Secrets...)...) {
		t.Errorf("%s: a secret, or a body, stands in the error", what)
	}
}

// texts is everything that an error and all its causes print.
func texts(err error) string {
	if err == nil {
		return ""
	}
	text := fmt.Sprintf("%s\n%v\n%+v\n", err.Error(), err, err)
	switch wrapped := err.(type) { //nolint:errorlint // every link of the chain is looked at by itself
	case interface{ Unwrap() error }:
		text += texts(wrapped.Unwrap())
	case interface{ Unwrap() []error }:
		for _, cause := range wrapped.Unwrap() {
			text += texts(cause)
		}
	}
	return text
}

// reveals tells whether a text has a part of a secret in it.
func reveals(text string, secrets ...string) bool {
	for _, secret := range secrets {
		for i := 0; i+window <= len(secret); i++ {
			if strings.Contains(text, secret[i:i+window]) {
				return true
			}
		}
	}
	return false
}

// soon fails the test unless a call returns within patience.
func soon(t *testing.T, call func() error) error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- call() }()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case err := <-done:
		return err
	case <-timer.C:
		t.Fatalf("the call has not returned after %s", patience)
		return nil
	}
}
