package v1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// Provider is what SessionProvider and ClusterSessionProvider have in
// common.
// +kubebuilder:object:generate=false
type Provider interface {
	metav1.Object
	runtime.Object
	// ProviderSpec returns the part of the spec that both kinds have; it is the
	// object's own, not a copy.
	ProviderSpec() *SessionProviderSpec
	// ProviderStatus returns the object's own status, not a copy.
	ProviderStatus() *SessionProviderStatus
}

// SessionProvider says how the sessions of its namespace get their tokens.
// It reads Secrets of its own namespace only.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Namespaced,shortName=sprov,categories=terminals
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`,description="Whether the provider can issue tokens"
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 57",message="metadata.name must have at most 57 characters, so that the names of the provider's Secrets fit: choose a shorter name"
type SessionProvider struct {
	metav1.TypeMeta `json:",inline"`

	// metadata is the standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec says how tokens are got: exactly one of embedded, oauth2 and webhook.
	// +required
	Spec SessionProviderSpec `json:"spec,omitzero"`

	// status is how the provider is.
	// +default={"observedGeneration": -1}
	// +optional
	Status SessionProviderStatus `json:"status,omitzero"`
}

// ProviderSpec implements Provider.
func (p *SessionProvider) ProviderSpec() *SessionProviderSpec { return &p.Spec }

// ProviderStatus implements Provider.
func (p *SessionProvider) ProviderStatus() *SessionProviderStatus { return &p.Status }

// SessionProviderList is a list of SessionProviders.
//
// +kubebuilder:object:root=true
type SessionProviderList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []SessionProvider `json:"items"`
}

// ClusterSessionProvider says how sessions of any namespace that its allow
// rules name get their tokens. It reads Secrets of the controller's
// namespace only.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=csprov,categories=terminals
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`,description="Whether the provider can issue tokens"
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 57",message="metadata.name must have at most 57 characters, so that the names of the provider's Secrets fit: choose a shorter name"
type ClusterSessionProvider struct {
	metav1.TypeMeta `json:",inline"`

	// metadata is the standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec says how tokens are got, exactly one of embedded, oauth2 and webhook,
	// and whom the provider serves.
	// +required
	Spec ClusterSessionProviderSpec `json:"spec,omitzero"`

	// status is how the provider is.
	// +default={"observedGeneration": -1}
	// +optional
	Status SessionProviderStatus `json:"status,omitzero"`
}

// ProviderSpec implements Provider.
func (p *ClusterSessionProvider) ProviderSpec() *SessionProviderSpec {
	return &p.Spec.SessionProviderSpec
}

// ProviderStatus implements Provider.
func (p *ClusterSessionProvider) ProviderStatus() *SessionProviderStatus { return &p.Status }

// ClusterSessionProviderList is a list of ClusterSessionProviders.
//
// +kubebuilder:object:root=true
type ClusterSessionProviderList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ClusterSessionProvider `json:"items"`
}

// SessionProviderSpec says how tokens are got.
//
// +kubebuilder:validation:XValidation:rule="(has(self.embedded) ? 1 : 0) + (has(self.oauth2) ? 1 : 0) + (has(self.webhook) ? 1 : 0) == 1",message="must have exactly one of embedded, oauth2 and webhook: write 'embedded: {}' for the controller's own issuer"
// +kubebuilder:validation:MinProperties=1
type SessionProviderSpec struct {
	// embedded is the controller's own issuer: it signs the tokens with a key of
	// this provider's own.
	// +optional
	Embedded *EmbeddedProvider `json:"embedded,omitempty"`

	// oauth2 is an OAuth 2.0 or OpenID Connect server.
	// +optional
	OAuth2 *OAuth2Provider `json:"oauth2,omitempty"`

	// webhook is an HTTPS server that answers SessionReviews.
	// +optional
	Webhook *WebhookProvider `json:"webhook,omitempty"`

	// secureLogin demands the user's auth token: without it there is no login
	// and no renewal. Default: false.
	// +optional
	SecureLogin *bool `json:"secureLogin,omitempty"`

	// rateLimit bounds what this provider is asked.
	// +default={"requestsPerSecond": 50, "burst": 100, "concurrent": 16}
	// +optional
	RateLimit RateLimit `json:"rateLimit,omitzero"`
}

// ClusterSessionProviderSpec says how tokens are got, and for whom.
//
// +kubebuilder:validation:MinProperties=1
type ClusterSessionProviderSpec struct {
	SessionProviderSpec `json:",inline"`

	// allow says whom the provider serves: a session is served when one rule
	// fits it. Without a rule, nobody is; the rule {} allows everybody. Up to 64
	// rules.
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +optional
	Allow []AllowRule `json:"allow,omitempty"`
}

