package main

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	v1 "terminals.dev/session-controller/api/v1"
)

// sight is what the bench takes from an event of a watch.
type sight struct {
	at       time.Time
	deleted  bool
	name     string
	version  uint64
	phase    v1.Phase
	renewals int
}

func established(s sight) bool { return s.phase == v1.PhaseEstablished }

func renewed(s sight) bool { return s.renewals > 0 }

func gone(s sight) bool { return s.deleted }

// parseEvent reads one line of a watch.
func parseEvent(line []byte, at time.Time) (sight, error) {
	var event struct {
		Type   string `json:"type"`
		Object struct {
			Metadata struct {
				Name            string `json:"name"`
				ResourceVersion string `json:"resourceVersion"`
			} `json:"metadata"`
			Status json.RawMessage `json:"status"`
		} `json:"object"`
	}
	if err := json.Unmarshal(line, &event); err != nil {
		return sight{}, fmt.Errorf("reading an event: %w", err)
	}
	if event.Type == "ERROR" {
		return sight{}, fmt.Errorf("the server says %.300s", line)
	}
	meta := event.Object.Metadata
	version, err := strconv.ParseUint(meta.ResourceVersion, 10, 64)
	if err != nil {
		return sight{}, fmt.Errorf("reading the version of %s: %w", meta.Name, err)
	}
	s := sight{at: at, deleted: event.Type == "DELETED", name: meta.Name, version: version}
	if len(event.Object.Status) == 0 {
		return s, nil
	}
	var status struct {
		Phase v1.Phase `json:"phase"`
		Token struct {
			Renewals int `json:"renewals"`
		} `json:"token"`
	}
	if err := json.Unmarshal(event.Object.Status, &status); err != nil {
		return s, fmt.Errorf("reading the status of %s: %w", meta.Name, err)
	}
	s.phase, s.renewals = status.Phase, status.Token.Renewals
	return s, nil
}
