package session_test

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/internal/session"
)

func TestAllowed(t *testing.T) {
	labels := map[string]string{"kubernetes.io/metadata.name": "shop", "tier": "store"}
	selector := func(key, value string) *metav1.LabelSelector {
		return &metav1.LabelSelector{MatchLabels: map[string]string{key: value}}
	}
	nobody := func(s *v1.TerminalSession) { s.Spec.User = nil }
	user := func(email string) func(*v1.TerminalSession) {
		return func(s *v1.TerminalSession) { s.Spec.User = &v1.User{Email: email} }
	}
	scopes := func(scopes ...string) func(*v1.TerminalSession) {
		return func(s *v1.TerminalSession) { s.Spec.Token.Scopes = scopes }
	}
	audiences := func(audiences ...string) func(*v1.TerminalSession) {
		return func(s *v1.TerminalSession) { s.Spec.Token.Audiences = audiences }
	}
	as := func(*v1.TerminalSession) {}
	for _, row := range []struct {
		name  string
		rules []v1.AllowRule
		with  func(*v1.TerminalSession)
		want  bool
	}{
		{"no rule, nobody", nil, as, false},
		{"the rule {} allows everybody", []v1.AllowRule{{}}, as, true},
		{"the rule {} allows who names no user", []v1.AllowRule{{}}, nobody, true},
		{"an empty namespace selector fits every namespace", []v1.AllowRule{{NamespaceSelector: &metav1.LabelSelector{}}}, as, true},
		{"a namespace selector that fits", []v1.AllowRule{{NamespaceSelector: selector("tier", "store")}}, as, true},
		{"a namespace selector that does not fit", []v1.AllowRule{{NamespaceSelector: selector("tier", "office")}}, as, false},
		{"a namespace by its name", []v1.AllowRule{{NamespaceSelector: selector("kubernetes.io/metadata.name", "shop")}}, as, true},
		{"a merchant that is listed", []v1.AllowRule{{MerchantIDs: []string{"other", "acme"}}}, as, true},
		{"a merchant that is not listed", []v1.AllowRule{{MerchantIDs: []string{"other"}}}, as, false},
		{"merchants are compared with regard to case", []v1.AllowRule{{MerchantIDs: []string{"ACME"}}}, as, false},
		{"no merchant where merchants are listed", []v1.AllowRule{{MerchantIDs: []string{"acme"}}}, func(s *v1.TerminalSession) { s.Spec.MerchantID = "" }, false},
		{"the e-mail's domain", []v1.AllowRule{{UserEmailDomains: []string{"acme.example"}}}, as, true},
		{"the e-mail's domain, without regard to case", []v1.AllowRule{{UserEmailDomains: []string{"ACME.Example"}}}, user("anna@Acme.EXAMPLE"), true},
		{"another domain", []v1.AllowRule{{UserEmailDomains: []string{"acme.example"}}}, user("anna@evil.example"), false},
		{"a domain below the one that is listed", []v1.AllowRule{{UserEmailDomains: []string{"acme.example"}}}, user("anna@sub.acme.example"), false},
		{"a domain that ends like the one that is listed", []v1.AllowRule{{UserEmailDomains: []string{"acme.example"}}}, user("anna@notacme.example"), false},
		{"the domain as a user's name", []v1.AllowRule{{UserEmailDomains: []string{"acme.example"}}}, user("acme.example@evil.example"), false},
		{"no user where domains are listed", []v1.AllowRule{{UserEmailDomains: []string{"acme.example"}}}, nobody, false},
		{"scopes that are all listed", []v1.AllowRule{{Scopes: []string{"payments", "refunds", "read"}}}, scopes("read", "payments"), true},
		{"scopes of which one is not listed", []v1.AllowRule{{Scopes: []string{"payments"}}}, scopes("payments", "admin"), false},
		{"no scopes where scopes are listed", []v1.AllowRule{{Scopes: []string{"payments"}}}, as, true},
		{"any scopes where none are listed", []v1.AllowRule{{}}, scopes("admin"), true},
		{"audiences that are all listed", []v1.AllowRule{{Audiences: []string{"https://pay.example", "https://x.example"}}}, audiences("https://pay.example"), true},
		{"audiences of which one is not listed", []v1.AllowRule{{Audiences: []string{"https://pay.example"}}}, audiences("https://pay.example", "https://x.example"), false},
		{"one of several rules", []v1.AllowRule{{MerchantIDs: []string{"other"}}, {Scopes: []string{"payments"}}}, scopes("payments"), true},
		{"half of one rule and half of another", []v1.AllowRule{
			{MerchantIDs: []string{"acme"}, Scopes: []string{"read"}},
			{MerchantIDs: []string{"other"}, Scopes: []string{"admin"}},
		}, scopes("admin"), false},
		{"everything at once", []v1.AllowRule{{
			NamespaceSelector: selector("tier", "store"), MerchantIDs: []string{"acme"}, UserEmailDomains: []string{"acme.example"},
			Scopes: []string{"payments"}, Audiences: []string{"https://pay.example"},
		}}, as, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := fresh()
			row.with(s)
			got, err := session.Allowed(row.rules, s, labels)
			if err != nil || got != row.want {
				t.Errorf("it is %v (%v), want %v", got, err, row.want)
			}
		})
	}
}

