package v1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// KindSessionReview is the kind of every SessionReview.
const KindSessionReview = "SessionReview"

// SessionReview is one question of the controller to a webhook and its answer.
// It is a wire format alone: no such object is kept in a cluster.
//
// The controller POSTs a SessionReview with a request as application/json over
// HTTPS. The handler answers with status 200 and a SessionReview with a
// response, of up to 1 MiB, within the provider's timeoutSeconds. Fields that
// the reader does not know are ignored, on both sides. Examples of every
// operation follow; apiVersion and kind are always those of the first.
//
// Login. The same uid is the same login, asked for again: it is answered with
// the same token, or with one that ends together with it.
//
//	{"apiVersion": "terminals.dev/v1", "kind": "SessionReview", "request": {
//	  "uid": "0f8f0a4e-6e9b-4d3e-8d5c-2f6f0c1a7b11/7", "operation": "Login",
//	  "session": {"namespace": "shop", "name": "till-07", "sessionID": "0197f3d2-6c1e-5f7a-9a41-0c9f3c5a2e10",
//	    "terminal": {"id": "T-0042", "serialNumber": "SN-93AX"}, "merchantID": "acme",
//	    "user": {"email": "anna@acme.example", "name": "Anna Ruiz"}, "purpose": "Login", "type": "Continuous",
//	    "scopes": ["payments"], "audiences": ["https://pay.example"], "lifetimeSeconds": 2592000},
//	  "authToken": "..."}}
//
//	{"apiVersion": "terminals.dev/v1", "kind": "SessionReview", "response": {
//	  "uid": "0f8f0a4e-6e9b-4d3e-8d5c-2f6f0c1a7b11/7", "result": "Issued",
//	  "token": {"value": "...", "expiresInSeconds": 2592000, "refreshToken": "..."},
//	  "user": {"email": "anna@acme.example", "subject": "u-1"}}}
//
// A login that a person must confirm is Pending, and is asked for again, with
// the same uid, until it is Issued or Rejected or its time is over:
//
//	"response": {"uid": "...", "result": "Pending", "retryAfterSeconds": 5, "interaction": {
//	  "verificationURI": "https://id.example.com/device", "userCode": "WDJB-MJHT", "expiresInSeconds": 600}}
//
// Logins and renewals that cannot be, for now or for good:
//
//	"response": {"uid": "...", "result": "Postponed"}
//	"response": {"uid": "...", "result": "Busy", "retryAfterSeconds": 30}
//	"response": {"uid": "...", "result": "Rejected", "error": {"code": "ShopClosed", "message": "The shop opens at 8:00."}}
//	"response": {"uid": "...", "result": "Banned", "error": {"code": "UserBanned", "message": "Ask security."}}
//
// Renew replaces the token of a session; sessionID stays what it was. It is
// answered like Login, but never with Pending; Ended says that only a new
// login helps.
//
//	"request": {"uid": "...", "operation": "Renew", "session": {...}, "token": "...", "refreshToken": "...", "authToken": "..."}
//
//	"response": {"uid": "...", "result": "Issued", "token": {"value": "...", "expiresInSeconds": 2592000}}
//
// Logout says that a token is over; one that the handler does not know is Done
// as well.
//
//	"request": {"uid": "...", "operation": "Logout", "session": {...}, "token": "...", "refreshToken": "..."}
//
//	"response": {"uid": "...", "result": "Done"}
//
// Check asks whether a token still holds.
//
//	"request": {"uid": "...", "operation": "Check", "session": {...}, "token": "..."}
//
//	"response": {"uid": "...", "result": "Active"}
//	"response": {"uid": "...", "result": "Ended", "error": {"code": "SignedOut"}}
//	"response": {"uid": "...", "result": "Banned", "error": {"code": "UserDeleted"}}
//
// +kubebuilder:object:generate=false
type SessionReview struct {
	metav1.TypeMeta `json:",inline"`

	// request is the question.
	// +optional
	Request *SessionReviewRequest `json:"request,omitempty"`

	// response is the answer. The controller does not read the request of an
	// answer.
	// +optional
	Response *SessionReviewResponse `json:"response,omitempty"`
}

// SessionReviewOperation is what a webhook is asked to do.
// +kubebuilder:validation:Enum=Login;Renew;Logout;Check
type SessionReviewOperation string

