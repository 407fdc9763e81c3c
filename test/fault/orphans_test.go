package fault_test

// calledOff admits one orphan where a manager has called off a login, since its session is to end, at a provider that does not know a login
// again: what the provider gave nobody has seen.
func (r *run) calledOff() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.scenario.idempotent {
		r.admitted = max(r.admitted, 1)
	}
}

// excuse admits one orphan where a process is killed that has logged in and not kept what it got, at a provider that does not know a login
// again.
func (r *run) excuse() {
	live := r.issuer.book.live()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.scenario.idempotent || r.lastCall == "ASK refresh_token" {
		return
	}
	for _, login := range live {
		if r.kept[login.access] == "" {
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
