package v1

// Condition types. Reconciling and Stalled stand in status only while they are true, as kstatus has it.
const (
	// ConditionReady says that an object is as spec, bans and people's acts ask.
	ConditionReady = "Ready"
	// ConditionEstablished says that a session has a valid access token in its Secret: who needs a token waits for this one.
	ConditionEstablished = "Established"
	// ConditionReconciling says that the controller is at it and needs nobody's help.
	ConditionReconciling = "Reconciling"
	// ConditionStalled says that only a change of configuration helps.
	ConditionStalled = "Stalled"
	// ConditionEnforced says that a ban is in force and that each session which it matches is terminated.
	ConditionEnforced = "Enforced"
	// ConditionComplete says that a logout has run.
	ConditionComplete = "Complete"
	// ConditionFailed says that a logout has not run, and will not.
	ConditionFailed = "Failed"
)

// Reasons of a session's conditions.
const (
	// ReasonEstablished means: the token is in its Secret and valid.
	ReasonEstablished = "Established"
	// ReasonLoggedOut means: there is no session, as desiredState asks.
	ReasonLoggedOut = "LoggedOut"
	// ReasonEstablishing means: a login is under way.
	ReasonEstablishing = "Establishing"
	// ReasonTokenExpired means: the token's time is over and its renewal is still being tried.
	ReasonTokenExpired = "TokenExpired"
	// ReasonTerminating means: the object, or its namespace, is being deleted.
	ReasonTerminating = "Terminating"
	// ReasonProviderNotFound means: there is no provider of the name that spec.providerRef gives.
	ReasonProviderNotFound = "ProviderNotFound"
	// ReasonProviderPending means: the controller has not looked at the provider yet.
	ReasonProviderPending = "ProviderPending"
	// ReasonProviderNotReady means: the provider is there and not Ready.
	ReasonProviderNotReady = "ProviderNotReady"
	// ReasonProviderNotAllowed means: no rule of the provider's spec.allow fits this session.
	ReasonProviderNotAllowed = "ProviderNotAllowed"
	// ReasonProviderBusy means: the provider asks to be left alone for a while.
	ReasonProviderBusy = "ProviderBusy"
	// ReasonProviderUnavailable means: the provider cannot be reached, or fails on its own side.
	ReasonProviderUnavailable = "ProviderUnavailable"
	// ReasonProviderMisconfigured means: the provider cannot work as it is configured.
	ReasonProviderMisconfigured = "ProviderMisconfigured"
	// ReasonAuthTokenMissing means: the auth token is not there, is empty, or has expired.
	ReasonAuthTokenMissing = "AuthTokenMissing"
	// ReasonUserInteraction means: a person must confirm the login.
	ReasonUserInteraction = "UserInteraction"
	// ReasonAborted means: the person who was to confirm the login denied it, or did not confirm it in time.
	ReasonAborted = "Aborted"
	// ReasonRenewalRejected means: the provider refuses to renew the token, which is still valid.
	ReasonRenewalRejected = "RenewalRejected"
	// ReasonGrantDead means: what renewals rested on is over at the provider.
	ReasonGrantDead = "GrantDead"
	// ReasonIdentityMismatch means: the provider logged in somebody else than spec.user; that token was discarded.
	ReasonIdentityMismatch = "IdentityMismatch"
	// ReasonSecretNameTaken means: a Secret of the name that the session's token is to have is somebody else's.
	ReasonSecretNameTaken = "SecretNameTaken"
	// ReasonSecretRefused means: the API server refuses to keep the token in its Secret, by a quota or an admission policy.
	ReasonSecretRefused = "SecretRefused"
	// ReasonSecretChanged means: the token Secret was deleted or altered by somebody else.
	ReasonSecretChanged = "SecretChanged"
	// ReasonHandedOver means: spec asks for another user, merchant, terminal, provider, type, purpose, scopes or audiences.
	ReasonHandedOver = "HandedOver"
	// ReasonPaymentAppUpdated means: the terminal reports another version of the payment app.
	ReasonPaymentAppUpdated = "PaymentAppUpdated"
	// ReasonPaymentAppRestarted means: the terminal reports another instance of the payment app.
	ReasonPaymentAppRestarted = "PaymentAppRestarted"
	// ReasonClientRestarted means: the terminal reports another instance of its own app.
	ReasonClientRestarted = "ClientRestarted"
	// ReasonLinkLost means: the terminal has been silent for longer than spec.heartbeat.timeout.
	ReasonLinkLost = "LinkLost"
	// ReasonRejected means: the provider refuses the login.
	ReasonRejected = "Rejected"
	// ReasonBanned means: the provider has barred or deleted the user or the device.
	ReasonBanned = "Banned"
	// ReasonBanInForce means: a SessionBan or ClusterSessionBan matches the session.
	ReasonBanInForce = "BanInForce"
	// ReasonSignedOut means: a SessionLogout has signed the session out.
	ReasonSignedOut = "SignedOut"
)

// Reasons of a ban's condition Enforced.
const (
	// ReasonEnforced means: each session that matches is terminated.
	ReasonEnforced = "Enforced"
	// ReasonNothingMatched means: no session matches a ban, or a logout.
	ReasonNothingMatched = "NothingMatched"
	// ReasonEnforcing means: sessions that match are still to be terminated.
	ReasonEnforcing = "Enforcing"
	// ReasonExpired means: the ban is over.
	ReasonExpired = "Expired"
	// ReasonSelectorInvalid means: a label selector in spec is none.
	ReasonSelectorInvalid = "SelectorInvalid"
)

// Reasons of a logout's conditions.
const (
	// ReasonSigningOut means: sessions are still to be signed out.
	ReasonSigningOut = "SigningOut"
	// ReasonAllSignedOut means: every session that was selected is signed out.
	ReasonAllSignedOut = "AllSignedOut"
	// ReasonSomeSignedOut means: some of those selected had ended in another way before they could be signed out.
	ReasonSomeSignedOut = "SomeSignedOut"
	// ReasonDryRun means: nothing was changed, as spec.dryRun asks.
	ReasonDryRun = "DryRun"
	// ReasonTooManyAffected means: more sessions than spec.maxAffected would have been signed out.
	ReasonTooManyAffected = "TooManyAffected"
)

// Reasons of a provider's conditions.
const (
	// ReasonReady means: the provider can issue tokens.
	ReasonReady = "Ready"
	// ReasonDiscoveryFailed means: the metadata of the provider's server cannot be had, or cannot be used.
	ReasonDiscoveryFailed = "DiscoveryFailed"
	// ReasonCertificateUnknown means: the certificate of the provider's server is not trusted, or is another's.
	ReasonCertificateUnknown = "CertificateUnknown"
	// ReasonCredentialsMissing means: a Secret that the provider names, or the key in it, is not there or is empty.
	ReasonCredentialsMissing = "CredentialsMissing"
	// ReasonCredentialsRefused means: the provider's server refuses the controller's credentials, or they are unusable.
	ReasonCredentialsRefused = "CredentialsRefused"
	// ReasonSigningKeyMissing means: a signing key that status.keyIDs records is gone.
	ReasonSigningKeyMissing = "SigningKeyMissing"
	// ReasonSigningKeyBroken means: a signing key's Secret does not hold that key.
	ReasonSigningKeyBroken = "SigningKeyBroken"
	// ReasonIssuerURLTaken means: another provider has the same issuer URL.
	ReasonIssuerURLTaken = "IssuerURLTaken"
)
