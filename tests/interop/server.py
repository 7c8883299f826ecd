"""Starts a server on free ports and talks to its HTTP face. Used by the interop and fault scripts.

Standard library only. The binary is $STRAIT, else target/release/strait, else target/debug/strait.
"""

import http.client
import json
import os
import pathlib
import re
import select
import signal
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
READY = re.compile(r"^ready http=(\S+) coap=(\S+) coaps=(\S+)$")
START_S = 60


def binary():
    named = os.environ.get("STRAIT")
    candidates = [named] if named else ["target/release/strait", "target/debug/strait"]
    for path in candidates:
        if (ROOT / path).is_file():
            return str(ROOT / path)
    sys.exit(f"no server binary at {' or '.join(candidates)}: run cargo build --release")


def host_port(text):
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


def credentials_in(data):
    """The keys of the first start: access_key, secret_key, token."""
    text = (pathlib.Path(data) / "credentials.toml").read_text()
    keys = {}
    for name in ("access_key", "secret_key", "token"):
        found = re.search(rf'^{name}\s*=\s*"([^"]*)"', text, re.MULTILINE)
        if not found:
            raise SystemExit(f"no {name} in {data}/credentials.toml")
        keys[name] = found[1]
    return keys


# One device of a script says in a second what a real one does in a day.
UNLIMITED = {"STRAIT_LIMITS__DEVICE_PER_S": "0"}


