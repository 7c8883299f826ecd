#!/usr/bin/env python3
"""kill -9 every few seconds while commands go to devices: none lost, none stuck, none run twice.

Writers submit commands, each with a name of its own (X-Request-Id), and repeat a submission under its name until
it is answered. Devices run them and answer: some as a notification, some in a separate response, some with
POST /t/d. Half of the devices recognise a message that comes again, the others run it again. The server is
killed at random moments and started again on the same ports; nobody registers anew. At the end:

- every submission that was answered is in its device's history, once, and in a final state;
- queued commands are SUCCESSFUL, and ran in the order in which they were submitted;
- a device that recognises repetitions ran each command once, and SUCCESSFUL ones exactly once;
- the others may have run one again, but never from two different messages.

    tests/faults/kill9_commands.py [--commands 100000] [--devices 200] [--every 3] [--seed N]
"""

import argparse
import collections
import http.client
import json
import pathlib
import random
import selectors
import socket
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "interop"))

import server as strait  # noqa: E402
from kill9 import ACK, CHANGED, CONTENT, CREATED, GET, POST, RST, Failure, header, message, option  # noqa: E402

PUT = 0x03
REPEAT_S = 0.5
PATIENCE_S = 120

MODEL = strait.COUNTER_MODEL | {
    "service_capabilities": [
        strait.COUNTER_MODEL["service_capabilities"][0]
        | {
            "commands": [
                {
                    "command_name": "SET",
                    "paras": [{"para_name": "value", "data_type": "long", "required": True}],
                    "responses": [
                        {"response_name": "DONE", "paras": [{"para_name": "code", "data_type": "int"}]}
                    ],
                }
            ]
        }
    ]
}
CODEC = (
    strait.COUNTER_CODEC
    + """
[[message]]
id = 0x81
name = "SET"
dir = "down"
service = "Counter"
reply = 0x82
fields = [ { n = "mid", t = "u16", auto = "mid" }, { n = "value", t = "u32" } ]

[[message]]
id = 0x82
name = "DONE"
dir = "response"
fields = [ { n = "mid", t = "u16", match = "mid" }, { n = "code", t = "u8", result = true } ]
"""
)


def payload_of(data):
    """What is behind the options."""
    at = 4 + (data[0] & 15)
    while at < len(data) and data[at] != 0xFF:
        delta, length = data[at] >> 4, data[at] & 15
        at += 1 + (delta == 13) + 2 * (delta == 14)
        if length >= 13:
            extra = length - 12
            length = int.from_bytes(data[at : at + extra], "big") + (13 if extra == 1 else 269)
            at += extra
        at += length
    return data[at + 1 :]


