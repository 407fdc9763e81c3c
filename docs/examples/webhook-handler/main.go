// The webhook handler of an issuer that keeps its tokens in memory: start it, and name it in a provider.
//
//	TOKEN=... go run ./docs/examples/webhook-handler -listen :8443 -cert tls.crt -key tls.key
//
//	apiVersion: terminals.dev/v1
//	kind: SessionProvider
//	metadata: {name: handler, namespace: shop}
//	spec:
//	  webhook:
//	    url: https://handler.example.com:8443/sessions
//	    caBundle: LS0tLS1CRUdJTi...   # base64 of the PEM that tls.crt is signed with
//	    authentication: {bearerTokenSecretRef: {name: hook, key: token}}
package main

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"flag"
	"log"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	v1 "terminals.dev/session-controller/api/v1"
)

type issuer struct {
	sync.Mutex
	tokens map[string]string // the token of each session, by session ID
}

func (i *issuer) answer(q *v1.SessionReviewRequest) *v1.SessionReviewResponse {
	i.Lock()
	defer i.Unlock()
	id := q.Session.SessionID
	token, known := i.tokens[id]
	switch {
	case q.Operation == v1.ReviewLogout:
		delete(i.tokens, id)
		return &v1.SessionReviewResponse{UID: q.UID, Result: v1.ReviewDone}
	case q.Operation == v1.ReviewCheck && known && token == q.Token:
		return &v1.SessionReviewResponse{UID: q.UID, Result: v1.ReviewActive}
	case q.Operation == v1.ReviewCheck, q.Operation == v1.ReviewRenew && !known:
		return &v1.SessionReviewResponse{UID: q.UID, Result: v1.ReviewEnded}
	case q.Operation == v1.ReviewRenew || !known: // a Login that is asked for again gets the token that is there
		i.tokens[id] = rand.Text()
	}
	return &v1.SessionReviewResponse{UID: q.UID, Result: v1.ReviewIssued,
		Token: &v1.SessionReviewToken{Value: i.tokens[id], ExpiresInSeconds: q.Session.LifetimeSeconds}}
}

func (i *issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), []byte("Bearer "+os.Getenv("TOKEN"))) != 1 {
		http.Error(w, "who are you?", http.StatusUnauthorized)
		return
	}
	var review v1.SessionReview
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 4<<20)).Decode(&review); err != nil || review.Request == nil {
		http.Error(w, "not a SessionReview with a request", http.StatusBadRequest)
		return
	}
	review.Request, review.Response = nil, i.answer(review.Request)
	_ = json.NewEncoder(w).Encode(review) // an error here means that the controller has gone; it asks again
}

func main() {
	listen := flag.String("listen", ":8443", "address")
	cert, key := flag.String("cert", "tls.crt", "certificate"), flag.String("key", "tls.key", "its key")
	flag.Parse()
	if os.Getenv("TOKEN") == "" {
		log.Fatal("TOKEN is empty: set it to what the controller sends, or anybody may ask")
	}
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		log.Fatal(err)
	}
	log.Print("listening on ", listener.Addr())
	server := &http.Server{Handler: &issuer{tokens: map[string]string{}}, ReadHeaderTimeout: 10 * time.Second}
	log.Fatal(server.ServeTLS(listener, *cert, *key))
}
