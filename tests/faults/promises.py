#!/usr/bin/env python3
"""Faults of the machine around the server, one promise each: nothing acknowledged is lost, and the
server goes on by itself when the fault is over.

    tests/faults/promises.py [--seconds 5] [NAME...]    NAME: see PROMISES; default: all

Devices report counters over CoAP as in kill9.py, each repeats what is not acknowledged, and at the
end the history of each is compared with what was acknowledged. The disks need root and loop devices,
`clock-jumps` needs libfaketime; without them they say that they skipped, and fail where CI=true.
"""

import argparse
import contextlib
import fcntl
import http.client
import http.server
import json
import os
import pathlib
import re
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "interop"))

import kill9  # noqa: E402
import server as strait  # noqa: E402

DEVICES = 20
# Ends all writing at once, as a disk that is pulled out does (EXT4_IOC_SHUTDOWN, no flush).
SHUTDOWN = 0x8004587D
NO_FLUSH = (2).to_bytes(4, sys.byteorder)
SCRIPT = """
function decodeUplink(input) {
  var b = input.bytes;
  return {data: {Counter: {value: b[1] * 16777216 + b[2] * 65536 + b[3] * 256 + b[4]}}};
}
"""


class Skipped(Exception):
    pass


class Fleet:
    """Devices that report as fast as they are acknowledged."""

    def __init__(self, server, codec=strait.COUNTER_CODEC, kind="application/toml"):
        path = "/v5/iot/p/products"
        self.product = server.rest("POST", path, strait.COUNTER_MODEL, want=[201])[1]["product_id"]
        path = f"/v1/products/{self.product}/codec"
        server.rest("PUT", path, codec.encode(), kind, [200, 201])
        self.devices = [kill9.Device(n, server.coap) for n in range(DEVICES)]
        self.ids = [server.create_device(self.product, d.node) for d in self.devices]
        self.selector = selectors.DefaultSelector()
        for device in self.devices:
            self.selector.register(device.socket, selectors.EVENT_READ, device)
        self.until(lambda: all(d.acknowledged for d in self.devices))

    def until(self, stop):
        kill9.run_until(self.devices, self.selector, lambda _: stop())

    def run(self, seconds):
        end = time.monotonic() + seconds
        self.until(lambda: time.monotonic() > end)

    def go_on(self):
        """Everybody gets through again."""
        before = [len(d.acknowledged) for d in self.devices]
        self.until(lambda: all(len(d.acknowledged) > n for d, n in zip(self.devices, before)))

    @property
    def acknowledged(self):
        return sum(len(d.acknowledged) for d in self.devices)

    def verify(self, server):
        """Lets each finish what it has under way, and compares."""
        for device in self.devices:
            device.tick = lambda now, d=device: d.under_way and kill9.Device.tick(d, now)
        self.until(lambda: all(d.under_way is None for d in self.devices))
        complaints = []
        for device, device_id in zip(self.devices, self.ids):
            complaints += kill9.verify(server, device, device_id, settled=True)
        if complaints:
            raise SystemExit("\n".join(complaints))


