package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"time"

	"github.com/pion/dtls/v3"
)

const (
	giveUp      = 40 * time.Second
	silence     = time.Second
	observeWait = 20 * time.Second
	links       = "</1/0>,</3/0>,</19/0>,</19/1>"
)

// One device with one DTLS session.
type device struct {
	session  *dtls.Conn
	socket   *socket
	server   *net.UDPAddr
	endpoint string
	repeat   time.Duration

	handshakes int // handshake datagrams sent until the session stood
	answers    chan message
	observed   chan []byte
	ended      chan error

	nextID   uint16
	recorded []byte // the datagram of the last request
	token    []byte // of the observation
	sequence uint32
	location []string
}

func newDevice(session *dtls.Conn, bound *socket, s settings) *device {
	d := &device{
		session: session, socket: bound, server: s.server, endpoint: s.endpoint, repeat: s.repeat,
		handshakes: bound.count(bound.sent, recordHandshake),
		answers:    make(chan message, 64), observed: make(chan []byte, 64),
		ended: make(chan error, 1), nextID: uint16(rand.Uint32()),
	}
	go d.listen()
	return d
}

// Answers what the server asks; hands everything else to whoever waits for an answer.
func (d *device) listen() {
	buffer := make([]byte, 4096)
	for {
		n, err := d.session.Read(buffer)
		if err != nil {
			d.ended <- err
			return
		}
		m, err := decode(bytes.Clone(buffer[:n]))
		if err != nil {
			d.ended <- err
			return
		}
		if !m.isRequest() {
			d.answers <- m
			continue
		}
		if _, err := d.session.Write(d.answer(m).encode()); err != nil {
			d.ended <- err
			return
		}
	}
}

// Whether a path is where data comes from, on an LwM2M device or a raw one.
func isData(path string) bool { return path == "/19/0/0" || path == "/t/d" }

func (d *device) answer(m message) message {
	path := "/" + strings.Join(m.all(optionURIPath), "/")
	reply := message{kind: ack, code: codeNotFound, id: m.id, token: m.token}
	observe := m.all(optionObserve)
	switch {
	case m.code == codeGet && len(observe) == 1 && observe[0] == "" && isData(path):
		say("observed: %s", path)
		reply.code = codeContent
		reply.options = []option{{optionObserve, []byte{1}}, {optionContentFormat, []byte{formatOpaque}}}
		d.observed <- m.token
	case m.code != codeGet:
		say("downlink: %s %x", path, m.payload)
		reply.code = codeChanged
	}
	return reply
}

// Sends a confirmable message, repeats it as devices do, and gives its acknowledgement or answer.
func (d *device) exchange(m message) (message, error) {
	d.nextID++
	m.kind, m.id = con, d.nextID
	for begun := time.Now(); time.Since(begun) < giveUp; {
		if _, err := d.session.Write(m.encode()); err != nil {
			return message{}, err
		}
		d.recorded = d.socket.lastSent()
		timer := time.After(d.repeat)
		for waiting := true; waiting; {
			select {
			case err := <-d.ended:
				return message{}, fmt.Errorf("the session ended: %w", err)
			case <-timer:
				waiting = false
			case got := <-d.answers:
				mine := got.kind != con && got.id == m.id
				if got.kind == con { // a separate response
					done := message{kind: ack, id: got.id}
					if _, err := d.session.Write(done.encode()); err != nil {
						return message{}, err
					}
					mine = len(m.token) > 0 && bytes.Equal(got.token, m.token)
				}
				empty := got.kind == ack && got.code == codeEmpty && m.isRequest()
				// 5.03 asks for the same again later.
				if mine && !empty && got.code != codeUnavailable {
					return got, nil
				}
			}
		}
	}
	return message{}, fmt.Errorf("no answer within %s", giveUp)
}

func (d *device) request(path, query string, payload []byte, format byte, want byte) (message, error) {
	m := message{code: codePost, token: binary.BigEndian.AppendUint32(nil, rand.Uint32()), payload: payload}
	for part := range strings.SplitSeq(path, "/") {
		m.options = append(m.options, option{optionURIPath, []byte(part)})
	}
	if len(payload) > 0 {
		m.options = append(m.options, option{optionContentFormat, []byte{format}})
	}
	if query != "" {
		for part := range strings.SplitSeq(query, "&") {
			m.options = append(m.options, option{optionURIQuery, []byte(part)})
		}
	}
	got, err := d.exchange(m)
	if err == nil && got.code != want {
		err = fmt.Errorf("POST /%s was answered %s, expected %s", path, dotted(got.code), dotted(want))
	}
	return got, err
}

