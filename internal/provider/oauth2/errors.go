package oauth2

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"terminals.dev/session-controller/internal/provider"
)

// What is wrong with a provider as a whole; errors.Is finds these in the errors of all methods.
var (
	// ErrDiscovery: the server's metadata cannot be had, or cannot be used.
	ErrDiscovery = errors.New("discovery failed")
	// ErrCertificate: the server's certificate is not trusted, or is another's.
	ErrCertificate = errors.New("certificate not trusted")
	// ErrCredentials: the server refuses the client's credentials, or they are unusable.
	ErrCredentials = errors.New("credentials refused")
)

const (
	// maxMessage bounds messages, in bytes.
	maxMessage = 256
	// maxRetryAfter bounds what a server may ask for: it is waited for, and the wait is not given up before.
	maxRetryAfter = 24 * time.Hour
)

// fail makes an error. Its text is made here alone, never of what a server or a library said: those quote bodies.
func fail(kind provider.Kind, cause error, format string, args ...any) *provider.Error {
	message := fmt.Sprintf(format, args...)
	if len(message) > maxMessage {
		message = strings.ToValidUTF8(message[:maxMessage-3], "") + "..."
	}
	return &provider.Error{Kind: kind, Message: message, Err: cause}
}

func misconfigured(cause error, format string, args ...any) *provider.Error {
	return fail(provider.Misconfigured, cause, format, args...)
}

// unreached tells what a request without an answer means. what names the endpoint.
func unreached(err error, what string) *provider.Error {
	if known, ok := errors.AsType[*provider.Error](err); ok { // from whoever dials, or gives leave
		return &provider.Error{Kind: known.Kind, Code: known.Code, Message: known.Message, RetryAfter: known.RetryAfter, Err: known.Err}
	}
	var (
		unverified *tls.CertificateVerificationError
		noTLS      tls.RecordHeaderError
		notFound   *net.DNSError
		timeout    net.Error
	)
	switch {
	case errors.Is(err, errTooLarge):
		return fail(provider.Unavailable, errTooLarge, "%s answered with more than %d bytes, of which none was used", what, maxBody)
	case errors.Is(err, context.Canceled):
		return fail(provider.Unavailable, context.Canceled, "asking %s was interrupted", what)
	case errors.As(err, &unverified):
		return fail(provider.Misconfigured, ErrCertificate,
			"the certificate of %s is not trusted for its name: check the CA bundle, the URL, and that the certificate has not expired", what)
	case errors.As(err, &noTLS):
		return fail(provider.Unavailable, nil, "%s does not speak TLS", what)
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return fail(provider.Unavailable, context.DeadlineExceeded, "%s gave no answer in time", what)
	case errors.As(err, &notFound):
		return fail(provider.Unavailable, nil, "%s cannot be reached: its host name was not resolved", what)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fail(provider.Unavailable, nil, "%s cannot be reached: the connection was refused", what)
	case errors.Is(err, errPlainHTTP):
		return misconfigured(nil, "%s is plain http, which is not allowed", what)
	}
	return fail(provider.Unavailable, nil, "%s cannot be reached, or broke off its answer", what)
}

// refusal is an answer that is none of success.
type refusal struct {
	status int
	header http.Header
	// Code, Sub and Description are what the server said (RFC 6749 section 5.2; suberror is Entra ID's). They are compared, not shown.
	Code        string `json:"error"`
	Sub         string `json:"suberror"`
	Description string `json:"error_description"`
}

func newRefusal(status int, header http.Header, body []byte) refusal {
	r := refusal{status: status, header: header}
	if json.Unmarshal(body, &r) != nil {
		r.Code, r.Sub, r.Description = "", "", ""
	}
	return r
}

// purpose is what was asked with, as the same error means different things.
type purpose int

const (
	forClient purpose = iota
	forAuthToken
	forRefreshToken
	forDeviceCode
)

var (
	// deadRefreshToken has the words for a refresh token that is over; all but the first are OpenID Connect's.
	deadRefreshToken = []string{"invalid_grant", "interaction_required", "login_required", "consent_required"}
	// deadAuthToken has those for an auth token that is; the last one is Hydra's for an assertion that was used.
	deadAuthToken = []string{"invalid_grant", "invalid_token", "expired_token", "jti_known"}
)

