package main

import (
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "terminals.dev/session-controller/api/v1"
)

const (
	namespaces = `
apiVersion: v1
kind: Namespace
metadata: {name: ` + ofProduct + `}
---
apiVersion: v1
kind: Namespace
metadata: {name: ` + ofFloor + `}`

	embeddedProvider = `
apiVersion: terminals.dev/v1
kind: ClusterSessionProvider
metadata: {name: default}
spec: {embedded: {}, allow: [{}]}`

	// merchant is that of every session: a ban on it is one on the fleet.
	merchant = "acme"
)

// embedded is the provider that sessions have by default, and external the webhook of this process.
var (
	embedded = v1.ProviderReference{Kind: v1.KindClusterSessionProvider, Name: "default"}
	external = v1.ProviderReference{Kind: v1.KindSessionProvider, Name: "webhook"}
)

// name of the session of a number; all have one length, so that all objects have one size.
func name(number int) string { return fmt.Sprintf("till-%06d", number) }

// newSession is a session as it is applied.
func newSession(namespace string, number int, provider v1.ProviderReference) *v1.TerminalSession {
	s := &v1.TerminalSession{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name(number)}}
	s.Spec.Terminal = v1.Terminal{ID: terminalOf(s.Name), SerialNumber: fmt.Sprintf("SN-%06d", number)}
	s.Spec.MerchantID = merchant
	s.Spec.User = &v1.User{Email: fmt.Sprintf("user-%06d@acme.example", number)}
	s.Spec.ProviderRef = provider
	return s
}

// terminalOf is the terminal of the session of a name.
func terminalOf(session string) string { return strings.Replace(session, "till-", "T-", 1) }

// tokenOf is the Secret of the session of a name.
func tokenOf(session string) string { return session + "-token" }

func newBan(name string, match v1.BanMatch) *v1.SessionBan {
	ban := &v1.SessionBan{ObjectMeta: metav1.ObjectMeta{Namespace: ofProduct, Name: name}}
	ban.Spec = v1.SessionBanSpec{Match: match, Code: "Banned"}
	return ban
}

// newLogout signs out one session.
func newLogout(session string) *v1.SessionLogout {
	logout := &v1.SessionLogout{ObjectMeta: metav1.ObjectMeta{Namespace: ofProduct, Name: session}}
	logout.Spec.Selector = &v1.LogoutSelector{TerminalID: terminalOf(session)}
	return logout
}
