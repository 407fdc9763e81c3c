package provider

import (
	"errors"
	"fmt"
	"time"
)

// Kind says what a failed call means for the session that it was made for.
type Kind string

const (
	// Busy means: the provider is there and asks to be left alone for a while (HTTP 429). Asked again after RetryAfter.
	Busy Kind = "Busy"
	// Unavailable means: the provider could not be reached or failed on its own side. Asked again after RetryAfter.
	Unavailable Kind = "Unavailable"
	// Rejected means: the provider understood and said no, with Code. Not asked again until something has changed.
	Rejected Kind = "Rejected"
	// GrantDead means: what a renewal rests on is over; only a new login helps.
	GrantDead Kind = "GrantDead"
	// Banned means: the provider has barred or deleted the user or the device, with Code.
	Banned Kind = "Banned"
	// AuthTokenMissing means: the auth token is not there, is empty, or has expired.
	AuthTokenMissing Kind = "AuthTokenMissing"
	// Misconfigured means: only a change of the provider's configuration helps (credentials refused, signing key gone).
	Misconfigured Kind = "Misconfigured"
)

// Error is how providers fail; errors.As finds it. Message is for people and for a condition: it says what to do and never carries a
// token, a key, or a body that came from outside.
type Error struct {
	Kind Kind
	// Code is the provider's own word for a Rejected or Banned; up to 64 characters.
	Code string
	// Message tells a person what happened; up to 256 characters.
	Message string
	// RetryAfter is the least time to wait for a Busy or Unavailable; zero leaves it to the caller.
	RetryAfter time.Duration
	// Err is the cause, for errors.Is and errors.As. Its text is never printed: what may be shown of it is in Message.
	Err error
}

// Error implements error.
func (e *Error) Error() string {
	text := string(e.Kind)
	if e.Code != "" {
		text += " (" + e.Code + ")"
	}
	if e.Message != "" {
		text += ": " + e.Message
	}
	return text
}

// Unwrap implements errors.Unwrap.
func (e *Error) Unwrap() error { return e.Err }

// Errorf makes an *Error of the given kind; the format may wrap a cause with %w.
func Errorf(kind Kind, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Kind: kind, Message: err.Error(), Err: errors.Unwrap(err)}
}

// AsError returns the *Error in err's chain. What is none counts as Unavailable, so that an unforeseen failure is tried again and
// ends no session.
func AsError(err error) *Error {
	if err == nil {
		return nil
	}
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &Error{Kind: Unavailable, Message: err.Error(), Err: err}
}