const (
	// ReviewLogin starts a session, or goes on with one that is Pending. Answered
	// with Issued, Pending, Postponed, Busy, Rejected or Banned.
	ReviewLogin SessionReviewOperation = "Login"
	// ReviewRenew replaces the token of a session. Answered with Issued,
	// Postponed, Busy, Rejected, Banned or Ended.
	ReviewRenew SessionReviewOperation = "Renew"
	// ReviewLogout ends a token. Answered with Done, Ended, Busy, Rejected or
	// Banned; after the last two the token is left to expire.
	ReviewLogout SessionReviewOperation = "Logout"
	// ReviewCheck asks whether a token still holds. Answered with Active, Ended,
	// Banned or Busy.
	ReviewCheck SessionReviewOperation = "Check"
)

// SessionReviewRequest is what a webhook is asked.
//
// +kubebuilder:object:generate=false
type SessionReviewRequest struct {
	// uid names this attempt: asked again with the same uid and operation, after
	// a crash or to go on with a Pending, the handler answers for the same
	// attempt. Up to 128 characters.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +required
	UID string `json:"uid,omitempty"`

	// operation is Login, Renew, Logout or Check. A handler answers with an HTTP
	// status other than 200 to one that it does not know.
	// +required
	Operation SessionReviewOperation `json:"operation,omitempty"`

	// session is who the token is for.
	// +required
	Session SessionReviewSession `json:"session,omitzero"`

	// token is the session's access token, for Renew, Logout and Check. Secret.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=65536
	// +optional
	Token string `json:"token,omitempty"`

	// refreshToken is what the handler gave beside the token, if it did, for
	// Renew and Logout. Secret.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=65536
	// +optional
	RefreshToken string `json:"refreshToken,omitempty"`

	// authToken is what the user proves himself with, for Login and Renew, where
	// the session names one. Secret.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1048576
	// +optional
	AuthToken string `json:"authToken,omitempty"`
}

// SessionReviewSession is what a webhook is told of a session: the values of
// its spec.
//
// +kubebuilder:object:generate=false
type SessionReviewSession struct {
	// namespace of the TerminalSession.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +required
	Namespace string `json:"namespace,omitempty"`

	// name of the TerminalSession.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=57
	// +required
	Name string `json:"name,omitempty"`

	// sessionID is new for each login and stays for its renewals.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +required
	SessionID string `json:"sessionID,omitempty"`

	// terminal is the device that the session is for.
	// +required
	Terminal Terminal `json:"terminal,omitzero"`

	// merchantID is the merchant on whose behalf the terminal acts.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +optional
	MerchantID string `json:"merchantID,omitempty"`

	// user is who is to be logged in. Left out, it is whoever logs in.
	// +optional
	User *User `json:"user,omitempty"`

	// purpose is Login, Registration or AppLogin.
	// +optional
	Purpose Purpose `json:"purpose,omitempty"`

	// type is Continuous or OneShot; the latter is never renewed.
	// +optional
	Type SessionType `json:"type,omitempty"`

	// scopes are asked for.
	// +listType=set
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=64
	// +optional
	Scopes []string `json:"scopes,omitempty"`

	// audiences are who the token is meant for.
	// +listType=set
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=256
	// +optional
	Audiences []string `json:"audiences,omitempty"`

	// lifetimeSeconds is how long the token is asked to live: 60 to 31536000 (a
	// year). The handler may give less.
	// +kubebuilder:validation:Minimum=60
	// +kubebuilder:validation:Maximum=31536000
	// +optional
	LifetimeSeconds int64 `json:"lifetimeSeconds,omitempty"`

	// announce is a text to show to the person who confirms the login.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +optional
	Announce string `json:"announce,omitempty"`
}

// SessionReviewResult is what came of a request.
// +kubebuilder:validation:Enum=Issued;Pending;Postponed;Busy;Rejected;Banned;Active;Ended;Done
type SessionReviewResult string

