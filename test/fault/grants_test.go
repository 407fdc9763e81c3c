package fault_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"time"
)

// lifetime is that of every token: its renewal is due far from everything else that happens in a run.
const lifetime = 24 * time.Hour

func form(r *http.Request, body []byte) url.Values {
	values, err := url.ParseQuery(string(body))
	if err != nil || r.Method != http.MethodPost {
		return url.Values{}
	}
	return values
}

// token serves the token endpoint (RFC 6749, RFC 8693): a login begins a family, and a refresh token, which works once, goes on with one.
func (i *issuer) token(asked url.Values) (status int, said any) {
	var issued entryOfBook
	switch asked.Get("grant_type") {
	case "client_credentials":
		issued = i.book.begin("", false)
	case "urn:ietf:params:oauth:grant-type:token-exchange":
		if asked.Get("subject_token") == "" {
			return refuse("invalid_request")
		}
		issued = i.book.begin("", true)
	case "refresh_token":
		var ok bool
		if issued, ok = i.book.refresh(asked.Get("refresh_token")); !ok {
			return refuse("invalid_grant")
		}
	default:
		return refuse("unsupported_grant_type")
	}
	answer := map[string]any{"access_token": issued.access, "token_type": "Bearer", "expires_in": int(lifetime.Seconds())}
	if issued.refresh != "" {
		answer["refresh_token"] = issued.refresh
		answer["issued_token_type"] = "urn:ietf:params:oauth:token-type:access_token"
	}
	return http.StatusOK, answer
}

func refuse(code string) (status int, said any) {
	return http.StatusBadRequest, map[string]any{"error": code}
}

// review is as much of a SessionReview's request as the webhook looks at.
type review struct {
	Request struct {
		UID       string `json:"uid"`
		Operation string `json:"operation"`
		Token     string `json:"token"`
		Session   struct {
			User map[string]string `json:"user"`
		} `json:"session"`
	} `json:"request"`
}

func readReview(body []byte) (r review) {
	_ = json.Unmarshal(body, &r) // what is no review has no operation, and is answered with nothing
	return r
}

// review answers a SessionReview. The uid is its idempotency key: asked again, it says the same again.
func (i *issuer) review(r review) any {
	response := map[string]any{"uid": r.Request.UID}
	switch r.Request.Operation {
	case "Login", "Renew":
		issued := i.book.begin(r.Request.UID, false)
		if r.Request.Operation == "Renew" && r.Request.Token != issued.access {
			i.book.revoke(r.Request.Token) // the new one takes its place
		}
		response["result"] = "Issued"
		response["token"] = map[string]any{"value": issued.access, "expiresInSeconds": int(lifetime.Seconds())}
		if email := r.Request.Session.User["email"]; email != "" {
			response["user"] = map[string]any{"email": email}
		}
	case "Logout":
		i.book.revoke(r.Request.Token)
		response["result"] = "Done"
	}
	return map[string]any{"apiVersion": "terminals.dev/v1", "kind": "SessionReview", "response": response}
}
