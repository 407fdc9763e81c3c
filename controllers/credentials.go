package controllers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/internal/egress"
	"terminals.dev/session-controller/internal/provider"
	"terminals.dev/session-controller/internal/provider/oauth2"
	"terminals.dev/session-controller/internal/provider/webhook"
	"terminals.dev/session-controller/internal/tokenstore"
)

// credential is one value that a provider's client needs, and where it is.
type credential struct{ secret, key, what string }

// credentialsOf are those that a spec names.
func credentialsOf(spec *v1.SessionProviderSpec) []credential {
	switch {
	case spec.OAuth2 != nil:
		auth := spec.OAuth2.ClientAuthentication
		if auth.SecretRef == nil {
			return nil
		}
		what := "the client's secret"
		if auth.Method == v1.PrivateKeyJWT {
			what = "the client's private key"
		}
		return []credential{{auth.SecretRef.Name, auth.SecretRef.Key, what}}
	case spec.Webhook != nil && spec.Webhook.Authentication != nil:
		auth := spec.Webhook.Authentication
		if ref := auth.BearerTokenSecretRef; ref != nil {
			return []credential{{ref.Name, ref.Key, "the bearer token"}}
		}
		if ref := auth.ClientCertificateSecretRef; ref != nil {
			return []credential{
				{ref.Name, corev1.TLSCertKey, "the client certificate"},
				{ref.Name, corev1.TLSPrivateKeyKey, "its private key"},
			}
		}
	}
	return nil
}

// credentialSecrets are the names of the Secrets that a spec names, each once.
func credentialSecrets(spec *v1.SessionProviderSpec) []string {
	var names []string
	for _, c := range credentialsOf(spec) {
		if len(names) == 0 || names[len(names)-1] != c.secret {
			names = append(names, c.secret)
		}
	}
	return names
}

// credentialsSeen are a provider's credentials as the cache has them: their versions, and whether a Secret is not there.
type credentialsSeen struct {
	version string
	missing bool
}

// versionOf changes with a provider's spec and its credentials.
func versionOf(obj v1.Provider, seen credentialsSeen) string {
	return fmt.Sprintf("%d%s", obj.GetGeneration(), seen.version)
}

// credentials looks up the versions of a provider's credentials.
func (p *Providers) credentials(ctx context.Context, obj v1.Provider) (credentialsSeen, error) {
	var seen credentialsSeen
	for _, name := range credentialSecrets(obj.ProviderSpec()) {
		version, err := p.secretVersion(ctx, client.ObjectKey{Namespace: p.secretNamespace(obj), Name: name})
		if err != nil {
			return seen, fmt.Errorf("looking up Secret %s of %s: %w", name, nameOf(obj), err)
		}
		seen.version += "/" + version
		seen.missing = seen.missing || version == ""
	}
	return seen, nil
}

// secretVersion is the version of a Secret in the cache; empty where there is none.
func (p *Providers) secretVersion(ctx context.Context, key client.ObjectKey) (string, error) {
	m := &metav1.PartialObjectMetadata{}
	m.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
	if err := p.Reader.Get(ctx, key, m, client.UnsafeDisableDeepCopy); client.IgnoreNotFound(err) != nil {
		return "", err
	}
	return m.ResourceVersion, nil
}

// read reads a provider's credentials, as the API server has them, in the order of credentialsOf. An error may be *notReady.
func (p *Providers) read(ctx context.Context, obj v1.Provider) (values [][]byte, version string, err error) {
	secret := &corev1.Secret{}
	for _, c := range credentialsOf(obj.ProviderSpec()) {
		key := client.ObjectKey{Namespace: p.secretNamespace(obj), Name: c.secret}
		if secret.Name != c.secret {
			secret = &corev1.Secret{}
			err := p.Store.Live.Get(tokenstore.Unlogged(ctx), key, secret)
			if client.IgnoreNotFound(err) != nil {
				return nil, "", fmt.Errorf("reading Secret %s of %s: %w", key, nameOf(obj), err)
			}
			version += "/" + secret.ResourceVersion
			if apierrors.IsNotFound(err) {
				return nil, version, &notReady{reason: v1.ReasonCredentialsMissing, message: fmt.Sprintf(
					"Secret %s does not exist: create it, with %s under the key %s.", p.shownSecret(obj, c.secret), c.what, c.key)}
			}
		}
		value, there := secret.Data[c.key]
		switch {
		case !there:
			err = &notReady{reason: v1.ReasonCredentialsMissing, message: fmt.Sprintf(
				"Secret %s has no key %s: add it, with %s.", p.shownSecret(obj, c.secret), c.key, c.what)}
		case len(bytes.TrimSpace(value)) == 0:
			err = &notReady{reason: v1.ReasonCredentialsMissing, message: fmt.Sprintf(
				"The key %s of Secret %s is empty: put %s there.", c.key, p.shownSecret(obj, c.secret), c.what)}
		}
		if err != nil {
			return nil, version, err
		}
		values = append(values, value)
	}
	return values, version, nil
}

