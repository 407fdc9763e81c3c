package v1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Annotations by which people and tools ask for a change now, without a
// change of spec. The value is opaque: a request is open while it differs
// from the value in status that was handled last.
const (
	// AnnotationLoginRequested asks for a login. It lifts a hold; a session that
	// is established already is confirmed and left alone.
	AnnotationLoginRequested = "terminals.dev/login-requested"
	// AnnotationRenewRequested asks for a renewal of the access token before its
	// time.
	AnnotationRenewRequested = "terminals.dev/renew-requested"
)

// Finalizer stands on a session while its provider has to be told of its end.
const Finalizer = "terminals.dev/revocation"

// TokenSecretSuffix is what the name of a session's token Secret has after the
// session's own, unless spec.token.secretName says otherwise.
const TokenSecretSuffix = "-token"

// Phase is where a session is in its life.
// +kubebuilder:validation:Enum=NotLoggedIn;Establishing;Established;TokenExpired;Terminated
type Phase string

const (
	// PhaseNotLoggedIn means: there is no session and no token.
	PhaseNotLoggedIn Phase = "NotLoggedIn"
	// PhaseEstablishing means: a login is under way.
	PhaseEstablishing Phase = "Establishing"
	// PhaseEstablished means: the token is in its Secret and valid.
	PhaseEstablished Phase = "Established"
	// PhaseTokenExpired means: the token's time is over and its renewal is still
	// being tried.
	PhaseTokenExpired Phase = "TokenExpired"
	// PhaseTerminated means: a ban is in force.
	PhaseTerminated Phase = "Terminated"
)

// DesiredState says whether there is to be a session.
// +kubebuilder:validation:Enum=LoggedIn;LoggedOut
type DesiredState string

const (
	// LoggedIn wants a session.
	LoggedIn DesiredState = "LoggedIn"
	// LoggedOut wants none.
	LoggedOut DesiredState = "LoggedOut"
)

// SessionType says whether a session is kept up beyond its first token.
// +kubebuilder:validation:Enum=Continuous;OneShot
type SessionType string

const (
	// Continuous sessions are renewed until somebody ends them.
	Continuous SessionType = "Continuous"
	// OneShot sessions are never renewed and are over when their token expires.
	OneShot SessionType = "OneShot"
)

// Purpose says what the login is for; the provider is told.
// +kubebuilder:validation:Enum=Login;Registration;AppLogin
type Purpose string

const (
	// PurposeLogin logs a user in on a terminal.
	PurposeLogin Purpose = "Login"
	// PurposeRegistration registers a terminal.
	PurposeRegistration Purpose = "Registration"
	// PurposeAppLogin logs a user in to an app on the terminal.
	PurposeAppLogin Purpose = "AppLogin"
)

// Relogin says what follows when a session was invalidated.
// +kubebuilder:validation:Enum=Automatic;OnRequest
type Relogin string

const (
	// ReloginAutomatic logs in anew at once.
	ReloginAutomatic Relogin = "Automatic"
	// ReloginOnRequest waits for a login request.
	ReloginOnRequest Relogin = "OnRequest"
)

// HoldReason says why a session that is wanted is not being logged in.
// +kubebuilder:validation:Enum=SignedOut;Invalidated;Finished;Aborted;Rejected
type HoldReason string

const (
	// HoldSignedOut means: somebody signed the session out.
	HoldSignedOut HoldReason = "SignedOut"
	// HoldInvalidated means: what the session was bound to has changed, or its
	// grant is dead.
	HoldInvalidated HoldReason = "Invalidated"
	// HoldFinished means: a OneShot session is over.
	HoldFinished HoldReason = "Finished"
	// HoldAborted means: the person who was to confirm the login said no, or did
	// not answer in time.
	HoldAborted HoldReason = "Aborted"
	// HoldRejected means: the provider refused the login.
	HoldRejected HoldReason = "Rejected"
)

// FlowState is how far a login is.
// +kubebuilder:validation:Enum=Starting;UserInteraction;Active;Done;Error
type FlowState string

