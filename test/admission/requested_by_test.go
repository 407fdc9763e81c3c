package admission

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	v1 "terminals.dev/session-controller/api/v1"
)

var scheme = func() *runtime.Scheme {
	s := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(s); err != nil {
		panic(err)
	}
	if err := v1.AddToScheme(s); err != nil {
		panic(err)
	}
	return s
}()

// creation makes an object, and returns it as the API server answered.
type creation func(*testing.T, *user, manifest) (*unstructured.Unstructured, error)

// creations are the ways in which people make one.
var creations = map[string]creation{
	"kubectl create":                       byKubectl("create"),
	"kubectl create, only tried":           byKubectl("create", "--dry-run=server"),
	"kubectl apply":                        byKubectl("apply"),
	"kubectl apply, server-side":           byKubectl("apply", "--server-side"),
	"kubectl apply, server-side and tried": byKubectl("apply", "--server-side", "--dry-run=server"),
	"a client, by create": func(t *testing.T, u *user, m manifest) (*unstructured.Unstructured, error) {
		o := m.object()
		return o, u.api.Create(t.Context(), o)
	},
	"a client, by server-side apply": func(t *testing.T, u *user, m manifest) (*unstructured.Unstructured, error) {
		o := m.object()
		return o, u.api.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(o), client.FieldOwner("security-desk"))
	},
}

func byKubectl(args ...string) creation {
	return func(t *testing.T, u *user, m manifest) (*unstructured.Unstructured, error) {
		t.Helper()
		out, err := u.kubectl(t, append(args, "-o", "yaml", "-f", m.file(t))...)
		if err != nil {
			return nil, err
		}
		o := &unstructured.Unstructured{}
		return o, yaml.Unmarshal([]byte(out), &o.Object)
	}
}

// eachKind runs a test for each kind with a requestedBy, in a namespace of its own.
func eachKind(t *testing.T, c *cluster, test func(*testing.T, manifest)) {
	t.Helper()
	t.Parallel()
	ns := c.namespace(t)
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			test(t, manifest{kind: kind, namespace: ns, name: ns})
		})
	}
}

// eachWay runs a test for each way of making an object. One kind stands for all with kubectl, since a call of it takes a fifth of a second.
func eachWay(t *testing.T, m manifest, test func(*testing.T, manifest, creation)) {
	t.Helper()
	number := 0
	for way, create := range creations {
		if m.kind != "SessionBan" && strings.HasPrefix(way, "kubectl") {
			continue
		}
		number++
		m.name = fmt.Sprintf("%s-%d", m.namespace, number)
		t.Run(way, func(t *testing.T) { test(t, m, create) })
	}
}

func TestWhoAsksIsFilledInOnCreate(t *testing.T) {
	eachKind(t, both, func(t *testing.T, m manifest) {
		eachWay(t, m, func(t *testing.T, m manifest, create creation) {
			made, err := create(t, both.anna, m)
			if err != nil {
				t.Fatal(err)
			}
			if got := by(made); got != both.anna.name {
				t.Errorf("requestedBy is %q, want %q", got, both.anna.name)
			}
		})
	})
}

func TestANameLeftEmptyIsFilledInAsWell(t *testing.T) {
	eachKind(t, both, func(t *testing.T, m manifest) {
		o := emptyName(t, m)
		if err := both.anna.api.Create(t.Context(), o); err != nil || by(o) != both.anna.name {
			t.Errorf("requestedBy is %q, %v; want %q", by(o), err, both.anna.name)
		}
	})
}

// emptyName is what clients send that write each field.
func emptyName(t *testing.T, m manifest) *unstructured.Unstructured {
	t.Helper()
	o := m.object()
	if err := unstructured.SetNestedField(o.Object, "", "spec", "requestedBy"); err != nil {
		t.Fatal(err)
	}
	return o
}

