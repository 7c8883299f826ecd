#!/usr/bin/env python3
"""kill -9 at random moments while signed callers write: no answered write is lost, none is half.

Each round: writers change devices, tags, groups, settings, codecs, products with devices, resource
spaces and batch tasks over kept connections, another process adds and revokes credentials; the
server is killed at a random moment and started again, at times killed once more while it resumes.
Then each writer reads: an object is as last acknowledged, or as the one write makes it that was not
answered. Products and spaces that were being deleted are there whole or not at all, from the first
answer on.

At the end the events tell whether each device was created and deleted exactly once, the audit log
whether it has each answered write with its status, and `strait store check` has the last word.

    tests/faults/kill9_api.py [--rounds 10] [--seed N]
"""

import argparse
import collections
import json
import pathlib
import random
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
import traceback

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "interop"))

import server as strait  # noqa: E402
from kill9_removals import Cascade, Spaces  # noqa: E402
from kill9_writers import Configured, Devices, Tasks  # noqa: E402
from signed import V5, Caller, Cut, Ledger, Refused  # noqa: E402

END_S = 60


class Expected:
    """What the events must tell: how often each device was created and deleted, which products."""

    def __init__(self):
        self.created, self.deleted = collections.Counter(), collections.Counter()
        self.products = []


class Credentials:
    """`strait credentials add` and `revoke`, killed themselves at times."""

    def __init__(self, run):
        self.run, self.sure, self.gone = run, {}, set()
        self.unsure = set()  # revocations without an end
        self.killed = self.lost = 0

    def command(self, *words):
        """Output of a command that ended, or None: killed."""
        command = [strait.binary(), "credentials", *words, "--data", self.run.data]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        if random.random() < 0.5:
            time.sleep(random.uniform(0, 0.02))
            process.send_signal(signal.SIGKILL)
        out = process.communicate()[0]
        if process.returncode == -signal.SIGKILL:
            self.killed += 1
            return None
        if process.returncode:
            raise Refused(f"credentials {words} ended with {process.returncode}")
        return out

    def step(self):
        if len(self.sure) > 10:
            access = next(iter(self.sure))
            keys = self.sure.pop(access)
            if self.command("revoke", access) is None:
                self.unsure.add(access)
            else:
                self.gone.add(keys["access_key"])
            return
        out = self.command("add", "--role", "operator", "--json")
        if out is None:
            self.lost += 1
        else:
            keys = json.loads(out)
            self.sure[keys["access_key"]] = keys

    def verify(self):
        path = pathlib.Path(self.run.data) / "credentials.toml"
        text = path.read_text()
        whole = tomllib.loads(text)
        rows = whole.get("credentials", [])
        complain = self.run.ledger.complain
        for row in [whole, *rows]:
            if not all(row.get(name) for name in ("access_key", "secret_key", "token")):
                complain(f"credentials: half a row {sorted(row)}")
        there = {row["access_key"] for row in rows}
        for what, wrong in [("lost", set(self.sure) - there), ("back", self.gone & there)]:
            if wrong:
                complain(f"credentials: {what}: {sorted(wrong)}")
        unknown = there - set(self.sure) - self.unsure
        if len(unknown) > self.lost:
            complain(f"credentials: {len(unknown)} that nobody added, {self.lost} adds were killed")
        if stat.S_IMODE(path.stat().st_mode) != 0o600:
            complain(f"credentials: mode {path.stat().st_mode:o}")
        if self.sure:
            keys = random.choice(list(self.sure.values()))
            caller = Caller(self.run.server.http, keys, self.run.ledger)
            caller.get(f"{V5}/products")
            caller.close()


def first_start(folder, complain):
    """A server killed while it starts for the first time, and started again."""
    command = [strait.binary(), "serve", "--data", folder, "--coaps", "off"]
    command += ["--http", "127.0.0.1:0", "--coap", "127.0.0.1:0"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, **quiet)
    time.sleep(random.uniform(0, 0.15))
    process.kill()
    process.wait()
    path = pathlib.Path(folder) / "credentials.toml"
    before = path.read_text() if path.exists() else None
    with strait.Server(folder, authenticated=True) as server:
        server.rest("GET", f"{V5}/products", want=[200])
    if before not in (None, path.read_text()):
        complain(f"first start: {path} was half: {len(before)} characters")