const (
	// FlowStarting means: the login is under way, or waits for its turn.
	FlowStarting FlowState = "Starting"
	// FlowUserInteraction means: a person has to confirm the login.
	FlowUserInteraction FlowState = "UserInteraction"
	// FlowActive means: the session is in use.
	FlowActive FlowState = "Active"
	// FlowDone means: the session is over, as somebody asked.
	FlowDone FlowState = "Done"
	// FlowError means: the session was refused, banned or aborted.
	FlowError FlowState = "Error"
)

// History is what a session's life comes to so far, as terminal applications
// know it.
// +kubebuilder:validation:Enum=LoggedIn;LoggedInOneShot;LoggedOut;Aborted;Error
type History string

const (
	// HistoryLoggedIn means: a Continuous session is established.
	HistoryLoggedIn History = "LoggedIn"
	// HistoryLoggedInOneShot means: a OneShot session is established.
	HistoryLoggedInOneShot History = "LoggedInOneShot"
	// HistoryLoggedOut means: the session is over: signed out, finished or
	// invalidated.
	HistoryLoggedOut History = "LoggedOut"
	// HistoryAborted means: the login was denied or timed out by the person who
	// was to confirm it.
	HistoryAborted History = "Aborted"
	// HistoryError means: the session was refused or banned.
	HistoryError History = "Error"
)

// TerminalSession is the login session of one user on one payment or POS
// terminal: how it is wanted (spec) and how it is (status). The access token
// is kept in a Secret beside it.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Namespaced,shortName=ts,categories=terminals
// +kubebuilder:selectablefield:JSONPath=`.spec.terminal.id`
// +kubebuilder:selectablefield:JSONPath=`.spec.terminal.serialNumber`
// +kubebuilder:selectablefield:JSONPath=`.spec.merchantID`
// +kubebuilder:selectablefield:JSONPath=`.spec.user.email`
// +kubebuilder:selectablefield:JSONPath=`.spec.providerRef.name`
// +kubebuilder:selectablefield:JSONPath=`.status.phase`
// +kubebuilder:printcolumn:name="Terminal",type=string,JSONPath=`.spec.terminal.id`,description="The terminal's id"
// +kubebuilder:printcolumn:name="Merchant",type=string,JSONPath=`.spec.merchantID`,description="The merchant that the terminal acts for"
// +kubebuilder:printcolumn:name="User",type=string,JSONPath=`.spec.user.email`,description="The user who is to be logged in"
// +kubebuilder:printcolumn:name="Phase",type=string,JSONPath=`.status.phase`,description="Where the session is in its life"
// +kubebuilder:printcolumn:name="Expires",type=string,JSONPath=`.status.token.expiresAt`,description="When the access token's time is over (UTC)"
// +kubebuilder:printcolumn:name="Active",type=date,JSONPath=`.status.client.lastActiveAt`,description="How long ago the terminal was last heard of"
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Session",type=string,priority=1,JSONPath=`.status.sessionID`,description="The session ID"
// +kubebuilder:printcolumn:name="Provider",type=string,priority=1,JSONPath=`.spec.providerRef.name`,description="Where the token comes from"
// +kubebuilder:printcolumn:name="Renews",type=string,priority=1,JSONPath=`.status.token.renewAt`,description="When the access token is to be renewed (UTC)"
// +kubebuilder:printcolumn:name="Reason",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`,description="Why the session is, or is not, as it should be"
// +kubebuilder:printcolumn:name="Serial",type=string,priority=1,JSONPath=`.spec.terminal.serialNumber`,description="The terminal's serial number"
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 57",message="metadata.name must have at most 57 characters, so that the names of the session's Secrets fit: choose a shorter name"
type TerminalSession struct {
	metav1.TypeMeta `json:",inline"`

	// metadata is the standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is the session as it is wanted. People and pipelines write it; the
	// controller never does.
	// +required
	Spec TerminalSessionSpec `json:"spec,omitzero"`

	// status is the session as it is. The controller writes it, status.client
	// aside, which is the gateway's.
	// +default={"observedGeneration": -1, "phase": "NotLoggedIn"}
	// +optional
	Status TerminalSessionStatus `json:"status,omitzero"`
}

