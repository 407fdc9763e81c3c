package controllers

import (
	"context"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/internal/provider/embedded"
	"terminals.dev/session-controller/internal/session"
)

// issuer is the client of an embedded provider.
type issuer struct {
	*embedded.Issuer
	url  string
	keys *signingKeys
}

// issuer returns the client of an embedded provider, the same one for as long as its URL is the same.
func (p *Providers) issuer(obj v1.Provider) *issuer {
	url := p.issuerURL(obj)
	p.mu.Lock()
	defer p.mu.Unlock()
	if known := p.issuers[obj.GetUID()]; known != nil && known.url == url {
		return known
	}
	keys := newSigningKeys(p, kindOf(obj), obj.GetNamespace(), obj.GetName())
	made := &issuer{url: url, keys: keys, Issuer: embedded.New(embedded.Config{IssuerURL: url, Keys: keys, Now: p.Clock.Now})}
	if p.issuers == nil {
		p.issuers = map[types.UID]*issuer{}
	}
	p.issuers[obj.GetUID()] = made
	return made
}

// issuerURL is what the provider's tokens carry as iss.
func (p *Providers) issuerURL(obj v1.Provider) string {
	if e := obj.ProviderSpec().Embedded; e != nil && e.IssuerURL != "" {
		return strings.TrimRight(e.IssuerURL, "/")
	}
	return p.placeOf(obj)
}

// placeOf is the URL of a provider's endpoints at the manager.
func (p *Providers) placeOf(obj v1.Provider) string {
	return p.IssuerURL + embedded.Path(obj.GetNamespace(), obj.GetName())
}

// Issuer finds the embedded issuer whose place is path. It is an embedded.HandlerConfig's Lookup, and every replica answers it.
func (p *Providers) Issuer(ctx context.Context, path string) (*embedded.Issuer, error) {
	kind, namespace, name := v1.KindClusterSessionProvider, "", ""
	switch parts := strings.Split(strings.TrimPrefix(path, "/"), "/"); {
	case len(parts) == 2 && p.clusterWide():
		name = parts[1]
	case len(parts) == 4 && p.serves(parts[1]):
		kind, namespace, name = v1.KindSessionProvider, parts[1], parts[3]
	default:
		return nil, embedded.ErrUnknownIssuer
	}
	obj, err := p.get(ctx, kind, namespace, name)
	if apierrors.IsNotFound(err) || err == nil && obj.ProviderSpec().Embedded == nil {
		return nil, embedded.ErrUnknownIssuer
	} else if err != nil {
		log.FromContext(ctx).Error(err, "finding an issuer", "path", path)
		return nil, err
	}
	if ready := meta.FindStatusCondition(obj.ProviderStatus().Conditions, v1.ConditionReady); ready != nil && ready.Reason == v1.ReasonIssuerURLTaken {
		return nil, embedded.ErrUnknownIssuer // it must not speak in the name of the one that has the URL
	}
	return p.issuer(obj).Issuer, nil
}

// Active is whether the session of a valid token is established at the provider that issued it. It is an embedded.HandlerConfig's Active.
func (p *Providers) Active(ctx context.Context, claims embedded.Claims) (bool, error) {
	if !p.serves(claims.Namespace) || claims.ClientID == "" || claims.SessionID == "" {
		return false, nil
	}
	list := &v1.TerminalSessionList{}
	err := p.Reader.List(ctx, list, client.InNamespace(claims.Namespace), ofKey(session.KeysOf("", "", claims.ClientID, "")[0]), client.UnsafeDisableDeepCopy)
	if err != nil {
		log.FromContext(ctx).Error(err, "finding the session of a token", "sessionID", claims.SessionID)
		return false, fmt.Errorf("finding session %s: %w", claims.SessionID, err)
	}
	for i := range list.Items {
		s := &list.Items[i]
		if s.Status.SessionID != claims.SessionID || s.Status.Phase != v1.PhaseEstablished || !s.DeletionTimestamp.IsZero() {
			continue
		}
		// The claims are the issuer's, and the issuer may be another tenant's: it speaks for its own sessions only.
		obj, err := p.get(ctx, s.Spec.ProviderRef.Kind, s.Namespace, s.Spec.ProviderRef.Name)
		if apierrors.IsNotFound(err) {
			continue
		} else if err != nil {
			return false, err
		}
		if p.issuerURL(obj) == claims.Issuer {
			return true, nil
		}
	}
	return false, nil
}