func TestAForgedNameIsRefusedOnCreateAndTheAnswerSaysWhatToWrite(t *testing.T) {
	eachKind(t, both, func(t *testing.T, m manifest) {
		m.by = both.ben.name
		eachWay(t, m, func(t *testing.T, m manifest, create creation) {
			_, err := create(t, both.anna, m)
			says(t, err, "spec.requestedBy must be your own user name; write requestedBy: 'anna@acme.example'")
			if !gone(t, m.object()) {
				t.Error("it was made all the same")
			}
		})
	})
}

func TestOnesOwnNameIsTakenOnCreate(t *testing.T) {
	eachKind(t, both, func(t *testing.T, m manifest) {
		m.by = both.anna.name
		if err := both.anna.api.Create(t.Context(), m.object()); err != nil {
			t.Error(err)
		}
	})
}

func TestAnAdministratorCannotForgeANameEither(t *testing.T) {
	eachKind(t, both, func(t *testing.T, m manifest) {
		m.by = both.anna.name
		says(t, both.admin.api.Create(t.Context(), m.object()), "spec.requestedBy must be your own user name; write requestedBy: 'admin'")
	})
}

func TestASecondApplyWithoutANameChangesNothing(t *testing.T) {
	eachKind(t, both, func(t *testing.T, m manifest) {
		for i, flags := range [][]string{{"apply"}, {"apply", "--server-side"}} {
			m.name = fmt.Sprintf("%s-%d", m.namespace, i)
			for _, u := range []*user{both.anna, both.anna, both.ben, both.anna} {
				if _, err := u.kubectl(t, append(flags, "-f", m.file(t))...); err != nil {
					t.Fatal(err)
				}
				if got := both.requestedBy(t, m.object()); got != both.anna.name {
					t.Fatalf("after %v by %s requestedBy is %q, want %q", flags, u.name, got, both.anna.name)
				}
			}
			if out, err := both.ben.kubectl(t, "diff", "-f", m.file(t)); err != nil {
				t.Errorf("kubectl diff finds something: %v\n%s", err, out)
			}
		}
	})
}

func TestTheNameStaysWhenItsOwnerAppliesWithoutIt(t *testing.T) {
	eachKind(t, both, func(t *testing.T, m manifest) {
		for i, flags := range [][]string{{"apply"}, {"apply", "--server-side"}} {
			m.name, m.by = fmt.Sprintf("%s-%d", m.namespace, i), both.anna.name
			if _, err := both.anna.kubectl(t, append(flags, "-f", m.file(t))...); err != nil {
				t.Fatal(err)
			}
			m.by = ""
			if _, err := both.anna.kubectl(t, append(flags, "-f", m.file(t))...); err != nil {
				t.Fatal(err)
			}
			if got := both.requestedBy(t, m.object()); got != both.anna.name {
				t.Errorf("after %v requestedBy is %q, want %q", flags, got, both.anna.name)
			}
		}
	})
}

// changes are the ways in which somebody else writes an object that is there.
var changes = map[string]func(*testing.T, *user, manifest) error{
	"kubectl apply": func(t *testing.T, u *user, m manifest) error {
		_, err := byKubectl("apply")(t, u, m)
		return err
	},
	"kubectl apply, server-side": func(t *testing.T, u *user, m manifest) error {
		_, err := byKubectl("apply", "--server-side", "--force-conflicts")(t, u, m)
		return err
	},
	"kubectl replace": func(t *testing.T, u *user, m manifest) error {
		_, err := byKubectl("replace")(t, u, m)
		return err
	},
	"a client, by update": func(t *testing.T, u *user, m manifest) error {
		live := m.object()
		if err := u.api.Get(t.Context(), client.ObjectKeyFromObject(live), live); err != nil {
			return err
		}
		live.Object["spec"] = m.object().Object["spec"]
		return u.api.Update(t.Context(), live)
	},
	"a client, by merge patch": func(t *testing.T, u *user, m manifest) error {
		spec := m.object().Object["spec"].(map[string]any)
		if m.by == "" {
			spec["requestedBy"] = nil
		}
		patch, err := yaml.Marshal(map[string]any{"spec": spec})
		if err != nil {
			return err
		}
		if patch, err = yaml.YAMLToJSON(patch); err != nil {
			return err
		}
		return u.api.Patch(t.Context(), m.object(), client.RawPatch(types.MergePatchType, patch))
	},
}