// AllowRule fits a session when everything that it gives does; a list left
// out allows any.
type AllowRule struct {
	// namespaceSelector selects the session's namespace by its labels. Left out,
	// or empty: every namespace.
	// +optional
	NamespaceSelector *metav1.LabelSelector `json:"namespaceSelector,omitempty"`

	// merchantIDs has the merchants that are served; up to 256.
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=64
	// +optional
	MerchantIDs []string `json:"merchantIDs,omitempty"`

	// userEmailDomains has the domains, compared without regard to case, that
	// the user's e-mail address must be of; up to 256. A session that names no
	// user fits no rule that has one.
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=253
	// +kubebuilder:validation:items:Pattern=`^[A-Za-z0-9.-]+$`
	// +kubebuilder:validation:items:XValidation:rule="!self.contains('@') && !self.startsWith('.')",message="must be a domain alone, such as acme.example"
	// +optional
	UserEmailDomains []string `json:"userEmailDomains,omitempty"`

	// scopes has the scopes that a session may ask for; up to 256.
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=64
	// +optional
	Scopes []string `json:"scopes,omitempty"`

	// audiences has the audiences that a session may ask for; up to 256.
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=256
	// +optional
	Audiences []string `json:"audiences,omitempty"`
}

// EmbeddedProvider is the controller's own issuer of ES256 access tokens
// (RFC 9068).
type EmbeddedProvider struct {
	// issuerURL is the claim iss, and where discovery document, JWKS and
	// introspection are found: https, without query and fragment, up to 2048
	// characters. Default: the manager's own address and the provider's place in
	// it. Where it is set, whoever serves that URL passes requests on to the
	// provider's place. No two providers may have the same.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:XValidation:rule="isURL(self) && url(self).getScheme() == 'https' && url(self).getHost() != '' && !self.contains('?') && !self.contains('#') && !self.contains('@')",message="must be an https URL without user, query and fragment, such as https://sessions.example.com/default"
	// +optional
	IssuerURL string `json:"issuerURL,omitempty"`

	// keyRotationInterval is how long a key signs before the next takes over, in
	// Go's notation: 168h to 8760h, default 2160h (90 days). Public keys stay
	// published until the last token that they signed is over.
	// +default="2160h"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=2
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]+(\\\\.[0-9]+)?(ms|s|m|h))+$') && duration(self) >= duration('168h') && duration(self) <= duration('8760h')",message="must be a duration from 168h (a week) to 8760h (a year) in hours, minutes and seconds, such as 2160h"
	// +optional
	KeyRotationInterval *metav1.Duration `json:"keyRotationInterval,omitempty"`
}

// Grant is how an OAuth 2.0 client gets its tokens.
// +kubebuilder:validation:Enum=ClientCredentials;DeviceCode;TokenExchange;JWTBearer
type Grant string

const (
	// GrantClientCredentials is RFC 6749 section 4.4.
	GrantClientCredentials Grant = "ClientCredentials"
	// GrantDeviceCode is RFC 8628.
	GrantDeviceCode Grant = "DeviceCode"
	// GrantTokenExchange is RFC 8693, with the auth token as the subject token.
	GrantTokenExchange Grant = "TokenExchange"
	// GrantJWTBearer is RFC 7523 section 2.1, with the auth token as the
	// assertion.
	GrantJWTBearer Grant = "JWTBearer"
)

// OAuth2Provider is an OAuth 2.0 or OpenID Connect server.
type OAuth2Provider struct {
	// issuerURL is the server's issuer identifier, from which everything else is
	// discovered (OpenID Connect Discovery, RFC 8414): an http or https URL
	// without query and fragment, up to 2048 characters. Plain http is refused
	// unless the manager allows it.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:XValidation:rule="isURL(self) && url(self).getScheme() in ['https', 'http'] && url(self).getHost() != '' && !self.contains('?') && !self.contains('#') && !self.contains('@')",message="must be an https URL without user, query and fragment, such as https://idp.example.com"
	// +required
	IssuerURL string `json:"issuerURL,omitempty"`

	// clientID is the controller's client identifier at the server; up to 256
	// characters.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +required
	ClientID string `json:"clientID,omitempty"`

	// clientAuthentication is how the controller proves itself to the server.
	// +default={"method": "None"}
	// +optional
	ClientAuthentication ClientAuthentication `json:"clientAuthentication,omitzero"`

	// grant is how tokens are got: ClientCredentials (default), DeviceCode,
	// TokenExchange or JWTBearer.
	// +default="ClientCredentials"
	// +optional
	Grant Grant `json:"grant,omitempty"`

	// scopes are asked for beside the session's own; up to 32 of up to 64
	// characters.
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=64
	// +kubebuilder:validation:items:XValidation:rule="self.matches('^[!#-\\\\[\\\\]-~]+$')",message="must be one scope, without spaces, quotes or backslashes, such as payments"
	// +optional
	Scopes []string `json:"scopes,omitempty"`

	// introspection says how often the server is asked whether tokens still hold
	// (RFC 7662).
	// +default={"interval": "5m"}
	// +optional
	Introspection Introspection `json:"introspection,omitzero"`

	// errors maps the server's own error strings to what they mean here; up to
	// 64.
	// +listType=map
	// +listMapKey=error
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +optional
	Errors []ErrorMapping `json:"errors,omitempty"`

	// caBundle has the certificates, PEM, that the server's certificate is
	// checked against; up to 64 KiB. Default: the system's.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=65536
	// +optional
	CABundle []byte `json:"caBundle,omitempty"`
}

