"""A raw CoAP device (RFC 7252) on a socket and a thread of its own. Standard library only.

It registers, answers what observes it, keeps what is sent to it, and does with a command what it is told:
    answer   acknowledges it, and reports the bytes that `reply` makes of it
    ack      acknowledges it and says no more
    reset    refuses it
    silent   does nothing
"""

import os
import socket
import threading

CON, NON, ACK, RST = range(4)
GET, POST, CREATED, CHANGED, CONTENT = 0x01, 0x02, 0x41, 0x44, 0x45
OBSERVE, URI_PATH, CONTENT_FORMAT, URI_QUERY = 6, 11, 12, 15


def message(kind, code, msg_id, token=b"", options=(), payload=b""):
    """A datagram. `options` are (number, value) in ascending order, values of up to 268 bytes."""
    out = bytearray([0x40 | kind << 4 | len(token), code]) + msg_id.to_bytes(2, "big") + token
    last = 0
    for number, value in options:
        delta, last, length = number - last, number, len(value)
        assert delta < 13
        out.append(delta << 4 | min(length, 13))
        out += bytes([length - 13]) if length >= 13 else b""
        out += value
    return bytes(out) + (b"\xff" + payload if payload else b"")


def split(datagram):
    """Type, code, message id, token and payload."""
    kind, token_len = datagram[0] >> 4 & 3, datagram[0] & 15
    code, msg_id = datagram[1], int.from_bytes(datagram[2:4], "big")
    token, at = datagram[4 : 4 + token_len], 4 + token_len
    while at < len(datagram) and datagram[at] != 0xFF:
        delta, length = datagram[at] >> 4, datagram[at] & 15
        at += 1
        for nibble in (delta, length):
            at += {13: 1, 14: 2}.get(nibble, 0)
        if length >= 13:
            length = {13: 13 + datagram[at - 1], 14: 269}[length]
        at += length
    return kind, code, msg_id, token, datagram[at + 1 :]


class Device:
    def __init__(self, address, node, reply=None, behaviour="answer"):
        self.node, self.reply, self.behaviour = node, reply, behaviour
        # Payloads of commands, each once: the server may repeat itself.
        self.received = []
        self.seen = set()
        self.registered = threading.Event()
        self.msg_id = int.from_bytes(os.urandom(2), "big")
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.connect(address)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def close(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _send(self, kind, code, path, queries=(), payload=b""):
        self.msg_id = (self.msg_id + 1) & 0xFFFF
        options = [(URI_PATH, part.encode()) for part in path.strip("/").split("/")]
        options += [(CONTENT_FORMAT, b"\x2a")] if payload else []
        options += [(URI_QUERY, query.encode()) for query in queries]
        self.socket.send(message(kind, code, self.msg_id, b"\x01", options, payload))

    def register(self, seconds=20):
        """Registers; it listens from then on."""
        for _ in range(seconds):
            self._send(CON, POST, "/t/r", [f"ep={self.node}", "lt=600"])
            if self.registered.wait(1):
                return
        raise SystemExit(f"device {self.node} could not register within {seconds} s")

    def report(self, payload):
        self._send(NON, POST, "/t/d", payload=payload)

    def _run(self):
        while True:
            try:
                datagram = self.socket.recv(2048)
            except OSError:
                return
            if not datagram:
                return
            self._take(*split(datagram))

    def _take(self, kind, code, msg_id, token, payload):
        if code == CREATED:
            self.registered.set()
        elif kind == CON and code == GET:
            observed = message(ACK, CONTENT, msg_id, token, [(OBSERVE, b"\x01")])
            self.socket.send(observed)
        elif kind == CON and code == POST and self.behaviour != "silent":
            if self.behaviour == "reset":
                self.socket.send(message(RST, 0, msg_id))
                return
            self.socket.send(message(ACK, 0, msg_id))
            if msg_id not in self.seen:
                self.seen.add(msg_id)
                self.received.append(payload)
                if self.behaviour == "answer" and self.reply:
                    self.report(self.reply(payload))
