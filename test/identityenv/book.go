package identityenv

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Audit is how a server's book and the tokens that somebody has of it fit together.
type Audit struct {
	// Logins is how often the client has logged in; a renewal with a refresh token is none.
	Logins int
	// Dead are the access tokens that the server does not honour, Replaced those in whose place it has given another, and Spent the refresh
	// tokens that it does not take.
	Dead, Replaced, Spent int
	// Orphans are the grants of the client that the server would honour yet, of which nobody has the access token. One that was replaced, and is
	// good until its successor is used, is none.
	Orphans int
}

// Audit has the server compare its book with the tokens that a client has.
func (s *OIDC) Audit(ctx context.Context, client string, access, refresh []string) (Audit, error) {
	var found Audit
	body, err := s.ask(ctx, http.MethodPost, "/test/audit", url.Values{"client": {client}}, map[string]any{"access": access, "refresh": refresh})
	if err != nil {
		return found, err
	}
	err = json.Unmarshal([]byte(body), &found)
	return found, err
}

// Orphaned is when the orphans of an Audit were made, in no order.
func (s *OIDC) Orphaned(ctx context.Context, client string, access []string) ([]time.Time, error) {
	var made []time.Time
	body, err := s.ask(ctx, http.MethodPost, "/test/orphans", url.Values{"client": {client}}, map[string]any{"access": access})
	if err != nil {
		return nil, err
	}
	err = json.Unmarshal([]byte(body), &made)
	return made, err
}

// KillAfter has the server killed once it has entered so many more grants in its book, before anybody hears of the last of them.
func (s *OIDC) KillAfter(ctx context.Context, grants int) error {
	_, err := s.ask(ctx, http.MethodPost, "/test/kill", url.Values{"grants": {strconv.Itoa(grants)}}, nil)
	return err
}

// Arrival is when a request came in at a server, by its own account.
type Arrival struct {
	At   time.Time
	Path string
}

// Arrivals are the requests that have come in at a server with a StateDir, in order, those before it was started again included. What tests
// ask of it in people's place is left out.
func (s *OIDC) Arrivals() ([]Arrival, error) {
	content, err := os.ReadFile(filepath.Join(s.state, "requests.log"))
	if err != nil {
		return nil, err
	}
	var found []Arrival
	for line := range strings.Lines(string(content)) {
		var at int64
		var method, path string
		if _, err := fmt.Sscan(line, &at, &method, &path); err != nil {
			return nil, fmt.Errorf("reading when requests came in: %q: %w", line, err)
		}
		found = append(found, Arrival{time.Unix(0, at), path})
	}
	return found, nil
}