// ClientAuthenticationMethod is how an OAuth 2.0 client proves itself.
// +kubebuilder:validation:Enum=ClientSecretBasic;ClientSecretPost;PrivateKeyJWT;None
type ClientAuthenticationMethod string

const (
	// ClientSecretBasic sends the secret in the Authorization header (RFC 6749
	// section 2.3.1).
	ClientSecretBasic ClientAuthenticationMethod = "ClientSecretBasic"
	// ClientSecretPost sends the secret in the request's body (RFC 6749 section
	// 2.3.1).
	ClientSecretPost ClientAuthenticationMethod = "ClientSecretPost"
	// PrivateKeyJWT signs an assertion (RFC 7523 section 2.2).
	PrivateKeyJWT ClientAuthenticationMethod = "PrivateKeyJWT"
	// ClientAuthenticationNone is that of a public client.
	ClientAuthenticationNone ClientAuthenticationMethod = "None"
)

// ClientAuthentication is how the controller proves itself to an OAuth 2.0
// server.
//
// +kubebuilder:validation:XValidation:rule="self.method == 'None' ? !has(self.secretRef) : has(self.secretRef)",fieldPath=".secretRef",message="must name the Secret with the client's secret or private key; only method None has none"
type ClientAuthentication struct {
	// method is ClientSecretBasic, ClientSecretPost, PrivateKeyJWT or None.
	// +required
	Method ClientAuthenticationMethod `json:"method,omitempty"`

	// secretRef names the client's secret, or its private key in PEM. A
	// SessionProvider's is in its namespace, a ClusterSessionProvider's in the
	// controller's.
	// +optional
	SecretRef *SecretKeyReference `json:"secretRef,omitempty"`
}

// SecretKeyReference names one key of a Secret, in the provider's namespace
// or, for a ClusterSessionProvider, the controller's.
type SecretKeyReference struct {
	// name of the Secret.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')",message="must be the name of a Secret: lower-case letters, digits, '-' or '.', such as idp"
	// +required
	Name string `json:"name,omitempty"`

	// key in the Secret.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[-._a-zA-Z0-9]+$')",message="must be a key of a Secret: letters, digits, '-', '_' or '.'"
	// +required
	Key string `json:"key,omitempty"`
}

// SecretReference names a Secret, in the provider's namespace or, for a
// ClusterSessionProvider, the controller's.
type SecretReference struct {
	// name of the Secret.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')",message="must be the name of a Secret: lower-case letters, digits, '-' or '.', such as hook-client"
	// +required
	Name string `json:"name,omitempty"`
}

// Introspection says how often a server is asked whether tokens still hold.
//
// +kubebuilder:validation:MinProperties=1
type Introspection struct {
	// interval between two questions about one session, in Go's notation: 10s to
	// 24h, default 5m; 0s: never.
	// +default="5m"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=2
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]+(\\\\.[0-9]+)?(ms|s|m|h))+$') && (duration(self) == duration('0s') || (duration(self) >= duration('10s') && duration(self) <= duration('24h')))",message="must be a duration from 10s to 24h, such as 5m, or 0s for never"
	// +optional
	Interval *metav1.Duration `json:"interval,omitempty"`
}

// ErrorMeaning is what a server's error string means for a session.
// +kubebuilder:validation:Enum=Banned;Rejected;GrantDead;Busy;Unavailable;AuthTokenMissing
type ErrorMeaning string

// ErrorMapping gives a server's error string a meaning.
type ErrorMapping struct {
	// error is the server's string, as in the field error of RFC 6749 section
	// 5.2; up to 64 characters.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +required
	Error string `json:"error,omitempty"`

	// as is what it means: Banned, Rejected, GrantDead, Busy, Unavailable or
	// AuthTokenMissing.
	// +required
	As ErrorMeaning `json:"as,omitempty"`

	// code is what status.error.code then says, a word in UpperCamelCase;
	// default: the server's string.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Z][A-Za-z0-9]*$')",message="must be one word in UpperCamelCase, such as UserBanned"
	// +optional
	Code string `json:"code,omitempty"`
}

