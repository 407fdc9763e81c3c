package session

import (
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

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
			return domain != "" && strings.EqualFold(d, domain)
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
	return userEmail(s) == "" || email == "" || strings.EqualFold(userEmail(s), email)
}

// Holder is which of the sessions that name the same Secret has it: the one whose token is in it, else the oldest, else the first by
// name. It stays the holder for as long as it names that Secret.
func Holder(secretName string, sessions []*v1.TerminalSession) *v1.TerminalSession {
	return slices.MinFunc(sessions, func(a, b *v1.TerminalSession) int {
		if has := hasToken(a, secretName); has != hasToken(b, secretName) {
			if has {
				return -1
			}
			return 1
		}
		if !a.CreationTimestamp.Equal(&b.CreationTimestamp) {
			return a.CreationTimestamp.Compare(b.CreationTimestamp.Time)
		}
		return strings.Compare(a.Name, b.Name)
	})
}

func hasToken(s *v1.TerminalSession, secretName string) bool {
	return s.Status.Token != nil && s.Status.Token.SecretName == secretName
}