func (d *device) registerRaw() error {
	_, err := d.request("t/r", "ep="+d.endpoint+"&lt=600", nil, 0, codeCreated)
	return err
}

func (d *device) register() error {
	query := "ep=" + d.endpoint + "&lt=600&lwm2m=1.0&b=U"
	got, err := d.request("rd", query, []byte(links), formatLink, codeCreated)
	if err != nil {
		return err
	}
	d.location = got.all(optionLocationPath)
	if len(d.location) != 2 || d.location[0] != "rd" {
		return fmt.Errorf("location is %q, expected rd/<id>", d.location)
	}
	return nil
}

func (d *device) update() error {
	_, err := d.request(strings.Join(d.location, "/"), "", nil, 0, codeChanged)
	return err
}

// A report of the counter product: 01, then the value.
func counter(value uint32) []byte { return binary.BigEndian.AppendUint32([]byte{1}, value) }

func (d *device) report(value uint32) error {
	_, err := d.request("t/d", "", counter(value), formatOpaque, codeChanged)
	return err
}

// The same as a notification on the server's observation, for which it may still have to come.
func (d *device) notify(value uint32) error {
	timer := time.After(observeWait)
	for d.token == nil {
		select {
		case d.token = <-d.observed:
		case err := <-d.ended:
			return fmt.Errorf("the session ended: %w", err)
		case <-timer:
			return fmt.Errorf("not observed within %s", observeWait)
		}
	}
	d.sequence++
	options := []option{
		{optionObserve, []byte{byte(d.sequence + 1)}},
		{optionContentFormat, []byte{formatOpaque}},
	}
	notification := message{code: codeContent, token: d.token, options: options, payload: counter(value)}
	got, err := d.exchange(notification)
	if err == nil && (got.kind != ack || got.code != codeEmpty) {
		err = fmt.Errorf("the notification was answered by type %d, code %s", got.kind, dotted(got.code))
	}
	return err
}

// Reports 1, 2, 3… until something comes in from `stop`, from another port after each `move` of
// them; 0: always from the same.
func (d *device) count(move uint32, stop <-chan struct{}) error {
	for value := uint32(1); ; value++ {
		send := d.report
		if d.location != nil {
			send = d.notify
		}
		if err := send(value); err != nil {
			return fmt.Errorf("report %d: %w", value, err)
		}
		say("counted: %d", value)
		select {
		case <-stop:
			return nil
		default:
		}
		if move > 0 && value%move == 0 {
			if err := d.socket.move(); err != nil {
				return err
			}
		}
	}
}

func (d *device) ping() error {
	got, err := d.exchange(message{code: codeEmpty})
	if err == nil && got.kind != rst {
		err = fmt.Errorf("the ping was answered by type %d, code %s", got.kind, dotted(got.code))
	}
	return err
}

// Somebody who recorded our last request sends it again from elsewhere: nobody gets an answer. What
// the server asks meanwhile is its own business.
func (d *device) replay() error {
	stranger, err := bind()
	if err != nil {
		return err
	}
	defer stranger.Close()
	for len(d.answers) > 0 {
		<-d.answers
	}
	alerts := d.socket.count(d.socket.received, recordAlert)
	if _, err := stranger.WriteTo(d.recorded, d.server); err != nil {
		return err
	}
	if err := stranger.SetReadDeadline(time.Now().Add(silence)); err != nil {
		return err
	}
	if n, _, err := stranger.ReadFrom(make([]byte, 4096)); err == nil {
		return fmt.Errorf("a replayed datagram was answered with %d bytes at the stranger's port", n)
	}
	select {
	case got := <-d.answers:
		return fmt.Errorf("a replayed datagram was answered %s", dotted(got.code))
	case err := <-d.ended:
		return fmt.Errorf("a replayed datagram ended the session: %w", err)
	default:
	}
	if after := d.socket.count(d.socket.received, recordAlert); after != alerts {
		return fmt.Errorf("a replayed datagram brought %d alerts", after-alerts)
	}
	return nil
}