// TerminalSessionList is a list of TerminalSessions.
//
// +kubebuilder:object:root=true
type TerminalSessionList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []TerminalSession `json:"items"`
}

// TerminalSessionSpec is a session as it is wanted.
type TerminalSessionSpec struct {
	// terminal is the device that the session is for.
	// +required
	Terminal Terminal `json:"terminal,omitzero"`

	// merchantID is the merchant on whose behalf the terminal acts: 1 to 64
	// letters, digits, '.', '_', ':' or '-'.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z0-9]([A-Za-z0-9._:-]*[A-Za-z0-9])?$')",message="must be letters, digits, '.', '_', ':' or '-', beginning and ending with a letter or digit, such as acme"
	// +optional
	MerchantID string `json:"merchantID,omitempty"`

	// user is who is to be logged in. Left out, it is whoever logs in, and
	// status.user tells who that was.
	// +optional
	User *User `json:"user,omitempty"`

	// providerRef says where the access token comes from. Default: the
	// ClusterSessionProvider named default.
	// +default={"kind": "ClusterSessionProvider", "name": "default"}
	// +optional
	ProviderRef ProviderReference `json:"providerRef,omitzero"`

	// desiredState is LoggedIn (default), or LoggedOut, which ends the session
	// and keeps it ended.
	// +default="LoggedIn"
	// +optional
	DesiredState DesiredState `json:"desiredState,omitempty"`

	// type is Continuous (default): the token is renewed in time until somebody
	// ends the session. Or OneShot: never renewed, over at its expiry.
	// +default="Continuous"
	// +optional
	Type SessionType `json:"type,omitempty"`

	// purpose is what the login is for, and is passed to the provider: Login
	// (default), Registration or AppLogin.
	// +default="Login"
	// +optional
	Purpose Purpose `json:"purpose,omitempty"`

	// relogin says what follows an invalidation (a payment app updated or
	// restarted, a link lost, a dead grant): Automatic (default) logs in anew,
	// OnRequest waits for a login request.
	// +default="Automatic"
	// +optional
	Relogin Relogin `json:"relogin,omitempty"`

	// token says what access token is wanted and which Secret keeps it.
	// +default={"lifetime": "720h"}
	// +optional
	Token TokenSpec `json:"token,omitzero"`

	// authTokenSecretRef names the Secret with the auth token by which the user
	// proves himself, where the provider has secure login. It is in the
	// session's own namespace.
	// +optional
	AuthTokenSecretRef *TokenKeyReference `json:"authTokenSecretRef,omitempty"`

	// heartbeat bounds the terminal's silence. Left out, silence ends nothing.
	// +optional
	Heartbeat *Heartbeat `json:"heartbeat,omitempty"`

	// display has texts for the person in front of the terminal.
	// +optional
	Display *Display `json:"display,omitempty"`

	// ttlSecondsAfterFinished deletes this object that many seconds after the
	// session was signed out, finished or terminated; not while desiredState is
	// LoggedOut. Left out: never. Where a pipeline re-creates the object it
	// starts anew: to keep somebody out, use a ban.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=31536000
	// +optional
	TTLSecondsAfterFinished *int32 `json:"ttlSecondsAfterFinished,omitempty"`
}

// Terminal names a device.
type Terminal struct {
	// id is the terminal's id: 1 to 64 letters, digits, '.', '_', ':' or '-'.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z0-9]([A-Za-z0-9._:-]*[A-Za-z0-9])?$')",message="must be letters, digits, '.', '_', ':' or '-', beginning and ending with a letter or digit, such as T-0042"
	// +required
	ID string `json:"id,omitempty"`

	// serialNumber is the device's serial number (TSN), where it is known: 1 to
	// 64 letters, digits, '.', '_', ':' or '-'.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z0-9]([A-Za-z0-9._:-]*[A-Za-z0-9])?$')",message="must be letters, digits, '.', '_', ':' or '-', beginning and ending with a letter or digit, such as SN-93AX"
	// +optional
	SerialNumber string `json:"serialNumber,omitempty"`
}