const (
	// ReviewIssued means: here is the token.
	ReviewIssued SessionReviewResult = "Issued"
	// ReviewPending means: a person must confirm the login, as interaction says.
	ReviewPending SessionReviewResult = "Pending"
	// ReviewPostponed means: the auth token is missing, or has expired. The
	// controller asks again when its Secret changes, or after retryAfterSeconds,
	// 10 minutes at least.
	ReviewPostponed SessionReviewResult = "Postponed"
	// ReviewBusy means: not now. Asked again after retryAfterSeconds.
	ReviewBusy SessionReviewResult = "Busy"
	// ReviewRejected means: no. Not asked again until something has changed.
	ReviewRejected SessionReviewResult = "Rejected"
	// ReviewBanned means: the user or the device is barred or deleted. The
	// session is terminated.
	ReviewBanned SessionReviewResult = "Banned"
	// ReviewActive means: the token holds.
	ReviewActive SessionReviewResult = "Active"
	// ReviewEnded means: the session is over at the handler, and only a new login
	// helps.
	ReviewEnded SessionReviewResult = "Ended"
	// ReviewDone means: the token is over, or was never known.
	ReviewDone SessionReviewResult = "Done"
)

// SessionReviewResponse is what a webhook answers. An answer with a result that
// the operation does not have, or without what the result needs, is taken for
// a handler that is set up wrongly.
//
// +kubebuilder:object:generate=false
type SessionReviewResponse struct {
	// uid is the request's.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +required
	UID string `json:"uid,omitempty"`

	// result is what came of the request.
	// +required
	Result SessionReviewResult `json:"result,omitempty"`

	// token is there when the result is Issued.
	// +optional
	Token *SessionReviewToken `json:"token,omitempty"`

	// user is whom the handler has logged in, when the result is Issued. Where
	// the session names a user, it must be the same e-mail address.
	// +optional
	User *UserStatus `json:"user,omitempty"`

	// interaction is there when the result is Pending.
	// +optional
	Interaction *SessionReviewInteraction `json:"interaction,omitempty"`

	// retryAfterSeconds is when to ask again, at the soonest: after Busy and
	// Postponed up to 86400 (a day), default as for any failure; between two
	// questions about a Pending up to 3600, default 5.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=86400
	// +optional
	RetryAfterSeconds int64 `json:"retryAfterSeconds,omitempty"`

	// error says why, when the result is Rejected, Banned, Ended, Busy or
	// Postponed. It is shown in the session's status.
	// +optional
	Error *SessionReviewError `json:"error,omitempty"`
}

// SessionReviewToken is what a webhook gave.
//
// +kubebuilder:object:generate=false
type SessionReviewToken struct {
	// value is the access token; up to 64 KiB. Secret.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=65536
	// +required
	Value string `json:"value,omitempty"`

	// expiresInSeconds is how long the token lives from now on: 1 or more. What
	// is over a year (31536000) counts as a year.
	// +kubebuilder:validation:Minimum=1
	// +required
	ExpiresInSeconds int64 `json:"expiresInSeconds,omitempty"`

	// refreshToken is handed back with Renew and Logout; up to 64 KiB. Left out
	// by a Renew: the one before stays. Secret.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=65536
	// +optional
	RefreshToken string `json:"refreshToken,omitempty"`
}

// SessionReviewInteraction is what a person has to do to confirm a login
// (RFC 8628 section 3.2).
//
// +kubebuilder:object:generate=false
type SessionReviewInteraction struct {
	// verificationURI is where the person goes: https, up to 2048 characters.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	// +required
	VerificationURI string `json:"verificationURI,omitempty"`

	// verificationURIComplete is the same with the code filled in, made to be
	// shown as a QR code; https, up to 2048 characters.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	// +optional
	VerificationURIComplete string `json:"verificationURIComplete,omitempty"`

	// userCode is what the person types in there; up to 64 characters.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +required
	UserCode string `json:"userCode,omitempty"`

	// expiresInSeconds is how long the person has from now on: 1 to 86400 (a
	// day).
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=86400
	// +required
	ExpiresInSeconds int64 `json:"expiresInSeconds,omitempty"`
}

// SessionReviewError says why a webhook did not do what it was asked.
//
// +kubebuilder:object:generate=false
type SessionReviewError struct {
	// code is one word in UpperCamelCase, such as UserBanned; up to 64
	// characters. Any other is left out of status.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +optional
	Code string `json:"code,omitempty"`

	// message tells a person more; up to 256 characters of one line. One with a
	// part of a token in it is left out of status.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +optional
	Message string `json:"message,omitempty"`
}