class Device:
    """By its number: LwM2M or raw CoAP, how it answers, whether it recognises repetitions."""

    def __init__(self, number, coap):
        self.number, self.node = number, f"kill9-commands-{number:04}"
        self.lwm2m = number % 3 != 2
        self.separate = number % 3 == 1
        self.recognises = number % 2 == 0
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.connect(coap)
        self.socket.setblocking(False)
        self.msg_id = random.randrange(65536)
        self.token = None
        self.ready = False
        self.known = collections.OrderedDict()  # message id -> answer
        self.ran = []  # (value, bytes)
        self.waiting = collections.deque()  # messages of its own
        self.open = None  # (message id, datagram)
        self.repeat_at = 0.0
        self._register()

    def _next_id(self):
        self.msg_id = (self.msg_id + 1) & 0xFFFF
        return self.msg_id

    def _register(self):
        number = self._next_id()
        ep = b"ep=" + self.node.encode()
        if self.lwm2m:
            options = option(11, b"rd") + option(1, b"\x28") + option(3, ep)
            options += option(0, b"lt=86400") + option(0, b"lwm2m=1.0") + option(0, b"b=U")
            data = message(0, POST, number, b"r", options, b"</1/0>,</3/0>,</19/0>,</19/1>")
        else:
            options = option(11, b"t") + option(0, b"r") + option(4, ep)
            data = message(0, POST, number, b"r", options)
        self.waiting.append((number, data))

    def say(self, payload, request_token):
        """An answer to a command, as a message of its own."""
        number = self._next_id()
        if self.separate:
            data = message(0, CONTENT, number, request_token, option(12, b"\x2a"), payload)
        elif self.lwm2m:
            options = option(6, number.to_bytes(3, "big")) + option(6, b"\x2a")
            data = message(0, CONTENT, number, self.token, options, payload)
        else:
            options = option(11, b"t") + option(0, b"d") + option(1, b"\x2a")
            data = message(0, POST, number, b"d", options, payload)
        self.waiting.append((number, data))

    def tick(self, now):
        if self.open is None and self.waiting:
            self.open = self.waiting.popleft()
            self._send(self.open[1])
            self.repeat_at = now + REPEAT_S
        elif self.open and now > self.repeat_at:
            self._send(self.open[1])
            self.repeat_at = now + REPEAT_S

    def _send(self, data):
        try:
            self.socket.send(data)
        except ConnectionRefusedError:
            pass  # the server is down: a lost datagram

    def receive(self):
        while True:
            try:
                data = self.socket.recv(2048)
            except ConnectionRefusedError:
                continue
            except BlockingIOError:
                return
            self.take(data)

    def take(self, data):
        kind, code, number, token = header(data)
        if 1 <= code <= 31:
            self.requested(data, code, number, token)
            return
        if kind == RST:
            raise Failure(f"kill9_commands: {self.node}: reset after {len(self.ran)} commands")
        if kind == 0 and code:
            self._send(message(ACK, 0, number))
        if self.open is None or code == 0xA3:
            return
        mine, sent = self.open
        is_request = 1 <= sent[1] <= 31
        answers = token == sent[4 : 4 + (sent[0] & 15)] if is_request and kind != ACK else number == mine
        if not answers or (is_request and code == 0):
            return
        if code not in (0, CREATED, CHANGED):
            raise Failure(f"kill9_commands: {self.node}: answered {code >> 5}.{code & 31:02}")
        self.ready = True
        self.open = None

    def requested(self, data, code, number, token):
        if code == GET:
            self.token = token
            more = option(6, b"\x01")
            self._send(message(ACK, CONTENT, number, token, more))
            return
        if self.recognises and number in self.known:
            self._send(self.known[number])
            return
        payload = payload_of(data)
        if payload[:1] != b"\x81" or code != (PUT if self.lwm2m else POST):
            raise Failure(f"kill9_commands: {self.node} got {code:#x} {payload.hex()}")
        answer = message(ACK, 0 if self.separate else CHANGED, number, b"" if self.separate else token)
        self.known[number] = answer
        if len(self.known) > 64:
            self.known.popitem(last=False)
        self.ran.append((int.from_bytes(payload[3:7], "big"), payload))
        self._send(answer)
        self.say(b"\x82" + payload[1:3] + b"\x00", token)


