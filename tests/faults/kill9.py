#!/usr/bin/env python3
"""kill -9 at random moments under load: every acknowledged report is there exactly once.

Each round: devices report counters over CoAP, the server is killed at a random moment and started
again on the same ports; the devices go on without registering. A device whose report was not
acknowledged repeats the very same datagram (same message id) after the restart. A reset or an error
is a failure: registrations, observations and duplicates must outlive the crash. At the end the
history of each device is compared with what was acknowledged.

    tests/faults/kill9.py [--rounds 20] [--devices 40] [--secured 6] [--seed N]

The CoAP client is a few lines of Python and shares nothing with the server. Secured devices come on
top, each a process on pion's DTLS (built by tests/interop/dtls_tools.sh) with one session for all
rounds: no handshake after the first, no record number of the server twice. Those with a connection
id change their port all the time.
"""

import argparse
import collections
import pathlib
import random
import selectors
import socket
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "interop"))

import server as strait  # noqa: E402
from dtls_peers import CID_CLIENT, CidClient  # noqa: E402

ACK, RST = 2, 3
POST, GET, CREATED, CHANGED, CONTENT = 0x02, 0x01, 0x41, 0x44, 0x45
REPEAT_S = 0.5
ANSWER_S = 60


def option(delta, value):
    assert delta < 13 and len(value) < 269
    if len(value) < 13:
        return bytes([delta << 4 | len(value)]) + value
    return bytes([delta << 4 | 13, len(value) - 13]) + value


def message(kind, code, msg_id, token=b"", options=b"", payload=b""):
    head = bytes([0x40 | kind << 4 | len(token), code]) + msg_id.to_bytes(2, "big")
    return head + token + options + (b"\xff" + payload if payload else b"")


def header(data):
    """(type, code, message id, token)"""
    return data[0] >> 4 & 3, data[1], int.from_bytes(data[2:4], "big"), data[4 : 4 + (data[0] & 15)]


class Failure(SystemExit):
    pass


class Device:
    """Even numbers speak LwM2M (notifications), odd ones raw CoAP (POST /t/d)."""

    def __init__(self, number, coap):
        self.number, self.node = number, f"kill9-{number:04}"
        self.lwm2m = number % 2 == 0
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.connect(coap)
        self.socket.setblocking(False)
        self.msg_id = random.randrange(65536)
        self.value = 0
        self.token = None
        self.registered = False
        self.under_way = None  # (message id, datagram, value or None for a registration)
        self.repeat_at = self.give_up_at = 0.0
        self.acknowledged = []
        self.repeated = 0

    def start(self, now):
        self.msg_id = (self.msg_id + 1) & 0xFFFF
        own = self.msg_id.to_bytes(2, "big")
        if not self.registered:
            ep = b"ep=" + self.node.encode()
            if self.lwm2m:
                options = option(11, b"rd") + option(1, b"\x28") + option(3, ep)
                options += option(0, b"lt=86400") + option(0, b"lwm2m=1.0") + option(0, b"b=U")
                links = b"</1/0>,</3/0>,</19/0>,</19/1>"
                data = message(0, POST, self.msg_id, own, options, links)
            else:
                options = option(11, b"t") + option(0, b"r") + option(4, ep)
                data = message(0, POST, self.msg_id, own, options)
            value = None
        else:
            self.value += 1
            value, payload = self.value, strait.counter_bytes(self.value)
            if self.lwm2m:
                options = option(6, value.to_bytes(3, "big")) + option(6, b"\x2a")
                data = message(0, CONTENT, self.msg_id, self.token, options, payload)
            else:
                options = option(11, b"t") + option(0, b"d") + option(1, b"\x2a")
                data = message(0, POST, self.msg_id, own, options, payload)
        self.under_way = (self.msg_id, data, value)
        self.give_up_at = now + ANSWER_S
        self.send(now)

    def send(self, now):
        self.repeat_at = now + REPEAT_S
        self._send(self.under_way[1])

    def _send(self, data):
        try:
            self.socket.send(data)
        except ConnectionRefusedError:
            pass  # the server is down: a lost datagram

    def tick(self, now):
        if self.under_way is None:
            if not (self.registered and self.lwm2m and self.token is None):
                self.start(now)
        elif now > self.give_up_at:
            raise Failure(f"kill9: {self.node}: no answer within {ANSWER_S} s")
        elif now > self.repeat_at:
            self.repeated += self.under_way[2] is not None
            self.send(now)

    def receive(self, now):
        while True:
            try:
                data = self.socket.recv(2048)
            except ConnectionRefusedError:
                continue
            except BlockingIOError:
                return
            self.take(data, now)

    def take(self, data, now):
        kind, code, msg_id, token = header(data)
        if 1 <= code <= 31:
            # The server observes: 2.05 without payload.
            if code == GET and self.lwm2m:
                self.token = token
                answer = message(ACK, CONTENT, msg_id, token, option(6, b"\x01") + option(6, b"\x2a"))
            elif code == GET:
                answer = message(ACK, CONTENT, msg_id, token, option(6, b"\x01"))
            else:
                answer = message(ACK, 0x84, msg_id, token)
            self._send(answer)
            return
        if kind == RST:
            raise Failure(f"kill9: {self.node}: reset after {self.value} reports")
        if self.under_way is None:
            return
        mine, _, value = self.under_way
        separate = kind != ACK and token == mine.to_bytes(2, "big")
        if kind == 0 and code:
            self._send(message(ACK, 0, msg_id))
        if not (separate or (kind == ACK and msg_id == mine)):
            return
        notification = value is not None and self.lwm2m
        if code == 0 and not notification:
            return  # the answer follows separately
        want = CREATED if value is None else 0 if notification else CHANGED
        if code == 0xA3:
            self.repeat_at = now + 1  # 5.03: later
            return
        if code != want:
            raise Failure(
                f"kill9: {self.node}: answered {code >> 5}.{code & 31:02}, "
                f"expected {want >> 5}.{want & 31:02} (report {value})"
            )
        if value is None:
            self.registered = True
        else:
            self.acknowledged.append(value)
        self.under_way = None