func TestWhoChangesABanLaterDoesNotBecomeWhoAsked(t *testing.T) {
	t.Parallel()
	ns := both.namespace(t)
	for _, kind := range kinds[:2] {
		number := 0
		for way, change := range changes {
			number++
			m := manifest{kind: kind, namespace: ns, name: fmt.Sprintf("%s-%d", ns, number), reason: "seen at the till"}
			t.Run(kind+", "+way, func(t *testing.T) {
				if _, err := byKubectl("apply")(t, both.anna, m); err != nil {
					t.Fatal(err)
				}
				m.reason = "card skimmer found"
				if err := change(t, both.ben, m); err != nil {
					t.Fatal(err)
				}
				live := m.object()
				if err := both.ben.api.Get(t.Context(), client.ObjectKeyFromObject(live), live); err != nil {
					t.Fatal(err)
				}
				if reason, _, _ := unstructured.NestedString(live.Object, "spec", "reason"); reason != m.reason || by(live) != both.anna.name {
					t.Errorf("reason is %q, requestedBy %q; want Ben's reason and Anna's name", reason, by(live))
				}
			})
		}
	}
}

func TestANameThatStandsThereCannotBeChanged(t *testing.T) {
	eachKind(t, both, func(t *testing.T, m manifest) {
		if _, err := byKubectl("apply")(t, both.anna, m); err != nil {
			t.Fatal(err)
		}
		want := "spec.requestedBy is who made the object, and cannot be changed; write requestedBy: 'anna@acme.example'"
		if m.kind == "SessionLogout" {
			want = "cannot be changed, since it runs once" // the schema comes first
		}
		for way, change := range changes {
			for _, name := range []string{both.ben.name, "nobody"} {
				m.by = name
				t.Run(way+", to "+name, func(t *testing.T) { says(t, change(t, both.ben, m), want) })
			}
			m.by = both.anna.name
			t.Run(way+", to what it is", func(t *testing.T) {
				if err := change(t, both.ben, m); err != nil {
					t.Error(err)
				}
			})
		}
		if got := both.requestedBy(t, m.object()); got != both.anna.name {
			t.Errorf("requestedBy is %q, want %q", got, both.anna.name)
		}
	})
}

func TestAnImpersonatedUserIsWhoAsks(t *testing.T) {
	eachKind(t, both, func(t *testing.T, m manifest) {
		out, err := both.Kubectl(t.Context(), "create", "-f", m.file(t), "--as="+both.anna.name, "-o", "jsonpath={.spec.requestedBy}")
		if err != nil || out != both.anna.name {
			t.Errorf("requestedBy is %q, %v; want %q", out, err, both.anna.name)
		}
	})
}

func TestANameWithAQuoteIsWrittenAsYAMLTakesIt(t *testing.T) {
	t.Parallel()
	ns := both.namespace(t)
	name := `ACME\o'brien`
	m := manifest{kind: "SessionBan", namespace: ns, name: "quoted", by: "forged"}
	err := both.impersonate(t, name).Create(t.Context(), m.object())
	if got := advised(t, err); got != name {
		t.Errorf("the answer %q says to write %q, want %q", err, got, name)
	}
}

// impersonate is somebody with every right and a name that no certificate of ours has.
func (c *cluster) impersonate(t *testing.T, name string) client.Client {
	t.Helper()
	config := rest.CopyConfig(c.Config)
	config.Impersonate = rest.ImpersonationConfig{UserName: name, Groups: []string{"system:masters"}}
	api, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	return api
}

