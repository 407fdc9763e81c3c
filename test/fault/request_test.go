package fault_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
)

// request is what there is to know of one request to the API server.
type request struct {
	// resource is its plural name, with the subresource behind a slash if there is one.
	resource, namespace, name string
	verb                      string
	// body is what it carries.
	body []byte
}

// The verbs that are not just an HTTP method.
const (
	verbList  = "LIST"
	verbWatch = "WATCH"
)

// read takes a request apart, and leaves it as it was. One that is for no resource, such as discovery, has none.
func read(r *http.Request) (request, error) {
	q := request{verb: r.Method}
	if r.Body != nil {
		var err error
		if q.body, err = io.ReadAll(r.Body); err != nil {
			return q, fmt.Errorf("reading what is sent: %w", err)
		}
		r.Body = io.NopCloser(bytes.NewReader(q.body))
	}
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	switch {
	case len(parts) > 2 && parts[0] == "api":
		parts = parts[2:]
	case len(parts) > 3 && parts[0] == "apis":
		parts = parts[3:]
	default:
		return q, nil
	}
	if parts[0] == "namespaces" && len(parts) > 2 {
		q.namespace, parts = parts[1], parts[2:]
	}
	q.resource = parts[0]
	if len(parts) > 1 {
		q.name = parts[1]
	}
	if len(parts) > 2 {
		q.resource += "/" + parts[2]
	}
	switch query := r.URL.Query(); {
	case query.Get("watch") != "" && query.Get("watch") != "false":
		q.verb = verbWatch
	case r.Method == http.MethodGet && q.name == "":
		q.verb = verbList
	case r.Method == http.MethodPost && q.name == "":
		q.name = nameIn(q.body)
	}
	return q, nil
}

func nameIn(body []byte) string {
	var object struct {
		Metadata struct {
			Name string `json:"name"`
		} `json:"metadata"`
	}
	_ = json.Unmarshal(body, &object) // what has no name is called by none
	return object.Metadata.Name
}

// ofItsOwn is the part of a name that is another in each run.
var ofItsOwn = regexp.MustCompile(`^revocation-[0-9a-f]+$|-key-[0-9A-Za-z_-]+$`)

// String names it as people do, the same in each run.
func (q request) String() string {
	name := ofItsOwn.ReplaceAllStringFunc(q.name, func(own string) string {
		if strings.HasPrefix(own, "revocation-") {
			return "revocation"
		}
		return "-key"
	})
	return strings.TrimSpace(q.verb + " " + q.resource + " " + name)
}

// writes is whether it changes something.
func (q request) writes() bool {
	switch q.verb {
	case http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete:
		return true
	}
	return false
}

// kind is the resource without its subresource.
func (q request) kind() string {
	kind, _, _ := strings.Cut(q.resource, "/")
	return kind
}
