package fault_test

// excuse admits one orphan where a process is killed that has logged in and not kept what it got, at a provider that does not know a login
// again. What was refreshed ends when the refresh token before is used again, unless the session has ended by then.
func (r *run) excuse() {
	live := r.issuer.book.live()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.scenario.idempotent || r.lastCall == "ASK refresh_token" && r.scenario.meanwhile == nil {
		return
	}
	for _, login := range live {
		if _, kept := r.kept[login.access]; !kept {
			r.admitted = 1
		}
	}
}

// overlapped admits one orphan for each call for a token, after the first, that is made while there are two leaders: whoever has looked at the
// session before the other kept its token logs in as well.
func (r *run) overlapped() {
	two := len(r.living()) > 1
	r.mu.Lock()
	defer r.mu.Unlock()
	if !two || r.scenario.idempotent {
		return
	}
	if r.overlaps++; r.overlaps > 1 {
		r.admitted++
	}
}
