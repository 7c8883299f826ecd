#!/usr/bin/env python3
"""Hostile traffic on the DTLS port, while devices that are not ours come and go.

First ClientHellos by the million from spoofed addresses all over 127.0.0.0/8: each is answered with
at most its own size and forgotten, memory stays where it was, and `openssl s_client` devices connect
all the while. Then what somebody on the way could send into live sessions: garbage, plaintext
alerts, forged and replayed records. The sessions go on, and /metrics counts each fate.

    tests/faults/hostile_dtls.py [--hellos 1000000] [--growth-mb 8] [--seed N]

Needs what tests/interop/dtls_tools.sh installs and builds.
"""

import argparse
import contextlib
import pathlib
import random
import select
import socket
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "interop"))

import server as strait  # noqa: E402
from dtls_peers import (  # noqa: E402
    ALERT,
    ANSWER_S,
    CID_CLIENT,
    CidClient,
    OpenSsl,
    Relay,
    check,
    fail,
)

KEY, WRONG_KEY = "strait-psk-16byt", "strait-psk-wrong"
SUITE = "PSK-AES128-CCM8"
# Hellos between two that must be answered, so that the flood does not drown in the socket, and of
# one spoofed address.
BURST, PER_ADDRESS = 64, 16
# How much of the flood must have come to the server's eyes.
SEEN = 0.9
FATES = 50
VISIT_EVERY_S = 2


def number(value, size):
    return value.to_bytes(size, "big")


def hello(cookie=b"", is_cut=False):
    """A ClientHello such as devices send; the cut one is the first fragment of a longer message."""
    body = b"\xfe\xfd" + random.randbytes(32) + b"\0" + number(len(cookie), 1) + cookie
    body += b"\0\4\xc0\xa8\0\xff" + b"\1\0"
    body += b"\0\x09" + b"\0\x17\0\0" + b"\0\x36\0\1\0"
    whole = number(len(body) + (100 if is_cut else 0), 3)
    message = b"\1" + whole + b"\0\0" + b"\0\0\0" + number(len(body), 3) + body
    return b"\x16\xfe\xfd" + bytes(8) + number(len(message), 2) + message


