#!/usr/bin/env python3
"""kill -9 of the server in each step of an upgrade: it goes on where it was, and ends once and well.

Each run has a server, two simulated devices (`strait sim`) in one cell that takes one of them at a time, and a
relay between them (relay.py) that reads which step a datagram is of. In each step the server is killed as
such a datagram comes: once the datagram is lost, once it arrives, and the server dies up to some milliseconds
later, anywhere between receiving and answering. It starts again on the same data and ports. At the end:

- the campaign and the device are successful, in the first attempt, and one event tells it, not two;
- the device installed what it should, and once; no byte of it was wrong;
- it got each block or fragment once, but for those under way at a kill: no download began anew;
- the cell is free: the other device is admitted to the only slot and upgraded by a campaign of its own;
- `strait store check` finds nothing.

The steps are those of docs/upgrades.md. Step 5 is of firmware alone. Step 4 has both devices in one campaign, and
the second in the line: it must not begin before the first is done. `moves` gives the device other addresses
in the middle of its download.

    tests/faults/kill9_upgrades.py [--kinds fota,at,lwm2m] [--steps 1,3,3-cell,…,10,all] [--jobs 6] [--seed N]
"""

import argparse
import concurrent.futures
import http.client
import json
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "interop"))

import server as strait  # noqa: E402
from relay import CLOSE, LOSE, PASS, Relay  # noqa: E402

V5 = "/v5/iot/p"
PATIENCE_S = 60
BLOCK, FRAGMENT, PIECES = 512, 500, 24
OLD, NEW = "V1.0", "V2.0"
# Of a datagram that arrives: how long the server has until it is killed.
GRACE_S = 0.004
# What a block takes on the air, at the least. A push that outruns the disk begins anew after a kill.
AIR_S = 0.02
# What a point does: waits only; kills, and the datagram is lost, or arrives; moves the device, as a NAT does.
SEE, DROP, GIVE, MOVE = "see", "drop", "give", "move"
LAST = PIECES - 1
HALF = PIECES // 2


class Failure(Exception):
    """What a run found wrong."""


def each(*words):
    """Killed at each of them, once with the datagram lost, once as it arrives."""
    return [(word, how) for word in words for how in (DROP, GIVE)]


FOTA = {
    "1": each("register"),
    "2": each("version?", "version!"),
    "3": each("coverage?", "coverage!"),
    "3-cell": each("coverage?", "coverage!", "cell?", "cell!"),
    "4": [],
    "5": each("state?", "state!", "result?", "result!"),
    "6": each("uri?"),
    "6-taken": [("uri!", DROP), *each("get=0", f"get={HALF}", f"get={LAST}")],
    "6-told": [("uri!", GIVE)] + [(f"block={n}", DROP) for n in (0, HALF, LAST)],
    "7": each("state=2"),
    "8": each("execute?"),
    "8-taken": [("execute!", DROP), *each("state=3")],
    "8-told": [("execute!", GIVE)],
    "9": [("execute!", SEE), *each("register", "check?", "check!")],
    "9-state": [("execute!", SEE), *each("state=0")],
    "9-result": [("execute!", SEE), *each("result?", "result!")],
    "10": [("check!", SEE)],
    "moves": [("get=4", SEE), ("report", MOVE), ("get=8", DROP), ("report", MOVE), ("get=12", GIVE)],
    "all": each("register")
    + [("version!", GIVE), ("coverage!", DROP), ("state!", GIVE), ("result!", DROP), ("uri!", DROP)]
    + [(f"get={HALF}", GIVE), (f"block={LAST}", DROP), ("state=2", GIVE), ("execute!", DROP)]
    + [("register", GIVE), ("check?", DROP), ("check!", DROP)],
}


