// Package egress is how the controller reaches providers: by TCP, and only at addresses that somebody who may write a provider is meant to
// reach. A tenant names URLs, and discovered endpoints, redirects and DNS name more; so the address is checked when it is dialled, after
// names were resolved, and nothing before that is relied on.
package egress

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"

	"code.dny.dev/ssrf"
)

// dialTimeout bounds one connection, names and all.
const dialTimeout = 5 * time.Second

// Allow opens what is closed to providers otherwise. Link-local addresses, and with them the metadata services of clouds, stay closed.
type Allow struct {
	// Private are the ranges of RFC 1918 and RFC 4193.
	Private bool
	// Loopback is the machine that the controller runs on.
	Loopback bool
}

var (
	private4  = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.168.0.0/16")}
	private6  = []netip.Prefix{netip.MustParsePrefix("fc00::/7")}
	loopback4 = netip.MustParsePrefix("127.0.0.0/8")
	loopback6 = netip.MustParsePrefix("::1/128")
	// metadata6 is where one cloud has its metadata service within a private range.
	metadata6 = netip.MustParseAddr("fd00:ec2::254")
)

// ErrProhibited is found by errors.Is in what a dial to a closed address fails with.
var ErrProhibited = errors.New("the address is one that providers may not have")

// Dialer returns what a http.Transport takes for DialContext. A dial to a closed address fails with ErrProhibited.
func Dialer(allow Allow) func(ctx context.Context, network, address string) (net.Conn, error) {
	return (&net.Dialer{Timeout: dialTimeout, Control: allow.control()}).DialContext
}

// control is asked before each connection, with the address that a name was resolved to.
func (a Allow) control() func(network, address string, c syscall.RawConn) error {
	var open4, open6 []netip.Prefix
	if a.Private {
		open4, open6 = append(open4, private4...), append(open6, private6...)
	}
	if a.Loopback {
		open4, open6 = append(open4, loopback4), append(open6, loopback6)
	}
	guard := ssrf.New(ssrf.WithAnyPort(), ssrf.WithAllowedV4Prefixes(open4...), ssrf.WithAllowedV6Prefixes(open6...))
	return func(network, address string, c syscall.RawConn) error {
		at, err := netip.ParseAddrPort(address)
		if err == nil && at.Addr().WithZone("") != metadata6 {
			err = guard.Safe(network, address, c)
		} else {
			err = ssrf.ErrProhibitedIP
		}
		if err != nil {
			// Which address a name stands for inside the cluster is nothing to tell a tenant.
			return fmt.Errorf("%w: loopback, link-local and private addresses are closed to providers, unless the manager's flags open them", ErrProhibited)
		}
		return nil
	}
}