func TestASelectorThatIsNoneAllowsNobodyAndSaysWhichItIs(t *testing.T) {
	bad := v1.AllowRule{NamespaceSelector: &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "tier", Operator: "Like"}}}}
	allowed, err := session.Allowed([]v1.AllowRule{{MerchantIDs: []string{"other"}}, bad}, fresh(), nil)
	if allowed || err == nil || !strings.Contains(err.Error(), "spec.allow[1]") || !strings.Contains(err.Error(), "namespaceSelector") {
		t.Errorf("it is %v, with the error %v", allowed, err)
	}
}

func TestIdentityFits(t *testing.T) {
	for _, row := range []struct {
		name, wanted, got string
		want              bool
	}{
		{"the user whom spec names", anna, anna, true},
		{"the user whom spec names, in capitals", anna, "ANNA@Acme.Example", true},
		{"somebody else", anna, bob, false},
		{"the same name elsewhere", anna, "anna@evil.example", false},
		{"a provider that names nobody", anna, "", true},
		{"whoever logs in", "", bob, true},
		{"whoever logs in, at a provider that names nobody", "", "", true},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := fresh()
			s.Spec.User = nil
			if row.wanted != "" {
				s.Spec.User = &v1.User{Email: row.wanted}
			}
			if got := session.IdentityFits(s, row.got); got != row.want {
				t.Errorf("it is %v", got)
			}
		})
	}
}

func TestOneSessionHasASecretsNameForGood(t *testing.T) {
	made := func(name string, age time.Duration, tokenIn string) *v1.TerminalSession {
		s := fresh()
		s.Name, s.UID, s.CreationTimestamp = name, types.UID("uid-"+name), metav1.NewTime(start.Add(-age))
		if tokenIn != "" {
			s.Status.Token = &v1.TokenStatus{SecretName: tokenIn}
		}
		return s
	}
	told := func(s *v1.TerminalSession) *v1.TerminalSession {
		s.Status.Conditions = []metav1.Condition{{Type: v1.ConditionReady, Reason: v1.ReasonSecretNameTaken}}
		return s
	}
	for _, row := range []struct {
		name     string
		sessions []*v1.TerminalSession
		want     string
		// owner names who the Secret that is there belongs to.
		owner types.UID
	}{
		{"the only one", []*v1.TerminalSession{made("a", 0, "")}, "a", ""},
		{"the oldest", []*v1.TerminalSession{made("a", time.Hour, ""), made("b", 2*time.Hour, ""), made("c", time.Minute, "")}, "b", ""},
		{"of the same age, the first by name", []*v1.TerminalSession{made("c", time.Hour, ""), made("a", time.Hour, ""), made("b", time.Hour, "")}, "a", ""},
		{"the one whose token is in it, though others are older", []*v1.TerminalSession{made("a", time.Hour, ""), made("b", time.Minute, place)}, "b", ""},
		{"a token elsewhere gives nobody the name", []*v1.TerminalSession{made("a", time.Hour, ""), made("b", time.Minute, another)}, "a", ""},
		{"the owner of the Secret, though status does not tell of it yet", []*v1.TerminalSession{made("a", time.Hour, ""), made("b", time.Minute, "")}, "b", "uid-b"},
		{"the owner of the Secret, though another believes that its token is in it", []*v1.TerminalSession{made("a", time.Hour, place), made("b", time.Minute, "")}, "b", "uid-b"},
		{"who had it, between two tokens", []*v1.TerminalSession{told(made("a", time.Hour, "")), made("b", time.Minute, "")}, "b", ""},
		{"when all have been told that it is taken, the oldest", []*v1.TerminalSession{told(made("a", time.Minute, "")), told(made("b", time.Hour, ""))}, "b", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			for range row.sessions {
				if got := session.Holder(place, row.owner, row.sessions).Name; got != row.want {
					t.Errorf("it is %s, want %s", got, row.want)
				}
				// In whatever order the cache lists them.
				row.sessions = append(row.sessions[1:], row.sessions[0])
			}
		})
	}
}
