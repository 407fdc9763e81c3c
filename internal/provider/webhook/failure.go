package webhook

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"

	"terminals.dev/session-controller/internal/provider"
)

const (
	// maxMessage and maxCode bound what an error says, in characters.
	maxMessage = 256
	maxCode    = 64
	// maxRetryAfter is as long as any server is left alone.
	maxRetryAfter = 24 * time.Hour
	// minSecret is the length of the parts of a secret that may stand in no text.
	minSecret = 12
)

// errorf makes an error that names the server. Texts are the same each time that the same thing goes wrong, since status shows them:
// no address, port or time is in them.
func (w *Webhook) errorf(kind provider.Kind, format string, args ...any) *provider.Error {
	text := fmt.Sprintf("the webhook at %s ", limit(w.url.Host, maxMessage/2)) + fmt.Sprintf(format, args...)
	return &provider.Error{Kind: kind, Message: limit(text, maxMessage)}
}

// broken is the error of a call that got no answer, or half of one. Of the cause, what may quote what the server sent is left out.
func (w *Webhook) broken(ctx, limited context.Context, err error) *provider.Error {
	if known, ok := errors.AsType[*provider.Error](err); ok {
		return known
	}
	if ctx.Err() != nil {
		e := w.errorf(provider.Unavailable, "was not waited for: the call was given up")
		e.Err = ctx.Err()
		return e
	}
	// Dialling and shaking hands have the same limit, and may be first to notice.
	if late, ok := errors.AsType[net.Error](err); limited.Err() != nil || ok && late.Timeout() {
		e := w.errorf(provider.Unavailable, "did not answer within %s", w.timeout)
		e.Err = context.DeadlineExceeded
		return e
	}
	if untrusted, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		e := w.errorf(provider.Misconfigured, "shows a certificate that %s", untrustedAs(untrusted.Err))
		e.Err = untrusted
		return e
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return w.errorf(provider.Misconfigured, "does not speak TLS there: look at the port in its url")
	}
	failed, ok := errors.AsType[*net.OpError](err)
	switch {
	case ok && failed.Op == "remote error": // an alert (RFC 8446 section 6), whose texts are crypto/tls' own
		kind := provider.Misconfigured
		if strings.Contains(failed.Err.Error(), "internal error") {
			kind = provider.Unavailable
		}
		e := w.errorf(kind, "refuses the TLS connection (%s): look at the client certificate", strings.TrimPrefix(failed.Err.Error(), "tls: "))
		e.Err = failed
		return e
	case errors.Is(err, syscall.ECONNREFUSED):
		return w.unreachable("refuses connections", err)
	}
	if unknown, ok := errors.AsType[*net.DNSError](err); ok && unknown.IsNotFound {
		return w.unreachable("has a name that DNS does not know", unknown)
	}
	if ok {
		return w.unreachable("cannot be reached", failed)
	}
	return w.unreachable("broke off before it had answered", nil)
}

func (w *Webhook) unreachable(how string, cause error) *provider.Error {
	e := w.errorf(provider.Unavailable, "%s", how)
	e.Err = cause
	return e
}

// untrustedAs says what is wrong with a certificate, and what to do.
func untrustedAs(err error) string {
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return "is for another name: use a name that it has in the url"
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return "is signed by an authority that is not known: put its certificate into caBundle"
	}
	if wrong, ok := errors.AsType[x509.CertificateInvalidError](err); ok && wrong.Reason == x509.Expired {
		return "has expired or is not valid yet: have it replaced"
	}
	return "cannot be trusted: have it replaced"
}

// refused is the error that an HTTP status stands for. Its body is not looked at.
func (w *Webhook) refused(got *http.Response) *provider.Error {
	var e *provider.Error
	switch status := got.StatusCode; {
	case status == http.StatusTooManyRequests:
		e = w.errorf(provider.Busy, "is busy (HTTP status 429)")
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		e = w.errorf(provider.Misconfigured, "refuses the controller's credentials (HTTP status %d): look at spec.webhook.authentication", status)
	case status >= 300 && status < 400:
		e = w.errorf(provider.Misconfigured,
			"redirects elsewhere (HTTP status %d), which is not followed: put the final URL into spec.webhook.url", status)
	case status >= 500, status == http.StatusRequestTimeout:
		e = w.errorf(provider.Unavailable, "fails (HTTP status %d)", status)
	default:
		return w.misanswered("with HTTP status " + strconv.Itoa(status))
	}
	if e.Kind != provider.Misconfigured {
		e.RetryAfter = retryAfter(got.Header)
	}
	return e
}

// retryAfter is how long a server asks to be left alone (RFC 9110 section 10.2.3); zero where it does not say. A time is compared with the
// server's own clock, as in the field Date, so that it need not be right.
func retryAfter(header http.Header) time.Duration {
	said := header.Get("Retry-After")
	if n, err := strconv.ParseInt(said, 10, 64); err == nil {
		return seconds(n, maxRetryAfter)
	}
	until, err := http.ParseTime(said)
	if err != nil {
		return 0
	}
	sent, err := http.ParseTime(header.Get("Date"))
	if err != nil {
		return 0
	}
	return min(max(until.Sub(sent), 0), maxRetryAfter)
}

// seconds is a number of seconds from outside: from zero to a limit.
func seconds(n int64, most time.Duration) time.Duration {
	return time.Duration(min(max(n, 0), int64(most/time.Second))) * time.Second
}

// limit cuts a text at a number of characters.
func limit(text string, most int) string {
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return text
}

// reveals tells whether a text has a part of a secret in it.
func reveals(text string, secrets ...string) bool {
	for _, secret := range secrets {
		if secret == "" {
			continue
		}
		if len(secret) <= minSecret && strings.Contains(text, secret) {
			return true
		}
		for i := 0; i+minSecret <= len(text); i++ {
			if strings.Contains(secret, text[i:i+minSecret]) {
				return true
			}
		}
	}
	return false
}
