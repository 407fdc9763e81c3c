package webhook

// What is written and read: SessionReview of api/v1, which is where its fields are described. It is written down a second time since the
// API's package brings Kubernetes' own along; a test holds the two together.

const (
	apiVersion = "terminals.dev/v1"
	kind       = "SessionReview"
)

type operation string

const (
	opLogin  operation = "Login"
	opRenew  operation = "Renew"
	opLogout operation = "Logout"
	opCheck  operation = "Check"
)

type result string

const (
	resIssued    result = "Issued"
	resPending   result = "Pending"
	resPostponed result = "Postponed"
	resBusy      result = "Busy"
	resRejected  result = "Rejected"
	resBanned    result = "Banned"
	resActive    result = "Active"
	resEnded     result = "Ended"
	resDone      result = "Done"
)

// results are those that an operation may be answered with.
var results = map[operation][]result{
	opLogin:  {resIssued, resPending, resPostponed, resBusy, resRejected, resBanned},
	opRenew:  {resIssued, resPostponed, resBusy, resRejected, resBanned, resEnded},
	opLogout: {resDone, resEnded, resBusy, resRejected, resBanned},
	opCheck:  {resActive, resEnded, resBanned, resBusy},
}

type review struct {
	Kind       string    `json:"kind,omitempty"`
	APIVersion string    `json:"apiVersion,omitempty"`
	Request    *request  `json:"request,omitempty"`
	Response   *response `json:"response,omitempty"`
}

type request struct {
	UID          string    `json:"uid,omitempty"`
	Operation    operation `json:"operation,omitempty"`
	Session      session   `json:"session,omitzero"`
	Token        string    `json:"token,omitempty"`
	RefreshToken string    `json:"refreshToken,omitempty"`
	AuthToken    string    `json:"authToken,omitempty"`
}

type session struct {
	Namespace       string   `json:"namespace,omitempty"`
	Name            string   `json:"name,omitempty"`
	SessionID       string   `json:"sessionID,omitempty"`
	Terminal        terminal `json:"terminal,omitzero"`
	MerchantID      string   `json:"merchantID,omitempty"`
	User            *user    `json:"user,omitempty"`
	Purpose         string   `json:"purpose,omitempty"`
	Type            string   `json:"type,omitempty"`
	Scopes          []string `json:"scopes,omitempty"`
	Audiences       []string `json:"audiences,omitempty"`
	LifetimeSeconds int64    `json:"lifetimeSeconds,omitempty"`
	Announce        string   `json:"announce,omitempty"`
}

type terminal struct {
	ID           string `json:"id,omitempty"`
	SerialNumber string `json:"serialNumber,omitempty"`
}

type user struct {
	Email string `json:"email,omitempty"`
	Name  string `json:"name,omitempty"`
}

type response struct {
	UID               string       `json:"uid,omitempty"`
	Result            result       `json:"result,omitempty"`
	Token             *token       `json:"token,omitempty"`
	User              *identity    `json:"user,omitempty"`
	Interaction       *interaction `json:"interaction,omitempty"`
	RetryAfterSeconds int64        `json:"retryAfterSeconds,omitempty"`
	Error             *problem     `json:"error,omitempty"`
}

type token struct {
	Value            string `json:"value,omitempty"`
	ExpiresInSeconds int64  `json:"expiresInSeconds,omitempty"`
	RefreshToken     string `json:"refreshToken,omitempty"`
}

type identity struct {
	Email   string `json:"email,omitempty"`
	Subject string `json:"subject,omitempty"`
}

type interaction struct {
	VerificationURI         string `json:"verificationURI,omitempty"`
	VerificationURIComplete string `json:"verificationURIComplete,omitempty"`
	UserCode                string `json:"userCode,omitempty"`
	ExpiresInSeconds        int64  `json:"expiresInSeconds,omitempty"`
}

type problem struct {
	Code    string `json:"code,omitempty"`
	Message string `json:"message,omitempty"`
}
