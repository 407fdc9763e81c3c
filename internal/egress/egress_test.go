package egress

import (
	"errors"
	"net"
	"strings"
	"testing"
)

func TestAClosedAddressIsNotDialled(t *testing.T) {
	for name, test := range map[string]struct {
		allow   Allow
		address string
		open    bool
	}{
		"loopback":                            {address: "127.0.0.1:443"},
		"another loopback":                    {address: "127.1.2.3:443"},
		"loopback by IPv6":                    {address: "[::1]:443"},
		"loopback mapped into IPv6":           {address: "[::ffff:127.0.0.1]:443"},
		"loopback through NAT64":              {address: "[64:ff9b::7f00:1]:443"},
		"loopback though private is open":     {allow: Allow{Private: true}, address: "127.0.0.1:443"},
		"loopback that is open":               {allow: Allow{Loopback: true}, address: "127.0.0.1:443", open: true},
		"loopback by IPv6 that is open":       {allow: Allow{Loopback: true}, address: "[::1]:443", open: true},
		"this host":                           {address: "0.0.0.0:443"},
		"private":                             {address: "10.0.0.1:443"},
		"private too":                         {address: "172.31.255.1:443"},
		"private as at home":                  {address: "192.168.1.1:443"},
		"private by IPv6":                     {address: "[fd12::1]:443"},
		"private that is open":                {allow: Allow{Private: true}, address: "10.0.0.1:443", open: true},
		"private by IPv6 that is open":        {allow: Allow{Private: true}, address: "[fd12::1]:443", open: true},
		"private though loopback is open":     {allow: Allow{Loopback: true}, address: "10.0.0.1:443"},
		"a carrier's":                         {allow: Allow{Private: true, Loopback: true}, address: "100.100.100.200:80"},
		"metadata":                            {allow: Allow{Private: true, Loopback: true}, address: "169.254.169.254:80"},
		"metadata by IPv6":                    {allow: Allow{Private: true, Loopback: true}, address: "[fd00:ec2::254]:80"},
		"metadata by IPv6 with a zone":        {allow: Allow{Private: true, Loopback: true}, address: "[fd00:ec2::254%lo]:80"},
		"link-local":                          {allow: Allow{Private: true, Loopback: true}, address: "[fe80::1]:443"},
		"multicast":                           {allow: Allow{Private: true, Loopback: true}, address: "224.0.0.1:443"},
		"documentation, which is nobody's":    {address: "192.0.2.1:443"},
		"a socket that is none of the two":    {allow: Allow{Private: true, Loopback: true}, address: "/run/controller.sock"},
		"an address that is the Internet's":   {address: "8.8.8.8:443", open: true},
		"an IPv6 address of the Internet too": {address: "[2606:4700::1111]:443", open: true},
	} {
		t.Run(name, func(t *testing.T) {
			network := "tcp4"
			switch {
			case strings.HasPrefix(test.address, "["):
				network = "tcp6"
			case strings.HasPrefix(test.address, "/"):
				network = "unix"
			}
			err := test.allow.control()(network, test.address, nil)
			if closed := errors.Is(err, ErrProhibited); closed == test.open {
				t.Errorf("dialling %s fails with %v, want it to be open: %t", test.address, err, test.open)
			}
			if err != nil && !test.open && strings.Contains(err.Error(), "permitted") {
				t.Errorf("the error tells what the name stands for: %v", err)
			}
		})
	}
}

func TestANameIsWhatItStandsFor(t *testing.T) {
	if _, err := Dialer(Allow{})(t.Context(), "tcp", "localhost:1"); !errors.Is(err, ErrProhibited) {
		t.Errorf("dialling localhost fails with %v", err)
	}
}

func TestAnOpenAddressIsReached(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	conn, err := Dialer(Allow{Loopback: true})(t.Context(), "tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
}
