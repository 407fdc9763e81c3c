package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// tick is the unit in which Linux tells the CPU time of a process, on every architecture that Go runs on.
const tick = time.Second / 100

// stat is what Linux tells of a process in /proc/PID/stat, from the third field on, which is the state: the second has the name in
// parentheses, and may have spaces in it.
func stat(pid int) (name string, fields []string, err error) {
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", nil, fmt.Errorf("looking at process %d, which takes Linux: %w", pid, err)
	}
	open, end := bytes.IndexByte(line, '('), bytes.LastIndexByte(line, ')')
	if open < 0 || end < open {
		return "", nil, fmt.Errorf("looking at process %d: what Linux says of it cannot be read", pid)
	}
	return string(line[open+1 : end]), strings.Fields(string(line[end+1:])), nil
}

// cpu is the CPU time that a process has used since it began, in steps of 10 ms.
func cpu(pid int) (time.Duration, error) {
	_, fields, err := stat(pid)
	if err != nil {
		return 0, err
	}
	if len(fields) < 13 || fields[0] == "Z" {
		return 0, fmt.Errorf("process %d has ended", pid)
	}
	user, err := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * tick, errors.Join(err, err2)
}

// child is the process of that name which this one has started.
func child(name string) (int, error) {
	folders, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return 0, err
	}
	self := strconv.Itoa(os.Getpid())
	for _, folder := range folders {
		pid, err := strconv.Atoi(filepath.Base(folder))
		if err != nil {
			continue
		}
		if called, fields, err := stat(pid); err == nil && called == name && fields[1] == self {
			return pid, nil
		}
	}
	return 0, fmt.Errorf("no process called %s was started by this one", name)
}

// resident is the memory of a process that is in RAM, in bytes: all of it, what is its own, and what it has mapped from files.
type resident struct{ RSS, Anon, File int64 }

func rss(pid int) (resident, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return resident{}, fmt.Errorf("reading the memory of process %d, which takes Linux: %w", pid, err)
	}
	return parseStatus(string(status))
}

func parseStatus(status string) (resident, error) {
	found := map[string]int64{}
	for line := range strings.Lines(status) {
		name, value, _ := strings.Cut(line, ":")
		kib, unit := strings.CutSuffix(strings.TrimSpace(value), " kB")
		if !unit || !strings.HasPrefix(name, "VmRSS") && !strings.HasPrefix(name, "Rss") {
			continue
		}
		number, err := strconv.ParseInt(kib, 10, 64)
		if err != nil {
			return resident{}, fmt.Errorf("reading %s: %w", name, err)
		}
		found[name] = number << 10
	}
	if found["VmRSS"] == 0 {
		return resident{}, errors.New("what Linux says of a process has no VmRSS")
	}
	return resident{RSS: found["VmRSS"], Anon: found["RssAnon"], File: found["RssFile"]}, nil
}