class Run:
    def __init__(self, data, log):
        self.data, self.log, self.ports = data, log, {}
        self.ledger, self.expected = Ledger(), Expected()
        self.stopping = threading.Event()
        self.down = []
        self.server = None
        self.start()
        self.ports = {name: "%s:%d" % getattr(self.server, name) for name in ("http", "coap")}
        self.keys = self.server.keys
        self.credentials = Credentials(self)
        kinds = [("dev1", Devices), ("dev2", Devices), ("set", Configured), ("cas1", Cascade)]
        kinds += [("cas2", Cascade), ("space", Spaces), ("batch1", Tasks), ("batch2", Tasks)]
        self.writers = [kind(self, name) for name, kind in kinds]

    def start(self):
        begun = time.monotonic()
        self.server = strait.Server(self.data, log=self.log, authenticated=True, **self.ports)
        self.down.append(time.monotonic() - begun)

    def caller(self):
        return Caller(self.server.http, self.keys, self.ledger)

    def pause(self, seconds):
        if self.stopping.wait(seconds):
            raise Cut("told to stop")

    def write(self, writer):
        api = self.caller()
        try:
            while not self.stopping.is_set():
                writer.step(api)
                writer.steps += 1
        except Cut:
            pass
        except Exception:
            self.ledger.complain(f"{writer.name}: {traceback.format_exc(limit=-4)}")
        finally:
            api.close()

    def run_credentials(self):
        try:
            while not self.stopping.is_set():
                self.credentials.step()
                self.stopping.wait(0.05)
        except Exception:
            self.ledger.complain(traceback.format_exc(limit=-4))

    def round(self):
        self.stopping.clear()
        threads = [threading.Thread(target=self.write, args=(w,)) for w in self.writers]
        threads.append(threading.Thread(target=self.run_credentials))
        for thread in threads:
            thread.start()
        time.sleep(random.uniform(0.4, 3.0))
        self.server.kill()
        self.stopping.set()
        for thread in threads:
            thread.join()
        self.stopping.clear()
        self.start()
        if random.random() < 0.3:
            time.sleep(random.uniform(0, 0.1))
            self.server.kill()
            self.start()
        self.verify()

    def verify(self):
        api = self.caller()
        removing = [writer for writer in self.writers if isinstance(writer, Cascade)]
        # These first: their deletions go on meanwhile, and nobody may see that.
        for writer in removing + self.writers + removing:
            writer.verify(api)
        for writer in removing:
            writer.settle(api)
        self.credentials.verify()
        api.close()

    def finish(self):
        """Tasks and deletions that are under way end; then events and audit log are judged."""
        api = self.caller()
        for writer in self.writers:
            deadline = time.monotonic() + END_S
            while isinstance(writer, Tasks) and writer.task:
                writer.look(api)
                if time.monotonic() > deadline:
                    raise Refused(f"{writer.name}: task {writer.task} does not end")
                time.sleep(0.05)
        self.judge_events(api)
        for writer in self.writers:
            writer.verify(api)
        rows = self.judge_audit(api)
        api.close()
        return rows

    def judge_events(self, api):
        body = {"device_type": "x", "protocol_type": "CoAP", "data_format": "binary"}
        body["service_capabilities"] = []
        deadline, number = time.monotonic() + END_S, 0
        while True:
            number += 1
            mark = f"mark-{number}"
            new = body | {"product_id": mark, "name": mark}
            api.call("POST", f"{V5}/products", new, want=(201,))
            told = collections.defaultdict(collections.Counter)
            for name, event in api.events("product.create", "product_id", mark):
                told[name][event.get("device_id") or event.get("product_id")] += 1
            missing = [p for p in self.expected.products if not told["product.delete"][p]]
            if not missing or time.monotonic() > deadline:
                break
            time.sleep(0.2)
        if missing:
            self.ledger.complain(f"deletions that did not end in {END_S} s: {missing}")
        again = {p: n for p, n in told["product.delete"].items() if n != 1}
        if again:
            self.ledger.complain(f"product.delete more than once: {again}")
        for name, want in [("create", self.expected.created), ("delete", self.expected.deleted)]:
            got = told[f"device.{name}"]
            wrong = [d for d in want if got[d] != want[d]]
            if wrong:
                first = [f"{d}: {got[d]}, expected {want[d]}" for d in wrong[:5]]
                self.ledger.complain(f"device.{name} of {len(wrong)} devices: {first}")
            # The others are of a product that was being built at the last kill.
            often = [d for d in got if got[d] > 1 and d not in want]
            if often:
                self.ledger.complain(f"device.{name} more than once: {often[:5]}")

    def judge_audit(self, api):
        rows, marker = collections.defaultdict(list), {}
        while True:
            page = api.get("/v1/audit", limit=50, **marker)[1]
            for row in page["audit"]:
                rows[row["request_id"]].append(row)
            if not page["page"]["marker"]:
                break
            marker = {"marker": page["page"]["marker"]}
        wrong = []
        for name, (method, path, status) in self.ledger.writes.items():
            found = [(r["method"], r["path"].split("?")[0], r["status"]) for r in rows[name]]
            if status is not None and found != [(method, path, status)]:
                wrong.append(f"{method} {path} answered {status}, rows {found}")
            elif len(found) > 1 or any(row[:2] != (method, path) for row in found):
                wrong.append(f"{method} {path} without an answer, rows {found}")
        wrong += [f"{name} was never sent" for name in rows if name not in self.ledger.writes]
        if wrong:
            self.ledger.complain(f"audit log: {len(wrong)} wrong: {wrong[:5]}")
        return sum(map(len, rows.values()))


