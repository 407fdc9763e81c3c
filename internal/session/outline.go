package session

import (
	v1 "terminals.dev/session-controller/api/v1"
)

// holdOutline is the table by which flow and history follow from a hold.
var holdOutline = map[v1.HoldReason]struct {
	flow    v1.FlowState
	history v1.History
}{
	v1.HoldSignedOut:   {v1.FlowDone, v1.HistoryLoggedOut},
	v1.HoldInvalidated: {v1.FlowDone, v1.HistoryLoggedOut},
	v1.HoldFinished:    {v1.FlowDone, v1.HistoryLoggedOut},
	v1.HoldAborted:     {v1.FlowError, v1.HistoryAborted},
	v1.HoldRejected:    {v1.FlowError, v1.HistoryError},
}

// outline derives flow and history from phase and hold. They are no machines of their own.
func outline(st *v1.TerminalSessionStatus, spec *v1.TerminalSessionSpec) (*v1.Flow, v1.History) {
	flow, history := v1.FlowStarting, v1.History("")
	var display v1.Display
	if spec.Display != nil {
		display = *spec.Display
	}
	switch st.Phase {
	case v1.PhaseEstablished, v1.PhaseTokenExpired:
		flow, history = v1.FlowActive, v1.HistoryLoggedIn
		if spec.Type == v1.OneShot {
			history = v1.HistoryLoggedInOneShot
		}
	case v1.PhaseTerminated:
		flow, history = v1.FlowError, v1.HistoryError
	case v1.PhaseEstablishing:
		if st.Flow != nil && st.Flow.State == v1.FlowUserInteraction {
			st.Flow.Display = display.Announce
			return st.Flow, ""
		}
	default:
		if st.Hold != nil {
			o := holdOutline[st.Hold.Reason]
			flow, history = o.flow, o.history
		} else if spec.DesiredState == v1.LoggedOut {
			flow, history = v1.FlowDone, v1.HistoryLoggedOut
		}
	}
	if flow != v1.FlowActive {
		display.Session = ""
	}
	return &v1.Flow{State: flow, Display: display.Session}, history
}
