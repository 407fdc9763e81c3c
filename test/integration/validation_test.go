package integration_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	v1 "terminals.dev/session-controller/api/v1"
)

// manifest is an object as people write it: its spec in YAML.
func (h *harness) manifest(kind, name, spec string) *unstructured.Unstructured {
	h.t.Helper()
	obj := &unstructured.Unstructured{Object: map[string]any{}}
	parsed := map[string]any{}
	if err := yaml.Unmarshal([]byte(spec), &parsed); err != nil {
		h.t.Fatal(err)
	}
	obj.Object["spec"] = parsed
	obj.SetGroupVersionKind(v1.GroupVersion.WithKind(kind))
	obj.SetName(name)
	if !strings.HasPrefix(kind, "Cluster") {
		obj.SetNamespace(h.namespace)
	}
	return obj
}

func TestWhatTheAPIServerRejectsItExplains(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	long := strings.Repeat("x", 65)
	for name, test := range map[string]struct {
		kind string // default: TerminalSession
		name string // default: one that is valid
		spec string
		says []string
	}{
		"no spec":                    {spec: `{}`, says: []string{"spec.terminal: Required value"}},
		"no terminal id":             {spec: `{terminal: {serialNumber: SN-1}}`, says: []string{"spec.terminal.id: Required value"}},
		"an empty terminal id":       {spec: `{terminal: {id: ""}}`, says: []string{"spec.terminal.id", "at least 1 chars"}},
		"a terminal id with a space": {spec: `{terminal: {id: T 42}}`, says: []string{"spec.terminal.id", "letters, digits", "such as T-0042"}},
		"a terminal id with a slash": {spec: `{terminal: {id: a/b}}`, says: []string{"spec.terminal.id", "such as T-0042"}},
		"a terminal id that is long": {spec: `{terminal: {id: ` + long + `}}`, says: []string{"spec.terminal.id", "64"}},
		"a serial number that is none": {
			spec: `{terminal: {id: T-1, serialNumber: "?"}}`, says: []string{"spec.terminal.serialNumber", "such as SN-93AX"},
		},
		"a merchant that is none":  {spec: `{terminal: {id: T-1}, merchantID: "a b"}`, says: []string{"spec.merchantID", "such as acme"}},
		"a merchant that is long":  {spec: `{terminal: {id: T-1}, merchantID: ` + long + `}`, says: []string{"spec.merchantID", "64"}},
		"a user without an e-mail": {spec: `{terminal: {id: T-1}, user: {name: Anna}}`, says: []string{"spec.user.email: Required value"}},
		"an e-mail without an @":   {spec: `{terminal: {id: T-1}, user: {email: anna}}`, says: []string{"spec.user.email", "such as anna@acme.example"}},
		"an e-mail with two":       {spec: `{terminal: {id: T-1}, user: {email: a@b@c}}`, says: []string{"spec.user.email", "such as anna@acme.example"}},
		"an e-mail with a space":   {spec: `{terminal: {id: T-1}, user: {email: "anna ruiz@acme.example"}}`, says: []string{"spec.user.email", "such as anna@acme.example"}},
		"an e-mail with a comma":   {spec: `{terminal: {id: T-1}, user: {email: "anna@acme.example,"}}`, says: []string{"spec.user.email", "such as anna@acme.example"}},
		"a domain of dots":         {spec: `{terminal: {id: T-1}, user: {email: "a@b..c"}}`, says: []string{"spec.user.email", "such as anna@acme.example"}},
		"an e-mail with an umlaut": {spec: `{terminal: {id: T-1}, user: {email: jürgen@bäckerei.example}}`, says: []string{"spec.user.email", "in ASCII", "xn--"}},
		"an e-mail that is long":   {spec: `{terminal: {id: T-1}, user: {email: a@` + strings.Repeat("x", 254) + `}}`, says: []string{"spec.user.email", "254"}},
		"a state that is none":     {spec: `{terminal: {id: T-1}, desiredState: Off}`, says: []string{"spec.desiredState", `"LoggedIn", "LoggedOut"`}},
		"a type that is none":      {spec: `{terminal: {id: T-1}, type: Once}`, says: []string{"spec.type", `"Continuous", "OneShot"`}},
		"a provider kind that is none": {
			spec: `{terminal: {id: T-1}, providerRef: {kind: Issuer}}`, says: []string{"spec.providerRef.kind", `"ClusterSessionProvider", "SessionProvider"`},
		},
		"renewBefore as long as lifetime": {
			spec: `{terminal: {id: T-1}, token: {lifetime: 1h, renewBefore: 60m}}`, says: []string{"spec.token.renewBefore", "must be below lifetime", "leave it out"},
		},
		"renewBefore above the default lifetime": {
			spec: `{terminal: {id: T-1}, token: {renewBefore: 721h}}`, says: []string{"spec.token.renewBefore", "must be below lifetime"},
		},
		"renewBefore of nothing":       {spec: `{terminal: {id: T-1}, token: {renewBefore: 0s}}`, says: []string{"spec.token.renewBefore", "at least 1s"}},
		"a lifetime below a minute":    {spec: `{terminal: {id: T-1}, token: {lifetime: 59s}}`, says: []string{"spec.token.lifetime", "from 1m to 8760h", "such as 720h"}},
		"a lifetime above a year":      {spec: `{terminal: {id: T-1}, token: {lifetime: 8761h}}`, says: []string{"spec.token.lifetime", "from 1m to 8760h"}},
		"a lifetime in days":           {spec: `{terminal: {id: T-1}, token: {lifetime: 30d}}`, says: []string{"spec.token.lifetime", "hours, minutes and seconds", "such as 720h"}},
		"a lifetime below zero":        {spec: `{terminal: {id: T-1}, token: {lifetime: -720h}}`, says: []string{"spec.token.lifetime", "such as 720h"}},
		"a lifetime that is a number":  {spec: `{terminal: {id: T-1}, token: {lifetime: 720}}`, says: []string{"spec.token.lifetime", "string"}},
		"a secretName with capitals":   {spec: `{terminal: {id: T-1}, token: {secretName: Till}}`, says: []string{"spec.token.secretName", "DNS name", "such as till-07-token"}},
		"a secretName with two dots":   {spec: `{terminal: {id: T-1}, token: {secretName: a..b}}`, says: []string{"spec.token.secretName", "DNS name"}},
		"a secretName elsewhere":       {spec: `{terminal: {id: T-1}, token: {secretName: kube-system/token}}`, says: []string{"spec.token.secretName", "DNS name"}},
		"a secretName of a grant":      {spec: `{terminal: {id: T-1}, token: {secretName: till-08-grant}}`, says: []string{"spec.token.secretName", "must not end with -grant", "such as till-07-token"}},
		"a scope with a space":         {spec: `{terminal: {id: T-1}, token: {scopes: [a b]}}`, says: []string{"spec.token.scopes", "such as payments"}},
		"a scope twice":                {spec: `{terminal: {id: T-1}, token: {scopes: [a, a]}}`, says: []string{"spec.token.scopes", "Duplicate"}},
		"too many audiences":           {spec: `{terminal: {id: T-1}, token: {audiences: [a, b, c, d, e, f, g, h, i]}}`, says: []string{"spec.token.audiences", "8"}},
		"a heartbeat below 30 seconds": {spec: `{terminal: {id: T-1}, heartbeat: {timeout: 29s}}`, says: []string{"spec.heartbeat.timeout", "from 30s", "such as 5m"}},
		"a ttl below zero":             {spec: `{terminal: {id: T-1}, ttlSecondsAfterFinished: -1}`, says: []string{"spec.ttlSecondsAfterFinished", "greater than or equal to 0"}},
		"an object name over 57 characters": {
			name: strings.Repeat("x", 58), spec: `{terminal: {id: T-1}}`, says: []string{"metadata.name must have at most 57 characters", "choose a shorter name"},
		},

		"a provider of no kind": {
			kind: "SessionProvider", spec: `{secureLogin: true}`, says: []string{"exactly one of embedded, oauth2 and webhook", "embedded: {}"},
		},
		"a provider of two kinds": {
			kind: "SessionProvider", spec: `{embedded: {}, webhook: {url: "https://a.example"}}`, says: []string{"exactly one of embedded, oauth2 and webhook"},
		},
		"a cluster provider of no kind": {
			kind: "ClusterSessionProvider", spec: `{allow: [{}]}`, says: []string{"exactly one of embedded, oauth2 and webhook"},
		},
		"a cluster provider of two kinds": {
			kind: "ClusterSessionProvider", spec: `{embedded: {}, oauth2: {issuerURL: "https://a.example", clientID: a}}`,
			says: []string{"exactly one of embedded, oauth2 and webhook"},
		},
		"an issuer URL without https": {
			kind: "SessionProvider", spec: `{embedded: {issuerURL: "http://a.example"}}`, says: []string{"spec.embedded.issuerURL", "https URL", "such as https://"},
		},
		"an issuer URL with a query": {
			kind: "SessionProvider", spec: `{embedded: {issuerURL: "https://a.example?b"}}`, says: []string{"spec.embedded.issuerURL", "without user, query and fragment"},
		},
		"a rotation of an hour": {
			kind: "SessionProvider", spec: `{embedded: {keyRotationInterval: 1h}}`, says: []string{"spec.embedded.keyRotationInterval", "from 168h (a week) to 8760h"},
		},
		"a webhook without https": {
			kind: "SessionProvider", spec: `{webhook: {url: "http://a.example"}}`, says: []string{"spec.webhook.url", "https URL"},
		},
		"a webhook with a user": {
			kind: "SessionProvider", spec: `{webhook: {url: "https://anna:secret@a.example"}}`, says: []string{"spec.webhook.url", "without user and fragment"},
		},
		"a webhook that is asked after sessions all the time": {
			kind: "SessionProvider", spec: `{webhook: {url: "https://a.example", introspection: {interval: 1s}}}`,
			says: []string{"spec.webhook.introspection.interval", "from 10s to 24h"},
		},
		"a method without its secret": {
			kind: "SessionProvider", spec: `{oauth2: {issuerURL: "https://a.example", clientID: a, clientAuthentication: {method: PrivateKeyJWT}}}`,
			says: []string{"spec.oauth2.clientAuthentication.secretRef", "must name the Secret"},
		},
		"a domain that is an address": {
			kind: "ClusterSessionProvider", spec: `{embedded: {}, allow: [{userEmailDomains: [anna@acme.example]}]}`,
			says: []string{"userEmailDomains", "a domain alone", "such as acme.example"},
		},
		"a rate of nothing": {
			kind: "SessionProvider", spec: `{embedded: {}, rateLimit: {requestsPerSecond: 0}}`, says: []string{"spec.rateLimit.requestsPerSecond", "greater than or equal to 1"},
		},
		"a provider name over 57 characters": {
			kind: "SessionProvider", name: strings.Repeat("x", 58), spec: `{embedded: {}}`, says: []string{"metadata.name must have at most 57 characters"},
		},

		"a ban that says nothing":       {kind: "SessionBan", spec: `{code: UserBanned}`, says: []string{"must have a match", "such as 'match: {user: mallory@"}},
		"a ban on nobody":               {kind: "SessionBan", spec: `{match: {}, code: UserBanned}`, says: []string{"spec.match", "at least one of user, terminalID, serialNumber and merchantID", "user: mallory@"}},
		"a cluster ban on nobody":       {kind: "ClusterSessionBan", spec: `{match: {}, code: UserBanned}`, says: []string{"spec.match", "at least one of user"}},
		"a ban on an empty user":        {kind: "SessionBan", spec: `{match: {user: ""}, code: UserBanned}`, says: []string{"spec.match", "at least one of user"}},
		"a ban on a name":               {kind: "SessionBan", spec: `{match: {user: mallory}, code: UserBanned}`, says: []string{"spec.match.user", "such as mallory@acme.example"}},
		"a ban without a code":          {kind: "SessionBan", spec: `{match: {terminalID: T-1}}`, says: []string{"must have a code", "such as UserBanned"}},
		"a code in capitals with lines": {kind: "SessionBan", spec: `{match: {terminalID: T-1}, code: USER_BANNED}`, says: []string{"spec.code", "UpperCamelCase", "such as UserBanned"}},
		"a code of two words":           {kind: "ClusterSessionBan", spec: `{match: {terminalID: T-1}, code: user banned}`, says: []string{"spec.code", "such as UserBanned"}},
		"a code that is long":           {kind: "SessionBan", spec: `{match: {terminalID: T-1}, code: ` + strings.Repeat("X", 65) + `}`, says: []string{"spec.code", "64"}},
		"a ban until tomorrow":          {kind: "SessionBan", spec: `{match: {terminalID: T-1}, code: Stolen, expiresAt: tomorrow}`, says: []string{"spec.expiresAt", "date-time"}},
		"a logout of whatever there is": {kind: "SessionLogout", spec: `{}`, says: []string{"a selector that names at least one thing", "'all: true' and no selector"}},
		"a logout of all but not really": {
			kind: "SessionLogout", spec: `{all: false}`, says: []string{"a selector that names at least one thing", "'all: true' and no selector"},
		},
		"a logout of some and of all": {
			kind: "SessionLogout", spec: `{all: true, selector: {user: anna@acme.example}}`, says: []string{"'all: true' and no selector"},
		},
		"a logout with a selector of nothing": {kind: "SessionLogout", spec: `{selector: {}}`, says: []string{"spec.selector", "must name at least one thing", "'all: true'"}},
		"a logout with labels of nothing": {
			kind: "SessionLogout", spec: `{selector: {labelSelector: {}}}`, says: []string{"spec.selector", "must name at least one thing"},
		},
		"a logout with no labels": {
			kind: "SessionLogout", spec: `{selector: {labelSelector: {matchLabels: {}}}}`, says: []string{"spec.selector", "must name at least one thing"},
		},
		"a logout of no names": {kind: "SessionLogout", spec: `{selector: {names: []}}`, says: []string{"spec.selector", "must name at least one thing"}},
		"a logout of those without a label": {
			kind: "SessionLogout", spec: `{selector: {labelSelector: {matchExpressions: [{key: floor, operator: DoesNotExist}]}}}`,
			says: []string{"spec.selector", "not only labels that sessions do not have"},
		},
		"a logout except for nothing": {kind: "SessionLogout", spec: `{all: true, except: {}}`, says: []string{"spec.except.names: Required value"}},
		"a logout of at most nobody":  {kind: "SessionLogout", spec: `{all: true, maxAffected: 0}`, says: []string{"spec.maxAffected", "greater than or equal to 1"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if test.kind == "" {
				test.kind = "TerminalSession"
			}
			if test.name == "" {
				test.name = "valid"
			}
			obj := h.manifest(test.kind, test.name, test.spec)
			err := plane.live.Create(t.Context(), obj, client.DryRunAll)
			if err == nil {
				t.Fatal("it is taken")
			}
			for _, words := range test.says {
				if !strings.Contains(err.Error(), words) {
					t.Errorf("the API server says %q, want it to say %q", err, words)
				}
			}
		})
	}
}

