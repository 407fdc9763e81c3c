package embedded

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	// tokenType is the typ of a JWT access token (RFC 9068 section 2.1). It keeps other JWTs from being taken for one.
	tokenType = "at+jwt"
	// maxTokenSize bounds, in bytes, what is issued and what is parsed.
	maxTokenSize = 16 << 10
	// maxSkew is how far in the future a token may have been issued, as the clocks of two replicas may differ.
	maxSkew = time.Minute
)

// ErrInvalidToken is found by errors.Is in what Verify returns for a token that is not a valid one of this issuer.
var ErrInvalidToken = errors.New("invalid token")

// Claims are what a token says (RFC 9068 section 2.2).
type Claims struct {
	// Issuer is the issuer URL of the provider.
	Issuer string `json:"iss"`
	// Subject is the user's e-mail, or terminal:<terminal ID> where the session names no user.
	Subject string `json:"sub"`
	// Audience is the session's audiences, or the issuer alone where it names none.
	Audience []string `json:"aud"`
	// ExpiresAt and IssuedAt are in seconds since 1970 (RFC 7519 section 2).
	ExpiresAt int64 `json:"exp"`
	IssuedAt  int64 `json:"iat"`
	// ID is a UUID, the same whenever the same attempt is made.
	ID string `json:"jti"`
	// ClientID is the terminal's ID.
	ClientID string `json:"client_id"`
	// Scope is the session's scopes, separated by spaces.
	Scope string `json:"scope,omitempty"`
	// SessionID, MerchantID, SerialNumber and Namespace are those of the session.
	SessionID    string `json:"sid"`
	MerchantID   string `json:"merchant_id,omitempty"`
	SerialNumber string `json:"tsn,omitempty"`
	Namespace    string `json:"namespace"`
	// Purpose is what the login is for: Login, Registration or AppLogin.
	Purpose string `json:"purpose,omitempty"`
}

// signer is a jose.Signer and the ID of the key that it signs with.
type signer struct {
	jose.Signer
	keyID string
}

// sign returns the claims as a token in compact form (RFC 7515 section 7.1).
func (i *Issuer) sign(key Key, claims Claims) (string, error) {
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("encoding the claims: %w", err)
	}
	signer, err := i.signerOf(key)
	if err != nil {
		return "", fmt.Errorf("preparing key %s for signing: %w", key.ID, err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		return "", fmt.Errorf("signing with key %s: %w", key.ID, err)
	}
	return signed.CompactSerialize()
}

// signerOf keeps the last signer, as the active key seldom changes. Two goroutines that both make one do no harm.
func (i *Issuer) signerOf(key Key) (jose.Signer, error) {
	if last := i.signer.Load(); last != nil && last.keyID == key.ID {
		return last, nil
	}
	made, err := jose.NewSigner(
		jose.SigningKey{Algorithm: algorithm, Key: jose.JSONWebKey{Key: key.private, KeyID: key.ID}},
		new(jose.SignerOptions).WithType(tokenType),
	)
	if err != nil {
		return nil, err
	}
	i.signer.Store(&signer{Signer: made, keyID: key.ID})
	return made, nil
}

// Verify returns the claims of a token that this issuer signed with a key still published and that has not expired by the issuer's
// clock; one issued up to a minute in the future is let pass. It does not ask whether the session still exists.
//
// It fails with ErrInvalidToken, and with a *provider.Error where the keys are not to be had. No error carries any part of raw.
func (i *Issuer) Verify(ctx context.Context, raw string) (Claims, error) {
	if len(raw) > maxTokenSize {
		return Claims{}, fmt.Errorf("%w: it is longer than %d bytes", ErrInvalidToken, maxTokenSize)
	}
	// The causes that the library gives are left out below: they quote what they read.
	signed, err := jose.ParseSignedCompact(raw, []jose.SignatureAlgorithm{algorithm})
	if err != nil {
		return Claims{}, fmt.Errorf("%w: it is not a JWT signed with %s", ErrInvalidToken, algorithm)
	}
	header := signed.Signatures[0].Protected
	if header.ExtraHeaders[jose.HeaderType] != tokenType {
		return Claims{}, fmt.Errorf("%w: its type is not %s", ErrInvalidToken, tokenType)
	}
	keys, err := i.keySet(ctx)
	if err != nil {
		return Claims{}, err
	}
	key, ok := keys.find(header.KeyID)
	if !ok {
		return Claims{}, fmt.Errorf("%w: its key is not one of this issuer's", ErrInvalidToken)
	}
	payload, err := signed.Verify(&key.private.PublicKey)
	if err != nil {
		return Claims{}, fmt.Errorf("%w: its signature is wrong", ErrInvalidToken)
	}
	var claims Claims
	if err := json.Unmarshal(payload, &claims); err != nil {
		return Claims{}, fmt.Errorf("%w: its claims are not as expected", ErrInvalidToken)
	}
	now := i.now()
	switch {
	case claims.Issuer != i.url:
		return Claims{}, fmt.Errorf("%w: another issuer made it", ErrInvalidToken)
	case now.Unix() >= claims.ExpiresAt:
		return Claims{}, fmt.Errorf("%w: it has expired", ErrInvalidToken)
	case now.Add(maxSkew).Unix() < claims.IssuedAt:
		return Claims{}, fmt.Errorf("%w: it was issued in the future", ErrInvalidToken)
	}
	return claims, nil
}