class Flood:
    """Sends hellos; now and then one of them from an address that listens."""

    def __init__(self, server):
        self.server = server
        # Without a cookie, with an invented one, and cut into pieces before there was a cookie.
        self.whole = [hello() for _ in range(3000)]
        self.whole += [hello(random.randbytes(random.choice([1, 16, 20, 32]))) for _ in range(800)]
        self.cut = [hello(is_cut=True) for _ in range(200)]
        self.datagrams = self.whole + self.cut
        self.honest = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.honest.connect(server.coaps)
        self.sent = self.lost = 0

    def run(self, count):
        until = self.sent + count
        while self.sent < until:
            for _ in range(BURST // PER_ADDRESS):
                self._from_somewhere()
            self._ask()

    def _from_somewhere(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as spoofed:
            # Nobody reads what comes back.
            spoofed.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
            octets = [random.randrange(1, 255) for _ in range(3)]
            spoofed.bind(("127.%d.%d.%d" % tuple(octets), 0))
            spoofed.connect(self.server.coaps)
            for datagram in random.sample(self.datagrams, PER_ADDRESS):
                spoofed.send(datagram)
            self.sent += PER_ADDRESS

    def _ask(self):
        """The server still answers; not with more than it got."""
        asked = random.choice(self.whole)
        for _ in range(ANSWER_S):
            self.honest.send(asked)
            self.sent += 1
            if select.select([self.honest], [], [], 1)[0]:
                answer = self.honest.recv(65536)
                if len(answer) > len(asked):
                    fail(f"a hello of {len(asked)} bytes was answered with {len(answer)}")
                return
            self.lost += 1
        fail(f"no answer to a hello within {ANSWER_S} s, after {self.sent} hellos")


class Visitors:
    """Devices that connect and report, one after the other, on a thread of their own."""

    def __init__(self, bench):
        self.bench, self.enough = bench, threading.Event()
        self.came, self.slowest, self.error = 0, 0.0, None
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self):
        try:
            while not self.enough.is_set():
                begun = time.monotonic()
                self.bench.visit(f"device {self.came} during the flood")
                self.slowest = max(self.slowest, time.monotonic() - begun)
                self.came += 1
                # They are remembered, so many of them would hide what the flood leaves behind.
                self.enough.wait(VISIT_EVERY_S)
        except BaseException as error:  # told by whoever joins
            self.error = error

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.enough.set()
        self.thread.join()
        if self.error:
            raise self.error


class Bench:
    def __init__(self, server):
        self.server, self.nodes = server, 0
        self.product = server.create_custom(strait.COUNTER_MODEL, strait.COUNTER_CODEC)

    def device(self):
        self.nodes += 1
        node = f"hostile-{self.nodes:06}"
        return node, self.server.create_device(self.product, node, KEY.encode().hex())

    def visit(self, what):
        node, device = self.device()
        with OpenSsl(self.server.coaps, node, KEY, SUITE) as client:
            client.register_and_report(what, node, 7)
        self.expect_values(what, device, [7])

    def expect_values(self, what, device, values):
        rows = self.server.history(device)
        check(f"{what}: history", [row["properties"]["value"] for row in rows], values)

    def figure(self, table, label):
        """One of strait_dtls_<table>_total."""
        want = f'strait_dtls_{table}_total{{{label}}}'
        return self.server.metrics().get(want, 0)

    def expect_more(self, what, table, label, before, more):
        """The figure has grown by as much; it is carried over once a second."""
        grown = lambda: self.figure(table, label) >= before + more  # noqa: E731
        strait.eventually(f"{what}: {table} {label} {before} + {more}", grown)
        check(f"{what}: {table} {label}", self.figure(table, label), before + more)


def flood(bench, hellos, growth_mb):
    server = bench.server
    sender = Flood(server)
    bench.visit("a device before the flood")
    sender.run(max(hellos // 10, BURST))
    before = server.rss_kb()
    begun, sent = time.monotonic(), sender.sent
    with Visitors(bench) as visitors:
        sender.run(hellos)
    took, sent = time.monotonic() - begun, sender.sent - sent
    after = server.rss_kb()
    bench.visit("a device after the flood")
    if not visitors.came:
        fail("no device came to its end during the flood")
    answered = lambda: bench.figure("cookies", 'fate="sent"')  # noqa: E731
    share = len(sender.whole) / len(sender.datagrams)
    strait.eventually("answers to the flood", lambda: answered() >= sender.sent * share * SEEN)
    if not bench.figure("cookies", 'fate="refused"'):
        fail("no hello in pieces was refused")
    figures = server.metrics()
    check("handshakes open", figures["strait_dtls_handshakes_open"], 0)
    print(
        f"hostile-dtls: {sent} spoofed hellos at {sent / took:.0f}/s in {took:.1f} s, "
        f"{sender.lost} of ours lost; {visitors.came} devices connected meanwhile, the slowest in "
        f"{visitors.slowest:.1f} s; RSS {before / 1024:.1f} MB -> {after / 1024:.1f} MB",
        flush=True,
    )
    if after - before > growth_mb * 1024:
        sys.exit(f"hostile-dtls: memory grew by more than {growth_mb} MB")


def plain(kind, body, sequence=0):
    return bytes([kind]) + b"\xfe\xfd\0\0" + number(sequence, 6) + number(len(body), 2) + body


def forged(kind, sequence, cid=b""):
    body = random.randbytes(random.randrange(24, 200))
    head = bytes([kind]) + b"\xfe\xfd\0\1" + number(sequence, 6) + cid
    return head + number(len(body), 2) + body


def attacks(cid, later):
    """What somebody may send from the address of a session: name, its fate, datagrams."""
    fatal = lambda _: plain(ALERT, bytes([2, random.randrange(256)]))  # noqa: E731
    many = lambda make: [make(later + n) for n in range(FATES)]  # noqa: E731
    stranger = lambda n: forged(25, n, random.randbytes(8))  # noqa: E731
    rows = [
        ("garbage", "malformed", many(lambda _: b"\x40" + random.randbytes(9))),
        ("cut records", "malformed", many(lambda n: forged(23, n)[:-1])),
        ("plaintext fatal alerts", "plaintext", many(fatal)),
        ("a plaintext close_notify", "plaintext", [plain(ALERT, b"\1\0")]),
        ("plaintext data", "plaintext", many(lambda n: plain(23, b"\x40\0\0\1", n))),
        ("forged connection ids", "unknown", many(stranger)),
    ]
    kinds = [20, ALERT, 22, 23]
    if cid:
        rows.append(("forged records", "bad_mac", many(lambda n: forged(25, n, cid))))
        rows.append(("forged records, no id", "unknown", many(lambda n: forged(23, n))))
    else:
        rows.append(("forged records", "bad_mac", many(lambda n: forged(kinds[n % 4], n))))
    return rows


def under_fire(bench, cid):
    """One live session, all that, and what was recorded of it once more."""
    server = bench.server
    node, device = bench.device()
    rounds = 9
    steps = ["register-raw", "report=1", *["wait", "ping"] * rounds, "report=2", "close"]
    with (
        Relay(server.coaps) as relay,
        CidClient(relay.address, node, KEY, "-cid", cid, *steps) as client,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger,
    ):
        stranger.connect(server.coaps)
        turns = 0

        def turn():
            nonlocal turns
            turns += 1
            waits = lambda: client.lines.count("waiting") == turns  # noqa: E731
            strait.eventually(f"connection id {cid}: turn {turns}\n{client.story()}", waits)

        turn()
        is_secured = lambda d: d[0] == 25 or d[3:5] == b"\0\1"  # noqa: E731
        record = [d for d in relay.up if is_secured(d)][-1]
        own = record[11:19] if record[0] == 25 else b""
        rows = attacks(own, 1000)
        for what, fate, datagrams in rows:
            before = bench.figure("records", f'fate="{fate}"')
            for datagram in datagrams:
                relay.inject(datagram)
                if own and fate == "bad_mac":
                    stranger.send(datagram)
            more = len(datagrams) * (2 if own and fate == "bad_mac" else 1)
            bench.expect_more(what, "records", f'fate="{fate}"', before, more)
            client.go_on()
            turn()
        # The Finished apart, which is answered for good reason.
        recorded = [d for d in relay.up if is_secured(d)][1:]
        recorded = [d for d in recorded if d[0] in (23, 25)]
        before = bench.figure("records", 'fate="replay"')
        mine = sum(d in recorded for d in relay.up)
        for datagram in recorded:
            relay.inject(datagram)
            if own:
                stranger.send(datagram)
        bench.expect_more("replays", "records", 'fate="replay"', before, mine * (2 if own else 1))
        for _ in range(rounds - len(rows)):
            client.go_on()
            if turns < rounds:
                turn()
        client.expect_end(f"connection id {cid}, under fire", 0)
        alerts = [record for record in relay.records_down() if record[:2] == (ALERT, 0)]
        check("alerts in the clear from the server", alerts, [])
        if select.select([stranger], [], [], 0)[0]:
            fail("the stranger was answered")
    bench.expect_values(f"connection id {cid}", device, [2, 1])
    return sum(len(datagrams) for _, _, datagrams in rows) + len(recorded)


def refusals(bench):
    """Handshakes that come to nothing, by reason."""
    node, device = bench.device()
    for what, identity, key, suite in (
        ("wrong_key", node, WRONG_KEY, SUITE),
        ("unknown_identity", "nobody", KEY, SUITE),
        ("no_suite", node, KEY, "PSK-AES256-GCM-SHA384"),
    ):
        before = bench.figure("handshakes", f'result="{what}"')
        with OpenSsl(bench.server.coaps, identity, key, suite):
            bench.expect_more(what, "handshakes", f'result="{what}"', before, 1)
    bench.expect_values("refused", device, [])


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--hellos", type=int, default=1_000_000)
    arguments.add_argument("--growth-mb", type=float, default=8)
    arguments.add_argument("--seed", type=int, default=None)
    arguments = arguments.parse_args()
    if not CID_CLIENT.is_file():
        sys.exit("hostile-dtls: run tests/interop/dtls_tools.sh first")
    seed = arguments.seed if arguments.seed is not None else random.randrange(2**32)
    random.seed(seed)
    print(f"hostile-dtls: seed {seed}", flush=True)
    with contextlib.ExitStack() as stack:
        work = stack.enter_context(tempfile.TemporaryDirectory())
        server = strait.Server(f"{work}/data", log=f"{work}/log", coaps="127.0.0.1:0")
        bench = Bench(stack.enter_context(server))
        flood(bench, arguments.hellos, arguments.growth_mb)
        sent = sum(under_fire(bench, cid) for cid in ("none", "empty"))
        refusals(bench)
        server.rest("GET", "/healthz", want=[200, 204])
    print(f"hostile-dtls: sessions with and without connection id outlived {sent} bad datagrams")


if __name__ == "__main__":
    main()
