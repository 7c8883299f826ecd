"""DTLS clients that are not ours, as programs under a script's hand, and a relay that watches them.

Standard library only. dtls.sh installs the programs.
"""

import contextlib
import os
import secrets
import select
import socket
import subprocess
import threading
import time

import server as strait

CID_CLIENT = strait.ROOT / "target" / "interop" / "dtls_cid"
ANSWER_S = 20

HELLO_VERIFY_REQUEST, SERVER_HELLO = 3, 2
CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE = 20, 21, 22
# The head of a change of cipher inside a datagram.
CCS = b"\x14\xfe\xfd\x00\x00"


def fail(what):
    raise SystemExit(f"dtls: {what}")


def check(what, got, want):
    if got != want:
        fail(f"{what}: got {got!r}, expected {want!r}")


class Relay:
    """Passes datagrams of one client on and keeps them: what clients do not tell, the wire does.

    `fate(direction, n)` gives how many copies of the n-th handshake datagram that goes "up" or
    "down" arrive.
    """

    def __init__(self, server, fate=None):
        self.fate = fate or (lambda _direction, _n: 1)
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
                        for _ in range(self._copies("up", self.up, data)):
                            self.back.send(data)
                    else:
                        data = self.back.recv(65536)
                        for _ in range(self._copies("down", self.down, data)):
                            self.front.sendto(data, client)

    def _copies(self, direction, seen, data):
        seen.append(data)
        if data[0] not in (CHANGE_CIPHER_SPEC, HANDSHAKE):
            return 1
        return self.fate(direction, sum(d[0] in (CHANGE_CIPHER_SPEC, HANDSHAKE) for d in seen))

    def inject(self, data):
        """Sends to the server what seems to come from the client."""
        self.back.send(data)

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
        # Else a datagram that it drops makes it wait for another one before it reads its stdin.
        command += ["-nbio"]
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