// WebhookProvider is an HTTPS server that answers SessionReviews.
type WebhookProvider struct {
	// url takes the reviews: https, without user and fragment, up to 2048
	// characters.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:XValidation:rule="isURL(self) && url(self).getScheme() == 'https' && url(self).getHost() != '' && !self.contains('#') && !self.contains('@')",message="must be an https URL without user and fragment, such as https://handler.example.com/sessions"
	// +required
	URL string `json:"url,omitempty"`

	// caBundle has the certificates, PEM, that the server's certificate is
	// checked against; up to 64 KiB. Default: the system's.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=65536
	// +optional
	CABundle []byte `json:"caBundle,omitempty"`

	// authentication is how the controller proves itself to the server.
	// +optional
	Authentication *WebhookAuthentication `json:"authentication,omitempty"`

	// introspection says how often the handler is asked, by the operation Check,
	// whether tokens still hold.
	// +default={"interval": "5m"}
	// +optional
	Introspection Introspection `json:"introspection,omitzero"`

	// timeoutSeconds is how long one review may take: 1 to 30, default 10.
	// +default=10
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=30
	// +optional
	TimeoutSeconds int32 `json:"timeoutSeconds,omitempty"`
}

// WebhookAuthentication is how the controller proves itself to a webhook.
//
// +kubebuilder:validation:XValidation:rule="has(self.bearerTokenSecretRef) != has(self.clientCertificateSecretRef)",message="must have exactly one of bearerTokenSecretRef and clientCertificateSecretRef"
type WebhookAuthentication struct {
	// bearerTokenSecretRef names a token that is sent in the Authorization
	// header (RFC 6750).
	// +optional
	BearerTokenSecretRef *SecretKeyReference `json:"bearerTokenSecretRef,omitempty"`

	// clientCertificateSecretRef names a Secret of type kubernetes.io/tls.
	// +optional
	ClientCertificateSecretRef *SecretReference `json:"clientCertificateSecretRef,omitempty"`
}

// RateLimit bounds what a provider is asked.
//
// +kubebuilder:validation:MinProperties=1
type RateLimit struct {
	// requestsPerSecond is how many requests a second the provider is sent over
	// time: 1 to 10000, default 50.
	// +default=50
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10000
	// +optional
	RequestsPerSecond int32 `json:"requestsPerSecond,omitempty"`

	// burst is how many may come at once: 1 to 10000, default 100.
	// +default=100
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10000
	// +optional
	Burst int32 `json:"burst,omitempty"`

	// concurrent is how many may be under way: 1 to 1000, default 16.
	// +default=16
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	// +optional
	Concurrent int32 `json:"concurrent,omitempty"`
}

// ProviderFeature is something that a provider can do.
// +kubebuilder:validation:Enum=Revocation;Introspection;RefreshToken;DeviceCode;Idempotency
type ProviderFeature string

const (
	// FeatureRevocation means: tokens can be revoked.
	FeatureRevocation ProviderFeature = "Revocation"
	// FeatureIntrospection means: it can be asked whether a token still holds.
	FeatureIntrospection ProviderFeature = "Introspection"
	// FeatureRefreshToken means: tokens come with a refresh token.
	FeatureRefreshToken ProviderFeature = "RefreshToken"
	// FeatureDeviceCode means: a person confirms a login elsewhere.
	FeatureDeviceCode ProviderFeature = "DeviceCode"
	// FeatureIdempotency means: a login tried again is the same login.
	FeatureIdempotency ProviderFeature = "Idempotency"
)

// SessionProviderStatus is how a provider is.
//
// +kubebuilder:validation:MinProperties=1
type SessionProviderStatus struct {
	// conditions tell how the provider is: Ready, and, only while true,
	// Reconciling and Stalled.
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

	// issuerURL is the claim iss of an embedded provider's tokens, and where its
	// discovery document is.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	// +optional
	IssuerURL string `json:"issuerURL,omitempty"`

	// supports is what the provider can do.
	// +listType=set
	// +kubebuilder:validation:MaxItems=8
	// +optional
	Supports []ProviderFeature `json:"supports,omitempty"`

	// keyIDs has the signing keys (the header kid) of an embedded provider that
	// are published. A key Secret that is gone while its key stands here is an
	// error, and not a reason to make another.
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=64
	// +optional
	KeyIDs []string `json:"keyIDs,omitempty"`
}
