package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
)

// stored is how large an object of a kind is in etcd on average, key and value, in bytes: of up to a thousand of a namespace.
func (p *plane) stored(ctx context.Context, prefix string) (float64, error) {
	type kv struct{ Key, Value []byte }
	query, err := json.Marshal(map[string]any{
		"key":       base64.StdEncoding.EncodeToString([]byte(prefix)),
		"range_end": base64.StdEncoding.EncodeToString([]byte(prefix[:len(prefix)-1] + "0")), // '0' follows '/'
		"limit":     "1000",
	})
	if err != nil {
		return 0, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, p.env.Etcd()+"/v3/kv/range", bytes.NewReader(query))
	if err != nil {
		return 0, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, fmt.Errorf("asking etcd for %s: %w", prefix, err)
	}
	defer response.Body.Close()
	var found struct{ KVs []kv }
	if err := json.NewDecoder(response.Body).Decode(&found); err != nil {
		return 0, fmt.Errorf("asking etcd for %s: %w", prefix, err)
	}
	if len(found.KVs) == 0 {
		return 0, fmt.Errorf("asking etcd for %s: there is nothing", prefix)
	}
	sum := 0
	for _, kv := range found.KVs {
		sum += len(kv.Key) + len(kv.Value)
	}
	return float64(sum) / float64(len(found.KVs)), nil
}
