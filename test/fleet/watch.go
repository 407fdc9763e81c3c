package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// patience is for how long nothing may happen, where nothing else is said.
const patience = 2 * time.Minute

// view is a watch that reads no more of an object than it has to: it costs the bare client and the product the same, and both little.
type view struct {
	sights chan sight
	ended  error // once sights is closed
	stop   context.CancelFunc
	tail   func(int) string
	// patience is for how long nothing may happen before the bench gives up.
	patience time.Duration

	open    func(ctx context.Context, version string) (io.ReadCloser, error)
	version string // of what was seen last
}

// The paths of what is watched.
func sessionsOf(namespace string) string {
	return "/apis/terminals.dev/v1/namespaces/" + namespace + "/terminalsessions"
}

func secretsOf(namespace string) string { return "/api/v1/namespaces/" + namespace + "/secrets" }

const (
	asJSON     = "application/json"
	asMetadata = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
	asListOf   = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
)

// watch begins now. Sessions are asked for as they are, as the manager does, so that the server encodes each event once; Secrets as metadata.
func (p *plane) watch(ctx context.Context, path string, accept string) (*view, error) {
	clients, err := kubernetes.NewForConfig(p.env.Config)
	if err != nil {
		return nil, fmt.Errorf("making a client to watch with: %w", err)
	}
	eye := clients.CoreV1().RESTClient()
	list, err := eye.Get().AbsPath(path).Param("limit", "1").SetHeader("Accept", asListOf).DoRaw(ctx)
	if err != nil {
		return nil, fmt.Errorf("asking for the version of %s: %w", path, err)
	}
	var now metav1.PartialObjectMetadataList
	if err := json.Unmarshal(list, &now); err != nil {
		return nil, fmt.Errorf("asking for the version of %s: %w", path, err)
	}
	v := &view{sights: make(chan sight, 4096), patience: patience, version: now.ResourceVersion}
	v.open = func(ctx context.Context, version string) (io.ReadCloser, error) {
		body, err := eye.Get().AbsPath(path).Param("watch", "true").Param("resourceVersion", version).
			Param("timeoutSeconds", "36000").SetHeader("Accept", accept).Stream(ctx)
		if err != nil {
			return nil, fmt.Errorf("watching %s: %w", path, err)
		}
		return body, nil
	}
	if p.manager != nil {
		v.tail = p.manager.Tail
	}
	ctx, v.stop = context.WithCancel(ctx)
	body, err := v.open(ctx, v.version)
	if err != nil {
		v.stop()
		return nil, err
	}
	go v.read(ctx, body)
	return v, nil
}

// read goes on where it was when the server breaks a watch off, as it does with those that are slow. One that is broken off again before
// anything was seen is over.
func (v *view) read(ctx context.Context, body io.ReadCloser) {
	defer close(v.sights)
	for {
		from := v.version
		err := v.pass(ctx, body)
		body.Close()
		if !errors.Is(err, io.EOF) || from == v.version {
			v.ended = fmt.Errorf("the watch has ended: %w", err)
			return
		}
		if body, err = v.open(ctx, v.version); err != nil {
			v.ended = err
			return
		}
	}
}

// pass passes on what is seen, until the watch ends.
func (v *view) pass(ctx context.Context, body io.Reader) error {
	for lines := bufio.NewReaderSize(body, 1<<16); ; {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return err
		}
		s, err := parseEvent(line, time.Now())
		if err != nil {
			return err
		}
		v.version = strconv.FormatUint(s.version, 10)
		select {
		case v.sights <- s:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// until takes sights until one of them is enough.
func (v *view) until(ctx context.Context, enough func(sight) bool) error {
	late := time.NewTimer(v.patience)
	defer late.Stop()
	for {
		select {
		case s, open := <-v.sights:
			if !open {
				return errors.Join(v.ended, ctx.Err())
			}
			if enough(s) {
				return nil
			}
			late.Reset(v.patience)
		case <-late.C:
			return fmt.Errorf("nothing more has happened for %s%s", v.patience, v.lastWords())
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (v *view) lastWords() string {
	if v.tail == nil {
		return ""
	}
	return "; the manager's last words:\n" + v.tail(15)
}

// first waits until n objects have been seen to be so, and returns when each was, the earliest first.
func (v *view) first(ctx context.Context, n int, is func(sight) bool, bar *progress) ([]time.Time, error) {
	seen, times := make(map[string]bool, n), make([]time.Time, 0, n)
	err := v.until(ctx, func(s sight) bool {
		if is(s) && !seen[s.name] {
			seen[s.name] = true
			times = append(times, s.at)
			bar.at(len(times))
		}
		return len(times) == n
	})
	if err != nil {
		return nil, fmt.Errorf("%d of %d are done: %w", len(times), n, err)
	}
	return times, nil
}
