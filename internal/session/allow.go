package session

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	v1 "terminals.dev/session-controller/api/v1"
)

// Allowed is whether one of a cluster provider's rules fits a session in a namespace with the given labels. It fails when a selector is
// none.
func Allowed(rules []v1.AllowRule, s *v1.TerminalSession, namespaceLabels map[string]string) (bool, error) {
	for i := range rules {
		fits, err := ruleFits(&rules[i], s, namespaceLabels)
		if err != nil {
			return false, fmt.Errorf("reading spec.allow[%d]: %w", i, err)
		}
		if fits {
			return true, nil
		}
	}
	return false, nil
}

func ruleFits(rule *v1.AllowRule, s *v1.TerminalSession, namespaceLabels map[string]string) (bool, error) {
	if rule.NamespaceSelector != nil {
		selector, err := metav1.LabelSelectorAsSelector(rule.NamespaceSelector)
		if err != nil {
			return false, fmt.Errorf("namespaceSelector: %w", err)
		}
		if !selector.Matches(labels.Set(namespaceLabels)) {
			return false, nil
		}
	}
	_, domain, _ := strings.Cut(userEmail(s), "@")
	return listed(rule.MerchantIDs, s.Spec.MerchantID) &&
		(len(rule.UserEmailDomains) == 0 || slices.ContainsFunc(rule.UserEmailDomains, func(d string) bool {
			return domain != "" && sameEmail(d, domain)
		})) &&
		allListed(rule.Scopes, s.Spec.Token.Scopes) &&
		allListed(rule.Audiences, s.Spec.Token.Audiences), nil
}

func listed(list []string, value string) bool {
	return len(list) == 0 || slices.Contains(list, value)
}

func allListed(list, values []string) bool {
	return len(list) == 0 || !slices.ContainsFunc(values, func(v string) bool { return !slices.Contains(list, v) })
}

// IdentityFits is whether the identity that a provider returned is the one asked for. A provider that names nobody contradicts nobody.
func IdentityFits(s *v1.TerminalSession, email string) bool {
	return userEmail(s) == "" || email == "" || sameEmail(userEmail(s), email)
}

// SamePerson is whether a renewal may come back for a user with the given e-mail and subject: the one who is logged in, by either of the
// two, since an address may change. What a provider does not say again is not compared.
func SamePerson(s *v1.TerminalSession, email, subject string) bool {
	was := s.Status.User
	if was == nil {
		return true
	}
	bySubject, byEmail := subject != "" && was.Subject != "", email != "" && was.Email != ""
	return bySubject && subject == was.Subject || byEmail && sameEmail(was.Email, email) || !bySubject && !byEmail
}

// sameEmail compares without regard to the case of ASCII letters. Unicode's folding would take other letters for some of them.
func sameEmail(a, b string) bool { return lower(a) == lower(b) }

func lower(s string) string {
	return strings.Map(func(c rune) rune {
		if c >= 'A' && c <= 'Z' {
			return c + 'a' - 'A'
		}
		return c
	}, s)
}

// Holder is which of the sessions that name the same Secret has it: the one that owns the Secret which is there, else the one whose token
// is in it, else one that has not been told that the name is taken, else the oldest, else the first by name. So who has it keeps it, with a
// token or without one, for as long as it names that Secret.
func Holder(secretName string, owner types.UID, sessions []*v1.TerminalSession) *v1.TerminalSession {
	rank := func(s *v1.TerminalSession) int {
		switch {
		case owner != "" && s.UID == owner:
			return 0
		case hasToken(s, secretName):
			return 1
		case readyReason(s) != v1.ReasonSecretNameTaken:
			return 2
		}
		return 3
	}
	return slices.MinFunc(sessions, func(a, b *v1.TerminalSession) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), a.CreationTimestamp.Compare(b.CreationTimestamp.Time), strings.Compare(a.Name, b.Name))
	})
}

func hasToken(s *v1.TerminalSession, secretName string) bool {
	return s.Status.Token != nil && s.Status.Token.SecretName == secretName
}