class Secured:
    """A device that reports by itself, until it is told to stop."""

    KEY = "strait-psk-16byt"
    # Connection id that it wants, and after how many reports it changes its port.
    WAYS = [("none", 0), ("empty", 7), ("8", 5)]

    def __init__(self, number):
        self.node = f"kill9-secured-{number:04}"
        self.cid, self.move = self.WAYS[number // 2 % len(self.WAYS)]
        self.register = ["register", "register-raw"][number % 2]
        self.client = None
        self.read, self.counted = 0, []

    def start(self, coaps):
        steps = [self.register, f"count={self.move}", "replay", "close"]
        arguments = ["-cid", self.cid, "-repeat", "500ms", *steps]
        self.client = CidClient(coaps, self.node, self.KEY, *arguments)

    @property
    def acknowledged(self):
        lines = self.client.lines[self.read :]
        self.read += len(lines)
        self.counted += [int(line.split()[1]) for line in lines if line.startswith("counted:")]
        if "(end)" in lines:
            raise Failure(f"kill9: {self.node} ended:\n{self.client.story()[-2000:]}")
        return self.counted

    @property
    def value(self):
        return len(self.counted)

    def stop(self):
        self.client.go_on()
        self.client.expect_end(self.node, 0)
        self.client.lines.remove("(end)")  # as it should

    def kill(self):
        if self.client:
            self.client.__exit__()


def run_until(devices, selector, stop):
    """Drives all devices until `stop(now)`."""
    while True:
        now = time.monotonic()
        if stop(now):
            return
        for device in devices:
            device.tick(now)
        for key, _ in selector.select(0.02):
            key.data.receive(time.monotonic())


def verify(server, device, device_id, settled):
    """Complaints about one device's history."""
    rows = collections.Counter(
        row["properties"]["value"] for row in server.history(device_id)
    )
    lost = [v for v in device.acknowledged if rows[v] == 0]
    twice = [v for v, count in rows.items() if count > 1]
    invented = [v for v in rows if not 1 <= v <= device.value]
    complaints = []
    for what, values in [("lost", lost), ("twice", twice), ("never sent", invented)]:
        if values:
            complaints.append(f"{device.node}: {what}: {values[:10]} ({len(values)} in all)")
    if settled and len(rows) != device.value:
        complaints.append(f"{device.node}: {len(rows)} reports stored, {device.value} acknowledged")
    return complaints


def no_handshakes(server):
    """What the last process says of handshakes: there was none, and it has sent no cookie."""
    names = ["strait_dtls_handshakes_total", "strait_dtls_cookies_total"]
    figures = server.metrics()
    found = {name: value for name, value in figures.items() if name.startswith(tuple(names))}
    wrong = {name: value for name, value in found.items() if value}
    return [f"handshakes after a crash: {wrong}"] if wrong or not found else []


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--rounds", type=int, default=20)
    arguments.add_argument("--devices", type=int, default=40)
    arguments.add_argument("--secured", type=int, default=6)
    arguments.add_argument("--seed", type=int, default=None)
    arguments = arguments.parse_args()
    if arguments.secured and not CID_CLIENT.is_file():
        sys.exit("kill9: run tests/interop/dtls_tools.sh first, or take --secured 0")
    secured = [Secured(n) for n in range(arguments.secured)]
    seed = arguments.seed if arguments.seed is not None else random.randrange(2**32)
    random.seed(seed)
    print(f"kill9: seed {seed}", flush=True)

    with tempfile.TemporaryDirectory() as work:
        data, log = f"{work}/data", f"{work}/log"
        server = strait.Server(data, log=log, coaps="127.0.0.1:0")
        ports = {name: "%s:%d" % getattr(server, name) for name in ("http", "coap", "coaps")}
        try:
            product = server.create_custom(strait.COUNTER_MODEL, strait.COUNTER_CODEC)
            devices = [Device(n, server.coap) for n in range(arguments.devices)]
            ids = [server.create_device(product, device.node) for device in devices]
            key = Secured.KEY.encode().hex()
            ids += [server.create_device(product, device.node, key) for device in secured]
            for device in secured:
                device.start(server.coaps)
            everybody = devices + secured
            selector = selectors.DefaultSelector()
            for device in devices:
                selector.register(device.socket, selectors.EVENT_READ, device)
            ready = lambda _: all(d.acknowledged for d in everybody)  # noqa: E731
            run_until(devices, selector, ready)

            down = []
            for _ in range(arguments.rounds):
                moment = time.monotonic() + random.uniform(0.05, 0.8)
                run_until(devices, selector, lambda now: now > moment)
                server.kill()
                begun = time.monotonic()
                server = strait.Server(data, log=log, **ports)
                down.append(time.monotonic() - begun)
                # Everybody gets through again before the next crash.
                before = [len(d.acknowledged) for d in everybody]
                run_until(
                    devices,
                    selector,
                    lambda _: all(len(d.acknowledged) > n for d, n in zip(everybody, before)),
                )
            # Let each device finish what it has under way, and start nothing more.
            for device in devices:
                device.tick = lambda now, d=device: d.under_way and Device.tick(d, now)
            run_until(devices, selector, lambda _: all(d.under_way is None for d in devices))
            for device in secured:
                device.stop()

            complaints = no_handshakes(server) if secured else []
            for device, device_id in zip(everybody, ids):
                complaints += verify(server, device, device_id, settled=True)
            acknowledged = sum(len(d.acknowledged) for d in everybody)
            over_dtls = sum(len(d.acknowledged) for d in secured)
            repeated = sum(d.repeated for d in devices)
            server.stop()
        except BaseException:
            server.kill()
            sys.stderr.write(pathlib.Path(log).read_text()[-4000:])
            raise
        finally:
            for device in secured:
                device.kill()
    for complaint in complaints:
        print(f"kill9: {complaint}", file=sys.stderr)
    print(
        f"kill9: {arguments.rounds} rounds, {acknowledged} reports acknowledged, {over_dtls} "
        f"of them on {len(secured)} DTLS sessions, {repeated} datagrams repeated, start after a crash {max(down):.2f} s at most: "
        + (f"{len(complaints)} things wrong (seed {seed})" if complaints else "all there once")
    )
    if complaints:
        sys.exit(1)


if __name__ == "__main__":
    main()
