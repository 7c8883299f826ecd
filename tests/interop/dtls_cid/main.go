// Command dtls_cid is a device on pion's DTLS, with or without a connection id, for the interop script.
//
//	dtls_cid -server HOST:PORT -identity NODE -psk HEX [-cid none|empty|BYTES] [-suite NAME] [-repeat TIME] STEP...
//
// A handshake, then the steps in their order, all on the one session:
//
//	register       POST /rd           register-raw  POST /t/r
//	update         POST /rd/<id>      report=N      POST /t/d with the counter N
//	notify=N       N as a notification on the server's observation
//	count=K        reports 1, 2, 3… until a line on stdin; from another port after each K, 0: never
//	ping           an empty confirmable, answered by a reset
//	move           goes on from another local port
//	wait           prints "waiting" and reads one line from stdin
//	replay         repeats our last request's datagram from a stranger's port, where nothing must come back
//	close          sends close_notify
//
// Each step prints a line. It ends with 0 when all went well, no handshake message left after the
// first handshake, and the server gave each record a number of its own; with 3 when there was no
// handshake; with 1 otherwise.
package main

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/pion/dtls/v3"
)

const (
	exitFailed      = 1
	exitUsage       = 2
	exitNoHandshake = 3
)

var suites = []dtls.CipherSuiteID{
	dtls.TLS_PSK_WITH_AES_128_CCM_8,
	dtls.TLS_PSK_WITH_AES_128_CCM,
	dtls.TLS_PSK_WITH_AES_128_GCM_SHA256,
	dtls.TLS_PSK_WITH_AES_128_CBC_SHA256,
}

func say(format string, values ...any) { fmt.Printf(format+"\n", values...) }

func quit(code int, format string, values ...any) {
	fmt.Fprintf(os.Stderr, "dtls_cid: "+format+"\n", values...)
	os.Exit(code)
}

type settings struct {
	server   *net.UDPAddr
	identity string
	endpoint string
	key      []byte
	cid      string
	ems      string
	suite    dtls.CipherSuiteID
	timeout  time.Duration
	repeat   time.Duration
}

func parse() (s settings, steps []string) {
	server := flag.String("server", "", "HOST:PORT of the server")
	psk := flag.String("psk", "", "pre-shared key, hex")
	flag.StringVar(&s.identity, "identity", "", "PSK identity")
	flag.StringVar(&s.endpoint, "endpoint", "", "endpoint name, the identity by default")
	flag.StringVar(&s.cid, "cid", "none", "own connection id: none, empty, or its bytes")
	flag.StringVar(&s.ems, "ems", "require", "extended master secret: require or off")
	flag.DurationVar(&s.timeout, "timeout", 20*time.Second, "how long the handshake may take")
	flag.DurationVar(&s.repeat, "repeat", 2*time.Second, "when an unanswered message is repeated")
	suite := flag.String("suite", dtls.TLS_PSK_WITH_AES_128_CCM_8.String(), "the one suite to offer")
	flag.Parse()
	for _, known := range suites {
		if known.String() == *suite {
			s.suite = known
		}
	}
	if s.suite == 0 {
		quit(exitUsage, "-suite is %q, must be one of %v", *suite, suites)
	}
	var err error
	if s.server, err = net.ResolveUDPAddr("udp4", *server); err != nil || *server == "" {
		quit(exitUsage, "-server is %q, must be HOST:PORT", *server)
	}
	if s.key, err = hex.DecodeString(*psk); err != nil || len(s.key) == 0 {
		quit(exitUsage, "-psk must be hex digits")
	}
	if s.identity == "" {
		quit(exitUsage, "-identity is empty")
	}
	if s.endpoint == "" {
		s.endpoint = s.identity
	}
	return s, flag.Args()
}

