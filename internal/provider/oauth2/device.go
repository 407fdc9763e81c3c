package oauth2

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"strings"
	"time"

	"terminals.dev/session-controller/internal/provider"
)

const (
	// What holds where the server does not say: RFC 8628 section 3.2 has the interval, and demands the lifetime.
	defaultInterval, defaultDeviceLifetime = 5 * time.Second, 5 * time.Minute
	// slowDown is what slow_down adds to the interval (section 3.5).
	slowDown = 5 * time.Second
	// maxInterval and maxDeviceLifetime bound what a server may ask for.
	maxInterval, maxDeviceLifetime = time.Hour, 24 * time.Hour
	// maxURI and maxUserCode bound what is shown to people.
	maxURI, maxUserCode = 2048, 64
)

const whatDevice = "the device authorization endpoint"

// startDevice starts a login that a person confirms elsewhere. RFC 8628 has no parameter that names the device to that person, so it
// goes as binding_message, which is CIBA's for just that, and the user as login_hint; a server that does not know them ignores them
// (RFC 6749 section 3.2).
func (p *Provider) startDevice(ctx context.Context, req provider.Request) (*provider.Pending, error) {
	form, err := p.wanted(req.Session)
	if err != nil {
		return nil, err
	}
	form.Set("binding_message", bindingMessage(req.Session))
	if req.Session.UserEmail != "" {
		form.Set("login_hint", req.Session.UserEmail)
	}
	s, err := p.server(ctx)
	if err != nil {
		return nil, err
	}
	body, err := p.post(ctx, s, s.DeviceEndpoint, whatDevice, form)
	if answer, ok := errors.AsType[*refused](err); ok {
		return nil, p.refused(answer.refusal, whatDevice, forClient, form.Get("client_assertion"))
	}
	if err != nil {
		return nil, err
	}
	return p.pending(body)
}

// bindingMessage names the terminal to whoever confirms.
func bindingMessage(session provider.Session) string {
	name := "Terminal " + session.TerminalID
	if session.SerialNumber != "" {
		name += " (" + session.SerialNumber + ")"
	}
	if session.Announce != "" {
		name = session.Announce + " - " + name
	}
	return name
}

func (p *Provider) pending(body []byte) (*provider.Pending, error) {
	var answer struct {
		DeviceCode string      `json:"device_code"`
		UserCode   string      `json:"user_code"`
		URI        string      `json:"verification_uri"`
		URL        string      `json:"verification_url"` // as Google has it
		Complete   string      `json:"verification_uri_complete"`
		ExpiresIn  json.Number `json:"expires_in"`
		Interval   json.Number `json:"interval"`
	}
	if json.Unmarshal(body, &answer) != nil {
		return nil, fail(provider.Unavailable, nil, "%s answered with something that is not JSON as the specification has it", whatDevice)
	}
	if answer.URI == "" {
		answer.URI = answer.URL
	}
	switch {
	case answer.DeviceCode == "" || len(answer.DeviceCode) > maxToken:
		return nil, misconfigured(nil, "%s gave no device code, or one that is too long", whatDevice)
	case !p.visitable(answer.URI):
		return nil, misconfigured(nil, "%s gave no https URL for people to go to", whatDevice)
	case answer.UserCode == "" || len(answer.UserCode) > maxUserCode || strings.ContainsFunc(answer.UserCode, unprintable):
		return nil, misconfigured(nil, "%s gave no user code that people could type", whatDevice)
	}
	pending := &provider.Pending{
		VerificationURI: answer.URI, UserCode: answer.UserCode, Handle: answer.DeviceCode,
		ExpiresIn: defaultDeviceLifetime, Interval: defaultInterval,
	}
	if p.visitable(answer.Complete) {
		pending.VerificationURIComplete = answer.Complete
	}
	if answer.ExpiresIn != "" {
		seconds, ok := number(answer.ExpiresIn)
		if !ok || seconds < 1 {
			return nil, misconfigured(nil, "%s gave a code that is over already: its expires_in is not above zero", whatDevice)
		}
		pending.ExpiresIn = bounded(seconds, maxDeviceLifetime)
	}
	if seconds, ok := number(answer.Interval); ok && seconds > 0 {
		pending.Interval = bounded(seconds, maxInterval)
	}
	return pending, nil
}

// visitable is whether a URL may be shown to people.
func (p *Provider) visitable(uri string) bool {
	if uri == "" || len(uri) > maxURI || strings.ContainsFunc(uri, unprintable) {
		return false
	}
	u, err := url.Parse(uri)
	return err == nil && u.Host != "" && u.User == nil && (u.Scheme == "https" || u.Scheme == "http" && p.config.AllowHTTP)
}

// Poll implements provider.Provider. It asks once; a Pending that it returns is the one handed in, with a longer interval where the server
// asks for that. Denied and expired are Rejected, with the codes AccessDenied and ExpiredToken.
func (p *Provider) Poll(ctx context.Context, req provider.Request, pending provider.Pending) (provider.Result, error) {
	if pending.Handle == "" {
		return provider.Result{}, rejected("ExpiredToken", "there is no device code to ask with")
	}
	form, err := p.wanted(req.Session)
	if err != nil {
		return provider.Result{}, err
	}
	form.Del("scope") // it was asked for when the login was started (RFC 8628 section 3.4)
	form.Set("grant_type", grantDeviceCode)
	form.Set("device_code", pending.Handle)
	s, err := p.server(ctx)
	if err != nil {
		return provider.Result{}, err
	}
	got, err := p.ask(ctx, s, form, forDeviceCode, pending.Handle)
	if waiting, ok := errors.AsType[*refused](err); ok {
		if waiting.Code == "slow_down" {
			pending.Interval = min(max(pending.Interval, defaultInterval)+slowDown, maxInterval)
		}
		return provider.Result{Pending: &pending}, nil
	}
	if err != nil {
		return provider.Result{}, err
	}
	token, err := p.accept(ctx, s, req, got, true)
	if err != nil {
		return provider.Result{}, err
	}
	return provider.Result{Token: &token}, nil
}

func bounded(seconds int64, most time.Duration) time.Duration {
	return time.Duration(min(seconds, int64(most/time.Second))) * time.Second
}

func unprintable(r rune) bool { return r <= ' ' || r > '~' }