// User is who is to be logged in.
type User struct {
	// email is the user's e-mail address, up to 254 characters. It is compared
	// without regard to case, and the identity that the provider returns must be
	// this one.
	// +kubebuilder:validation:MinLength=3
	// +kubebuilder:validation:MaxLength=254
	// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z0-9.!#$%&\\\\x27*+/=?^_{|}~-]+@[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?([.][A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*$')",message="must be one e-mail address in ASCII, such as anna@acme.example; a domain of other letters is written as xn--..."
	// +required
	Email string `json:"email,omitempty"`

	// name is shown and never compared; up to 256 characters.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +optional
	Name string `json:"name,omitempty"`
}

// ProviderKind is a kind of provider.
// +kubebuilder:validation:Enum=ClusterSessionProvider;SessionProvider
type ProviderKind string

const (
	// KindClusterSessionProvider names a provider of the whole cluster.
	KindClusterSessionProvider ProviderKind = "ClusterSessionProvider"
	// KindSessionProvider names a provider of the session's own namespace.
	KindSessionProvider ProviderKind = "SessionProvider"
)

// ProviderReference names a provider.
//
// +kubebuilder:validation:MinProperties=1
type ProviderReference struct {
	// kind is ClusterSessionProvider (default), or SessionProvider for one in
	// the session's own namespace.
	// +default="ClusterSessionProvider"
	// +optional
	Kind ProviderKind `json:"kind,omitempty"`

	// name of the provider; default: default.
	// +default="default"
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=57
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')",message="must be the name of a provider: lower-case letters, digits, '-' or '.', beginning and ending with a letter or digit"
	// +optional
	Name string `json:"name,omitempty"`
}

// TokenSpec says what access token is wanted.
//
// +kubebuilder:validation:XValidation:rule="!has(self.renewBefore) || !has(self.lifetime) || duration(self.renewBefore) < duration(self.lifetime)",fieldPath=".renewBefore",message="must be below lifetime: make renewBefore shorter, or leave it out for a third of the lifetime"
// +kubebuilder:validation:MinProperties=1
type TokenSpec struct {
	// lifetime is how long an access token is asked to live, in Go's notation:
	// 1m to 8760h, default 720h (30 days). The provider may give less.
	// +default="720h"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=2
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]+(\\\\.[0-9]+)?(ms|s|m|h))+$') && duration(self) >= duration('1m') && duration(self) <= duration('8760h')",message="must be a duration from 1m to 8760h (a year) in hours, minutes and seconds, such as 720h or 1h30m"
	// +optional
	Lifetime *metav1.Duration `json:"lifetime,omitempty"`

	// renewBefore is how long before its expiry the token is renewed, in Go's
	// notation: at least 1s and below lifetime. Default: a third of the lifetime
	// that was received. Renewal is spread a little earlier, and never before
	// half the lifetime.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=2
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]+(\\\\.[0-9]+)?(ms|s|m|h))+$') && duration(self) >= duration('1s') && duration(self) <= duration('8760h')",message="must be a duration of at least 1s in hours, minutes and seconds, such as 240h or 30m"
	// +optional
	RenewBefore *metav1.Duration `json:"renewBefore,omitempty"`

	// secretName is the Secret that keeps the token, in the session's namespace;
	// default: the session's name with -token. Changing it moves the Secret. A
	// Secret of that name that is not the session's is never touched. Names that
	// end with -grant are those of the Secrets in which the controller keeps
	// refresh tokens and device codes.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="!self.endsWith('-grant')",message="must not end with -grant, which is how the names of the controller's own Secrets end: choose another name, such as till-07-token"
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')",message="must be a DNS name, since it names a Secret: lower-case letters, digits, '-' or '.', such as till-07-token"
	// +optional
	SecretName string `json:"secretName,omitempty"`

	// scopes are asked for (RFC 6749 section 3.3), beside those of the provider;
	// up to 16 of up to 64 characters.
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=64
	// +kubebuilder:validation:items:XValidation:rule="self.matches('^[!#-\\\\[\\\\]-~]+$')",message="must be one scope, without spaces, quotes or backslashes, such as payments"
	// +optional
	Scopes []string `json:"scopes,omitempty"`

	// audiences are who the token is meant for (RFC 8707, RFC 9068); up to 8 of
	// up to 256 characters. Default: the provider's own.
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=256
	// +kubebuilder:validation:items:XValidation:rule="self.matches('^[!-~]+$')",message="must be one audience without spaces, such as https://pay.example"
	// +optional
	Audiences []string `json:"audiences,omitempty"`
}

