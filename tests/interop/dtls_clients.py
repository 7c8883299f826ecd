#!/usr/bin/env python3
"""Foreign DTLS clients against a server of ours; started by dtls.sh, which installs them.

    tests/interop/dtls.sh [SCENE...]     default: all, in order; their names are those of `SCENES`
"""

import contextlib
import os
import pathlib
import secrets
import select
import socket
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import server as strait  # noqa: E402

CID_CLIENT = strait.ROOT / "target" / "interop" / "dtls_cid"
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
ANSWER_S = 20
# How long a client that must not get in may try.
REFUSED_S = 4

HELLO_VERIFY_REQUEST, SERVER_HELLO = 3, 2
CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE = 20, 21, 22
FATAL_HANDSHAKE_FAILURE = bytes([2, 40])
# The head of a change of cipher inside a datagram.
CCS = b"\x14\xfe\xfd\x00\x00"


def fail(what):
    raise SystemExit(f"dtls: {what}")


def check(what, got, want):
    if got != want:
        fail(f"{what}: got {got!r}, expected {want!r}")


class Bench:
    """A server with one product, and devices with keys."""

    def __init__(self, work, config=None):
        self.work, self.config = pathlib.Path(work), config
        self.log = self.work / "log"
        self.server = self._start()
        self.product = self.server.create_custom(strait.COUNTER_MODEL, strait.COUNTER_CODEC)
        self.nodes = 0

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


class Relay:
    """Passes datagrams of one client on and keeps them: what clients do not tell, the wire does."""

    def __init__(self, server):
        self.front = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.front.bind(("127.0.0.1", 0))
        self.back = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.back.connect(server)
        self.address = self.front.getsockname()
        self.up, self.down = [], []
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self):
        client = None
        while not self.ended.is_set():
            for ready in select.select([self.front, self.back], [], [], 0.1)[0]:
                with contextlib.suppress(ConnectionRefusedError):
                    if ready is self.front:
                        data, client = self.front.recvfrom(65536)
                        self.up.append(data)
                        self.back.send(data)
                    else:
                        data = self.back.recv(65536)
                        self.down.append(data)
                        self.front.sendto(data, client)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()
        self.front.close()
        self.back.close()

    def records_down(self):
        """(content type, epoch, fragment) of every record that the server sent."""
        for data in self.down:
            while len(data) >= 13:
                length = int.from_bytes(data[11:13], "big")
                yield data[0], int.from_bytes(data[3:5], "big"), data[13 : 13 + length]
                data = data[13 + length :]

    def messages_down(self):
        """Types of the server's plaintext handshake messages."""
        return [f[0] for kind, epoch, f in self.records_down() if (kind, epoch) == (HANDSHAKE, 0)]

    def client_finished(self):
        """Whether the client changed its cipher, which it does just before its Finished."""
        return any(CCS in data for data in self.up)

    def suite(self):
        for kind, epoch, fragment in self.records_down():
            if (kind, epoch) == (HANDSHAKE, 0) and fragment[0] == SERVER_HELLO:
                # Message header 12, version 2, random 32, then the session id and the suite.
                at = 12 + 2 + 32
                at += 1 + fragment[at]
                return int.from_bytes(fragment[at : at + 2], "big")
        return None

    def check_silent_refusal(self, what):
        """A cookie and a hello, but no Finished and no alert: nothing says what was wrong."""
        seen = self.messages_down()
        if HELLO_VERIFY_REQUEST not in seen or SERVER_HELLO not in seen:
            fail(f"{what}: the handshake did not come to the keys: messages {seen}")
        loud = [kind for kind, *_ in self.records_down() if kind in (ALERT, CHANGE_CIPHER_SPEC)]
        check(f"{what}: alerts and changes of cipher from the server", loud, [])


# ---- libcoap ----


def coap_client(program, address, identity, key, path, *arguments, seconds=ANSWER_S):
    """One request over a session of its own. Gives what the client printed; it is verbose."""
    uri = f"coaps://{address[0]}:{address[1]}/{path}"
    command = [program, "-v", "7", "-B", str(seconds), "-u", identity, "-k", key]
    ran = subprocess.run(
        [*command, "-m", "post", *arguments, uri],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=2 * seconds + 5,
    )
    return ran.stdout.decode(errors="replace")


def expect_code(what, output, code):
    if f"c:{code}" not in output and f" {code} " not in output:
        fail(f"{what}: no {code} in what the client said:\n{output}")


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


# ---- openssl s_client ----


def option(delta, value):
    if delta < 13 and len(value) < 13:
        return bytes([delta << 4 | len(value)]) + value
    return bytes([delta << 4 | 13, len(value) - 13]) + value


def post(path, query=b"", payload=b""):
    """(message id and token, datagram) of a confirmable POST."""
    own = secrets.token_bytes(6)
    options = option(11, path[0]) + b"".join(option(0, segment) for segment in path[1:])
    options += option(1, b"\x2a") if payload else b""
    options += option(3 if payload else 4, query) if query else b""
    return own, b"\x44\x02" + own + options + (b"\xff" + payload if payload else b"")