class Server:
    """A running server. `http`, `coap` and `coaps` are (host, port); `coaps` is None when off.

    Nobody has to say who he is, unless `authenticated`: then `keys` are those of the first start,
    and `rest` sends their token. `env` is added to the environment.
    """

    def __init__(
        self,
        data,
        http="127.0.0.1:0",
        coap="127.0.0.1:0",
        log=None,
        coaps="off",
        config=None,
        authenticated=False,
        env=None,
    ):
        self.log = open(log, "ab") if log else subprocess.DEVNULL
        command = [binary(), "serve", "--data", str(data)]
        command += [] if authenticated else ["--no-auth"]
        command += ["--http", http, "--coap", coap, "--coaps", coaps]
        command += ["--config", str(config)] if config else []
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self.log,
            env=os.environ | UNLIMITED | (env or {}),
        )
        self.http, self.coap, self.coaps = self._await_ready(command)
        try:
            self.keys = credentials_in(data) if authenticated else None
        except BaseException:
            self.kill()
            raise

    def _await_ready(self, command):
        deadline = time.monotonic() + START_S
        pipe = self.process.stdout
        while time.monotonic() < deadline:
            if not select.select([pipe], [], [], 1)[0]:
                continue
            line = pipe.readline()
            if not line:
                break
            found = READY.match(line.decode().strip())
            if found:
                coaps = None if found[3] == "-" else host_port(found[3])
                return host_port(found[1]), host_port(found[2]), coaps
        code = self.process.poll()
        self.kill()
        raise SystemExit(f"no ready line from {' '.join(command)} (exit code {code})")

    @property
    def pid(self):
        return self.process.pid

    def rss_kb(self):
        status = pathlib.Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1])

    def kill(self):
        """Ends it without a word, as a crash does."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()

    def stop(self):
        """Ends it as an operator does; its exit code must be 0."""
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(60)
        self.process.stdout.close()
        if code != 0:
            raise SystemExit(f"the server ended with {code} after SIGTERM")

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if self.process.poll() is None:
            self.kill() if kind else self.stop()

    def rest(self, method, path, body=None, content_type="application/json", want=None):
        """One request: (status, parsed JSON or None). `want` lists the statuses that are fine."""
        connection = http.client.HTTPConnection(*self.http, timeout=30)
        try:
            data = json.dumps(body) if isinstance(body, (dict, list)) else body
            headers = {"Content-Type": content_type}
            headers |= {"X-Auth-Token": self.keys["token"]} if self.keys else {}
            connection.request(method, path, body=data, headers=headers)
            response = connection.getresponse()
            raw = response.read()
        finally:
            connection.close()
        if want and response.status not in want:
            raise SystemExit(f"{method} {path} answered {response.status}: {raw.decode()}")
        return response.status, json.loads(raw) if raw else None

    def metrics(self):
        """Every figure of /metrics by its name and labels, as they are written there."""
        connection = http.client.HTTPConnection(*self.http, timeout=30)
        try:
            headers = {"X-Auth-Token": self.keys["token"]} if self.keys else {}
            connection.request("GET", "/metrics", headers=headers)
            lines = connection.getresponse().read().decode().splitlines()
        finally:
            connection.close()
        figures = (line.rpartition(" ") for line in lines if line and not line.startswith("#"))
        return {name: float(value) for name, _, value in figures}

    def create_product(self, folder):
        """A sample product with its codec; gives its id."""
        codecs = ROOT / "codecs" / folder
        model = json.loads((codecs / "profile.json").read_text())
        product = self.rest("POST", "/v5/iot/p/products", model, want=[201])[1]["product_id"]
        path = f"/v1/products/{product}/codec"
        self.rest("PUT", path, (codecs / "codec.toml").read_bytes(), "application/toml", [200, 201])
        return product

    def create_custom(self, model, codec):
        """A product of the script's own; gives its id."""
        product = self.rest("POST", "/v5/iot/p/products", model, want=[201])[1]["product_id"]
        path = f"/v1/products/{product}/codec"
        self.rest("PUT", path, codec, "application/toml", [200, 201])
        return product

    def create_device(self, product, node, secret=None):
        """Gives its id. A secret, in hex, is its DTLS key and lets it in on `coaps` only."""
        body = {"node_id": node, "product_id": product}
        body |= {"auth_info": {"secret": secret}} if secret else {}
        return self.rest("POST", "/v5/iot/p/devices", body, want=[201])[1]["device_id"]

    def device(self, device):
        return self.rest("GET", f"/v5/iot/p/devices/{device}", want=[200])[1]

    def shadow(self, device):
        """Reported properties by service."""
        answer = self.rest("GET", f"/v5/iot/p/devices/{device}/shadow", want=[200])[1]
        reported = {}
        for service in answer.get("shadow") or []:
            properties = (service.get("reported") or {}).get("properties")
            if properties is not None:
                reported[service["service_id"]] = properties
        return reported

    def history(self, device):
        """Everything reported, newest first, over all pages."""
        rows, marker = [], None
        while True:
            path = f"/v1/devices/{device}/history?limit=50"
            if marker:
                path += f"&marker={marker}"
            answer = self.rest("GET", path, want=[200])[1]
            rows += answer["history"]
            following = answer["page"].get("marker")
            if not answer["history"] or not following or following == marker:
                return rows
            marker = following


# A product with one 32-bit counter: nothing of it depends on a sample product's bytes.
COUNTER_MODEL = {
    "name": "counter",
    "device_type": "Counter",
    "protocol_type": "CoAP",
    "data_format": "binary",
    "service_capabilities": [
        {
            "service_id": "Counter",
            "service_type": "Counter",
            "properties": [
                {
                    "property_name": "value",
                    "data_type": "long",
                    "required": True,
                    "min": "0",
                    "max": "4294967295",
                    "method": "R",
                }
            ],
        }
    ],
}
COUNTER_CODEC = """
codec = { name = "counter", endian = "be", id = { at = 0, type = "u8" } }

[[message]]
id = 1
name = "count"
dir = "up"
service = "Counter"
fields = [ { n = "value", t = "u32" } ]
"""


def counter_bytes(value):
    return b"\x01" + value.to_bytes(4, "big")


def eventually(what, check, seconds=20):
    """Polls `check` until it is true; the last answer goes into the complaint."""
    deadline = time.monotonic() + seconds
    while True:
        got = check()
        if got:
            return got
        if time.monotonic() > deadline:
            raise SystemExit(f"not seen within {seconds} s: {what}; last: {got!r}")
        time.sleep(0.05)