// TokenKeyReference names one key of a Secret in the same namespace.
type TokenKeyReference struct {
	// name of the Secret.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')",message="must be the name of a Secret: lower-case letters, digits, '-' or '.', such as anna-auth"
	// +required
	Name string `json:"name,omitempty"`

	// key in the Secret; default: token.
	// +default="token"
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[-._a-zA-Z0-9]+$')",message="must be a key of a Secret: letters, digits, '-', '_' or '.'"
	// +optional
	Key string `json:"key,omitempty"`
}

// Heartbeat bounds a terminal's silence.
type Heartbeat struct {
	// timeout is how long the terminal may be silent before its session ends, in
	// Go's notation: at least 30s.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=2
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]+(\\\\.[0-9]+)?(ms|s|m|h))+$') && duration(self) >= duration('30s') && duration(self) <= duration('8760h')",message="must be a duration from 30s to 8760h in hours, minutes and seconds, such as 5m"
	// +required
	Timeout *metav1.Duration `json:"timeout,omitempty"`
}

// Display has texts for the person in front of the terminal.
type Display struct {
	// announce is shown while a person confirms the login; up to 512 characters.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +optional
	Announce string `json:"announce,omitempty"`

	// session is shown while the session is established; up to 512 characters.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +optional
	Session string `json:"session,omitempty"`
}

// TerminalSessionStatus is a session as it is.
//
// +kubebuilder:validation:MinProperties=1
type TerminalSessionStatus struct {
	// conditions tell how the session is: Ready (as spec, bans and people's acts
	// ask), Established (there is a valid token), and, only while true,
	// Reconciling (the controller is at it) and Stalled (only a change of
	// configuration helps).
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=8
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// observedGeneration is the generation of spec that this status speaks of;
	// -1 until the controller has seen the object.
	// +default=-1
	// +kubebuilder:validation:Minimum=-1
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// phase is where the session is in its life: NotLoggedIn, Establishing,
	// Established, TokenExpired or Terminated.
	// +default="NotLoggedIn"
	// +optional
	Phase Phase `json:"phase,omitempty"`

	// sessionID names the session; a new one for each login, the same for its
	// renewals.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +optional
	SessionID string `json:"sessionID,omitempty"`

	// user is who is logged in, as the provider says.
	// +optional
	User *UserStatus `json:"user,omitempty"`

	// establishedAt is when the session began.
	// +optional
	EstablishedAt *metav1.Time `json:"establishedAt,omitempty"`

	// flow is how far a login is.
	// +optional
	Flow *Flow `json:"flow,omitempty"`

	// history is what the session's life comes to so far: LoggedIn,
	// LoggedInOneShot, LoggedOut, Aborted or Error.
	// +optional
	History History `json:"history,omitempty"`

	// hold says why a session that is wanted is not being logged in. It goes
	// with the next login request, when spec names another user, or when
	// desiredState goes from LoggedOut to LoggedIn.
	// +optional
	Hold *Hold `json:"hold,omitempty"`

	// error is what went wrong last, where the session is not as it should be
	// because of it.
	// +optional
	Error *SessionError `json:"error,omitempty"`

	// token describes the access token; the token itself is in the Secret.
	// +optional
	Token *TokenStatus `json:"token,omitempty"`

	// attempt counts the calls to the provider, and tells when the next is due
	// after a failure.
	// +optional
	Attempt *Attempt `json:"attempt,omitempty"`

	// binding is what the session was bound to when it was established.
	// +optional
	Binding *Binding `json:"binding,omitempty"`

	// client is what the terminal last reported. It belongs to the gateway,
	// which writes it by server-side apply.
	// +optional
	Client *ClientStatus `json:"client,omitempty"`

	// lastHandledLoginRequest is the value of the annotation
	// terminals.dev/login-requested that was handled last.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +optional
	LastHandledLoginRequest string `json:"lastHandledLoginRequest,omitempty"`

	// lastHandledRenewRequest is the value of the annotation
	// terminals.dev/renew-requested that was handled last.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +optional
	LastHandledRenewRequest string `json:"lastHandledRenewRequest,omitempty"`

	// lastLogoutUID is the UID of the SessionLogout that was applied last.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +optional
	LastLogoutUID string `json:"lastLogoutUID,omitempty"`

	// recent has the last three sessions that ended on this object, the newest
	// first.
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=3
	// +optional
	Recent []RecentSession `json:"recent,omitempty"`
}