class OpenSsl:
    """A running `openssl s_client`. What it prints and what the server sends come on one pipe."""

    def __init__(self, address, identity, key, suite, *extra, environment=None):
        command = ["openssl", "s_client", "-dtls1_2", "-connect", f"{address[0]}:{address[1]}"]
        command += ["-psk_identity", identity, "-psk", key.encode().hex(), "-nocommands"]
        # Level 0, because OpenSSL counts an 8-byte tag as weak.
        command += ["-cipher", f"{suite}:@SECLEVEL=0", "-tlsextdebug", *extra]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=os.environ | (environment or {}),
        )
        self.output = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()

    def await_output(self, found, seconds=ANSWER_S):
        """Reads until `found(output)` is true; False at the end of time or of the client."""
        deadline = time.monotonic() + seconds
        while not found(self.output):
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            if select.select([self.process.stdout], [], [], left)[0]:
                more = os.read(self.process.stdout.fileno(), 65536)
                if not more:
                    return bool(found(self.output))
                self.output += more
        return True

    def text(self):
        return self.output.decode(errors="replace")

    def send(self, datagram):
        self.process.stdin.write(datagram)
        self.process.stdin.flush()

    def ask(self, what, request, code):
        """Sends a request; its piggybacked or separate answer must have the code."""
        own, datagram = request
        self.send(datagram)
        if not self.await_output(lambda output: own[2:] in output):
            fail(f"{what}: no answer; the client said:\n{self.text()}")
        at = self.output.index(own[2:])
        check(what, self.output[at - 3 : at - 2].hex(), f"{code:02x}")

    def register_and_report(self, what, node, value):
        register = post((b"t", b"r"), b"ep=" + node.encode())
        self.ask(f"{what}: register", register, 0x41)
        report = post((b"t", b"d"), payload=strait.counter_bytes(value))
        self.ask(f"{what}: report", report, 0x44)

    def ping(self, what):
        own = secrets.token_bytes(2)
        self.send(b"\x40\x00" + own)
        if not self.await_output(lambda output: b"\x70\x00" + own in output):
            fail(f"{what}: the ping was not answered; the client said:\n{self.text()}")

    def expect(self, what, *lines, absent=()):
        text = self.text()
        for line in lines:
            if line not in text:
                fail(f"{what}: no {line!r} in what the client said:\n{text}")
        for line in absent:
            if line in text:
                fail(f"{what}: {line!r} in what the client said:\n{text}")

    def close(self, what):
        """Ends as a client does, with close_notify."""
        self.process.stdin.close()
        self.await_output(lambda _: False)  # to the end of what it says
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(ANSWER_S)
        check(f"{what}: exit code", self.process.poll(), 0)


ETM = 'TLS server extension "encrypt-then-mac"'


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


# ---- pion, with connection ids ----


class CidClient:
    """A running dtls_cid. Its lines go into `lines` as they come."""

    def __init__(self, address, identity, key, *arguments):
        command = [str(CID_CLIENT), "-server", f"{address[0]}:{address[1]}"]
        command += ["-identity", identity, "-psk", key.encode().hex(), *arguments]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        self.lines = []
        self.news = threading.Condition()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            with self.news:
                self.lines.append(line.decode(errors="replace").rstrip())
                self.news.notify_all()
        with self.news:
            self.lines.append("(end)")
            self.news.notify_all()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.reader.join()
        self.process.stdin.close()
        self.process.stdout.close()

    def story(self):
        return "\n".join(self.lines)

    def await_line(self, what, line):
        with self.news:
            seen = self.news.wait_for(
                lambda: line in self.lines or "(end)" in self.lines, 3 * ANSWER_S
            )
            if not seen or line not in self.lines:
                fail(f"{what}: no {line!r}; the client said:\n{self.story()}")

    def go_on(self):
        self.process.stdin.write(b"go on\n")
        self.process.stdin.flush()

    def expect_end(self, what, code):
        self.await_line(what, "(end)")
        if self.process.wait(ANSWER_S) != code:
            got = self.process.returncode
            fail(f"{what}: exit code {got}, expected {code}; the client said:\n{self.story()}")


RAW = "register-raw report=1 {move} report=2 wait replay report=3 {move} report=4 ping close"
LWM2M = "register notify=1 {move} notify=2 wait replay notify=3 {move} notify=4 update close"


def pion():
    """Devices with and without connection id move, and outlive a crash on their old sessions."""
    with bench() as b, contextlib.ExitStack() as stack:
        running = []
        for cid, ems in (("empty", "require"), ("8", "require"), ("5", "off"), ("none", "require")):
            for kind, steps in (("raw", RAW), ("LwM2M", LWM2M)):
                node, device = b.device()
                # Without a connection id a session is as good as its address.
                steps = steps.format(move="" if cid == "none" else "move").split()
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
    "openssl-suites": openssl_suites,
    "openssl-narrowed": openssl_narrowed,
    "openssl-reboot": openssl_reboot,
    "pion": pion,
    "pion-refused": pion_refused,
}


def main():
    chosen = sys.argv[1:] or list(SCENES)
    for name in chosen:
        if name not in SCENES:
            sys.exit(f"dtls: no scene {name!r}, takes: {', '.join(SCENES)}")
    for name in chosen:
        begun = time.monotonic()
        print(f"{SCENES[name]()} ({time.monotonic() - begun:.1f} s)", flush=True)


if __name__ == "__main__":
    main()
