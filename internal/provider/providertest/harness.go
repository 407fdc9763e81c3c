// Package providertest states what every adapter promises, and asks it of a real server. Each adapter's tests call Run.
package providertest

import (
	"testing"
	"time"

	"terminals.dev/session-controller/internal/provider"
)

// RetryAfter is for how long a server that is Busy, or Unavailable, asks to be left alone.
const RetryAfter = 7 * time.Second

// Marker stands in every body that a server sends as Garbage, Huge or Leaking, and may stand in no error.
const Marker = "MARKER-0f8f0a4e6e9b4d3e-of-a-body"

// Harness is an adapter and its real server. New and Request are required; what else an adapter has no wire for is left out, and what is
// promised about it is then not asked.
type Harness struct {
	// New returns a client of the server, as the controller makes one after a start: it shares nothing with the others. It waits for an
	// answer for a minute, so that whatever ends a call sooner is that the call was given up.
	New func(t testing.TB) provider.Provider
	// Impatient returns a client that waits for an answer for less than a second; nil where a client has no time limit of its own.
	Impatient func(t testing.TB) provider.Provider
	// Request returns what a healthy server grants a login for: another session, and another attempt, each time. Its AuthToken, if there
	// is one, is a secret of 12 characters or more.
	Request func(t testing.TB) provider.Request
	// Again returns a request with an auth token that holds, where one holds for a single use; nil where it holds for more.
	Again func(t testing.TB, req provider.Request) provider.Request
	// Stale returns auth tokens that do not hold: expired, used, or none of the server's.
	Stale func(t testing.TB) []string
	// Established returns what a session has that began in another way than by a Login; nil where there is none.
	Established func(t testing.TB, req provider.Request) provider.Token
	// Secrets are those that the clients have: what they prove themselves with. They may stand in no error.
	Secrets []string
	// SessionOf returns the session ID that a token was issued for.
	SessionOf func(t testing.TB, token string) string
	// Live counts what the server has granted to a session and still honours: an access token, with the refresh token that came with it.
	Live func(t testing.TB, sessionID string) int
	// Calls counts the requests that the server has seen.
	Calls func() int
	// Confirm is what the person does who was asked to confirm a login; there may be several at once.
	Confirm func(t testing.TB, pending provider.Pending)
	// Scenarios are the ways in which the server can be made to behave.
	Scenarios map[Scenario]Switch
}

// Switch makes the server behave in some way until the test ends. Under Hanging and Swallowing, taken yields once for each request that the
// server has taken, and acted on; else it may be nil.
type Switch func(t testing.TB) (taken <-chan struct{})

// Scenario is a way in which a server behaves.
type Scenario string

const (
	// Busy asks to be left alone for RetryAfter (HTTP 429).
	Busy Scenario = "busy"
	// Unavailable fails on its own side, and asks to be left alone for RetryAfter (HTTP 503).
	Unavailable Scenario = "unavailable"
	// Failing fails on its own side, and says no more (HTTP 500).
	Failing Scenario = "failing"
	// Down does not take connections.
	Down Scenario = "down"
	// Rejecting understands logins and renewals and says no, with a code.
	Rejecting Scenario = "rejecting"
	// Banning says that the user is barred, with a code.
	Banning Scenario = "banning"
	// Postponing finds no auth token, or one that has expired. Where the auth token itself can be made so, Harness.Stale is the better way.
	Postponing Scenario = "postponing"
	// Forgetting says at a renewal that what it rests on is over.
	Forgetting Scenario = "forgetting"
	// Asking wants a person to confirm each login.
	Asking Scenario = "asking a person"
	// Refusing does not accept the client's own credentials.
	Refusing Scenario = "refusing the client"
	// Untrusted shows a certificate that the client has no reason to trust. The server fails the test if it is sent anything.
	Untrusted Scenario = "untrusted"
	// Hanging takes a request and says nothing.
	Hanging Scenario = "hanging"
	// Swallowing does what it is asked and says nothing.
	Swallowing Scenario = "swallowing the answer"
	// Garbage answers with HTML that has Marker in it.
	Garbage Scenario = "garbage"
	// Huge answers with Marker, over and over, for 100 MB.
	Huge Scenario = "a huge body"
	// Redirecting sends clients to another host. That one fails the test if it sees a request.
	Redirecting Scenario = "redirecting"
	// Leaking fails or refuses, and repeats all that it was sent, and Marker, wherever an answer has room for text. Each operation is called
	// 8 times, so that there may be several ways of it.
	Leaking Scenario = "leaking"
)