// shownSecret is how a message names a Secret: with the namespace where it is not the provider's own.
func (p *Providers) shownSecret(obj v1.Provider, name string) string {
	if obj.GetNamespace() != "" {
		return name
	}
	return p.Namespace + "/" + name
}

// newClient reads a provider's credentials and makes its client. It makes no request of the provider. An error may be *notReady.
func (p *Providers) newClient(ctx context.Context, obj v1.Provider, r *remote) (closable, string, error) {
	values, version, err := p.read(ctx, obj)
	if err != nil {
		return nil, version, err
	}
	p.limiter(obj) // so that its figures are those of this spec
	spec := obj.ProviderSpec()
	var made closable
	if spec.OAuth2 != nil {
		made, err = p.newOAuth2(obj, r, values)
	} else {
		made, err = p.newWebhook(spec.Webhook, values)
	}
	if err != nil {
		return nil, version, whyNotReady(err)
	}
	return made, version, nil
}

func (p *Providers) newOAuth2(obj v1.Provider, r *remote, values [][]byte) (closable, error) {
	spec := obj.ProviderSpec().OAuth2
	if strings.HasPrefix(strings.ToLower(spec.IssuerURL), "http://") && !p.AllowHTTP {
		return nil, provider.Errorf(provider.Misconfigured,
			"spec.oauth2.issuerURL is plain http, which this manager does not allow: use https, or start the manager with --allow-http-providers.")
	}
	known := supported(obj)
	config := oauth2.Config{
		IssuerURL: spec.IssuerURL, ClientID: spec.ClientID, Grant: oauth2.Grant(spec.Grant), Scopes: spec.Scopes, CABundle: spec.CABundle,
		Authentication: oauth2.Authentication{Method: oauth2.Method(spec.ClientAuthentication.Method)},
		Errors:         map[string]oauth2.Meaning{},
		Now:            p.Clock.Now, DialContext: p.dialer(), AllowHTTP: p.AllowHTTP,
		OnRequest: func(ctx context.Context) error { return r.limit.pay(ctx, p.Clock) },
		Known: oauth2.Features{
			Revocation: known[v1.FeatureRevocation], Introspection: known[v1.FeatureIntrospection],
			RefreshToken: known[v1.FeatureRefreshToken], DeviceCode: known[v1.FeatureDeviceCode],
		},
	}
	if config.Grant == "" {
		config.Grant = oauth2.ClientCredentials
	}
	if len(values) > 0 {
		config.Authentication.Secret = values[0]
	}
	for _, e := range spec.Errors {
		config.Errors[e.Error] = oauth2.Meaning{Kind: provider.Kind(e.As), Code: e.Code}
	}
	made, err := oauth2.New(config)
	if err != nil {
		return nil, err // not made, which is a nil of a type
	}
	return made, nil
}

func (p *Providers) newWebhook(spec *v1.WebhookProvider, values [][]byte) (closable, error) {
	config := webhook.Config{
		URL: spec.URL, CABundle: spec.CABundle, Timeout: time.Duration(spec.TimeoutSeconds) * time.Second, DialContext: p.dialer(),
	}
	switch len(values) {
	case 1:
		config.BearerToken = string(values[0])
	case 2:
		config.ClientCertificate, config.ClientKey = values[0], values[1]
	}
	made, err := webhook.New(config)
	if err != nil {
		return nil, err
	}
	return made, nil
}

// dialer connects to providers, where their addresses are ones that they may have.
func (p *Providers) dialer() func(ctx context.Context, network, address string) (net.Conn, error) {
	dial := egress.Dialer(p.Egress)
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if errors.Is(err, egress.ErrProhibited) {
			// Which address a name stands for inside the cluster is nothing to tell a tenant.
			return nil, &provider.Error{Kind: provider.Misconfigured, Err: egress.ErrProhibited, Message: "The provider's server has an address " +
				"that providers may not have: give it a public one; or start the manager with --allow-private-providers for private ones, or " +
				"--allow-loopback-providers for its own machine."}
		}
		return conn, err
	}
}

// defaultCheck is introspection.interval where a provider has none.
const defaultCheck = 5 * time.Minute

// checkEvery is how often a provider's sessions are to be asked after; zero stands for never.
func checkEvery(spec *v1.SessionProviderSpec) time.Duration {
	var of v1.Introspection
	switch {
	case spec.OAuth2 != nil:
		of = spec.OAuth2.Introspection
	case spec.Webhook != nil:
		of = spec.Webhook.Introspection
	}
	if of.Interval == nil {
		return defaultCheck
	}
	return of.Interval.Duration
}

// supported is what status says that a provider can do.
func supported(obj v1.Provider) map[v1.ProviderFeature]bool {
	known := map[v1.ProviderFeature]bool{}
	for _, feature := range obj.ProviderStatus().Supports {
		known[feature] = true
	}
	return known
}
