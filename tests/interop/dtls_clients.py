#!/usr/bin/env python3
"""Foreign DTLS clients against a server of ours; started by dtls.sh, which installs them.

    tests/interop/dtls.sh [SCENE...]     default: all, in order; their names are those of `SCENES`
"""

import contextlib
import itertools
import pathlib
import secrets
import signal
import socket
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import server as strait  # noqa: E402
from dtls_peers import (  # noqa: E402
    ALERT,
    ANSWER_S,
    HANDSHAKE,
    HELLO_VERIFY_REQUEST,
    CidClient,
    OpenSsl,
    Relay,
    check,
    coap_client,
    expect_code,
    fail,
)

LIBCOAP = ["coap-client-openssl", "coap-client-gnutls"]
# How OpenSSL calls the suites, how the server's settings do, and their numbers.
SUITES = [
    ("PSK-AES128-CCM8", "TLS_PSK_WITH_AES_128_CCM_8", 0xC0A8),
    ("PSK-AES128-CCM", "TLS_PSK_WITH_AES_128_CCM", 0xC0A4),
    ("PSK-AES128-GCM-SHA256", "TLS_PSK_WITH_AES_128_GCM_SHA256", 0x00A8),
    ("PSK-AES128-CBC-SHA256", "TLS_PSK_WITH_AES_128_CBC_SHA256", 0x00AE),
]
# Printable bytes, because libcoap's client takes its key as text.
KEY = "strait-psk-16byt"
WRONG_KEY = "strait-psk-wrong"
LINKS = "</1/0>,</3/0>,</19/0>,</19/1>"
# How long a client that must not get in may try.
REFUSED_S = 4
FATAL_HANDSHAKE_FAILURE = bytes([2, 40])
ETM = 'TLS server extension "encrypt-then-mac"'


class Bench:
    """A server with one product, and devices with keys."""

    def __init__(self, work, config=None):
        self.work, self.config = pathlib.Path(work), config
        self.log = self.work / "log"
        self.server = self._start()
        self.nodes = 0
        self.product = None

    def _start(self, **ports):
        options = {"coaps": "127.0.0.1:0", "config": self.config, "log": self.log} | ports
        return strait.Server(self.work / "data", **options)

    def crash_and_restart(self):
        ports = {
            name: f"127.0.0.1:{getattr(self.server, name)[1]}" for name in ("http", "coap", "coaps")
        }
        self.server.kill()
        self.server = self._start(**ports)

    def device(self):
        """(node id, device id) of a new device, secured by KEY."""
        self.nodes += 1
        if not self.product:
            self.product = self.server.create_custom(strait.COUNTER_MODEL, strait.COUNTER_CODEC)
        node = f"{867725038400000 + self.nodes}"
        return node, self.server.create_device(self.product, node, KEY.encode().hex())

    def status(self, device):
        return self.server.device(device)["status"]

    def values(self, device):
        return [row["properties"]["value"] for row in self.server.history(device)]


@contextlib.contextmanager
def bench(config=None):
    with tempfile.TemporaryDirectory() as work:
        path = None
        if config:
            path = pathlib.Path(work) / "strait.toml"
            path.write_text(config)
        running = Bench(work, path)
        try:
            yield running
            running.server.stop()
        except BaseException:
            running.server.kill()
            tail = running.log.read_text(errors="replace").splitlines()[-20:]
            print("the server's last words:", *tail, sep="\n  ", file=sys.stderr)
            raise


def libcoap(program):
    with bench() as b:
        server = b.server
        node, device = b.device()
        check("status before", b.status(device), "INACTIVE")
        with Relay(server.coaps) as relay:
            register = [f"rd?ep={node}&lt=600&lwm2m=1.0&b=U", "-t", "40", "-e", LINKS]
            output = coap_client(program, relay.address, node, KEY, *register)
        expect_code("register at /rd", output, "2.01")
        check("status after registering", b.status(device), "ONLINE")
        suite = relay.suite()
        names = {number: name for _, name, number in SUITES}
        if suite not in names:
            fail(f"{program} and the server agreed on suite {suite}")

        node, device = b.device()
        output = coap_client(program, server.coaps, node, KEY, f"t/r?ep={node}&lt=600")
        expect_code("register at /t/r", output, "2.01")
        for value in (4660, 7):
            # A session each time: the report is the device's by its identity alone.
            with tempfile.NamedTemporaryFile() as payload:
                payload.write(strait.counter_bytes(value))
                payload.flush()
                report = ["t/d", "-t", "42", "-f", payload.name]
                output = coap_client(program, server.coaps, node, KEY, *report)
            expect_code(f"report {value}", output, "2.04")
        check("history", b.values(device), [7, 4660])

        _, stranger = b.device()
        wrong_ep = server.device(stranger)["node_id"]
        output = coap_client(program, server.coaps, node, KEY, f"t/r?ep={wrong_ep}&lt=600")
        expect_code("another device's endpoint name", output, "4.03")
        check("status of that device", b.status(stranger), "INACTIVE")

        node, device = b.device()
        for what, identity, key in (
            ("wrong key", node, WRONG_KEY),
            ("unknown identity", "stranger", KEY),
        ):
            with Relay(server.coaps) as relay:
                register = f"t/r?ep={node}&lt=600"
                arguments = (program, relay.address, identity, key, register)
                output = coap_client(*arguments, seconds=REFUSED_S)
            if "2.01" in output:
                fail(f"{what}: the client was answered:\n{output}")
            relay.check_silent_refusal(what)
        check("status after the refusals", b.status(device), "INACTIVE")
        # The one that was refused comes back with the right key.
        output = coap_client(program, server.coaps, node, KEY, f"t/r?ep={node}&lt=600")
        expect_code("the right key after the wrong one", output, "2.01")
    return f"{program}: registered, reported, refused; {names[suite]}"