def sota(accepts, repeats):
    """`accepts`: the device answers PCP 20. `repeats`: it tells its result (24) until it is answered."""
    taken = "told20" if accepts else "want=0"
    told = each("told24") if repeats else []
    return {
        "1": each("register"),
        "2": each("ask19", "told19"),
        "3": each("coverage?", "coverage!"),
        "3-cell": each("coverage?", "coverage!", "cell?", "cell!"),
        "4": [],
        "6": each("ask20"),
        "6-taken": [(taken, DROP), *each("want=1", f"want={HALF}", f"want={LAST}")],
        "6-told": [(taken, GIVE), *each("part=1", f"part={HALF}", f"part={LAST}")],
        "7": each("told22"),
        "7-told": [("ask22", DROP)],
        "8": each("ask23"),
        "8-taken": [("told23", DROP)],
        "8-told": [("told23", GIVE)],
        "9": [*told, ("ask24", DROP)],
        "10": [("ask24", SEE)],
        "moves": [("want=4", MOVE), ("want=8", DROP), ("want=12", MOVE), ("told22", DROP), ("told22", MOVE)],
        "all": each("register")
        + [("told19", GIVE), ("coverage!", DROP), (taken, DROP), (f"want={HALF}", GIVE)]
        + [(f"part={LAST}", DROP), ("told22", GIVE), ("ask23", DROP), *told, ("ask24", DROP)],
    }


PUSHED = {
    "6": each("uri?", "uri!", "delivery?", "delivery!"),
    "6-taken": each("push=0?", "push=0!", f"push={HALF}?", f"push={HALF}!")
    + [(f"push={LAST}?", DROP), (f"push={LAST}!", DROP)],
    "7": each("state=2"),
}
KINDS = {"fota": FOTA, "fota-push": PUSHED, "at": sota(False, False), "lwm2m": sota(True, True)}


def image(seed):
    size = FRAGMENT * PIECES - 123
    return b"version=" + NEW.encode() + b"\n" + random.Random(seed).randbytes(size)


