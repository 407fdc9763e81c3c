package webhook

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"

	v1 "terminals.dev/session-controller/api/v1"
)

// Every field that one of the two has is in the other, under the same name and of the same type on the wire.
func TestWireIsTheOneOfTheAPI(t *testing.T) {
	var ours review
	fill(t, reflect.ValueOf(&ours).Elem(), new(int64))
	wantSame[v1.SessionReview](t, ours)
	var theirs v1.SessionReview
	fill(t, reflect.ValueOf(&theirs).Elem(), new(int64))
	wantSame[review](t, theirs)
	wantSame[v1.SessionReview](t, review{Request: &request{}, Response: &response{}})
	wantSame[review](t, v1.SessionReview{Request: &v1.SessionReviewRequest{}, Response: &v1.SessionReviewResponse{}})
}

func TestWordsAreThoseOfTheAPI(t *testing.T) {
	if apiVersion != v1.GroupVersion.String() || kind != v1.KindSessionReview {
		t.Errorf("%s %s is not the API's", apiVersion, kind)
	}
	for ours, theirs := range map[operation]v1.SessionReviewOperation{
		opLogin: v1.ReviewLogin, opRenew: v1.ReviewRenew, opLogout: v1.ReviewLogout, opCheck: v1.ReviewCheck,
	} {
		if string(ours) != string(theirs) {
			t.Errorf("operation %s is %s in the API", ours, theirs)
		}
	}
	for ours, theirs := range map[result]v1.SessionReviewResult{
		resIssued: v1.ReviewIssued, resPending: v1.ReviewPending, resPostponed: v1.ReviewPostponed, resBusy: v1.ReviewBusy,
		resRejected: v1.ReviewRejected, resBanned: v1.ReviewBanned, resActive: v1.ReviewActive, resEnded: v1.ReviewEnded, resDone: v1.ReviewDone,
	} {
		if string(ours) != string(theirs) {
			t.Errorf("result %s is %s in the API", ours, theirs)
		}
	}
}

// A proxy would be dialled in place of the server, whose address nobody would check. There is no other way to look: what the environment
// says of proxies is read once in a process.
func TestNoProxyIsUsed(t *testing.T) {
	w, err := New(Config{URL: "https://handler.example"})
	if err != nil {
		t.Fatal(err)
	}
	if w.transport.Proxy != nil {
		t.Error("a proxy may be used")
	}
}

// wantSame fails unless a value is the same after a way through another type.
func wantSame[T any](t *testing.T, value any) {
	t.Helper()
	before := encode(t, value)
	var through T
	decoder := json.NewDecoder(bytes.NewReader(before))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&through); err != nil {
		t.Fatalf("%T cannot take %T: %v", through, value, err)
	}
	var a, b any
	if err := json.Unmarshal(before, &a); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(encode(t, through), &b); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(a, b); diff != "" {
		t.Errorf("%T differs from %T:\n%s", through, value, diff)
	}
}

func encode(t *testing.T, value any) []byte {
	t.Helper()
	data, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// fill gives every field a value that no other has.
func fill(t *testing.T, v reflect.Value, n *int64) {
	t.Helper()
	*n++
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(t, v.Field(i), n)
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(t, v.Elem(), n)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(t, v.Index(0), n)
		fill(t, v.Index(1), n)
	case reflect.String:
		v.SetString("value-" + string(rune('A'+*n%26)) + string(rune('a'+*n/26)))
	case reflect.Int64:
		v.SetInt(*n)
	default:
		t.Fatalf("a field is a %s, for which there is no value", v.Kind())
	}
}