class Writer(threading.Thread):
    """Submits commands to its own devices."""

    def __init__(self, address, devices, count, seed):
        super().__init__(daemon=True)
        self.address, self.devices, self.left = address, devices, count
        self.random = random.Random(seed)
        self.connection = None
        self.asked = {device: [] for device in devices}  # (value, strategy, command id)
        self.repeated = self.full = 0
        self.failure = None

    def run(self):
        try:
            self.write()
        except BaseException as error:  # noqa: BLE001: told by the main thread
            self.failure = error

    def write(self):
        value = 0
        while self.left > 0:
            device = self.random.choice(self.devices)
            value += 1
            strategy = "immediately" if self.random.random() < 0.1 else "delay"
            body = {
                "service_id": "Counter",
                "command_name": "SET",
                "paras": {"value": value},
                "send_strategy": strategy,
            }
            name = f"{device}-{value}-{self.random.randrange(2**32):08x}"
            command = self.submit(device, body, name)
            if command is None:
                self.full += 1
                time.sleep(0.02)
                continue
            self.asked[device].append((value, strategy, command))
            self.left -= 1

    def submit(self, device, body, name):
        """The command's id, None when the queue is full."""
        give_up_at = time.monotonic() + PATIENCE_S
        while time.monotonic() < give_up_at:
            try:
                status, answer = self.post(f"/v5/iot/p/devices/{device}/async-commands", body, name)
            except (OSError, http.client.HTTPException):
                self.connection = None
                self.repeated += 1
                time.sleep(0.05)
                continue
            if status == 200:
                return answer["command_id"]
            if status == 403:
                return None
            if status != 503:
                raise Failure(f"kill9_commands: submitting answered {status}: {answer}")
            self.repeated += 1
            time.sleep(0.05)
        raise Failure(f"kill9_commands: no answer to a submission within {PATIENCE_S} s")

    def post(self, path, body, name):
        if self.connection is None:
            self.connection = http.client.HTTPConnection(*self.address, timeout=20)
        headers = {"Content-Type": "application/json", "X-Request-Id": name}
        self.connection.request("POST", path, body=json.dumps(body), headers=headers)
        response = self.connection.getresponse()
        raw = response.read()
        return response.status, json.loads(raw) if raw else None


def drive(devices, selector, stop):
    while not stop(time.monotonic()):
        now = time.monotonic()
        for device in devices:
            device.tick(now)
        for key, _ in selector.select(0.005):
            key.data.receive()


def pages(server, device, what, name):
    rows, marker = [], None
    while True:
        path = f"/v5/iot/p/devices/{device}/{what}?limit=50"
        path += f"&marker={marker}" if marker else ""
        answer = server.rest("GET", path, want=[200])[1]
        rows += answer[name]
        following = answer["page"].get("marker")
        if len(answer[name]) < 50 or not following:
            return rows
        marker = following


