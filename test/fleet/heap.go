package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
)

// heap is what the manager's runtime tells of its memory.
type heap struct {
	// Live is how many bytes are in use, Total how many were ever asked for, and Collections how often garbage was collected.
	Live, Total, Collections int64
}

// heapOf asks the manager; collected has it collect its garbage first, so that Live is what is really in use.
func (p *plane) heapOf(ctx context.Context, collected bool) (heap, error) {
	path := "heap?debug=1"
	if collected {
		path += "&gc=1"
	}
	page, err := p.profile(ctx, path)
	if err != nil {
		return heap{}, err
	}
	return parseHeap(page)
}

// profile fetches one of the manager's profiles.
func (p *plane) profile(ctx context.Context, path string) ([]byte, error) {
	page, err := get(ctx, http.DefaultClient, fmt.Sprintf("http://127.0.0.1:%d/debug/pprof/%s", p.profiling, path))
	if err != nil {
		return nil, fmt.Errorf("fetching the manager's profile %s: %w", path, err)
	}
	return page, nil
}

func get(ctx context.Context, client *http.Client, url string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	page, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("the answer is %s", response.Status)
	}
	return page, err
}

// memStats finds the figures of runtime.MemStats, which stand as comments at the end of a profile in text.
var memStats = regexp.MustCompile(`(?m)^# (HeapAlloc|TotalAlloc|NumGC) = (\d+)$`)

func parseHeap(page []byte) (heap, error) {
	found := map[string]int64{}
	for _, match := range memStats.FindAllSubmatch(page, -1) {
		number, err := strconv.ParseInt(string(match[2]), 10, 64)
		if err != nil {
			return heap{}, fmt.Errorf("reading %s: %w", match[1], err)
		}
		found[string(match[1])] = number
	}
	if len(found) != 3 {
		return heap{}, fmt.Errorf("the profile has only %d of the 3 figures that were looked for", len(found))
	}
	return heap{Live: found["HeapAlloc"], Total: found["TotalAlloc"], Collections: found["NumGC"]}, nil
}