// UserStatus is who is logged in.
type UserStatus struct {
	// email is the user's e-mail address as the provider says.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=254
	// +optional
	Email string `json:"email,omitempty"`

	// subject is the user's identifier at the provider (the claim sub).
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +optional
	Subject string `json:"subject,omitempty"`
}

// Flow is how far a login is.
type Flow struct {
	// state is Starting, UserInteraction, Active, Done or Error.
	// +required
	State FlowState `json:"state,omitempty"`

	// verificationURI is where a person confirms the login (RFC 8628).
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	// +optional
	VerificationURI string `json:"verificationURI,omitempty"`

	// verificationURIComplete is the same with the code filled in; made to be
	// shown as a QR code.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	// +optional
	VerificationURIComplete string `json:"verificationURIComplete,omitempty"`

	// userCode is what the person types in there.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +optional
	UserCode string `json:"userCode,omitempty"`

	// expiresAt is when the code is no longer taken.
	// +optional
	ExpiresAt *metav1.Time `json:"expiresAt,omitempty"`

	// display is what to show the person in front of the terminal now: the text
	// of spec.display.announce while a person has to confirm the login, that of
	// spec.display.session while the session is in use.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +optional
	Display string `json:"display,omitempty"`
}

// Hold says why a session that is wanted is not being logged in.
type Hold struct {
	// reason is SignedOut, Invalidated, Finished, Aborted or Rejected.
	// +required
	Reason HoldReason `json:"reason,omitempty"`

	// at is when the hold began.
	// +required
	At metav1.Time `json:"at,omitempty,omitzero"`

	// by is who asked for it, where somebody did.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +optional
	By string `json:"by,omitempty"`

	// message tells a person more.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +optional
	Message string `json:"message,omitempty"`

	// user is the e-mail address that spec named when the hold began: a hold
	// goes when spec names another.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=254
	// +optional
	User string `json:"user,omitempty"`
}

// SessionError is what went wrong.
type SessionError struct {
	// code is a word for it in UpperCamelCase, the provider's own where it gave
	// one.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +required
	Code string `json:"code,omitempty"`

	// message tells a person what happened and what to do.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +optional
	Message string `json:"message,omitempty"`

	// at is when the session was terminated, where it is.
	// +optional
	At *metav1.Time `json:"at,omitempty"`
}

// TokenStatus describes an access token and says where it is kept.
type TokenStatus struct {
	// secretName is the Secret that keeps the token.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +required
	SecretName string `json:"secretName,omitempty"`

	// secretVersion is the resourceVersion of the Secret as the controller wrote
	// it: it tells, without reading the Secret, whether anybody else has changed
	// it since.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +optional
	SecretVersion string `json:"secretVersion,omitempty"`

	// issuedAt is when the token was asked for, by the controller's clock.
	// +required
	IssuedAt metav1.Time `json:"issuedAt,omitempty,omitzero"`

	// expiresAt is when the token's time is over, by the controller's clock.
	// +required
	ExpiresAt metav1.Time `json:"expiresAt,omitempty,omitzero"`

	// renewAt is when the token is to be renewed; not there for a OneShot
	// session.
	// +optional
	RenewAt *metav1.Time `json:"renewAt,omitempty"`

	// renewals is how often the token has been renewed in this session.
	// +kubebuilder:validation:Minimum=1
	// +optional
	Renewals int32 `json:"renewals,omitempty"`
}

