"""A UDP relay between simulated devices and the server that reads what passes, and cuts it off at a step.

Each datagram has a word for the step of an upgrade that it is. A question of the server ends with `?`, the
device's answer to it with `!`:

    version? coverage? cell? state? result? uri? execute?   requests of LwM2M objects 3, 4 and 5
    check? check!                                           the version again, once the order to install was taken
    state=2 result=1                                        notifications of object 5
    get=7 block=7                                           request for a block of a package, and the block
    delivery? delivery! push=7? push=7!                     how it takes packages; a block written to it
    ask19 told19 ask20 told20 … ask24 told24                messages of PCP: `ask` from the server, `told` from the device
    want=7 part=7                                           request for a fragment, and the fragment
    register report                                         a registration, any other report

Device and server agree on nothing but plain CoAP over UDP; several devices are told apart by their addresses.
"""

import collections
import functools
import selectors
import socket
import threading

GET, POST, PUT = 1, 2, 3
OBSERVE, URI_PATH, URI_QUERY, BLOCK2, BLOCK1 = 6, 11, 15, 23, 27
# What the server asks, by the path of it.
QUESTIONS = {
    "3/0/3": "version",
    "4/0": "coverage",
    "4/0/8": "cell",
    "5/0/3": "state",
    "5/0/5": "result",
    "5/0/1": "uri",
    "5/0/9": "delivery",
    "5/0/0": "push",
    "5/0/2": "execute",
}
FRONT = None
PASS, LOSE, CLOSE = range(3)


class Datagram:
    """The parts of a CoAP message; options by number, several values each."""

    def __init__(self, data):
        self.kind, self.code = data[0] >> 4 & 3, data[1]
        self.number = int.from_bytes(data[2:4], "big")
        at = 4 + (data[0] & 15)
        self.token = data[4:at]
        self.options = collections.defaultdict(list)
        option = 0
        while at < len(data) and data[at] != 0xFF:
            delta, length = data[at] >> 4, data[at] & 15
            at += 1
            delta, at = self._extended(data, delta, at)
            length, at = self._extended(data, length, at)
            option += delta
            self.options[option].append(data[at : at + length])
            at += length
        self.payload = data[at + 1 :]

    @staticmethod
    def _extended(data, nibble, at):
        if nibble == 13:
            return data[at] + 13, at + 1
        if nibble == 14:
            return int.from_bytes(data[at : at + 2], "big") + 269, at + 2
        return nibble, at

    @property
    def path(self):
        return "/".join(part.decode() for part in self.options[URI_PATH])

    @property
    def block(self):
        """The number of the block, if it is one of several."""
        return self._number(BLOCK2)

    @property
    def pushed(self):
        """The same of a request's body."""
        return self._number(BLOCK1)

    def _number(self, option):
        values = self.options[option]
        return int.from_bytes(values[0], "big") >> 4 if values else None

    @property
    def is_request(self):
        return 1 <= self.code <= 31


def pcp_of(payload, direction):
    """`ask20`, `want=7`; None for other payloads."""
    if payload[:3] != b"\xff\xfe\x01" or len(payload) < 8:
        return None
    code, body = payload[3], payload[8:]
    if code == 21 and direction == "up":
        return f"want={int.from_bytes(body[16:18], 'big')}"
    if code == 21:
        return f"part={int.from_bytes(body[1:3], 'big')}" if body[0] == 0 else "nopart"
    return f"{'told' if direction == 'up' else 'ask'}{code}"


