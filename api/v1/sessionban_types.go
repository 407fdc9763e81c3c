package v1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// Ban is what SessionBan and ClusterSessionBan have in common.
// +kubebuilder:object:generate=false
type Ban interface {
	metav1.Object
	runtime.Object
	// BanSpec returns the part of the spec that both kinds have; it is the
	// object's own, not a copy.
	BanSpec() *SessionBanSpec
	// BanStatus returns the object's own status, not a copy.
	BanStatus() *SessionBanStatus
	// Namespaces selects the namespaces that the ban is for, beside its own;
	// nil where it selects none by labels.
	Namespaces() *metav1.LabelSelector
}

// SessionBan is a standing order: while it is in force, no session of its
// namespace that matches is logged in, however often it is applied again.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Namespaced,shortName=sban,categories=terminals
// +kubebuilder:printcolumn:name="User",type=string,JSONPath=`.spec.match.user`,description="The user who is banned"
// +kubebuilder:printcolumn:name="Terminal",type=string,JSONPath=`.spec.match.terminalID`,description="The terminal that is banned"
// +kubebuilder:printcolumn:name="Code",type=string,JSONPath=`.spec.code`,description="What status.error.code of the sessions says"
// +kubebuilder:printcolumn:name="Enforced",type=string,JSONPath=`.status.conditions[?(@.type=="Enforced")].status`,description="Whether each session that matches is terminated"
// +kubebuilder:printcolumn:name="Matched",type=integer,JSONPath=`.status.matched`,description="How many sessions match"
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Enforced")].reason`,description="Why it is enforced, or is not"
// +kubebuilder:printcolumn:name="Expires",type=string,JSONPath=`.spec.expiresAt`,description="When the ban is over (UTC)"
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Serial",type=string,priority=1,JSONPath=`.spec.match.serialNumber`,description="The serial number that is banned"
// +kubebuilder:printcolumn:name="Merchant",type=string,priority=1,JSONPath=`.spec.match.merchantID`,description="The merchant that is banned"
// +kubebuilder:printcolumn:name="By",type=string,priority=1,JSONPath=`.spec.requestedBy`,description="Who asked for it"
// +kubebuilder:printcolumn:name="Why",type=string,priority=1,JSONPath=`.spec.reason`,description="Why there is a ban"
type SessionBan struct {
	metav1.TypeMeta `json:",inline"`

	// metadata is the standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec says who may have no session.
	// +required
	Spec SessionBanSpec `json:"spec,omitzero"`

	// status is how far the ban is enforced.
	// +default={"observedGeneration": -1}
	// +optional
	Status SessionBanStatus `json:"status,omitzero"`
}

// BanSpec implements Ban.
func (b *SessionBan) BanSpec() *SessionBanSpec { return &b.Spec }

// BanStatus implements Ban.
func (b *SessionBan) BanStatus() *SessionBanStatus { return &b.Status }

// Namespaces implements Ban.
func (b *SessionBan) Namespaces() *metav1.LabelSelector { return nil }

// SessionBanList is a list of SessionBans.
//
// +kubebuilder:object:root=true
type SessionBanList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []SessionBan `json:"items"`
}

// ClusterSessionBan is a standing order for the sessions of every namespace
// that it selects. It comes before the SessionBans of those namespaces.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=csban,categories=terminals
// +kubebuilder:printcolumn:name="User",type=string,JSONPath=`.spec.match.user`,description="The user who is banned"
// +kubebuilder:printcolumn:name="Terminal",type=string,JSONPath=`.spec.match.terminalID`,description="The terminal that is banned"
// +kubebuilder:printcolumn:name="Code",type=string,JSONPath=`.spec.code`,description="What status.error.code of the sessions says"
// +kubebuilder:printcolumn:name="Enforced",type=string,JSONPath=`.status.conditions[?(@.type=="Enforced")].status`,description="Whether each session that matches is terminated"
// +kubebuilder:printcolumn:name="Matched",type=integer,JSONPath=`.status.matched`,description="How many sessions match"
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Enforced")].reason`,description="Why it is enforced, or is not"
// +kubebuilder:printcolumn:name="Expires",type=string,JSONPath=`.spec.expiresAt`,description="When the ban is over (UTC)"
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Serial",type=string,priority=1,JSONPath=`.spec.match.serialNumber`,description="The serial number that is banned"
// +kubebuilder:printcolumn:name="Merchant",type=string,priority=1,JSONPath=`.spec.match.merchantID`,description="The merchant that is banned"
// +kubebuilder:printcolumn:name="By",type=string,priority=1,JSONPath=`.spec.requestedBy`,description="Who asked for it"
// +kubebuilder:printcolumn:name="Why",type=string,priority=1,JSONPath=`.spec.reason`,description="Why there is a ban"
type ClusterSessionBan struct {
	metav1.TypeMeta `json:",inline"`

	// metadata is the standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec says who may have no session, and where.
	// +required
	Spec ClusterSessionBanSpec `json:"spec,omitzero"`

	// status is how far the ban is enforced.
	// +default={"observedGeneration": -1}
	// +optional
	Status SessionBanStatus `json:"status,omitzero"`
}

