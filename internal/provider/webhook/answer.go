package webhook

import (
	"cmp"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"

	"terminals.dev/session-controller/internal/provider"
)

const (
	// maxLifetime is the longest that a session may ask for, a year. A token that lives longer is renewed as if it did not.
	maxLifetime = 8760 * time.Hour
	// maxInteraction is the longest that a person has.
	maxInteraction = 24 * time.Hour
	// defaultInterval is the least time between two polls where the handler does not say (RFC 8628 section 3.2), and maxInterval the most.
	defaultInterval = 5 * time.Second
	maxInterval     = time.Hour
	// What status has room for, in characters.
	maxEmail, maxSubject, maxURI, maxUserCode = 254, 256, 2048, 64
)

// answer is a response and what it is one to.
type answer struct {
	*response
	webhook *Webhook
	to      *request
}

// failure is the error that an answer stands for, or nil.
func (a *answer) failure() error {
	switch {
	case a.UID != a.to.UID:
		// Nothing in it is used, least of all a token: it may be somebody else's.
		return a.webhook.misanswered("with another uid than it was asked with")
	case !slices.Contains(results[a.to.Operation], a.Result):
		return a.webhook.misanswered("to a " + string(a.to.Operation) + " with a result that this operation does not have")
	}
	switch a.Result {
	case resBusy:
		return a.failed(provider.Busy, "is busy")
	case resPostponed:
		return a.failed(provider.AuthTokenMissing, "was unable to retrieve the auth token, or finds that it has expired")
	case resRejected:
		return a.failed(provider.Rejected, "refuses the session")
	case resBanned:
		if a.to.Operation != opCheck { // to which it is an answer as good as any
			return a.failed(provider.Banned, "has barred the user or the terminal")
		}
	case resEnded:
		if a.to.Operation == opRenew {
			return a.failed(provider.GrantDead, "says that the session is over")
		}
	}
	return nil
}

func (a *answer) failed(kind provider.Kind, what string) error {
	e := a.webhook.errorf(kind, "%s", what)
	code, message := a.words()
	e.RetryAfter = seconds(a.RetryAfterSeconds, maxRetryAfter)
	if kind != provider.Busy && kind != provider.AuthTokenMissing {
		e.Code, e.RetryAfter = code, 0
	}
	if message != "" {
		e.Message = limit("the webhook says: "+message, maxMessage)
	}
	return e
}

// words are the handler's own for why it did not do what it was asked: a code that is one, and one line that can be shown. Either is
// empty if it has a part of anything secret in it that the handler was sent or sent back.
func (a *answer) words() (code, message string) {
	if a.Error == nil {
		return "", ""
	}
	secrets := []string{a.to.Token, a.to.RefreshToken, a.to.AuthToken, a.webhook.secret}
	if a.Token != nil {
		secrets = append(secrets, a.Token.Value, a.Token.RefreshToken)
	}
	message = strings.Join(strings.FieldsFunc(a.Error.Message, func(r rune) bool { return !unicode.IsGraphic(r) || unicode.IsSpace(r) }), " ")
	message = limit(message, maxMessage)
	if reveals(message, secrets...) {
		message = ""
	}
	if isCode(a.Error.Code) && !reveals(a.Error.Code, secrets...) {
		code = a.Error.Code
	}
	return code, message
}

// isCode tells whether a text is one word in UpperCamelCase.
func isCode(text string) bool {
	return text != "" && len(text) <= maxCode && text[0] >= 'A' && text[0] <= 'Z' && !strings.ContainsFunc(text, func(r rune) bool {
		return (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && (r < '0' || r > '9')
	})
}

// issued is the token of an answer. How large a token may be is the caller's to say, who can have one revoked that it refuses.
func (a *answer) issued() (*provider.Token, error) {
	switch {
	case a.Token == nil || a.Token.Value == "":
		return nil, a.webhook.misanswered("Issued without a token")
	case a.Token.ExpiresInSeconds < 1:
		return nil, a.webhook.misanswered("Issued with a token whose expiresInSeconds is missing or below 1")
	}
	issued := &provider.Token{
		Value: a.Token.Value, RefreshToken: a.Token.RefreshToken, ExpiresIn: seconds(a.Token.ExpiresInSeconds, maxLifetime),
	}
	if a.User != nil {
		issued.Identity = provider.Identity{Email: a.User.Email, Subject: a.User.Subject}
	}
	if longer(issued.Identity.Email, maxEmail) || longer(issued.Identity.Subject, maxSubject) {
		return nil, a.webhook.misanswered("Issued for a user whose email or subject is longer than 254 or 256 characters")
	}
	return issued, nil
}

// pending is what a person has to do.
func (a *answer) pending() (*provider.Pending, error) {
	p := a.Interaction
	switch {
	case p == nil || !shown(p.VerificationURI) || p.VerificationURIComplete != "" && !shown(p.VerificationURIComplete):
		return nil, a.webhook.misanswered("Pending without a verificationURI of https, of up to 2048 characters")
	case p.UserCode == "" || longer(p.UserCode, maxUserCode) || strings.ContainsFunc(p.UserCode, unicode.IsControl):
		return nil, a.webhook.misanswered("Pending without a userCode of up to 64 characters")
	case p.ExpiresInSeconds < 1:
		return nil, a.webhook.misanswered("Pending with an expiresInSeconds that is missing or below 1")
	}
	return &provider.Pending{
		VerificationURI: p.VerificationURI, VerificationURIComplete: p.VerificationURIComplete, UserCode: p.UserCode,
		Handle:    a.to.UID,
		ExpiresIn: seconds(p.ExpiresInSeconds, maxInteraction),
		Interval:  cmp.Or(seconds(a.RetryAfterSeconds, maxInterval), defaultInterval),
	}, nil
}

// shown tells whether a link may be shown to a person.
func shown(link string) bool {
	u, err := url.Parse(link)
	return err == nil && u.Scheme == "https" && u.Hostname() != "" && u.User == nil && !longer(link, maxURI)
}

// longer counts characters, as the API server does.
func longer(text string, most int) bool { return len([]rune(text)) > most }