class Device:
    """One device's address, its socket to the server, and what was asked under which token."""

    def __init__(self, address, server):
        self.address, self.name = address, None
        self.questions = {}  # the server's: token -> word
        self.gets = {}  # its own: token -> block
        self.watched = {}  # token -> word of an observed resource
        self.ordered = False  # the order to install has passed
        self.words = collections.Counter()  # what passed, repetitions of a message left out
        self.seen = collections.deque(maxlen=256)
        self.connect(server)

    def connect(self, server):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.connect(server)
        self.socket.setblocking(False)

    def word(self, direction, datagram):
        word = pcp_of(datagram.payload, direction)
        return word or (self._up(datagram) if direction == "up" else self._down(datagram))

    def note(self, direction, datagram, word):
        """It has passed."""
        self.words[word] += 1
        if word in ("execute?", "ask23"):
            self.ordered = True
        if direction == "down" and datagram.path in QUESTIONS:
            self.questions[datagram.token] = word[:-1]
            if datagram.options[OBSERVE]:
                self.watched[datagram.token] = word[:-1]
        if direction == "up" and word.startswith("get="):
            self.gets[datagram.token] = datagram.block or 0
        if word.endswith("!"):
            del self.questions[datagram.token]

    def _down(self, datagram):
        if not datagram.is_request:
            at = self.gets.get(datagram.token)
            return None if at is None or not datagram.code else f"block={datagram.block or 0}"
        word = QUESTIONS.get(datagram.path)
        if word is None:
            return None
        if word == "version" and self.ordered:
            word = "check"
        if word == "push":
            word = f"push={datagram.pushed or 0}"
        return word + "?"

    def _up(self, datagram):
        if datagram.is_request:
            if datagram.path == "rd" and datagram.code == POST:
                queries = [q.decode() for q in datagram.options[URI_QUERY]]
                names = [q[3:] for q in queries if q.startswith("ep=")]
                self.name = names[0] if names else self.name
                return "register"
            if datagram.code == GET:
                return f"get={datagram.block or 0}"
            return None
        if not datagram.code:
            return None
        if datagram.token in self.questions:
            return self.questions[datagram.token] + "!"
        if datagram.token in self.watched:
            return f"{self.watched[datagram.token]}={datagram.payload[-1:].hex().lstrip('0') or 0}"
        return "report"


class Relay:
    """Passes datagrams on, as far as `cut` lets it.

    `cut(device, word)` is asked about each word, repetitions of what has passed left out, in the relay's
    thread. It answers PASS, LOSE (this datagram), or, when it has killed the server, CLOSE: this one and
    everything after it is lost until `open()`. It may send a datagram on itself, before the kill, with
    what it was given as third: `cut(device, word, send)`.
    """

    def __init__(self, server, cut):
        self.server, self.cut = server, cut
        self.front = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.front.bind(("127.0.0.1", 0))
        self.front.setblocking(False)
        self.address = self.front.getsockname()
        self.devices = {}
        self.lock = threading.Lock()
        self.closed = self.ended = False
        self.failure = None
        self.log = collections.deque(maxlen=400)
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.front, selectors.EVENT_READ, FRONT)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def open(self):
        with self.lock:
            self.closed = False

    def end(self):
        self.ended = True
        self.thread.join()

    def move(self, device):
        """From now on the server hears it from another address. For `cut` alone."""
        self.selector.unregister(device.socket)
        device.socket.close()
        device.connect(self.server)
        self.selector.register(device.socket, selectors.EVENT_READ, device)

    def named(self, name):
        return next((d for d in list(self.devices.values()) if d.name == name), None)

    def _run(self):
        try:
            while not self.ended:
                for key, _ in self.selector.select(0.05):
                    self._receive(key.data)
        except BaseException as error:  # noqa: BLE001: told by the main thread
            self.failure = error

    def _receive(self, device):
        while True:
            try:
                if device is FRONT:
                    data, address = self.front.recvfrom(4096)
                else:
                    data = device.socket.recv(4096)
            except BlockingIOError:
                return
            except ConnectionRefusedError:
                continue  # the server is down
            if device is FRONT:
                self._pass("up", self._of(address), data)
            else:
                self._pass("down", device, data)

    def _of(self, address):
        device = self.devices.get(address)
        if device is None:
            device = self.devices[address] = Device(address, self.server)
            self.selector.register(device.socket, selectors.EVENT_READ, device)
        return device

    def _pass(self, direction, device, data):
        with self.lock:
            if self.closed or len(data) < 4:
                return
            datagram = Datagram(data)
            word = device.word(direction, datagram)
            key = (direction, datagram.number, word)
            if word:
                self.log.append(f"{device.name}: {word} ({datagram.code >> 5}.{datagram.code & 31:02})")
            if word and key not in device.seen:
                send = functools.partial(self._send_new, direction, device, data, datagram, key)
                verdict = self.cut(device, word, send)
                if verdict == CLOSE:
                    self.closed = True
                    self.log.append("--- killed")
                if verdict == PASS:
                    send()
                return
            self._send(direction, device, data)

    def _send_new(self, direction, device, data, datagram, key):
        device.seen.append(key)
        device.note(direction, datagram, key[-1])
        self._send(direction, device, data)

    def _send(self, direction, device, data):
        try:
            if direction == "up":
                device.socket.send(data)
            else:
                self.front.sendto(data, device.address)
        except ConnectionRefusedError:
            pass  # the server is down: a lost datagram