def libcoap_suites():
    """Each of libcoap's clients with each suite, at servers that were told that one alone."""
    for served, setting, number in SUITES:
        with bench(f'[dtls]\nsuites = ["{setting}"]\n') as b:
            for program in LIBCOAP:
                node, _ = b.device()
                register = f"t/r?ep={node}&lt=600"
                with Relay(b.server.coaps) as relay:
                    output = coap_client(program, relay.address, node, KEY, register)
                expect_code(f"{program} at a server of {served} alone", output, "2.01")
                check(f"{program}: suite", relay.suite(), number)
    return "libcoap's two clients: each of the four suites"


def openssl_suites():
    with bench() as b, tempfile.TemporaryDirectory() as work:
        conf = pathlib.Path(work) / "no_ems.cnf"
        conf.write_text(
            "openssl_conf = init\n[init]\nssl_conf = ssl\n[ssl]\nsystem_default = default\n"
            "[default]\nOptions = -ExtendedMasterSecret\n"
        )
        runs = [(name, (), None, True) for name, *_ in SUITES]
        runs.append(("PSK-AES128-CBC-SHA256", ("-no_etm",), None, True))
        without_ems = {"OPENSSL_CONF": str(conf)}
        runs += [(name, (), without_ems, False) for name, *_ in SUITES]
        runs.append(("PSK-AES128-CBC-SHA256", ("-no_etm",), without_ems, False))
        for name, extra, environment, ems in runs:
            node, device = b.device()
            what = " ".join([name, *extra, "" if ems else "without EMS"]).strip()
            with (
                Relay(b.server.coaps) as relay,
                OpenSsl(relay.address, node, KEY, name, *extra, environment=environment) as client,
            ):
                client.register_and_report(what, node, 4660)
                has, lacks = [], []
                with_etm = "CBC" in name and not extra
                (has if with_etm else lacks).append(ETM)
                ems_line = f"Extended master secret: {'yes' if ems else 'no'}"
                secure = "Secure Renegotiation IS supported"
                client.expect(what, f"Cipher is {name}", ems_line, secure, *has, absent=lacks)
                check(f"{what}: first answer", relay.messages_down()[0], HELLO_VERIFY_REQUEST)
                check(f"{what}: history", b.values(device), [4660])
                check(f"{what}: status", b.status(device), "ONLINE")
                client.close(what)
        openssl_refusals(b)
    return f"openssl s_client: {len(runs)} ways to agree; wrong key, unknown identity refused"


def openssl_refusals(b):
    """All suites, wrong key and unknown identity, side by side because each takes its time."""
    with contextlib.ExitStack() as stack:
        running = []
        for what, known, key in (("wrong key", True, WRONG_KEY), ("unknown identity", False, KEY)):
            for name, *_ in SUITES:
                node, device = b.device()
                relay = stack.enter_context(Relay(b.server.coaps))
                identity = node if known else f"stranger-{node}"
                client = stack.enter_context(OpenSsl(relay.address, identity, key, name))
                running.append((f"{name}, {what}", client, relay, device))
        for what, _, relay, _ in running:
            strait.eventually(f"{what}: the client's Finished", relay.client_finished)
        deadline = time.monotonic() + REFUSED_S
        for what, client, relay, device in running:
            left = max(deadline - time.monotonic(), 0)
            client.await_output(lambda output: b"Cipher is PSK" in output, left)
            client.expect(what, absent=["Cipher is PSK", "SSL alert number"])
            relay.check_silent_refusal(what)
            check(f"{what}: status", b.status(device), "INACTIVE")


