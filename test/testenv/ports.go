package testenv

import (
	"fmt"
	"net"
	"strconv"
)

// FreePorts returns a port of this machine that nobody listens on for each of the wanted ones: that one, or if it is taken,
// or zero, any other. Somebody else may take one before it is used.
func FreePorts(wanted ...int) ([]int, error) {
	var ports []int
	for _, want := range wanted {
		l, err := listen(want)
		if err != nil && want != 0 {
			l, err = listen(0)
		}
		if err != nil {
			return nil, fmt.Errorf("looking for a free port: %w", err)
		}
		defer l.Close() // after the last one is found, so that they differ
		ports = append(ports, port(l))
	}
	return ports, nil
}

func listen(port int) (net.Listener, error) {
	return net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
}

func port(l net.Listener) int { return l.Addr().(*net.TCPAddr).Port }