def check_store(run):
    command = [strait.binary(), "store", "check", "--data", run.data]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        run.ledger.complain(f"store check: {done.stdout[-1500:]} {done.stderr[-500:]}")


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--rounds", type=int, default=10)
    arguments.add_argument("--seed", type=int, default=None)
    arguments = arguments.parse_args()
    seed = arguments.seed if arguments.seed is not None else random.randrange(2**32)
    random.seed(seed)
    print(f"kill9_api: seed {seed}", flush=True)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as work:
        run = Run(f"{work}/data", f"{work}/log")
        try:
            api = run.caller()
            for writer in run.writers:
                writer.setup(api)
            api.close()
            done = 0
            while done < arguments.rounds and not run.ledger.complaints:
                run.round()
                done += 1
                first_start(f"{work}/first-{done}", run.ledger.complain)
            if not run.ledger.complaints:
                rows = run.finish()
            run.server.stop()
            check_store(run)
        except BaseException:
            run.server.kill()
            sys.stderr.write(pathlib.Path(run.log).read_text()[-4000:])
            raise
        if run.ledger.complaints:
            sys.stderr.write(pathlib.Path(run.log).read_text()[-3000:])
    for complaint in run.ledger.complaints:
        print(f"kill9_api: {complaint}", file=sys.stderr)
    if run.ledger.complaints:
        wrong = len(run.ledger.complaints)
        sys.exit(f"kill9_api: round {done}, {wrong} things wrong (seed {seed})")
    writes = run.ledger.writes.values()
    batches = [writer for writer in run.writers if isinstance(writer, Tasks)]
    tasks, orders = sum(w.done for w in batches), sum(w.orders for w in batches)
    removing = [writer for writer in run.writers if isinstance(writer, Cascade)]
    gone, caught = sum(len(w.deleted) for w in removing), sum(w.caught for w in removing)
    print(
        f"kill9_api: {done} rounds in {time.monotonic() - begun:.0f} s, {len(writes)} writes, "
        f"{sum(status is None for _, _, status in writes)} of them without an answer, "
        f"{rows} audit rows, {tasks} batch tasks ({orders} times stopped or retried), "
        f"{gone} products and spaces deleted with all that was in them ({caught} by the next "
        f"process), {run.credentials.killed} changes of credentials killed, start after a crash "
        f"{max(run.down):.2f} s at most: as acknowledged, nothing half"
    )


if __name__ == "__main__":
    main()
