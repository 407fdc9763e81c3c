// Package v1 has the kinds of the group terminals.dev: the login sessions of payment and POS terminals, and where their tokens come
// from. It imports apimachinery only, so that anything may import it.
//
// +kubebuilder:object:generate=true
// +groupName=terminals.dev
package v1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion is the group and version of every kind here.
var GroupVersion = schema.GroupVersion{Group: "terminals.dev", Version: "v1"}

var schemeBuilder = runtime.NewSchemeBuilder(func(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(GroupVersion,
		&TerminalSession{}, &TerminalSessionList{},
		&SessionProvider{}, &SessionProviderList{},
		&ClusterSessionProvider{}, &ClusterSessionProviderList{},
		&SessionBan{}, &SessionBanList{},
		&ClusterSessionBan{}, &ClusterSessionBanList{},
		&SessionLogout{}, &SessionLogoutList{},
	)
	metav1.AddToGroupVersion(scheme, GroupVersion)
	return nil
})

// AddToScheme makes the kinds known to a scheme.
var AddToScheme = schemeBuilder.AddToScheme
