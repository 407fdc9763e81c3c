package controllers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/types"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/internal/provider"
	"terminals.dev/session-controller/internal/provider/embedded"
	"terminals.dev/session-controller/internal/tokenstore"
)

// signingKeys are the keys of one embedded provider. A key is read when it is first needed and again when its Secret is another.
type signingKeys struct {
	providers       *Providers
	kind            v1.ProviderKind
	namespace, name string

	// reading has room for one who reads a key, so that those who log in at once after a start read it once.
	reading chan struct{}

	mu     sync.Mutex
	loaded map[types.UID]loadedKey
	// trusted are versions that were there when this process began, under a provider that was ready: they were looked at before.
	trusted map[types.UID]string
}

// loadedKey is what a Secret held in one version: a key, or nothing that is one. Both are remembered, since the public endpoints ask too.
type loadedKey struct {
	version string
	key     embedded.Key
	broken  error
}

func newSigningKeys(p *Providers, kind v1.ProviderKind, namespace, name string) *signingKeys {
	return &signingKeys{providers: p, kind: kind, namespace: namespace, name: name, reading: make(chan struct{}, 1)}
}

// Keys implements embedded.KeySource.
func (k *signingKeys) Keys(ctx context.Context) (embedded.KeySet, error) {
	obj, err := k.providers.get(ctx, k.kind, k.namespace, k.name)
	if err != nil {
		return embedded.KeySet{}, err
	}
	secrets, err := k.providers.Store.SigningKeys(ctx, k.providers.secretNamespace(obj), obj)
	if err != nil {
		return embedded.KeySet{}, err
	}
	set := embedded.KeySet{Active: embedded.Schedule(infos(secrets), rotation(obj), k.providers.Clock.Now()).Active}
	if missing := k.missing(obj, secrets); missing != "" {
		set.Unusable = provider.Errorf(provider.Misconfigured, "%s", missing)
	}
	for _, secret := range secrets {
		key, err := k.load(ctx, obj, secret)
		var broken *provider.Error
		if errors.As(err, &broken) {
			set.Unusable = broken
			continue
		} else if err != nil {
			return embedded.KeySet{}, err
		}
		set.Keys = append(set.Keys, key)
	}
	return set, nil
}

// load returns a key, read anew when its Secret is another than the last time.
func (k *signingKeys) load(ctx context.Context, obj v1.Provider, secret tokenstore.SigningKey) (embedded.Key, error) {
	if known, ok := k.known(secret); ok {
		return known.key, known.broken
	}
	select {
	case k.reading <- struct{}{}:
		defer func() { <-k.reading }()
	case <-ctx.Done():
		return embedded.Key{}, fmt.Errorf("waiting for signing key Secret %s to be read: %w", secret.Name, ctx.Err())
	}
	if known, ok := k.known(secret); ok {
		return known.key, known.broken
	}
	pem, err := k.providers.Store.ReadSigningKey(ctx, k.providers.secretNamespace(obj), secret.Name)
	if err != nil {
		return embedded.Key{}, err
	}
	read := loadedKey{version: secret.Version}
	if read.key, err = embedded.ParseKey(pem, secret.ID, secret.CreatedAt); err != nil {
		read.broken = provider.Errorf(provider.Misconfigured, "signing key Secret %s/%s is broken: %s (%v)",
			k.providers.secretNamespace(obj), secret.Name, howToGiveUp, err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.loaded == nil {
		k.loaded = map[types.UID]loadedKey{}
	}
	k.loaded[secret.UID] = read
	return read.key, read.broken
}

// known is what a Secret held, where that has been read in this version.
func (k *signingKeys) known(secret tokenstore.SigningKey) (loadedKey, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	known, ok := k.loaded[secret.UID]
	return known, ok && known.version == secret.Version
}

// verify reads the keys that are new or have changed since this process first saw them. Keys under a provider that is ready were looked
// at when it became so, and are not read again because the process is another.
func (k *signingKeys) verify(ctx context.Context, obj v1.Provider, secrets []tokenstore.SigningKey, ready bool) error {
	k.mu.Lock()
	if k.trusted == nil {
		k.trusted = map[types.UID]string{}
		for _, secret := range secrets {
			if ready {
				k.trusted[secret.UID] = secret.Version
			}
		}
	}
	trusted := k.trusted
	k.mu.Unlock()
	for _, secret := range secrets {
		if trusted[secret.UID] == secret.Version && !k.brokenBefore(secret) {
			continue
		}
		if _, err := k.load(ctx, obj, secret); err != nil {
			return err
		}
	}
	return nil
}

// missing tells of a key that status records and whose Secret is not there.
func (k *signingKeys) missing(obj v1.Provider, secrets []tokenstore.SigningKey) string {
	for _, id := range obj.ProviderStatus().KeyIDs {
		if !slices.ContainsFunc(secrets, func(s tokenstore.SigningKey) bool { return s.ID == id }) {
			return fmt.Sprintf("signing key Secret %s/%s is gone: %s",
				k.providers.secretNamespace(obj), tokenstore.SigningKeyName(obj.GetName(), id), howToGiveUp)
		}
	}
	return ""
}

// brokenBefore is whether a key was needed, and found broken, since this process began.
func (k *signingKeys) brokenBefore(secret tokenstore.SigningKey) bool {
	known, ok := k.known(secret)
	return ok && known.broken != nil
}

const howToGiveUp = "restore it; or, to give up the tokens that it signed, delete it and take its ID out of status.keyIDs"

func infos(secrets []tokenstore.SigningKey) []embedded.KeyInfo {
	all := make([]embedded.KeyInfo, 0, len(secrets))
	for _, s := range secrets {
		all = append(all, embedded.KeyInfo{ID: s.ID, CreatedAt: s.CreatedAt})
	}
	return all
}
