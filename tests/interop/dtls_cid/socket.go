package main

import (
	"bytes"
	"encoding/binary"
	"net"
	"sync"
	"time"
)

// Content types of DTLS records, the first byte of each datagram (RFC 6347, RFC 9146).
const (
	recordAlert     = 21
	recordHandshake = 22
	recordData      = 23
	recordWithCID   = 25
)

// A socket whose local port can change under the session that uses it, as behind a NAT that forgets.
// It counts datagrams by the type of their first record, keeps the last one sent, and knows the
// protected records that came: a number must not stand on two of them.
type socket struct {
	mutex    sync.Mutex
	bound    *net.UDPConn
	deadline time.Time
	sent     map[byte]int
	received map[byte]int
	last     []byte
	cid      int               // bytes of our connection id
	records  map[uint64][]byte // by epoch and number
	twice    int
}

func bind() (*net.UDPConn, error) {
	return net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
}

func newSocket(cid int) (*socket, error) {
	bound, err := bind()
	s := &socket{bound: bound, cid: cid, records: map[uint64][]byte{}}
	s.sent, s.received = map[byte]int{}, map[byte]int{}
	return s, err
}

// Notes each protected record in a datagram.
func (s *socket) note(datagram []byte) {
	for len(datagram) > 13 {
		header := 13
		if datagram[0] == recordWithCID {
			header += s.cid
		}
		if len(datagram) < header {
			return
		}
		end := min(header+int(binary.BigEndian.Uint16(datagram[header-2:])), len(datagram))
		record, number := datagram[:end], binary.BigEndian.Uint64(datagram[3:])
		if number>>48 > 0 {
			before, known := s.records[number]
			if known && !bytes.Equal(before, record) {
				s.twice++
			}
			s.records[number] = bytes.Clone(record)
		}
		datagram = datagram[end:]
	}
}

func (s *socket) current() *net.UDPConn {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.bound
}

// From now on everything leaves from and is awaited at another port.
func (s *socket) move() error {
	next, err := bind()
	if err != nil {
		return err
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if err := next.SetReadDeadline(s.deadline); err != nil {
		return err
	}
	previous := s.bound
	s.bound = next
	return previous.Close()
}

func (s *socket) ReadFrom(buffer []byte) (int, net.Addr, error) {
	for {
		from := s.current()
		n, peer, err := from.ReadFrom(buffer)
		if err == nil && n > 0 {
			s.mutex.Lock()
			s.received[buffer[0]]++
			s.note(buffer[:n])
			s.mutex.Unlock()
		}
		if err != nil && s.current() != from {
			continue // closed by a move
		}
		return n, peer, err
	}
}

func (s *socket) WriteTo(data []byte, peer net.Addr) (int, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if len(data) > 0 {
		s.sent[data[0]]++
		s.last = append([]byte(nil), data...)
	}
	return s.bound.WriteTo(data, peer)
}

func (s *socket) count(counts map[byte]int, record byte) int {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return counts[record]
}

func (s *socket) lastSent() []byte {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.last
}

func (s *socket) Close() error                       { return s.current().Close() }
func (s *socket) LocalAddr() net.Addr                { return s.current().LocalAddr() }
func (s *socket) SetDeadline(at time.Time) error     { return s.SetReadDeadline(at) }
func (s *socket) SetWriteDeadline(_ time.Time) error { return nil } // UDP writes do not wait

func (s *socket) SetReadDeadline(at time.Time) error {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.deadline = at
	return s.bound.SetReadDeadline(at)
}