// Attempt counts the calls to the provider.
type Attempt struct {
	// number of the last attempt. It only grows; together with the object's UID
	// it is the provider's idempotency key.
	// +kubebuilder:validation:Minimum=1
	// +optional
	Number int64 `json:"number,omitempty"`

	// failures since the last success.
	// +kubebuilder:validation:Minimum=1
	// +optional
	Failures int32 `json:"failures,omitempty"`

	// notBefore is when the next attempt is due after a failure. A change of
	// spec or of the provider, or a request, lifts it.
	// +optional
	NotBefore *metav1.Time `json:"notBefore,omitempty"`

	// providerVersion stands for the provider, and for the auth token's Secret,
	// as they were at the last failure: when either changes, notBefore and the
	// hold Rejected go. Opaque.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +optional
	ProviderVersion string `json:"providerVersion,omitempty"`
}

// Binding is what a session was bound to when it was established.
type Binding struct {
	// instanceID is the running instance of the terminal's own app.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +optional
	InstanceID string `json:"instanceID,omitempty"`

	// paymentAppVersion is the version of the payment app.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +optional
	PaymentAppVersion string `json:"paymentAppVersion,omitempty"`

	// paymentAppInstanceID is the running instance of the payment app.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +optional
	PaymentAppInstanceID string `json:"paymentAppInstanceID,omitempty"`

	// request stands for the user, merchant, terminal, provider, type, purpose,
	// scopes and audiences that the session was established for: when spec asks
	// for others, the session is handed over. Opaque.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +optional
	Request string `json:"request,omitempty"`

	// purpose is what the login was for: Login, Registration or AppLogin.
	// +optional
	Purpose Purpose `json:"purpose,omitempty"`

	// providerRef is the provider that the session was established by, where it
	// is to be told when the session is over.
	// +optional
	ProviderRef *ProviderReference `json:"providerRef,omitempty"`

	// silentSince is the terminal's last report before its link was lost. The
	// next login waits for another one.
	// +optional
	SilentSince *metav1.Time `json:"silentSince,omitempty"`
}

// ClientStatus is what a terminal last reported of itself. It is shown and
// compared, and never trusted.
type ClientStatus struct {
	// application is the terminal application's name and version, as it says.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +optional
	Application string `json:"application,omitempty"`

	// version of the client library.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +optional
	Version string `json:"version,omitempty"`

	// platform is iOS, Android, Desktop, Web or Other; what else a terminal says
	// is kept as it is.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +optional
	Platform string `json:"platform,omitempty"`

	// ip is the address that the terminal was seen at.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +optional
	IP string `json:"ip,omitempty"`

	// userAgent is the User-Agent header of the terminal's requests.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +optional
	UserAgent string `json:"userAgent,omitempty"`

	// instanceID is the running instance of the terminal's own app.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +optional
	InstanceID string `json:"instanceID,omitempty"`

	// paymentAppVersion is the version of the payment app.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +optional
	PaymentAppVersion string `json:"paymentAppVersion,omitempty"`

	// paymentAppInstanceID is the running instance of the payment app.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +optional
	PaymentAppInstanceID string `json:"paymentAppInstanceID,omitempty"`

	// lastActiveAt is when the terminal was last heard of.
	// +optional
	LastActiveAt *metav1.Time `json:"lastActiveAt,omitempty"`
}

// RecentSession is a session that ended.
type RecentSession struct {
	// sessionID names it.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +required
	SessionID string `json:"sessionID,omitempty"`

	// user who was logged in.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=254
	// +optional
	User string `json:"user,omitempty"`

	// from is when the session was established.
	// +optional
	From *metav1.Time `json:"from,omitempty"`

	// to is when it ended.
	// +required
	To metav1.Time `json:"to,omitempty,omitzero"`

	// purpose is what the login was for: Login, Registration or AppLogin.
	// +optional
	Purpose Purpose `json:"purpose,omitempty"`

	// end is the reason, a word in UpperCamelCase.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +required
	End string `json:"end,omitempty"`
}