def verify(server, device, device_id, asked):
    """Complaints about one device, and its counts by status."""
    complaints = []
    complain = lambda text: complaints.append(f"{device.node}: {text}")  # noqa: E731
    ended = pages(server, device_id, "async-commands-history", "commands")
    status = collections.Counter(row["status"] for row in ended)
    by_id = {row["command_id"]: row for row in ended}
    if len(by_id) != len(ended):
        complain("the history has a command twice")
    if len(ended) != len(asked):
        complain(f"{len(ended)} commands in the history, {len(asked)} were submitted")
    runs = collections.defaultdict(list)
    for value, payload in device.ran:
        runs[value].append(payload)
    for value, strategy, command in asked:
        row = by_id.get(command)
        if row is None:
            complain(f"command {command} is lost")
            continue
        final = row["status"]
        if final != "SUCCESSFUL" and (strategy == "delay" or final != "FAILED"):
            complain(f"command {command} ({strategy}) ended as {final}")
        ran = runs.get(value, [])
        if final == "SUCCESSFUL" and not ran:
            complain(f"command {command} is SUCCESSFUL, and never ran")
        if len(set(ran)) > 1:
            complain(f"command {command} was encoded twice: {sorted({p.hex() for p in ran})}")
        if device.recognises and len(ran) > 1:
            complain(f"command {command} ran {len(ran)} times")
        times = [row["created_time"], row["sent_time"], row["delivered_time"], row["response_time"]]
        times = [time for time in times if time]
        if times != sorted(times):
            complain(f"command {command} has times {times}")
    queued = {value for value, strategy, _ in asked if strategy == "delay"}
    order = list(dict.fromkeys(value for value, _ in device.ran if value in queued))
    if order != sorted(order):
        complain("queued commands ran out of order")
    invented = set(runs) - {value for value, _, _ in asked}
    if invented:
        complain(f"ran what nobody asked for: {sorted(invented)[:5]}")
    return complaints, status


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--commands", type=int, default=100_000)
    arguments.add_argument("--devices", type=int, default=200)
    arguments.add_argument("--writers", type=int, default=6)
    arguments.add_argument("--every", type=float, default=3.0)
    arguments.add_argument("--seed", type=int, default=None)
    arguments = arguments.parse_args()
    seed = arguments.seed if arguments.seed is not None else random.randrange(2**32)
    random.seed(seed)
    print(f"kill9_commands: seed {seed}", flush=True)
    with tempfile.TemporaryDirectory() as work:
        data, log = f"{work}/data", f"{work}/log"
        server = strait.Server(data, log=log)
        ports = {name: "%s:%d" % getattr(server, name) for name in ("http", "coap")}
        kills = 0
        try:
            product = server.create_custom(MODEL, CODEC)
            settings = {"coap": {"ack_timeout_s": 1, "max_retransmit": 6}}
            server.rest("PUT", f"/v1/products/{product}/settings", settings, want=[200, 201])
            devices = [Device(n, server.coap) for n in range(arguments.devices)]
            ids = [server.create_device(product, device.node) for device in devices]
            selector = selectors.DefaultSelector()
            for device in devices:
                selector.register(device.socket, selectors.EVENT_READ, device)
            ready = lambda _: all(d.ready and (d.token or not d.lwm2m) for d in devices)  # noqa: E731
            drive(devices, selector, ready)
            share = -(-arguments.commands // arguments.writers)
            writers = [
                Writer(server.http, ids[n :: arguments.writers], share, seed + n)
                for n in range(arguments.writers)
            ]
            begun = time.monotonic()
            for writer in writers:
                writer.start()
            working = lambda: any(w.is_alive() for w in writers)  # noqa: E731
            while working():
                moment = time.monotonic() + random.uniform(0.5, 1.5) * arguments.every
                drive(devices, selector, lambda now: now > moment or not working())
                if not working():
                    break
                server.kill()
                kills += 1
                server = strait.Server(data, log=log, **ports)
            for writer in writers:
                if writer.failure:
                    raise writer.failure

            # Nothing may be stuck: all queues run empty.
            left = dict(zip(ids, devices))
            deadline = time.monotonic() + PATIENCE_S

            def is_empty(now):
                if now > deadline:
                    raise Failure(f"kill9_commands: {len(left)} queues are stuck: {list(left)[:5]}")
                for device_id in list(left)[:5]:
                    path = f"/v5/iot/p/devices/{device_id}/async-commands?limit=1"
                    if server.rest("GET", path, want=[200])[1]["commands"]:
                        return False
                    del left[device_id]
                return not left

            drive(devices, selector, is_empty)
            drive(devices, selector, lambda _: not any(d.open or d.waiting for d in devices))
            took = time.monotonic() - begun
            asked = {}
            for writer in writers:
                asked |= writer.asked
            complaints, status = [], collections.Counter()
            for device, device_id in zip(devices, ids):
                told, counts = verify(server, device, device_id, asked[device_id])
                complaints += told
                status += counts
            server.stop()
        except BaseException:
            server.kill()
            sys.stderr.write(pathlib.Path(log).read_text()[-4000:])
            raise
    for complaint in complaints[:50]:
        print(f"kill9_commands: {complaint}", file=sys.stderr)
    again = sum(len(d.ran) - len({v for v, _ in d.ran}) for d in devices if not d.recognises)
    counts = ", ".join(f"{n} {name}" for name, n in sorted(status.items()))
    print(
        f"kill9_commands: {sum(status.values())} commands in {took:.0f} s over {kills} kills: {counts}; "
        f"{sum(w.repeated for w in writers)} submissions repeated, {again} runs again by devices that "
        f"don't recognise repetitions, {len(complaints)} complaints"
    )
    sys.exit(1 if complaints or not kills else 0)


if __name__ == "__main__":
    main()