def openssl_narrowed():
    """A server that was told one suite serves that one and says to others that nothing fits."""
    for served, setting, _ in SUITES:
        with bench(f'[dtls]\nsuites = ["{setting}"]\n') as b:
            node, _ = b.device()
            for offered, *_ in SUITES:
                what = f"{offered} offered to a server of {served} alone"
                with (
                    Relay(b.server.coaps) as relay,
                    OpenSsl(relay.address, node, KEY, offered) as client,
                ):
                    if offered == served:
                        client.ping(what)
                        client.expect(what, f"Cipher is {served}")
                        client.close(what)
                        continue
                    if not client.await_output(lambda output: b"SSL alert number" in output):
                        fail(f"{what}: no alert; the client said:\n{client.text()}")
                    client.expect(what, "SSL alert number 40", absent=["Cipher is PSK"])
                    alert = (ALERT, 0, FATAL_HANDSHAKE_FAILURE)
                    kinds = [record for record in relay.records_down() if record[0] != HANDSHAKE]
                    check(f"{what}: messages", relay.messages_down(), [HELLO_VERIFY_REQUEST])
                    check(f"{what}: other records", kinds, [alert])
            # Everything offered: the server finds its own among them.
            everything = ":".join(name for name, *_ in SUITES)
            with OpenSsl(b.server.coaps, node, KEY, everything) as client:
                client.ping(f"all suites offered to a server of {served} alone")
                client.expect("all suites offered", f"Cipher is {served}")
    return "openssl s_client: a server narrowed to each suite serves it and alerts others"


def rarely(direction, nth, copies):
    """The fate of datagrams of which only one meets with an accident."""
    return lambda way, n: copies if (way, n) == (direction, nth) else 1


def lossy():
    """One datagram of the handshake is lost or doubled, whichever it is: they still agree."""
    accidents = [("lost", 0), ("doubled", 2)]
    starts = {
        "OpenSSL": lambda *arguments: OpenSsl(*arguments, "PSK-AES128-CCM8"),
        "pion": lambda *arguments: CidClient(*arguments, "ping"),
    }
    with bench() as b, contextlib.ExitStack() as stack:
        running = []
        for (fate, copies), way, nth in itertools.product(accidents, ("up", "down"), range(1, 5)):
            for name, start in starts.items():
                node, _ = b.device()
                relay = stack.enter_context(Relay(b.server.coaps, rarely(way, nth, copies)))
                client = stack.enter_context(start(relay.address, node, KEY))
                running.append((f"{name}, datagram {nth} {way} {fate}", client))
        for what, client in running:
            if isinstance(client, OpenSsl):
                client.ping(what)
            else:
                client.expect_end(what, 0)
    return f"OpenSSL and pion: {len(running)} handshakes with a datagram lost or doubled"


def spoofed():
    """Datagrams from a client's own address that it did not send do not end its session."""
    plain = lambda kind, body: (  # noqa: E731
        bytes([kind]) + b"\xfe\xfd" + bytes(8) + len(body).to_bytes(2, "big") + body
    )
    sealed = lambda kind: (  # noqa: E731
        bytes([kind]) + b"\xfe\xfd\x00\x01" + secrets.token_bytes(6) + b"\x00\x20" + bytes(32)
    )
    spoofs = {
        "a plaintext fatal alert": plain(ALERT, FATAL_HANDSHAKE_FAILURE),
        "a plaintext close_notify": plain(ALERT, bytes([1, 0])),
        "a forged alert": sealed(ALERT),
        "forged data": sealed(23),
        "a forged Finished": sealed(HANDSHAKE),
        "a forged record with a connection id": sealed(25),
        "plaintext data": plain(23, b"\x40\x00\x00\x01"),
        "noise": secrets.token_bytes(200),
        "a change of cipher": plain(20, b"\x01"),
    }
    with bench() as b:
        for suite, *_ in SUITES:
            node, device = b.device()
            with (
                Relay(b.server.coaps) as relay,
                OpenSsl(relay.address, node, KEY, suite) as client,
            ):
                client.register_and_report(suite, node, 1)
                first_flight = relay.up[:2]
                for what, datagram in spoofs.items():
                    relay.inject(datagram)
                    client.ping(f"{suite}, after {what}")
                for hello in first_flight:
                    relay.inject(hello)
                client.ping(f"{suite}, after its own hellos")
                alerts = [record for record in relay.records_down() if record[0] == ALERT]
                check(f"{suite}: alerts from the server", alerts, [])
            check(f"{suite}: history", b.values(device), [1])
    return f"openssl s_client: sessions of all suites outlive {len(spoofs)} kinds of spoofs"


