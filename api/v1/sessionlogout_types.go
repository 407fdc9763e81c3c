package v1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// SessionLogout signs out every session of its namespace that it selects,
// once, like a Job. Those stay out until somebody asks for a login.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Namespaced,shortName=slogout,categories=terminals
// +kubebuilder:printcolumn:name="Matched",type=integer,JSONPath=`.status.matched`,description="How many sessions were selected"
// +kubebuilder:printcolumn:name="SignedOut",type=integer,JSONPath=`.status.signedOut`,description="How many of them are signed out"
// +kubebuilder:printcolumn:name="Complete",type=string,JSONPath=`.status.conditions[?(@.type=="Complete")].status`
// +kubebuilder:printcolumn:name="Failed",type=string,JSONPath=`.status.conditions[?(@.type=="Failed")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[0].reason`,description="How it stands"
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="DryRun",type=boolean,priority=1,JSONPath=`.spec.dryRun`
// +kubebuilder:printcolumn:name="By",type=string,priority=1,JSONPath=`.spec.requestedBy`,description="Who asked for it"
// +kubebuilder:printcolumn:name="Why",type=string,priority=1,JSONPath=`.spec.reason`,description="Why there is a logout"
type SessionLogout struct {
	metav1.TypeMeta `json:",inline"`

	// metadata is the standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec says which sessions are signed out. It cannot be changed.
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="cannot be changed, since it runs once: make another SessionLogout"
	// +required
	Spec SessionLogoutSpec `json:"spec,omitzero"`

	// status is how far it is.
	// +default={"observedGeneration": -1}
	// +optional
	Status SessionLogoutStatus `json:"status,omitzero"`
}

// SessionLogoutList is a list of SessionLogouts.
//
// +kubebuilder:object:root=true
type SessionLogoutList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []SessionLogout `json:"items"`
}

// SessionLogoutSpec says which sessions are signed out.
//
// +kubebuilder:validation:XValidation:rule="has(self.selector) != (has(self.all) && self.all)",message="must have a selector that names at least one thing, or, for every session of the namespace, 'all: true' and no selector"
// +kubebuilder:validation:MinProperties=1
type SessionLogoutSpec struct {
	// selector says which sessions: everything that it gives must fit.
	// +optional
	Selector *LogoutSelector `json:"selector,omitempty"`

	// all is true for every session of the namespace; then there is no selector.
	// Default: false.
	// +optional
	All *bool `json:"all,omitempty"`

	// except has sessions that are left alone.
	// +optional
	Except *LogoutExcept `json:"except,omitempty"`

	// establishedBefore leaves alone what was established at that time or later
	// (RFC 3339); default: when this object was made. Sessions that are waiting
	// for a login since before that time are held as well. In Git, write it out:
	// an object that is made again would sign people out again.
	// +optional
	EstablishedBefore *metav1.Time `json:"establishedBefore,omitempty"`

	// reason tells people why; up to 256 characters.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +optional
	Reason string `json:"reason,omitempty"`

	// dryRun is true to be told in status who would be signed out, while nothing
	// changes. Default: false.
	// +optional
	DryRun *bool `json:"dryRun,omitempty"`

	// maxAffected fails the logout, and leaves everything as it is, where more
	// sessions than that would be signed out. Left out: no limit.
	// +kubebuilder:validation:Minimum=1
	// +optional
	MaxAffected int32 `json:"maxAffected,omitempty"`

	// ttlSecondsAfterFinished deletes this object that many seconds after it is
	// complete or has failed; up to a year. Left out: never.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=31536000
	// +optional
	TTLSecondsAfterFinished *int32 `json:"ttlSecondsAfterFinished,omitempty"`

	// requestedBy is who asked for it; up to 256 characters. Admission fills and
	// guards it. It stands in status.hold.by of the sessions.
	// +kubebuilder:validation:MaxLength=256
	// +optional
	RequestedBy string `json:"requestedBy,omitempty"`
}

// LogoutSelector says which sessions are meant: those that everything given
// fits.
//
// +kubebuilder:validation:XValidation:rule="has(self.user) && size(self.user) > 0 || has(self.terminalID) && size(self.terminalID) > 0 || has(self.serialNumber) && size(self.serialNumber) > 0 || has(self.merchantID) && size(self.merchantID) > 0 || has(self.names) && size(self.names) > 0 || has(self.labelSelector) && (has(self.labelSelector.matchLabels) && size(self.labelSelector.matchLabels) > 0 || has(self.labelSelector.matchExpressions) && self.labelSelector.matchExpressions.exists(e, e.operator == 'In' || e.operator == 'Exists'))",message="must name at least one thing, such as 'user: anna@acme.example', and not only labels that sessions do not have; for every session of the namespace write 'all: true' in place of the selector"
type LogoutSelector struct {
	// user is an e-mail address, compared without regard to case with the user
	// that a session's spec names; where it names none, with the one who is
	// logged in. Empty stands for left out, here as in the fields below.
	// +kubebuilder:validation:MaxLength=254
	// +kubebuilder:validation:XValidation:rule="size(self) == 0 || self.matches('^[!-?A-~]+@[A-Za-z0-9.-]+$')",message="must be one e-mail address in ASCII, such as anna@acme.example"
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

	// names are names of TerminalSessions; up to 256.
	// +listType=set
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=57
	// +optional
	Names []string `json:"names,omitempty"`

	// labelSelector selects TerminalSessions by their labels.
	// +optional
	LabelSelector *metav1.LabelSelector `json:"labelSelector,omitempty"`
}

// LogoutExcept has sessions that are left alone.
type LogoutExcept struct {
	// names are names of TerminalSessions; up to 256.
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=57
	// +required
	Names []string `json:"names,omitempty"`
}

// SessionLogoutStatus is how far a logout is.
//
// +kubebuilder:validation:MinProperties=1
type SessionLogoutStatus struct {
	// conditions tell how it stands: Complete or Failed at its end, and, as
	// kstatus has it, Reconciling until then and Stalled beside Failed.
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// observedGeneration is the generation of spec that this status speaks of;
	// -1 until the controller has seen the object.
	// +default=-1
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// matched is how many sessions were selected when it began.
	// +kubebuilder:validation:Minimum=0
	// +optional
	Matched *int32 `json:"matched,omitempty"`

	// signedOut is how many of them it has signed out.
	// +kubebuilder:validation:Minimum=0
	// +optional
	SignedOut *int32 `json:"signedOut,omitempty"`

	// names are the first hundred of those selected, in the order of the
	// alphabet.
	// +listType=set
	// +kubebuilder:validation:MaxItems=100
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=57
	// +optional
	Names []string `json:"names,omitempty"`

	// startedAt is when the sessions were counted and the first was signed out.
	// +optional
	StartedAt *metav1.Time `json:"startedAt,omitempty"`

	// completedAt is when the last was, or when it failed.
	// +optional
	CompletedAt *metav1.Time `json:"completedAt,omitempty"`
}
