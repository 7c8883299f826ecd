package main

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// What of CoAP a small device needs: messages with options up to 65,804 bytes (RFC 7252 section 3).

type kind byte

const (
	con kind = iota
	non
	ack
	rst
)

const (
	codeEmpty       = 0x00
	codeGet         = 0x01
	codePost        = 0x02
	codeCreated     = 0x41
	codeChanged     = 0x44
	codeContent     = 0x45
	codeNotFound    = 0x84
	codeUnavailable = 0xa3

	optionObserve       = 6
	optionLocationPath  = 8
	optionURIPath       = 11
	optionContentFormat = 12
	optionURIQuery      = 15

	formatLink   = 40
	formatOpaque = 42
)

type option struct {
	number int
	value  []byte
}

// Options are in the order of their numbers.
type message struct {
	kind    kind
	code    byte
	id      uint16
	token   []byte
	options []option
	payload []byte
}

var errMalformed = errors.New("malformed CoAP message")

func dotted(code byte) string { return fmt.Sprintf("%d.%02d", code>>5, code&31) }

func (m message) isRequest() bool { return m.code >= 1 && m.code < 0x20 }

// The values of all options with one number.
func (m message) all(number int) (values []string) {
	for _, o := range m.options {
		if o.number == number {
			values = append(values, string(o.value))
		}
	}
	return values
}

func (m message) encode() []byte {
	out := []byte{0x40 | byte(m.kind)<<4 | byte(len(m.token)), m.code, byte(m.id >> 8), byte(m.id)}
	out = append(out, m.token...)
	last := 0
	for _, o := range m.options {
		delta, deltaMore := nibble(o.number - last)
		length, lengthMore := nibble(len(o.value))
		last = o.number
		out = append(out, delta<<4|length)
		out = append(append(append(out, deltaMore...), lengthMore...), o.value...)
	}
	if len(m.payload) > 0 {
		out = append(append(out, 0xff), m.payload...)
	}
	return out
}

// A delta or length: four bits and what follows them.
func nibble(n int) (byte, []byte) {
	switch {
	case n < 13:
		return byte(n), nil
	case n < 269:
		return 13, []byte{byte(n - 13)}
	default:
		return 14, binary.BigEndian.AppendUint16(nil, uint16(n-269))
	}
}

func decode(data []byte) (m message, err error) {
	if len(data) < 4 || data[0]>>6 != 1 || data[0]&15 > 8 || len(data) < 4+int(data[0]&15) {
		return m, errMalformed
	}
	m.kind, m.code, m.id = kind(data[0]>>4&3), data[1], binary.BigEndian.Uint16(data[2:])
	rest := data[4:]
	m.token, rest = rest[:data[0]&15], rest[data[0]&15:]
	for number := 0; len(rest) > 0; {
		if rest[0] == 0xff {
			m.payload = rest[1:]
			break
		}
		head := rest[0]
		rest = rest[1:]
		var delta, length int
		if delta, rest, err = widen(head>>4, rest); err != nil {
			return m, err
		}
		if length, rest, err = widen(head&15, rest); err != nil {
			return m, err
		}
		if length > len(rest) {
			return m, errMalformed
		}
		number += delta
		m.options = append(m.options, option{number, rest[:length]})
		rest = rest[length:]
	}
	return m, nil
}

func widen(n byte, rest []byte) (int, []byte, error) {
	switch {
	case n < 13:
		return int(n), rest, nil
	case n == 13 && len(rest) >= 1:
		return int(rest[0]) + 13, rest[1:], nil
	case n == 14 && len(rest) >= 2:
		return int(binary.BigEndian.Uint16(rest)) + 269, rest[2:], nil
	default:
		return 0, nil, errMalformed
	}
}
