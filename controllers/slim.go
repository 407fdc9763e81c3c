package controllers

import (
	"slices"
	"unique"

	corev1 "k8s.io/api/core/v1"

	v1 "terminals.dev/session-controller/api/v1"
)

// slim is the transform for a cache of sessions: what nobody here reads is left out, and what is the same all over a fleet is kept once.
// Decoded as it comes, a session takes a quarter more.
func slim(object any) (any, error) {
	s, ok := object.(*v1.TerminalSession)
	if !ok {
		return object, nil
	}
	s.ManagedFields = nil
	delete(s.Annotations, corev1.LastAppliedConfigAnnotation) // as long as the session, and kubectl's alone
	once(&s.APIVersion)
	once(&s.Kind)
	once(&s.Namespace)
	sameKeys(s.Labels)
	sameKeys(s.Annotations)
	s.Finalizers = each(s.Finalizers)

	spec := &s.Spec
	once(&spec.ProviderRef.Kind)
	once(&spec.ProviderRef.Name)
	once(&spec.MerchantID)
	once(&spec.Purpose)
	once(&spec.Type)
	once(&spec.DesiredState)
	spec.Token.Scopes, spec.Token.Audiences = each(spec.Token.Scopes), each(spec.Token.Audiences)

	status := &s.Status
	once(&status.Phase)
	status.Conditions = slices.Clone(status.Conditions) // a decoder makes room for four at once
	for i := range status.Conditions {
		c := &status.Conditions[i]
		once(&c.Type)
		once(&c.Status)
		once(&c.Reason)
		once(&c.Message)
	}
	if u := status.User; u != nil && spec.User != nil && u.Email == spec.User.Email {
		u.Email = spec.User.Email
	}
	if a := status.Attempt; a != nil {
		once(&a.ProviderVersion)
	}
	if b := status.Binding; b != nil {
		once(&b.Purpose)
		if b.ProviderRef != nil {
			once(&b.ProviderRef.Kind)
			once(&b.ProviderRef.Name)
		}
	}
	return s, nil
}

// once makes a string the one that all share that are equal to it. It is for what few different ones come of: each one costs an entry.
func once[S ~string](s *S) {
	if *s != "" {
		*s = S(unique.Make(string(*s)).Value())
	}
}

func each[S ~string](all []S) []S {
	all = slices.Clone(all)
	for i := range all {
		once(&all[i])
	}
	return all
}

// sameKeys makes a map's keys, of which a fleet has few, those that all share.
func sameKeys(all map[string]string) {
	for key, value := range all {
		once(&key)
		all[key] = value // the key is replaced as well
	}
}
