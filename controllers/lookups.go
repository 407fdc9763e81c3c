package controllers

import (
	"context"
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/internal/session"
	"terminals.dev/session-controller/internal/stores"
)

// In an index each value has a set of its own, and a namespaced object is in two: some 600 bytes for a value that one session has alone, a
// tenth of what a session may cost. So what follows from a session's name is not indexed, and what bans, logouts and introspections look up
// is indexed by a hash that many share. What comes of either is compared with what was wanted.

// shelves is how many hashes there are. A lookup in a fleet of 10,000 looks at 40 sessions.
const shelves = 256

// shelf is the value that a key is indexed by.
func shelf(key string) string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(key))
	return strconv.Itoa(int(h.Sum32() % shelves))
}

// matchShelves are the values by which bans, logouts and introspections find a session.
func matchShelves(s *v1.TerminalSession) []string {
	keys := session.Keys(s)
	for i, key := range keys {
		keys[i] = shelf(key)
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

// ofKey narrows a list to the sessions that may have one of session.Keys: whoever lists them compares.
func ofKey(key string) client.ListOption { return stores.Where(indexMatch, shelf(key)) }

// foreignSecretNames are those that do not follow from the session's name.
func foreignSecretNames(s *v1.TerminalSession) []string {
	return slices.DeleteFunc(secretNames(s), func(name string) bool { return name == s.Name+v1.TokenSecretSuffix })
}

// naming are the sessions whose token is in a Secret, or which want it there. They are the cache's own.
func naming(ctx context.Context, reader client.Reader, namespace, secret string) ([]*v1.TerminalSession, error) {
	list := &v1.TerminalSessionList{}
	err := reader.List(ctx, list, client.InNamespace(namespace), stores.Where(indexSecretName, secret), client.UnsafeDisableDeepCopy)
	if err != nil {
		return nil, fmt.Errorf("listing the sessions that name Secret %s: %w", secret, err)
	}
	var found []*v1.TerminalSession
	for i := range list.Items {
		found = append(found, &list.Items[i])
	}
	name, ends := strings.CutSuffix(secret, v1.TokenSecretSuffix)
	if !ends {
		return found, nil
	}
	s := &v1.TerminalSession{}
	err = reader.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, s, client.UnsafeDisableDeepCopy)
	if apierrors.IsNotFound(err) || err == nil && !slices.Contains(secretNames(s), secret) {
		return found, nil
	} else if err != nil {
		return nil, fmt.Errorf("finding the session that Secret %s is named after: %w", secret, err)
	}
	return append(found, s), nil
}