func TestANameLongerThanTheFieldIsRefusedAndTheAnswerSaysSo(t *testing.T) {
	eachKind(t, both, func(t *testing.T, m manifest) {
		fits := strings.Repeat("ü", 256)
		o := m.object()
		if err := both.impersonate(t, fits).Create(t.Context(), o); err != nil || by(o) != fits {
			t.Errorf("a name of 256 characters: requestedBy is %q, %v", by(o), err)
		}
		m.name += "-2"
		err := both.impersonate(t, fits+"ü").Create(t.Context(), m.object())
		says(t, err, "spec.requestedBy holds 256 characters, and your user name has 257; ask as a user or service account whose name is shorter")
	})
}

func TestWhatIsMalformedIsExplainedByTheSchema(t *testing.T) {
	t.Parallel()
	ns := both.namespace(t)
	for name, test := range map[string]struct{ spec, says string }{
		"no spec":               {``, "spec: Required value"},
		"a spec that is null":   {`spec: null`, "spec: Required value"},
		"a spec that is a word": {`spec: mallory`, "spec in body must be of type object"},
		"a spec that is a list": {`spec: [mallory]`, "spec in body must be of type object"},
		"a name that is a number": {
			`spec: {match: {user: m@acme.example}, code: UserBanned, requestedBy: 7}`, "spec.requestedBy in body must be of type string",
		},
	} {
		t.Run(name, func(t *testing.T) {
			content := fmt.Sprintf("apiVersion: terminals.dev/v1\nkind: SessionBan\nmetadata: {namespace: %s, name: x}\n%s\n", ns, test.spec)
			_, err := both.anna.kubectl(t, "create", "--validate=false", "-f", written(t, content))
			says(t, err, test.says)
		})
	}
}

func TestWhatIsOlderThanThePoliciesStaysWithoutAName(t *testing.T) {
	t.Parallel()
	m := manifest{kind: "SessionBan", namespace: "default", name: "old", reason: "card skimmer found"}
	if _, err := byKubectl("apply")(t, both.anna, m); err != nil {
		t.Fatal(err)
	}
	m.by = both.anna.name
	_, err := byKubectl("apply")(t, both.anna, m)
	says(t, err, "spec.requestedBy cannot be added later; leave it out, or make the object anew")
	if got := both.requestedBy(t, m.object()); got != "" {
		t.Errorf("requestedBy is %q, want none", got)
	}
}

func TestTheControllersOwnWritesPass(t *testing.T) {
	eachKind(t, both, func(t *testing.T, m manifest) { controllerWrites(t, both, m) })
}

