package embedded

import (
	"errors"
	"net/http"
)

// maxBodySize bounds an introspection request, in bytes. A token takes a quarter of it at most.
const maxBodySize = 64 << 10

// activeToken is the answer about a token that is active (RFC 7662 section 2.2): its claims, and what follows from them.
type activeToken struct {
	Active    bool   `json:"active"`
	TokenType string `json:"token_type"`
	// Username is left out where the session named no user.
	Username string `json:"username,omitempty"`
	Claims
}

// inactiveToken is the answer about any other. It does not tell why.
type inactiveToken struct {
	Active bool `json:"active"`
}

func (h *handler) introspect(w http.ResponseWriter, r *http.Request, issuer *Issuer) {
	r.Body = http.MaxBytesReader(w, r.Body, maxBodySize)
	if err := r.ParseForm(); err != nil {
		if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
			writeError(w, http.StatusRequestEntityTooLarge, "invalid_request", "The request is too large.")
			return
		}
		writeError(w, http.StatusBadRequest, "invalid_request", "The request is not a form.")
		return
	}
	// The body alone counts: a token in the URL would end up in logs. A parameter that is there twice or is empty counts as missing
	// (RFC 6749 section 3.2).
	tokens := r.PostForm["token"]
	if len(tokens) != 1 || tokens[0] == "" {
		writeError(w, http.StatusBadRequest, "invalid_request", "The form needs one parameter named token.")
		return
	}
	claims, err := issuer.Verify(r.Context(), tokens[0])
	if errors.Is(err, ErrInvalidToken) {
		writeJSON(w, http.StatusOK, "application/json", inactiveToken{})
		return
	}
	if err != nil {
		writeUnavailable(w, "The keys cannot be read at the moment.")
		return
	}
	active, err := h.Active(r.Context(), claims)
	if err != nil {
		writeUnavailable(w, "The session cannot be looked up at the moment.")
		return
	}
	if !active {
		writeJSON(w, http.StatusOK, "application/json", inactiveToken{})
		return
	}
	answer := activeToken{Active: true, TokenType: "Bearer", Claims: claims}
	if claims.Subject != terminalSubject(claims.ClientID) {
		answer.Username = claims.Subject
	}
	writeJSON(w, http.StatusOK, "application/json", answer)
}