def status(server, path):
    """Of a GET, at once; None: no answer."""
    connection = http.client.HTTPConnection(*server.http, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except OSError:
        return None
    finally:
        connection.close()


@contextlib.contextmanager
def disk(size="256M"):
    """A disk of its own: (where it is mounted, its image)."""
    tools = ["mkfs.ext4", "mount", "umount", "fsfreeze"]
    missing = [tool for tool in tools if not shutil.which(tool)]
    if os.geteuid() != 0 or missing:
        raise Skipped(f"needs root and {', '.join(tools)}")
    with tempfile.TemporaryDirectory() as work:
        image, mounted = f"{work}/disk.img", f"{work}/mounted"
        os.mkdir(mounted)
        subprocess.run(["truncate", "-s", size, image], check=True)
        subprocess.run(["mkfs.ext4", "-q", image], check=True)
        if subprocess.run(["mount", "-o", "loop", image, mounted], check=False).returncode:
            raise Skipped("needs loop devices")
        try:
            yield mounted, image
        finally:
            subprocess.run(["umount", "-l", mounted], check=False)


def frozen_disk(seconds):
    """A disk that does not answer delays acknowledgements; nothing is acknowledged meanwhile, nothing is lost."""
    with disk() as (mounted, _), strait.Server(f"{mounted}/data") as server:
        fleet = Fleet(server)
        fleet.run(1)
        subprocess.run(["fsfreeze", "--freeze", mounted], check=True)
        try:
            # What was written before is still told; then silence.
            fleet.run(0.5)
            before = fleet.acknowledged
            fleet.run(seconds)
            during = fleet.acknowledged - before
            if status(server, "/healthz") != 200:
                raise SystemExit("the process says that it does not live")
        finally:
            subprocess.run(["fsfreeze", "--unfreeze", mounted], check=True)
        fleet.go_on()
        fleet.verify(server)
        if during:
            raise SystemExit(f"{during} reports acknowledged while the disk stood still")
        return f"{fleet.acknowledged} acknowledged, none in {seconds} s of a disk that stood still"


def slow_disk(seconds):
    """A disk that stands still nine tenths of the time slows acknowledgements down, and nothing is lost."""
    with disk() as (mounted, _), strait.Server(f"{mounted}/data") as server:
        fleet = Fleet(server)
        before = fleet.acknowledged
        is_slow = threading.Event()
        is_slow.set()

        def slow_down():
            while is_slow.is_set():
                subprocess.run(["fsfreeze", "--freeze", mounted], check=True)
                time.sleep(0.27)
                subprocess.run(["fsfreeze", "--unfreeze", mounted], check=True)
                time.sleep(0.03)

        slowing = threading.Thread(target=slow_down)
        slowing.start()
        try:
            fleet.run(seconds)
            during = fleet.acknowledged - before
            ready = status(server, "/readyz")
        finally:
            is_slow.clear()
            slowing.join()
        fleet.go_on()
        fleet.verify(server)
        if not during:
            raise SystemExit(f"no report was acknowledged in {seconds} s of a slow disk")
        if ready != 200:
            raise SystemExit(f"/readyz answers {ready}, though commits succeed")
        return f"{during} acknowledged in {seconds} s"


def dead_disk(_):
    """A disk that is pulled out: no further acknowledgement, /readyz says so, and all that was acknowledged is there later."""

    def pull_out(mounted):
        handle = os.open(mounted, os.O_RDONLY)
        fcntl.ioctl(handle, SHUTDOWN, NO_FLUSH)
        os.close(handle)

    return without_disk(pull_out)


def read_only_disk(_):
    """A disk that turns read-only, as after errors: no further acknowledgement, a start on it says why not, and nothing acknowledged is lost."""

    def turn(mounted):
        subprocess.run(["mount", "-o", "remount,abort", mounted], check=True)

    def start(data):
        command = [strait.binary(), "serve", "--no-auth", "--data", data]
        command += ["--http", "127.0.0.1:0", "--coap", "127.0.0.1:0", "--coaps", "off"]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
        if ended.returncode == 0 or "ead-only" not in ended.stderr:
            raise SystemExit(f"a start ends with {ended.returncode} and says: {ended.stderr}")

    return without_disk(turn, start)


def without_disk(fault, meanwhile=lambda _: None):
    """Lets a fault end all writing; `meanwhile` gets the data directory while it lasts and no server runs."""
    with disk() as (mounted, image):
        data = f"{mounted}/data"
        # Its key lies elsewhere, as backups want it, and the log too.
        with tempfile.TemporaryDirectory() as work:
            server = strait.Server(data, log=f"{work}/log")
            addresses = {name: "%s:%d" % getattr(server, name) for name in ("http", "coap")}
            fleet = Fleet(server)
            fleet.run(2)
            fault(mounted)
            fleet.run(1)
            before = fleet.acknowledged
            fleet.run(2)
            after = fleet.acknowledged
            ready = status(server, "/readyz")
            server.kill()
            if after != before:
                raise SystemExit(f"{after - before} reports acknowledged without a disk")
            if ready == 200:
                raise SystemExit("/readyz says that commits succeed, without a disk")
            meanwhile(data)
            subprocess.run(["umount", mounted], check=True)
            subprocess.run(["mount", "-o", "loop", image, mounted], check=True)
            with strait.Server(data, log=f"{work}/log", **addresses) as server:
                fleet.go_on()
                fleet.verify(server)
            return f"{fleet.acknowledged} acknowledged, {before} of them before the disk went; /readyz {ready}"


def clock_jumps(seconds):
    """A wall clock that jumps by a day, forth and back, stops no device and loses no report."""
    libraries = list(pathlib.Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    if not libraries:
        raise Skipped("needs libfaketime")
    with tempfile.TemporaryDirectory() as work:
        offset = pathlib.Path(work, "offset")

        def jump(to):
            # Renamed into place: half a file is no offset.
            pathlib.Path(f"{offset}.new").write_text(f"{to}\n")
            os.replace(f"{offset}.new", offset)

        jump("+0")
        # Monotonic time goes on as it does when an operator sets the clock.
        env = {
            "LD_PRELOAD": str(libraries[0]),
            "FAKETIME_TIMESTAMP_FILE": str(offset),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        with strait.Server(f"{work}/data", env=env) as server:
            fleet = Fleet(server)
            told = []
            for to in ("+86400", "-86400", "+0"):
                jump(to)
                before = fleet.acknowledged
                fleet.run(seconds / 3)
                fleet.go_on()
                told.append(fleet.acknowledged - before)
            fleet.verify(server)
        return f"{told[0]} acknowledged a day ahead, {told[1]} a day behind, {told[2]} at the right time"


def no_memory(seconds):
    """A server that gets no further memory goes on or ends; after a start everything acknowledged is there."""
    with tempfile.TemporaryDirectory() as work:
        server = strait.Server(f"{work}/data")
        addresses = {name: "%s:%d" % getattr(server, name) for name in ("http", "coap")}
        fleet = Fleet(server)
        taken = re.search(r"VmData:\s+(\d+)", pathlib.Path(f"/proc/{server.pid}/status").read_text())
        # Not a byte more than it has: what is free in its heap is all there is.
        limit = f"--data={int(taken[1]) * 1024}"
        subprocess.run(["prlimit", "--pid", str(server.pid), limit], check=True)
        before = fleet.acknowledged
        fleet.run(seconds)
        with contextlib.suppress(OSError, http.client.HTTPException):
            # A body that wants more than there is.
            server.rest("PUT", f"/v1/products/{fleet.product}/codec", b"#" * 50_000_000)
        fleet.run(0.5)
        during = fleet.acknowledged - before
        code = server.process.poll()
        server.kill()
        with strait.Server(f"{work}/data", **addresses) as server:
            fleet.go_on()
            fleet.verify(server)
        ended = "it lived" if code is None else f"it ended with {code}"
        return f"{during} acknowledged without further memory, {ended}"


def no_descriptors(seconds):
    """Without descriptors for further callers, devices are served on; callers are when there are some again."""
    with tempfile.TemporaryDirectory() as work, strait.Server(f"{work}/data") as server:
        fleet = Fleet(server)
        fds = len(os.listdir(f"/proc/{server.pid}/fd"))
        limit = f"--nofile={fds + 20}"
        subprocess.run(["prlimit", "--pid", str(server.pid), limit], check=True)
        callers = [socket.socket() for _ in range(100)]
        try:
            for caller in callers:
                caller.settimeout(1)
                caller.connect(server.http)
            before = fleet.acknowledged
            fleet.run(seconds)
            during = fleet.acknowledged - before
            fleet.go_on()
        finally:
            for caller in callers:
                caller.close()
        strait.eventually("an answer over HTTP", lambda: status(server, "/healthz") == 200)
        fleet.verify(server)
        return f"{during} acknowledged beside 100 callers of a server with 20 descriptors left"


def subscriber_away(seconds):
    """A subscriber that does not answer misses nothing, and another hears everything meanwhile."""
    heard = {"away": [], "there": []}
    gate = threading.Event()

    class Listener(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            name = self.path.strip("/")
            if name == "away" and not gate.is_set():
                # It takes the request, and says nothing till it hangs up.
                gate.wait(seconds + 60)
            told = json.loads(body)
            told = told if isinstance(told, list) else [told]
            for one in told:
                for service in one["notify_data"]["body"]["services"]:
                    heard[name].append(
                        (one["notify_data"]["header"]["node_id"], service["properties"]["value"])
                    )
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    listener = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Listener)
    threading.Thread(target=listener.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as work, strait.Server(f"{work}/data") as server:
        for name in heard:
            rule = {
                "rule_name": name,
                "subject": {"resource": "device.property", "event": "report"},
                "app_type": "GLOBAL",
            }
            path = "/v5/iot/p/routing-rule"
            rule_id = server.rest("POST", f"{path}/rules", rule, want=[201])[1]["rule_id"]
            url = "http://127.0.0.1:%d/%s" % (listener.server_port, name)
            action = {
                "rule_id": rule_id,
                "channel": "HTTP_FORWARDING",
                "channel_detail": {"http_forwarding": {"url": url}},
            }
            server.rest("POST", f"{path}/actions", action, want=[201])
            server.rest("PUT", f"{path}/rules/{rule_id}", {"active": True}, want=[200])
        fleet = Fleet(server)
        fleet.run(seconds)
        fleet.verify(server)
        sent = {(d.node, value) for d in fleet.devices for value in d.acknowledged}
        strait.eventually("all at the one who listens", lambda: set(heard["there"]) >= sent, 60)
        early = len(set(heard["away"]))
        gate.set()
        strait.eventually("all at the one who was away", lambda: set(heard["away"]) >= sent, 120)
    listener.shutdown()
    if early:
        raise SystemExit(f"the one who was away heard {early}")
    return f"{len(sent)} reports told to both, to the one when it was back"


def worker_crashes(seconds):
    """Codec workers that are killed again and again cost no report: each is decoded, or kept and decoded later."""
    with tempfile.TemporaryDirectory() as work, strait.Server(f"{work}/data") as server:
        fleet = Fleet(server, SCRIPT, "text/javascript")
        killed, end = 0, time.monotonic() + seconds
        while time.monotonic() < end:
            fleet.run(0.3)
            for worker in workers(server.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(worker, signal.SIGKILL)
                    killed += 1
        fleet.go_on()
        path = f"/v1/products/{fleet.product}/codec/replay"
        server.rest("POST", path, {}, want=[200, 201, 202])

        def all_there():
            rows = [server.history(device_id) for device_id in fleet.ids]
            found = [len({row["properties"]["value"] for row in of}) for of in rows]
            return all(n >= len(d.acknowledged) for n, d in zip(found, fleet.devices))

        for device in fleet.devices:
            device.tick = lambda now, d=device: d.under_way and kill9.Device.tick(d, now)
        fleet.until(lambda: all(d.under_way is None for d in fleet.devices))
        server.rest("POST", path, {}, want=[200, 201, 202, 409, 400])
        strait.eventually("every report in the history", all_there, 60)
        fleet.verify(server)
        return f"{fleet.acknowledged} acknowledged over {killed} workers killed"


def workers(pid):
    """Processes of codecs of a server."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError, IndexError):
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == pid and b"codec-worker" in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
    return found


PROMISES = {
    "frozen-disk": frozen_disk,
    "slow-disk": slow_disk,
    "dead-disk": dead_disk,
    "read-only-disk": read_only_disk,
    "clock-jumps": clock_jumps,
    "no-memory": no_memory,
    "no-descriptors": no_descriptors,
    "subscriber-away": subscriber_away,
    "worker-crashes": worker_crashes,
}


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--seconds", type=float, default=5)
    arguments.add_argument("names", nargs="*", metavar="NAME")
    arguments = arguments.parse_args()
    unknown = [name for name in arguments.names if name not in PROMISES]
    if unknown:
        sys.exit(f"no promise {unknown[0]}, takes: {' '.join(PROMISES)}")
    for name in arguments.names or PROMISES:
        promise = PROMISES[name]
        text = promise.__doc__.strip()
        try:
            figures = promise(arguments.seconds)
        except Skipped as skipped:
            print(f"skipped: {name}: {skipped}", flush=True)
            if os.environ.get("CI") == "true":
                sys.exit(1)
            continue
        except SystemExit as failure:
            print(f"BROKEN: {name}: {text}\n{failure}", flush=True)
            sys.exit(1)
        print(f"held: {name}: {text} ({figures})", flush=True)


if __name__ == "__main__":
    main()
