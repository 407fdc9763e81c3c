package integration_test

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "terminals.dev/session-controller/api/v1"
)

// month is the lifetime that session asks for.
const month = 720 * time.Hour

// session is a session of anna's at the issuer that every test has, with some changes.
func session(name string, changes ...func(*v1.TerminalSessionSpec)) *v1.TerminalSession {
	s := &v1.TerminalSession{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: v1.TerminalSessionSpec{
			Terminal:    v1.Terminal{ID: "T-0042", SerialNumber: "SN-93AX"},
			MerchantID:  "acme",
			User:        &v1.User{Email: "anna@acme.example", Name: "Anna Ruiz"},
			ProviderRef: v1.ProviderReference{Kind: v1.KindSessionProvider, Name: issuer},
			Token:       v1.TokenSpec{Lifetime: lasting(month)},
		},
	}
	for _, change := range changes {
		change(&s.Spec)
	}
	return s
}

func oneShot(s *v1.TerminalSessionSpec)   { s.Type = v1.OneShot }
func loggedOut(s *v1.TerminalSessionSpec) { s.DesiredState = v1.LoggedOut }

func inSecret(name string) func(*v1.TerminalSessionSpec) {
	return func(s *v1.TerminalSessionSpec) { s.Token.SecretName = name }
}

func at(kind v1.ProviderKind, name string) func(*v1.TerminalSessionSpec) {
	return func(s *v1.TerminalSessionSpec) { s.ProviderRef = v1.ProviderReference{Kind: kind, Name: name} }
}

// to makes an edit of a change of spec.
func to(change func(*v1.TerminalSessionSpec)) func(*v1.TerminalSession) {
	return func(s *v1.TerminalSession) { change(&s.Spec) }
}

// sessionProvider is an embedded provider.
func sessionProvider(name string, changes ...func(*v1.SessionProviderSpec)) *v1.SessionProvider {
	p := &v1.SessionProvider{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       v1.SessionProviderSpec{Embedded: &v1.EmbeddedProvider{}},
	}
	for _, change := range changes {
		change(&p.Spec)
	}
	return p
}

// clusterProvider is an embedded provider of the whole cluster. It has the name of the test's namespace, so that tests do not share it.
func (h *harness) clusterProvider(allow ...v1.AllowRule) *v1.ClusterSessionProvider {
	p := &v1.ClusterSessionProvider{ObjectMeta: metav1.ObjectMeta{Name: h.namespace}}
	p.Spec.Embedded, p.Spec.Allow = &v1.EmbeddedProvider{}, allow
	return p
}

// opaque is somebody's Secret.
func opaque(name, key, value string) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string][]byte{key: []byte(value)}}
}

func lasting(d time.Duration) *metav1.Duration { return &metav1.Duration{Duration: d} }

// putting is a change of a Secret.
func putting(key, value string) func(*corev1.Secret) {
	return func(s *corev1.Secret) { s.Data[key] = []byte(value) }
}