func (s settings) options() (options []dtls.ClientOption) {
	ems := dtls.RequireExtendedMasterSecret
	if s.ems == "off" {
		ems = dtls.DisableExtendedMasterSecret
	}
	options = append(options,
		dtls.WithPSK(func([]byte) ([]byte, error) { return s.key, nil }),
		dtls.WithPSKIdentityHint([]byte(s.identity)),
		dtls.WithCipherSuites(s.suite),
		dtls.WithExtendedMasterSecret(ems),
	)
	switch s.cid {
	case "none":
	case "empty":
		options = append(options, dtls.WithConnectionIDGenerator(dtls.OnlySendCIDGenerator()))
	default:
		size, err := strconv.Atoi(s.cid)
		if err != nil || size < 1 || size > 32 {
			quit(exitUsage, "-cid is %q, must be none, empty, or 1 to 32", s.cid)
		}
		generator := dtls.WithConnectionIDGenerator(dtls.RandomCIDGenerator(size))
		// Padding, so that the server meets records whose length says nothing.
		padding := dtls.WithPaddingLengthGenerator(func(length uint) uint { return 15 - length%16 })
		options = append(options, generator, padding)
	}
	return options
}

// How many bytes of a connection id are in what comes.
func (s settings) ownCID() int {
	size, err := strconv.Atoi(s.cid)
	if err != nil {
		return 0
	}
	return size
}

func main() {
	s, steps := parse()
	bound, err := newSocket(s.ownCID())
	if err != nil {
		quit(exitFailed, "%v", err)
	}
	session, err := dtls.ClientWithOptions(bound, s.server, s.options()...)
	if err != nil {
		quit(exitFailed, "%v", err)
	}
	within, cancel := context.WithTimeout(context.Background(), s.timeout)
	defer cancel()
	if err := session.HandshakeContext(within); err != nil {
		quit(exitNoHandshake, "no handshake: %v", err)
	}
	say("handshake: own connection id %s, from %s", s.cid, bound.LocalAddr())

	lines := make(chan struct{})
	go func() {
		for stdin := bufio.NewScanner(os.Stdin); stdin.Scan(); {
			lines <- struct{}{}
		}
		close(lines)
	}()
	d := newDevice(session, bound, s)
	for _, step := range steps {
		if err := d.run(step, lines); err != nil {
			quit(exitFailed, "%s: %v", step, err)
		}
	}
	if err := d.checkRecords(s.cid); err != nil {
		quit(exitFailed, "%v", err)
	}
	say("done: one handshake, %d records sent with a connection id, %d without",
		bound.count(bound.sent, recordWithCID), bound.count(bound.sent, recordData))
}

func (d *device) run(step string, lines <-chan struct{}) error {
	name, argument, _ := strings.Cut(step, "=")
	value := func(run func(uint32) error) error {
		n, err := strconv.ParseUint(argument, 10, 32)
		if err != nil {
			return errors.New("needs a number")
		}
		return run(uint32(n))
	}
	var err error
	switch name {
	case "register":
		err = d.register()
	case "register-raw":
		err = d.registerRaw()
	case "update":
		err = d.update()
	case "report":
		err = value(d.report)
	case "notify":
		err = value(d.notify)
	case "ping":
		err = d.ping()
	case "move":
		before := d.socket.LocalAddr()
		if err = d.socket.move(); err == nil {
			say("moved: %s to %s", before, d.socket.LocalAddr())
		}
		return err
	case "wait":
		say("waiting")
		if _, open := <-lines; !open {
			err = io.EOF
		}
	case "count":
		err = value(func(move uint32) error { return d.count(move, lines) })
	case "replay":
		err = d.replay()
	case "close":
		err = d.session.Close()
	default:
		quit(exitUsage, "no step %q", step)
	}
	if err == nil {
		say("ok: %s", step)
	}
	return err
}

// What the wire must have seen: one handshake, and connection ids as they were agreed.
func (d *device) checkRecords(cid string) error {
	s := d.socket
	if n := s.count(s.sent, recordHandshake) - d.handshakes; n != 0 {
		return fmt.Errorf("%d handshake datagrams were sent after the handshake", n)
	}
	if s.twice > 0 {
		return fmt.Errorf("the server used %d numbers for more than one record", s.twice)
	}
	want := map[bool]string{true: "with", false: "without"}
	for _, side := range []struct {
		name   string
		counts map[byte]int
		with   bool
	}{{"sent", s.sent, cid != "none"}, {"received", s.received, cid != "none" && cid != "empty"}} {
		with, without := s.count(side.counts, recordWithCID), s.count(side.counts, recordData)
		if side.with && (with == 0 || without > 0) || !side.with && with > 0 {
			return fmt.Errorf("%d records %s with a connection id, %d without: all must be %s",
				with, side.name, without, want[side.with])
		}
	}
	return nil
}
