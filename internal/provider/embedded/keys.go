package embedded

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// algorithm is the only one that tokens are signed and verified with: ECDSA on P-256 with SHA-256 (RFC 7518 section 3.4).
const algorithm = jose.ES256

// pemType is the label of a PKCS#8 private key (RFC 7468 section 10).
const pemType = "PRIVATE KEY"

// idBytes is how much of a thumbprint makes a key's ID: enough to tell the keys of one provider apart, short enough for a name.
const idBytes = 10

// KeyInfo is what is known of a key without reading it.
type KeyInfo struct {
	// ID is the lower-case hex of the first 10 bytes of the public key's SHA-256 thumbprint (RFC 7638): 20 characters that can be
	// part of a Kubernetes name. It is the kid of the tokens that the key signs.
	ID string
	// CreatedAt is when the key was stored, and so published.
	CreatedAt time.Time
}

// Key is a signing key, made by NewKey or ParseKey. Its private part leaves it through MarshalPEM alone.
type Key struct {
	KeyInfo
	private *ecdsa.PrivateKey
}

// KeySet is the keys of one issuer at one moment. It is shared between goroutines: whoever has one does not change it.
type KeySet struct {
	// Active is the ID of the key that signs: that of the Plan for this moment.
	Active string
	// Keys are all that are published: the active one, those that have signed tokens which may still be valid, and those that
	// are yet to sign. They are served in this order.
	Keys []Key
	// Unusable says why nothing is to be signed for now; nil when all is well. What is published verifies tokens all the same: a key
	// that is lost takes its own tokens along, and not those of the others.
	Unusable error
}

// KeySource gives an issuer its keys. It is asked for each token that is signed or verified, so it should answer from memory. Its
// errors are not shown to clients.
type KeySource interface {
	Keys(ctx context.Context) (KeySet, error)
}

// NewKey makes a P-256 key.
func NewKey(createdAt time.Time) (Key, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Key{}, fmt.Errorf("generating a signing key: %w", err)
	}
	return newKey(private, createdAt)
}

// ParseKey reads what MarshalPEM wrote. It fails for all but one PKCS#8 block with a P-256 key whose ID is wantID, so a key that
// was swapped for another is noticed. No error carries any part of data.
func ParseKey(data []byte, wantID string, createdAt time.Time) (Key, error) {
	block, rest := pem.Decode(data)
	if block == nil || block.Type != pemType || len(bytes.TrimSpace(rest)) > 0 {
		return Key{}, fmt.Errorf("parsing signing key %s: it is not one PEM block of type %s", wantID, pemType)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		// The cause is left out: the parser makes no promise not to quote what it read.
		return Key{}, fmt.Errorf("parsing signing key %s: it is not a PKCS#8 private key", wantID)
	}
	private, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || private.Curve != elliptic.P256() {
		return Key{}, fmt.Errorf("parsing signing key %s: it is not an ECDSA key on P-256", wantID)
	}
	key, err := newKey(private, createdAt)
	if err != nil {
		return Key{}, fmt.Errorf("parsing signing key %s: %w", wantID, err)
	}
	if key.ID != wantID {
		return Key{}, fmt.Errorf("parsing signing key %s: it is another key, %s", wantID, key.ID)
	}
	return key, nil
}

func newKey(private *ecdsa.PrivateKey, createdAt time.Time) (Key, error) {
	public := jose.JSONWebKey{Key: &private.PublicKey}
	thumbprint, err := public.Thumbprint(crypto.SHA256)
	if err != nil {
		return Key{}, fmt.Errorf("computing the thumbprint of a signing key: %w", err)
	}
	return Key{KeyInfo: KeyInfo{ID: hex.EncodeToString(thumbprint[:idBytes]), CreatedAt: createdAt}, private: private}, nil
}

// MarshalPEM returns the private key as PKCS#8 (RFC 5958) in PEM. It is secret.
func (k Key) MarshalPEM() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(k.private)
	if err != nil {
		return nil, fmt.Errorf("encoding signing key %s: %w", k.ID, err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: pemType, Bytes: der}), nil
}

// public is the key as verifiers see it (RFC 7517).
func (k Key) public() jose.JSONWebKey {
	return jose.JSONWebKey{Key: &k.private.PublicKey, KeyID: k.ID, Algorithm: string(algorithm), Use: "sig"}
}

// find returns the published key with an ID.
func (s KeySet) find(id string) (Key, bool) {
	for _, key := range s.Keys {
		if key.ID == id {
			return key, true
		}
	}
	return Key{}, false
}