// controllerWrites has the controller report on an object, and delete it where it does that.
func controllerWrites(t *testing.T, c *cluster, m manifest) {
	t.Helper()
	o := m.object()
	if err := c.anna.api.Create(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	patch := client.RawPatch(types.MergePatchType, []byte(`{"status": {"observedGeneration": 1, "matched": 3}}`))
	if err := c.controller.api.Status().Patch(t.Context(), o, patch); err != nil {
		t.Errorf("its status: %v", err)
	}
	if matched, _, _ := unstructured.NestedInt64(o.Object, "status", "matched"); matched != 3 || by(o) != c.anna.name {
		t.Errorf("matched is %d, requestedBy %q", matched, by(o))
	}
	if m.kind == "SessionLogout" {
		if err := c.controller.api.Delete(t.Context(), o); err != nil {
			t.Errorf("its deletion: %v", err)
		}
	}
}

func TestMetadataFinalizersAndDeletionPass(t *testing.T) {
	eachKind(t, both, func(t *testing.T, m manifest) {
		o := m.object()
		o.SetFinalizers([]string{"acme.example/audit"})
		if err := both.anna.api.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		for what, patch := range map[string]string{
			"a label": `{"metadata": {"labels": {"case": "17"}}}`, "an annotation": `{"metadata": {"annotations": {"acme.example/case": "17"}}}`,
		} {
			if err := both.ben.api.Patch(t.Context(), o, client.RawPatch(types.MergePatchType, []byte(patch))); err != nil {
				t.Errorf("%s: %v", what, err)
			}
		}
		if err := both.ben.api.Delete(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		patch := client.RawPatch(types.MergePatchType, []byte(`{"metadata": {"finalizers": null}}`))
		if err := both.ben.api.Patch(t.Context(), o, patch); err != nil {
			t.Errorf("the finalizer: %v", err)
		}
		if !gone(t, o) {
			t.Error("it is still there")
		}
	})
}

func TestGarbageCollectionPasses(t *testing.T) {
	t.Parallel()
	ns := both.namespace(t)
	for propagation, left := range map[metav1.DeletionPropagation]bool{
		metav1.DeletePropagationBackground: false, metav1.DeletePropagationForeground: false, metav1.DeletePropagationOrphan: true,
	} {
		t.Run(string(propagation), func(t *testing.T) {
			t.Parallel()
			owner := manifest{kind: "SessionBan", namespace: ns, name: strings.ToLower(string(propagation))}.object()
			if err := both.anna.api.Create(t.Context(), owner); err != nil {
				t.Fatal(err)
			}
			owned := manifest{kind: "SessionLogout", namespace: ns, name: owner.GetName()}.object()
			owned.SetOwnerReferences([]metav1.OwnerReference{{
				APIVersion: v1.GroupVersion.String(), Kind: "SessionBan", Name: owner.GetName(), UID: owner.GetUID(),
			}})
			if err := both.anna.api.Create(t.Context(), owned); err != nil {
				t.Fatal(err)
			}
			if err := both.anna.api.Delete(t.Context(), owner, client.PropagationPolicy(propagation)); err != nil {
				t.Fatal(err)
			}
			if err := until(t.Context(), "garbage collection is through", func() error {
				if !gone(t, owner) {
					return errors.New("the owner is there")
				}
				if gone(t, owned) == left || left && len(owned.GetOwnerReferences()) > 0 {
					return fmt.Errorf("what it owned is as it was: %v", owned.GetOwnerReferences())
				}
				return nil
			}); err != nil {
				t.Error(err)
			}
		})
	}
}

// gone reads an object anew.
func gone(t *testing.T, o *unstructured.Unstructured) bool {
	t.Helper()
	err := both.admin.api.Get(t.Context(), client.ObjectKeyFromObject(o), o)
	if err != nil && !apierrors.IsNotFound(err) {
		t.Fatal(err)
	}
	return err != nil
}

func TestANamespaceWithBansAndLogoutsCanBeDeleted(t *testing.T) {
	t.Parallel()
	ns := both.namespace(t)
	for _, kind := range []string{"SessionBan", "SessionLogout"} {
		if err := both.anna.api.Create(t.Context(), manifest{kind: kind, namespace: ns, name: "x"}.object()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := both.Kubectl(t.Context(), "delete", "namespace", ns, "--timeout=30s"); err != nil {
		t.Error(err)
	}
}

// TestTheSchemasHaveNoComplaintsAboutThePolicy would find a field that is spelled wrongly. Policies for a subresource are not checked.
func TestTheSchemasHaveNoComplaintsAboutThePolicy(t *testing.T) {
	t.Parallel()
	path := "jsonpath={.status.observedGeneration}{.status.typeChecking.expressionWarnings}"
	if err := until(t.Context(), "kube-controller-manager has checked it", func() error {
		out, err := both.Kubectl(t.Context(), "get", "validatingadmissionpolicy", "requested-by.terminals.dev", "-o", path)
		if err == nil && out != "1" {
			err = fmt.Errorf("it says %q", out)
		}
		return err
	}); err != nil {
		t.Error(err)
	}
}

func TestTheDefaultIsTakenWithItsPolicies(t *testing.T) {
	t.Parallel()
	out, err := both.apply(t.Context(), "config/default", "--dry-run=server")
	if err != nil {
		t.Fatal(err)
	}
	for _, policy := range []string{"mutatingadmissionpolicy", "validatingadmissionpolicy"} {
		if !strings.Contains(out, policy+".admissionregistration.k8s.io/requested-by.terminals.dev ") {
			t.Errorf("config/default has no %s:\n%s", policy, out)
		}
	}
}