def openssl_reboot():
    """A device that lost its session without a word comes back on the same address."""
    with bench() as b:
        node, device = b.device()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        for value in (1, 2):
            arguments = (b.server.coaps, node, KEY, "PSK-AES128-CCM8")
            with OpenSsl(*arguments, "-bind", f"127.0.0.1:{port}") as client:
                client.register_and_report(f"life {value}", node, value)
                client.process.kill()
        check("history", b.values(device), [2, 1])
    return "openssl s_client: killed and back on the same port with a new handshake"


# They wait through the crash, and those that can come back from another port than they left from.
RAW = "register-raw report=1 replay {move} report=2 wait replay {move} report=3 ping report=4"
LWM2M = "register notify=1 replay {move} notify=2 wait replay {move} notify=3 update notify=4"


def pion():
    """Devices with and without connection id move, and outlive a crash on their old sessions."""
    with bench() as b, contextlib.ExitStack() as stack:
        running = []
        for cid, ems in (("empty", "require"), ("8", "require"), ("5", "off"), ("none", "require")):
            for kind, steps in (("raw", RAW), ("LwM2M", LWM2M)):
                node, device = b.device()
                # Without a connection id a session is as good as its address.
                steps = steps.format(move="" if cid == "none" else "move").split() + ["close"]
                arguments = ["-cid", cid, "-ems", ems, *steps]
                client = CidClient(b.server.coaps, node, KEY, *arguments)
                stack.enter_context(client)
                running.append((f"{kind} device, connection id {cid}", client, device))
        for what, client, device in running:
            client.await_line(what, "waiting")
            check(f"{what}: history before the crash", b.values(device), [2, 1])
        b.crash_and_restart()
        for what, client, _ in running:
            client.go_on()
        for what, client, device in running:
            client.expect_end(what, 0)
            check(f"{what}: history", b.values(device), [4, 3, 2, 1])
            check(f"{what}: status", b.status(device), "ONLINE")
    return f"pion: {len(running)} sessions outlived kill -9, those with connection id moved twice"


def pion_suites():
    """Connection ids both ways, and a move, on every AEAD suite.

    Not on CBC: there pion puts the plaintext into the MAC twice, against RFC 9146 section 5.1.
    """
    with bench() as b, contextlib.ExitStack() as stack:
        running = []
        for _, suite, _ in SUITES[:3]:
            node, device = b.device()
            steps = "register-raw report=1 replay move report=2 close".split()
            arguments = ["-cid", "8", "-suite", suite, *steps]
            client = stack.enter_context(CidClient(b.server.coaps, node, KEY, *arguments))
            running.append((f"{suite} with connection ids", client, device))
        for what, client, device in running:
            client.expect_end(what, 0)
            check(f"{what}: history", b.values(device), [2, 1])
    return f"pion: {len(running)} suites with connection ids both ways"


def pion_refused():
    with bench() as b, contextlib.ExitStack() as stack:
        node, device = b.device()
        running = []
        for cid in ("none", "empty", "8"):
            for what, identity, key in (
                ("wrong key", node, WRONG_KEY),
                ("unknown identity", "stranger", KEY),
            ):
                arguments = ["-cid", cid, "-timeout", f"{REFUSED_S}s", "ping"]
                client = stack.enter_context(CidClient(b.server.coaps, identity, key, *arguments))
                running.append((f"{what}, connection id {cid}", client))
        for what, client in running:
            client.expect_end(what, 3)
            if "alert" in client.story():
                fail(f"{what}: the server was not silent:\n{client.story()}")
        check("status after the refusals", b.status(device), "INACTIVE")
    return "pion: wrong key and unknown identity refused in silence"


SCENES = {
    **{program: lambda program=program: libcoap(program) for program in LIBCOAP},
    "libcoap-suites": libcoap_suites,
    "openssl-suites": openssl_suites,
    "openssl-narrowed": openssl_narrowed,
    "openssl-reboot": openssl_reboot,
    "lossy": lossy,
    "spoofed": spoofed,
    "pion": pion,
    "pion-suites": pion_suites,
    "pion-refused": pion_refused,
}


def main():
    # So that a time limit ends the server too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("dtls: told to stop"))
    chosen = sys.argv[1:] or list(SCENES)
    for name in chosen:
        if name not in SCENES:
            sys.exit(f"dtls: no scene {name!r}, takes: {', '.join(SCENES)}")
    for name in chosen:
        begun = time.monotonic()
        print(f"{SCENES[name]()} ({time.monotonic() - begun:.1f} s)", flush=True)


if __name__ == "__main__":
    main()