// refused tells what a refusal means. secrets are those of the request, which a server might repeat.
func (p *Provider) refused(r refusal, what string, why purpose, secrets ...string) *provider.Error {
	if err := p.mapped(r, what, secrets); err != nil {
		return err
	}
	switch said := p.shown(r.Code, secrets); {
	case r.status == http.StatusTooManyRequests:
		return p.later(provider.Busy, r, "%s asks to be left alone for a while (429)", what)
	case r.status >= 500, r.status == http.StatusRequestTimeout:
		return p.later(provider.Unavailable, r, "%s failed on its own side (%d)", what, r.status)
	case r.Code == "invalid_client", r.Code == "" && r.status == http.StatusUnauthorized:
		p.proof.refused(p.config.Now())
		return misconfigured(ErrCredentials, "%s refused the client's credentials (%s): check client ID, method and secret",
			what, orStatus(said, r))
	case why == forAuthToken && r.status >= 400 && slices.ContainsFunc(secrets[:1], p.expired):
		// Servers have several words for this, and one of them is server_error.
		return fail(provider.AuthTokenMissing, nil, "the auth token has expired (%s): a fresh one is needed", orStatus(said, r))
	case r.Code == "temporarily_unavailable", r.Code == "server_error":
		return p.later(provider.Unavailable, r, "%s failed on its own side (%s)", what, said)
	case r.Code == "unauthorized_client", r.Code == "unsupported_grant_type":
		return misconfigured(nil, "%s does not let this client use the grant (%s): allow it there, or choose another", what, said)
	case r.status >= 300 && r.status < 400:
		return misconfigured(nil, "%s redirects elsewhere (%d), which is not followed", what, r.status)
	case r.Code == "":
		return misconfigured(nil, "%s answered %d without an OAuth error: check that the URL leads to the server itself", what, r.status)
	case why == forDeviceCode && (r.Code == "expired_token" || r.Code == "invalid_grant"):
		// A code that the server does not know any more is over as well.
		return rejected("ExpiredToken", "nobody confirmed the login in time (%s)", said)
	case r.Code == "access_denied":
		return rejected("AccessDenied", "the login was denied at the server (%s)", said)
	case why == forRefreshToken && slices.Contains(deadRefreshToken, r.Code):
		return fail(provider.GrantDead, nil, "the server does not take the refresh token any more (%s)", said)
	case why == forAuthToken && slices.Contains(deadAuthToken, r.Code),
		// RFC 8693 section 2.2.2 makes this the answer to a subject token that is invalid for any reason.
		why == forAuthToken && r.Code == "invalid_request" && p.config.Grant == TokenExchange:
		return fail(provider.AuthTokenMissing, nil,
			"the server refused the auth token (%s): it has expired, was used, or is not for this server; a fresh one is needed", said)
	case r.Code == "invalid_request":
		return misconfigured(nil, "%s did not understand the request (%s): check grant, method and scopes", what, said)
	case r.Code == "invalid_scope":
		return rejected("InvalidScope", "the server refused the scopes (%s): check those of session and provider", said)
	case r.Code == "invalid_target":
		return rejected("InvalidTarget", "the server refused the audiences (%s)", said)
	case r.Code == "invalid_grant":
		return rejected("InvalidGrant", "the server refused the grant (%s)", said)
	case said == "":
		return rejected("Refused", "the server refused with an error that cannot be shown")
	default:
		return rejected(said, "the server refused (%s)", said)
	}
}

// expired is whether a token is a JWT that is over by the server's clock. Nothing rests on it but the word for a refusal, so its signature
// does not matter.
func (p *Provider) expired(token string) bool {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return false
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	var claims struct {
		Expiry float64 `json:"exp"`
	}
	return err == nil && json.Unmarshal(payload, &claims) == nil && claims.Expiry > 0 && claims.Expiry <= float64(p.skew.serverNow().Unix())
}

func rejected(code, format string, args ...any) *provider.Error {
	err := fail(provider.Rejected, nil, format, args...)
	err.Code = code
	return err
}

// mapped is what the configuration says of an error.
func (p *Provider) mapped(r refusal, what string, secrets []string) *provider.Error {
	key, meaning, ok := p.meaning(r.Description, r.Sub, r.Code)
	if !ok {
		return nil
	}
	err := p.later(meaning.Kind, r, "%s refused (%s)", what, orStatus(p.shown(key, secrets), r))
	err.Code = meaning.Code
	if err.Code == "" {
		err.Code = key
	}
	if err.Kind != provider.Busy && err.Kind != provider.Unavailable {
		err.RetryAfter = 0
	}
	return err
}

func (p *Provider) meaning(said ...string) (string, Meaning, bool) {
	for _, s := range said {
		if meaning, ok := p.config.Errors[s]; ok && s != "" {
			return s, meaning, true
		}
	}
	return "", Meaning{}, false
}

// later adds how long the server asks to be left alone.
func (p *Provider) later(kind provider.Kind, r refusal, format string, args ...any) *provider.Error {
	err := fail(kind, nil, format, args...)
	err.RetryAfter = p.retryAfter(r.header)
	return err
}

// retryAfter reads seconds, or a date (RFC 9110 section 10.2.3), which is one by the server's clock.
func (p *Provider) retryAfter(header http.Header) time.Duration {
	value := strings.TrimSpace(header.Get("Retry-After"))
	var wait time.Duration
	if seconds, err := strconv.ParseInt(value, 10, 64); err == nil {
		wait = time.Duration(min(max(seconds, 0), int64(maxRetryAfter/time.Second))) * time.Second
	} else if at, err := http.ParseTime(value); err == nil {
		wait = at.Sub(p.skew.serverNow())
	}
	return min(max(wait, 0), maxRetryAfter)
}

// showable is what an error string looks like that may stand in a status.
var showable = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.-]{0,63}$`)

// shown returns a server's error string if it may be shown: if it is a word, and no part of a secret.
func (p *Provider) shown(said string, secrets []string) string {
	if !showable.MatchString(said) {
		return ""
	}
	const window = 8
	for i := 0; i+window <= len(said); i++ {
		for _, secret := range append(secrets, p.client.secret) {
			if strings.Contains(secret, said[i:i+window]) {
				return ""
			}
		}
	}
	return said
}

func orStatus(said string, r refusal) string {
	if said == "" {
		return strconv.Itoa(r.status)
	}
	return said
}
