package testenv

import (
	"os"
	"testing"
)

// helperVar makes this test binary the process that a test kills, instead of a run of the tests.
const helperVar = "TESTENV_HELPER"

func TestMain(m *testing.M) {
	Main(func() int {
		if os.Getenv(helperVar) != "" {
			return startAndWait()
		}
		return m.Run()
	})
}
