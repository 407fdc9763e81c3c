package testenv

import (
	"testing"
)

func TestFreePorts(t *testing.T) {
	taken, err := listen(0)
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	free, err := FreePorts(0)
	if err != nil {
		t.Fatal(err)
	}
	ports, err := FreePorts(port(taken), free[0], 0)
	if err != nil {
		t.Fatal(err)
	}
	if ports[0] == port(taken) || ports[0] == 0 || ports[2] == 0 || ports[0] == ports[2] {
		t.Errorf("instead of the taken port %d and of none: %v", port(taken), ports)
	}
	if ports[1] != free[0] {
		t.Errorf("instead of the free port %d: %d", free[0], ports[1])
	}
}