func TestWhatTheAPIServerTakes(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	for name, spec := range map[string]string{
		"the least":            `{terminal: {id: T}}`,
		"a minute":             `{terminal: {id: T-1}, token: {lifetime: 1m}}`,
		"a year":               `{terminal: {id: T-1}, token: {lifetime: 8760h, renewBefore: 8759h59m}}`,
		"mixed units":          `{terminal: {id: T-1}, token: {lifetime: 1h30m, renewBefore: 90s}}`,
		"ids with punctuation": `{terminal: {id: "A.b_c:d-1", serialNumber: "1-2"}, merchantID: "acme:north"}`,
		"an unusual e-mail":    `{terminal: {id: T-1}, user: {email: "anna.ruiz+till@sub.acme.example"}}`,
		"an Irish e-mail":      `{terminal: {id: T-1}, user: {email: "o'brien@acme.example"}}`,
		"a domain in Punycode": `{terminal: {id: T-1}, user: {email: "juergen@xn--bckerei-4wa.example"}}`,
		"a secretName of dots": `{terminal: {id: T-1}, token: {secretName: till-07.token}}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := plane.live.Create(t.Context(), h.manifest("TerminalSession", strings.Repeat("x", 57), spec), client.DryRunAll); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestWhatAChartLeavesEmptyIsLeftOut(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	for kind, spec := range map[string]string{
		"SessionBan":    `{match: {user: mallory@acme.example, terminalID: "", serialNumber: "", merchantID: ""}, code: UserBanned, requestedBy: ""}`,
		"SessionLogout": `{selector: {user: anna@acme.example, terminalID: "", serialNumber: "", merchantID: "", names: [], labelSelector: {}}, requestedBy: ""}`,
	} {
		if err := plane.live.Create(t.Context(), h.manifest(kind, "empties", spec), client.DryRunAll); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	for kind, test := range map[string]struct{ given, spec, status string }{
		"TerminalSession": {
			given: `{terminal: {id: T-1}, authTokenSecretRef: {name: anna-auth}}`,
			spec: `
terminal: {id: T-1}
providerRef: {kind: ClusterSessionProvider, name: default}
desiredState: LoggedIn
type: Continuous
purpose: Login
relogin: Automatic
token: {lifetime: 720h}
authTokenSecretRef: {name: anna-auth, key: token}`,
			status: `{phase: NotLoggedIn, observedGeneration: -1}`,
		},
		"SessionProvider": {
			given: `{embedded: {}}`,
			spec: `
embedded: {keyRotationInterval: 2160h}
rateLimit: {requestsPerSecond: 50, burst: 100, concurrent: 16}`,
			status: `{observedGeneration: -1}`,
		},
		"ClusterSessionProvider": {
			given: `{webhook: {url: "https://a.example"}, rateLimit: {burst: 7}}`,
			spec: `
webhook: {url: "https://a.example", timeoutSeconds: 10, introspection: {interval: 5m}}
rateLimit: {requestsPerSecond: 50, burst: 7, concurrent: 16}`,
			status: `{observedGeneration: -1}`,
		},
		"SessionBan": {
			given:  `{match: {user: mallory@acme.example}, code: UserBanned}`,
			spec:   `{match: {user: mallory@acme.example}, code: UserBanned}`,
			status: `{observedGeneration: -1}`,
		},
		"SessionLogout": {
			given:  `{selector: {user: anna@acme.example}}`,
			spec:   `{selector: {user: anna@acme.example}}`,
			status: `{observedGeneration: -1}`,
		},
	} {
		t.Run(kind, func(t *testing.T) {
			obj := h.manifest(kind, "fresh", test.given)
			if err := plane.live.Create(t.Context(), obj, client.DryRunAll); err != nil {
				t.Fatal(err)
			}
			for part, want := range map[string]string{"spec": test.spec, "status": test.status} {
				got, err := yaml.Marshal(obj.Object[part])
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(parse(t, want), parse(t, string(got))); diff != "" {
					t.Errorf("%s is another (-want +got):\n%s", part, diff)
				}
			}
		})
	}
}

func TestWhatCannotBeChangedSaysSo(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	for kind, test := range map[string]struct{ from, to, says string }{
		"SessionBan": {
			from: `{match: {user: mallory@acme.example}, code: UserBanned}`, to: `{match: {user: eve@acme.example}}`,
			says: "make another ban, and delete this one",
		},
		"SessionLogout": {
			from: `{selector: {user: anna@acme.example}}`, to: `{reason: another}`, says: "make another SessionLogout",
		},
	} {
		obj := h.manifest(kind, "made", test.from)
		h.apply(obj)
		patched := h.manifest(kind, "made", test.to)
		raw, err := patched.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		if err := plane.live.Patch(t.Context(), obj, client.RawPatch(types.MergePatchType, raw)); err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: the API server says %v, want it to say %q", kind, err, test.says)
		}
	}
}

func parse(t *testing.T, text string) (parsed any) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(text), &parsed); err != nil {
		t.Fatal(err)
	}
	return parsed
}

func TestSelectableFields(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.loggedIn(session("till-1"))
	h.apply(session("till-2", func(s *v1.TerminalSessionSpec) {
		s.Terminal, s.MerchantID = v1.Terminal{ID: "T-2", SerialNumber: "SN-2"}, "apex"
		s.User.Email, s.ProviderRef.Name = "bob@apex.example", "other"
	}))
	for field, value := range map[string]string{
		"spec.terminal.id":           "T-0042",
		"spec.terminal.serialNumber": "SN-93AX",
		"spec.merchantID":            "acme",
		"spec.user.email":            "anna@acme.example",
		"spec.providerRef.name":      issuer,
		"status.phase":               "Established",
	} {
		list := &v1.TerminalSessionList{}
		if err := h.api.List(h.ctx, list, client.InNamespace(h.namespace), client.MatchingFields{field: value}); err != nil {
			t.Errorf("by %s: %v", field, err)
		} else if len(list.Items) != 1 || list.Items[0].Name != "till-1" {
			t.Errorf("by %s: %d sessions, want till-1 alone", field, len(list.Items))
		}
	}
	list := &v1.TerminalSessionList{}
	err := h.api.List(h.ctx, list, client.InNamespace(h.namespace), client.MatchingFields{"status.phase": "NotLoggedIn"})
	if err != nil || len(list.Items) != 1 || list.Items[0].Name != "till-2" {
		t.Errorf("a fresh session is not found by its phase: %d sessions, %v", len(list.Items), err)
	}
}

func TestAFullObjectStaysSmall(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.provide(h.clusterProvider(v1.AllowRule{}))
	h.apply(opaque("anna-auth", "token", "proof-of-anna"))
	full := h.manifest("TerminalSession", "till-07", `
terminal: {id: T-0042, serialNumber: SN-93AX}
merchantID: acme
user: {email: anna@acme.example, name: Anna Ruiz}
providerRef: {kind: ClusterSessionProvider, name: `+h.namespace+`}
desiredState: LoggedIn
type: Continuous
purpose: Login
relogin: Automatic
token:
  lifetime: 720h
  renewBefore: 240h
  secretName: till-07-token
  scopes: [payments]
  audiences: ["https://pay.example"]
authTokenSecretRef: {name: anna-auth, key: token}
heartbeat: {timeout: 8760h}
display: {announce: Confirm the login for till 7, session: "Till 7, ground floor"}
ttlSecondsAfterFinished: 3600`)
	h.apply(full)
	for n := range 4 { // with a past
		h.settle("till-07")
		h.expect("till-07", "Established: Ready (Established)")
		h.step(time.Hour)
		if n < 3 {
			h.delete(h.secret("till-07-token"))
		}
	}
	h.annotate("till-07", v1.AnnotationRenewRequested, "2026-03-01T12:00:00Z")
	h.settle("till-07")
	reports := h.manifest("TerminalSession", "till-07", `{}`)
	delete(reports.Object, "spec")
	reports.Object["status"] = parse(t, `
client:
  application: Till 4.2.1 (build 907)
  version: 4.2.1
  platform: Android
  ip: 203.0.113.7
  userAgent: terminal-sdk/4.2.1 (Android 15)
  instanceID: 0197f3d2-0000-7000-8000-000000000001
  paymentAppVersion: 12.0.3
  paymentAppInstanceID: 0197f3d2-0000-7000-8000-000000000002
  lastActiveAt: "2026-03-01T12:00:00Z"`)
	err := plane.live.SubResource("status").Apply(h.ctx, client.ApplyConfigurationFromUnstructured(reports), client.FieldOwner("gateway"))
	if err != nil {
		t.Fatal(err)
	}

	got := &unstructured.Unstructured{}
	got.SetGroupVersionKind(v1.GroupVersion.WithKind("TerminalSession"))
	h.read("till-07", got)
	stored, err := got.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	got.SetManagedFields(nil)
	shown, err := got.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes, %d of them managedFields", len(stored), len(stored)-len(shown))
	if len(shown) > 4<<10 {
		t.Errorf("a full object has %d bytes, want at most 4 KiB", len(shown))
	}
	s := h.get("till-07")
	if s.Status.Client == nil || len(s.Status.Recent) != 3 {
		t.Errorf("the object is not as full as it can be: %+v", s.Status)
	}
	h.settle("till-07")
	if diff := cmp.Diff(s.Status.Client, h.get("till-07").Status.Client); diff != "" {
		t.Errorf("the controller has touched what is the gateway's (-want +got):\n%s", diff)
	}
}