class Run:
    """One server, its devices, and the kills of one step."""

    def __init__(self, work, number, kind, step, seed):
        self.kind, self.step, self.points = kind, step, list(KINDS[kind][step])
        self.random = random.Random(f"{seed} {kind} {step}")
        self.folder = pathlib.Path(work) / f"{kind}-{step}"
        self.folder.mkdir()
        self.data, self.log = self.folder / "data", self.folder / "server.log"
        self.package = self.folder / "package.bin"
        self.host = f"127.0.{number // 250 + 1}.{number % 250 + 1}"
        self.killed = threading.Event()
        self.kills, self.holds, self.sim = 0, False, None
        self.names = [f"{kind}{step}-{n}" for n in range(2)]
        self.subject = self.names[0]
        self.is_firmware = kind.startswith("fota")

    # What the relay asks, in its thread.

    def cut(self, device, word, send):
        name, _, index = word.partition("=")
        if self.holds and device.name == self.slot_of and name == "want" and int(index) >= HALF:
            return LOSE
        # A result that it tells by itself may be there before its state: then nobody asks for it.
        if self.step == "9-result" and name == "result" and device.name == self.subject:
            return LOSE
        if name == "push":
            time.sleep(AIR_S)
        if not self.points or device.name != self.subject or word != self.points[0][0]:
            return PASS
        _, how = self.points.pop(0)
        if how == MOVE:
            self.relay.move(device)
        if how in (SEE, MOVE):
            return PASS
        if how == GIVE:
            send()
            time.sleep(self.random.uniform(0, GRACE_S))
        self.kill()
        return CLOSE

    def kill(self):
        self.server.kill()
        self.kills += 1
        self.killed.set()

    def restart(self):
        self.killed.clear()
        self.server = self.start(*self.ports)
        self.relay.open()

    # What the script does.

    def start(self, http="", coap=""):
        def where(address):
            return f"{address[0]}:{address[1]}" if address else f"{self.host}:0"

        return strait.Server(self.data, where(http), where(coap), log=self.log)

    def rest(self, method, path, body=None, want=(200, 201), **more):
        """An answer, also over a kill of the server."""
        until = time.monotonic() + PATIENCE_S
        while True:
            self.revive()
            try:
                return self.server.rest(method, path, body, want=list(want), **more)[1]
            except (OSError, http.client.HTTPException, json.JSONDecodeError):
                if time.monotonic() > until:
                    raise

    def revive(self):
        if self.relay and self.relay.failure:
            raise self.relay.failure
        if self.killed.is_set():
            self.restart()

    def eventually(self, what, check):
        until = time.monotonic() + PATIENCE_S
        while True:
            self.revive()
            got = check()
            if got:
                return got
            if time.monotonic() > until:
                left = [f"{how} {word}" for word, how in self.points]
                raise Failure(f"not seen within {PATIENCE_S} s: {what}; points left: {left}")
            time.sleep(0.02)

    def provision(self):
        self.package.write_bytes(image(self.folder.name))
        self.product = self.server.create_product("water-meter")
        settings = {"coap": {"ack_timeout_s": 1}}
        self.rest("PUT", f"/v1/products/{self.product}/settings", settings)
        self.devices = [self.server.create_device(self.product, name) for name in self.names]
        kind = "firmware" if self.is_firmware else "software"
        query = f"package_type={kind}Package&product_id={self.product}&version={NEW}"
        query += "" if self.is_firmware else f"&fragment_size={FRAGMENT}"
        body, binary = self.package.read_bytes(), "application/octet-stream"
        answer = self.rest("PUT", f"/v1/packages?{query}", body, content_type=binary)
        self.package_id = answer["package_id"]

    def campaign(self, name, devices):
        kind = "firmwareUpgrade" if self.is_firmware else "softwareUpgrade"
        body = {"task_name": name, "task_type": kind, "targets": devices}
        body["document"] = {"package_ids": [self.package_id]}
        return self.rest("POST", f"{V5}/batchtasks", body)["task_id"]

    def status(self, task, device):
        path = f"{V5}/batchtasks/{task}?target={device}"
        details = self.rest("GET", path)["task_details"]
        return details[0] if details else {"status": None}

    def is_done(self, task, device):
        row = self.status(task, device)
        if row["status"] in ("Fail", "FailWaitRetry", "Stopped", "Removed"):
            raise Failure(f"{device} is {row}")
        return row["status"] == "Success"

    def simulate(self):
        host, port = self.relay.address
        # One that can't be read whole is asked for its cell alone; then it counts as one of the unknown.
        cell = "piecemeal" if self.step == "3-cell" else "1.1"
        flags = f"--server {host}:{port} --count 2 --product water-meter --prefix {self.names[0][:-1]}"
        # One that takes its time reports between its blocks.
        is_slow = self.kind == "fota" and self.step in ("4", "moves")
        kind = "fota-slow" if is_slow else self.kind
        flags += f" --upgrade {kind} --runs {OLD} --firmware-target {NEW} --expect {self.package}"
        flags += f" --levels 0/0/1 --cell-object {cell} --boot-time 1s --interval 700ms"
        flags += f" --ack-timeout 300ms --seed {self.random.randrange(10**6)} --json"
        self.sim = subprocess.Popen(
            [strait.binary(), "sim", *flags.split()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=open(self.folder / "sim.log", "ab"),
        )

    def run(self):
        begun = time.monotonic()
        self.relay = None
        self.server = self.start()
        self.ports = self.server.http, self.server.coap
        try:
            self.provision()
            self.relay = Relay(self.server.coap, self.cut)
            self.upgrade()
            self.judge()
        except (Exception, SystemExit) as error:
            raise Failure(f"{self.kind} step {self.step}: {error}\n{self.last_words()}") from error
        finally:
            if self.sim:
                self.sim.kill()
            if self.relay:
                self.relay.end()
            self.server.kill()
        return f"{self.kind} {self.step}: {self.kills} kills, {time.monotonic() - begun:.1f} s"

    def last_words(self):
        log = "\n".join([line for line in self.relay.log if ": report" not in line][-80:]) if self.relay else ""
        return f"{log}\n{self.log.read_text()[-1500:]}\nlogs in {self.folder}"

    def upgrade(self):
        if self.step == "4":
            self.upgrade_in_line()
            return
        task = self.campaign("first", self.devices[:1])
        if self.step in ("1", "all"):
            self.eventually("begins", lambda: self.status(task, self.devices[0])["status"] == "Processing")
            self.kill()
            self.restart()
        self.simulate()
        self.eventually("the first is done", lambda: self.is_done(task, self.devices[0]))
        self.eventually("the last kill", lambda: not self.points)
        if self.step in ("10", "all"):
            self.kill()
            self.restart()
        self.until_over(task)
        self.tasks = {task: self.devices[:1]}
        # What the kills held up must not be in the way of the next.
        second = self.campaign("second", self.devices[1:])
        admitted = lambda: self.begun(self.names[1])  # noqa: E731
        self.eventually("the second has the slot", admitted)
        if self.step in ("10", "all"):
            self.eventually("the second is done", lambda: self.is_done(second, self.devices[1]))
            self.until_over(second)
            self.tasks[second] = self.devices[1:]

    def begun(self, name):
        """It has the slot, and is asked what only such a device is."""
        device = self.relay.named(name)
        return device and device.words["state?" if self.is_firmware else "ask20"] > 0

    def until_over(self, task):
        def is_over():
            status = self.rest("GET", f"{V5}/batchtasks/{task}")["batchtask"]["status"]
            return status == "Success"

        self.eventually("the task is over", is_over)

    def upgrade_in_line(self):
        """Both in one campaign, and the cell takes one: the other waits while the server dies."""
        self.holds, self.slot_of = True, None
        task = self.campaign("both", self.devices)
        self.simulate()

        def admitted():
            return [name for name in self.names if self.begun(name)]

        self.slot_of = self.eventually("one is admitted", admitted)[0]
        other = next(name for name in self.names if name != self.slot_of)
        self.eventually("the other is measured", lambda: self.relay.named(other).words["coverage!"])
        wants = "get" if self.is_firmware else "want"
        half = f"{wants}={HALF // 2}"
        self.eventually("half is there", lambda: self.relay.named(self.slot_of).words[half])
        for _ in range(3):
            self.kill()
            self.restart()
            before = self.reports(other)
            self.eventually("the other is heard", lambda: self.reports(other) >= before + 2)
            if self.begun(other):
                raise Failure("both have the only slot")
        self.holds = False
        first, second = (self.devices[self.names.index(name)] for name in (self.slot_of, other))
        self.eventually("the one with the slot is done", lambda: self.is_done(task, first))
        self.eventually("the one in the line is done", lambda: self.is_done(task, second))
        self.until_over(task)
        self.tasks = {task: self.devices}

    def reports(self, name):
        """How often the server has heard it since it started."""
        return self.relay.named(name).words["report"]

    def judge(self):
        self.sim.send_signal(signal.SIGINT)
        tally = json.loads(self.sim.communicate(timeout=20)[0])["upgrades"]
        # The second is cut short somewhere, unless it was followed to its end.
        done = sum(len(devices) for devices in self.tasks.values())
        want = {name: (done, 2) for name in ("executed", "downloaded")}
        want |= {"installed": (done, done), "wrong": (0, 0), "failed": (0, 0)}
        if any(not low <= tally[name] <= high for name, (low, high) in want.items()):
            raise Failure(f"the devices tell {tally}, not {want}")
        self.judge_pieces()
        self.judge_events()
        self.server.stop()
        check = [strait.binary(), "store", "check", "--data", str(self.data)]
        found = subprocess.run(check, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        if found.returncode:
            raise Failure(f"store check: {found.stdout.decode()}")

    def judge_pieces(self):
        word = {"fota": "block={}", "fota-push": "push={}?"}.get(self.kind, "part={}")
        count = -(-self.package.stat().st_size // (BLOCK if self.is_firmware else FRAGMENT))
        for device in sum(self.tasks.values(), []):
            name = self.names[self.devices.index(device)]
            words = self.relay.named(name).words
            got = [words[word.format(n)] for n in range(count)]
            if min(got) < 1 or sum(got) - count > self.repeated_max():
                raise Failure(f"{name} got the pieces {got} times, with {self.kills} kills")

    def repeated_max(self):
        """Pieces that may have been under way when the server died or the device moved, and one more."""
        if self.step == "4":
            return self.kills
        if self.kind == "fota-push":
            # Begun anew at each kill, at the worst: what it has is durable only after the device has it.
            return self.kills * PIECES
        loading = ("uri", "get", "block", "push", "ask20", "told20", "want", "part")
        points = KINDS[self.kind][self.step]
        return 1 + sum(word.startswith(loading) or how == MOVE for word, how in points)

    def judge_events(self):
        pairs = [(task, device) for task, devices in self.tasks.items() for device in devices]
        told = [(device, task, "Success", 1) for task, device in pairs]
        got, over = [], []
        for name, body, header in self.events():
            if name == "device.upgrade.update":
                got.append((header["device_id"], body["task_id"], body["status"], body["attempts"]))
            elif name == "batchtask.update" and body.get("status") == "Success":
                over.append(body["task_id"])
        if sorted(got) != sorted(told):
            raise Failure(f"the events tell {got}, not {told}")
        if sorted(over) != sorted(self.tasks):
            raise Failure(f"the events tell the ends of {over}, not of {list(self.tasks)}")

    def events(self):
        """All that were told until now."""
        mark = f"mark-{self.folder.name}"
        model = {"name": mark, "product_id": mark, "device_type": "x", "protocol_type": "CoAP"}
        model |= {"data_format": "binary", "service_capabilities": []}
        self.rest("POST", f"{V5}/products", model)
        connection = http.client.HTTPConnection(*self.server.http, timeout=20)
        connection.request("GET", "/v1/events?from=0")
        name, found = "", []
        for line in connection.getresponse():
            line = line.decode().rstrip("\n")
            if line.startswith("event:"):
                name = line[6:].strip()
            elif line.startswith("data:"):
                data = json.loads(line[5:])["notify_data"]
                if name == "product.create" and data["body"]["product_id"] == mark:
                    break
                found.append((name, data["body"], data.get("header")))
        connection.close()
        return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--steps", help="default: all of them")
    parser.add_argument("--jobs", type=int, default=6)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    arguments = parser.parse_args()
    wanted = arguments.steps.split(",") if arguments.steps else None
    begun = time.monotonic()
    work = tempfile.mkdtemp(prefix="strait-kill9-upgrades-")
    runs = []
    for kind in arguments.kinds.split(","):
        for step in KINDS[kind]:
            if wanted is None or step in wanted:
                runs.append(Run(work, len(runs), kind, step, arguments.seed))
    failed = kills = 0
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        ends = {pool.submit(run.run): run for run in runs}
        for end in concurrent.futures.as_completed(ends):
            try:
                print(end.result(), flush=True)
            except Failure as failure:
                failed += 1
                print(f"FAILED: {failure}", file=sys.stderr, flush=True)
            kills += ends[end].kills
    if failed:
        sys.exit(f"kill9_upgrades: {failed} of {len(runs)} runs went wrong (seed {arguments.seed})")
    print(
        f"kill9_upgrades: {len(runs)} runs, {kills} kills in {time.monotonic() - begun:.0f} s: "
        "each upgrade ended once and well, none began anew"
    )


if __name__ == "__main__":
    main()