// BanSpec implements Ban.
func (b *ClusterSessionBan) BanSpec() *SessionBanSpec { return &b.Spec.SessionBanSpec }

// BanStatus implements Ban.
func (b *ClusterSessionBan) BanStatus() *SessionBanStatus { return &b.Status }

// Namespaces implements Ban.
func (b *ClusterSessionBan) Namespaces() *metav1.LabelSelector { return b.Spec.NamespaceSelector }

// ClusterSessionBanList is a list of ClusterSessionBans.
//
// +kubebuilder:object:root=true
type ClusterSessionBanList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ClusterSessionBan `json:"items"`
}

// SessionBanSpec says who may have no session.
//
// +kubebuilder:validation:XValidation:rule="has(self.match)",message="must have a match, which says whom: at least one of user, terminalID, serialNumber and merchantID, such as 'match: {user: mallory@acme.example}'"
// +kubebuilder:validation:XValidation:rule="has(self.code)",message="must have a code, which status.error.code of the sessions says: one word in UpperCamelCase, such as UserBanned"
// +kubebuilder:validation:MinProperties=1
type SessionBanSpec struct {
	// match says who: everything that it gives must fit. It must be there, and
	// cannot be changed.
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="cannot be changed: make another ban, and delete this one"
	// +optional
	Match BanMatch `json:"match,omitzero"`

	// code is what status.error.code of the sessions says while the ban is in
	// force: one word in UpperCamelCase, up to 64 characters, such as
	// UserBanned. It must be there.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Z][A-Za-z0-9]*$')",message="must be one word in UpperCamelCase, such as UserBanned or TerminalStolen"
	// +optional
	Code string `json:"code,omitempty"`

	// reason tells people why; up to 256 characters. It is shown in the status
	// of the sessions.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +optional
	Reason string `json:"reason,omitempty"`

	// expiresAt is when the ban is over (RFC 3339). Left out: never, until it is
	// deleted.
	// +optional
	ExpiresAt *metav1.Time `json:"expiresAt,omitempty"`

	// requestedBy is who asked for the ban; up to 256 characters. Admission
	// fills and guards it.
	// +kubebuilder:validation:MaxLength=256
	// +optional
	RequestedBy string `json:"requestedBy,omitempty"`
}

// ClusterSessionBanSpec says who may have no session, and where.
type ClusterSessionBanSpec struct {
	SessionBanSpec `json:",inline"`

	// namespaceSelector selects namespaces by their labels. Left out, or empty:
	// every namespace.
	// +optional
	NamespaceSelector *metav1.LabelSelector `json:"namespaceSelector,omitempty"`
}

// BanMatch says which sessions are meant: those that everything given fits.
//
// +kubebuilder:validation:XValidation:rule="has(self.user) && size(self.user) > 0 || has(self.terminalID) && size(self.terminalID) > 0 || has(self.serialNumber) && size(self.serialNumber) > 0 || has(self.merchantID) && size(self.merchantID) > 0",message="must give at least one of user, terminalID, serialNumber and merchantID, such as 'user: mallory@acme.example'"
type BanMatch struct {
	// user is an e-mail address, compared without regard to case with the user
	// that a session's spec names; where it names none, with the one who is
	// logged in. Empty stands for left out, here as in the fields below.
	// +kubebuilder:validation:MaxLength=254
	// +kubebuilder:validation:XValidation:rule="size(self) == 0 || self.matches('^[!-?A-~]+@[A-Za-z0-9.-]+$')",message="must be one e-mail address in ASCII, such as mallory@acme.example"
	// +optional
	User string `json:"user,omitempty"`

	// terminalID is a terminal's id; up to 64 characters.
	// +kubebuilder:validation:MaxLength=64
	// +optional
	TerminalID string `json:"terminalID,omitempty"`

	// serialNumber is a device's serial number; up to 64 characters.
	// +kubebuilder:validation:MaxLength=64
	// +optional
	SerialNumber string `json:"serialNumber,omitempty"`

	// merchantID is a merchant; up to 64 characters.
	// +kubebuilder:validation:MaxLength=64
	// +optional
	MerchantID string `json:"merchantID,omitempty"`
}

// SessionBanStatus is how far a ban is enforced.
//
// +kubebuilder:validation:MinProperties=1
type SessionBanStatus struct {
	// conditions tell how the ban stands: Enforced says that it is in force and
	// that each session which matches is terminated.
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// observedGeneration is the generation of spec that this status speaks of;
	// -1 until the controller has seen the object.
	// +default=-1
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// matched is how many sessions the ban matches.
	// +kubebuilder:validation:Minimum=0
	// +optional
	Matched *int32 `json:"matched,omitempty"`

	// enforced is how many of them are terminated.
	// +kubebuilder:validation:Minimum=0
	// +optional
	Enforced *int32 `json:"enforced,omitempty"`
}
