#!/usr/bin/env python3
"""What long work costs others: deleting a product with many devices, and a large batch task.

Measures how long each takes, and the latency of signed requests (GET device, POST device, list,
search) that go on at a steady pace beside it, against the same requests with nothing beside them.

    tests/faults/long_work.py [--devices 20000] [--targets 30000] [--rate 50]
"""

import argparse
import pathlib
import random
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "interop"))

import server as strait  # noqa: E402
from kill9_writers import FINAL, MODEL  # noqa: E402
from signed import V5, Caller, Ledger  # noqa: E402

AT_ONCE = 30_000
IDLE_S = 5


class Others:
    """Requests of four kinds, each kind on a connection of its own, at a steady pace."""

    KINDS = ["show", "create", "list", "search"]

    def __init__(self, caller, product, rate):
        self.caller, self.product, self.pause = caller, product, 1 / rate
        self.node = 0

    def __enter__(self):
        self.done = threading.Event()
        self.took = {kind: [] for kind in self.KINDS}
        self.threads = [threading.Thread(target=self.go, args=(kind,)) for kind in self.KINDS]
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        for thread in self.threads:
            thread.join()

    def go(self, kind):
        api = self.caller()
        following = time.monotonic()
        while not self.done.is_set():
            begun = time.monotonic()
            getattr(self, kind)(api)
            self.took[kind].append(time.monotonic() - begun)
            following = max(following + self.pause, time.monotonic() - 1)
            self.done.wait(max(0, following - time.monotonic()))
        api.close()

    def show(self, api):
        api.get(f"{V5}/devices/{self.product}_{self.product}-{random.randrange(100)}")

    def create(self, api):
        self.node += 1
        body = {"node_id": f"extra-{self.node}", "product_id": self.product}
        api.call("POST", f"{V5}/devices", body, want=(201,))

    def list(self, api):
        api.get(f"{V5}/devices", product_id=self.product, limit=50)

    def search(self, api):
        api.count(f"product_id = '{self.product}'")

    def report(self, beside):
        for kind, took in self.took.items():
            took.sort()
            if took:
                ms = [took[int((len(took) - 1) * share)] * 1000 for share in (0.5, 0.99, 1)]
                figures = "p50 {:.1f} p99 {:.1f} max {:.1f} ms".format(*ms)
                print(f"  {beside}: {kind}: {figures} ({len(took)} requests)", flush=True)


def product(api, name):
    api.call("POST", f"{V5}/products", MODEL | {"product_id": name, "name": name}, want=(201,))


def task(api, kind, **more):
    """Seconds until it is accepted, and until it is over."""
    body = {"task_name": kind, "task_type": kind} | more
    begun = time.monotonic()
    made = api.call("POST", f"{V5}/batchtasks", body, want=(201,))[1]["task_id"]
    accepted = time.monotonic() - begun
    while True:
        found = api.get(f"{V5}/batchtasks/{made}", limit=1)[1]["batchtask"]
        if found["status"] in FINAL:
            break
        time.sleep(0.1)
    if found["status"] != "Success":
        raise SystemExit(f"{kind} ended as {found['status']}: {found['task_progress']}")
    return accepted, time.monotonic() - begun


def new(name, count):
    return {"devices": [{"node_id": f"{name}-{n}", "product_id": name} for n in range(count)]}


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--devices", type=int, default=20_000)
    arguments.add_argument("--targets", type=int, default=30_000)
    arguments.add_argument("--rate", type=int, default=50)
    arguments = arguments.parse_args()
    with tempfile.TemporaryDirectory() as work:
        with strait.Server(f"{work}/data", log=f"{work}/log", authenticated=True) as server:
            ledger = Ledger()
            caller = lambda: Caller(server.http, server.keys, ledger)  # noqa: E731
            api = caller()
            product(api, "stays")
            task(api, "createDevices", document=new("stays", 100))
            product(api, "goes")
            for begin in range(0, arguments.devices, AT_ONCE):
                count = min(AT_ONCE, arguments.devices - begin)
                task(api, "createDevices", document=new("goes", count))
            others = Others(caller, "stays", arguments.rate)
            with others:
                time.sleep(IDLE_S)
            others.report("nothing beside")
            with others:
                begun = time.monotonic()
                api.call("DELETE", f"{V5}/products/goes", want=(204,))
                took = time.monotonic() - begun
            print(f"a product with {arguments.devices} devices deleted in {took:.2f} s")
            others.report("deletion beside")
            product(api, "many")
            ids = [f"many_many-{n}" for n in range(arguments.targets)]
            for kind, more in [
                ("createDevices", {"document": new("many", arguments.targets)}),
                ("freezeDevices", {"targets": ids}),
                ("deleteDevices", {"targets": ids}),
            ]:
                with others:
                    accepted, took = task(api, kind, **more)
                figures = f"taken in {accepted:.2f} s, over in {took:.2f} s"
                print(f"{kind} of {arguments.targets}: {figures}")
                others.report(f"{kind} beside")
            print(f"memory {server.rss_kb() // 1024} MiB")


if __name__ == "__main__":
    main()
