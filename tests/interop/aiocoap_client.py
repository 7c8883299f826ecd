#!/usr/bin/env python3
"""aiocoap (PyPI) as a device: an LwM2M client and a raw CoAP client, all seen through the API.

Installs aiocoap into target/interop when it is not there. Run it from anywhere:
    tests/interop/aiocoap_client.py
"""

import asyncio
import pathlib
import socket
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
VERSION = "0.4.17"
LIBRARY = ROOT / "target" / "interop" / f"aiocoap-{VERSION}"

if not (LIBRARY / "aiocoap").is_dir():
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--disable-pip-version-check"]
    pip += ["--root-user-action=ignore", "--target", str(LIBRARY), f"aiocoap=={VERSION}"]
    subprocess.run(pip, check=True, stdin=subprocess.DEVNULL)
sys.path[:0] = [str(LIBRARY), str(pathlib.Path(__file__).parent)]

import aiocoap  # noqa: E402
from aiocoap import resource  # noqa: E402

import server as strait  # noqa: E402

LINKS = b'</>;rt="oma.lwm2m",</1/0>,</3/0>,</19/0>,</19/1>'


def check(what, got, want):
    if got != want:
        raise SystemExit(f"aiocoap: {what}: got {got!r}, expected {want!r}")


async def ask(what, question, want=True, seconds=20):
    """Polls the API without stopping the event loop that the device lives in."""
    deadline = asyncio.get_running_loop().time() + seconds
    while True:
        got = await asyncio.to_thread(question)
        if got == want:
            return
        if asyncio.get_running_loop().time() > deadline:
            raise SystemExit(f"aiocoap: {what}: got {got!r}, expected {want!r} in {seconds} s")
        await asyncio.sleep(0.05)


class Uplink(resource.ObservableResource):
    """The resource that the server observes; its first answer is empty, as devices have it."""

    def __init__(self):
        super().__init__()
        self.observed = asyncio.Event()

    async def render_get(self, request):
        return aiocoap.Message(code=aiocoap.CONTENT, payload=b"", content_format=42)

    def update_observation_count(self, count):
        if count:
            self.observed.set()

    async def notify(self, payload, confirmable):
        tuning = aiocoap.Reliable() if confirmable else aiocoap.Unreliable()
        message = aiocoap.Message(
            code=aiocoap.CONTENT, payload=payload, content_format=42, transport_tuning=tuning
        )
        self.updated_state(message)
        # The library keeps only the newest of notifications triggered at once.
        await asyncio.sleep(0)


def free_port():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Device:
    """One socket, one uplink resource."""

    def __init__(self, coap, path):
        self.base = f"coap://{coap[0]}:{coap[1]}"
        self.path = path

    async def __aenter__(self):
        self.uplink = Uplink()
        site = resource.Site()
        site.add_resource(self.path, self.uplink)
        # A port of its own each time: re-entering is what a NAT does to a device.
        bind = ("127.0.0.1", free_port())
        self.context = await aiocoap.Context.create_server_context(site, bind=bind)
        return self

    async def __aexit__(self, *_):
        await self.context.shutdown()

    async def request(self, code, path, payload=b"", content_format=None, seconds=30):
        message = aiocoap.Message(
            code=code, uri=self.base + path, payload=payload, content_format=content_format
        )
        return await asyncio.wait_for(self.context.request(message).response, seconds)

    async def observed(self):
        await asyncio.wait_for(self.uplink.observed.wait(), 30)


async def lwm2m(server, product):
    node = "867725038317248"
    device = server.create_device(product, node)
    value = lambda: server.shadow(device).get("Counter", {}).get("value")  # noqa: E731
    check("status before", server.device(device)["status"], "INACTIVE")

    async with Device(server.coap, ["19", "0", "0"]) as client:
        register = f"/rd?ep={node}&lt=600&lwm2m=1.0&b=U"
        answer = await client.request(aiocoap.POST, register, LINKS, 40)
        check("register", answer.code, aiocoap.CREATED)
        location = answer.opt.location_path
        check("location segments", (location[0], len(location)), ("rd", 2))
        await client.observed()
        await ask("status", lambda: server.device(device)["status"], "ONLINE")
        check("the empty first answer is no data", server.history(device), [])

        await client.uplink.notify(strait.counter_bytes(1), confirmable=True)
        await ask("confirmable notification", value, 1)
        await client.uplink.notify(strait.counter_bytes(2), confirmable=False)
        await ask("unconfirmed notification", value, 2)

        answer = await client.request(aiocoap.POST, "/" + "/".join(location))
        check("update", answer.code, aiocoap.CHANGED)
        await client.uplink.notify(strait.counter_bytes(3), confirmable=True)
        await ask("notification after the update", value, 3)
        answer = await client.request(aiocoap.POST, "/rd/nosuchlocation")
        check("update of an unknown location", answer.code, aiocoap.NOT_FOUND)

    async with Device(server.coap, ["19", "0", "0"]) as client:
        answer = await client.request(aiocoap.POST, register, LINKS, 40)
        check("register from another port", answer.code, aiocoap.CREATED)
        location = answer.opt.location_path
        await client.observed()
        await client.uplink.notify(strait.counter_bytes(4), confirmable=True)
        await ask("notification from another port", value, 4)

        answer = await client.request(aiocoap.DELETE, "/" + "/".join(location))
        check("deregister", answer.code, aiocoap.DELETED)
        answer = await client.request(aiocoap.POST, "/" + "/".join(location))
        check("update after deregistering", answer.code, aiocoap.NOT_FOUND)

    rows = [row["properties"]["value"] for row in server.history(device)]
    check("history", rows, [4, 3, 2, 1])


async def raw(server, product):
    node = "867725038317249"
    device = server.create_device(product, node)
    value = lambda: server.shadow(device).get("Counter", {}).get("value")  # noqa: E731

    async with Device(server.coap, ["t", "d"]) as client:
        answer = await client.request(aiocoap.POST, f"/t/r?ep={node}&lt=600")
        check("raw register", answer.code, aiocoap.CREATED)
        await client.observed()
        await client.uplink.notify(strait.counter_bytes(11), confirmable=True)
        await ask("raw confirmable notification", value, 11)
        await client.uplink.notify(strait.counter_bytes(12), confirmable=False)
        await ask("raw unconfirmed notification", value, 12)
        answer = await client.request(aiocoap.POST, "/t/d", strait.counter_bytes(13), 42)
        check("POST /t/d", answer.code, aiocoap.CHANGED)
        check("its value, once answered", value(), 13)
        answer = await client.request(aiocoap.POST, "/t/r?ep=stranger&lt=600")
        check("a stranger", answer.code, aiocoap.FORBIDDEN)

    rows = [row["properties"]["value"] for row in server.history(device)]
    check("raw history", rows, [13, 12, 11])


def main():
    with tempfile.TemporaryDirectory() as work, strait.Server(f"{work}/data") as server:
        product = server.create_custom(strait.COUNTER_MODEL, strait.COUNTER_CODEC)
        asyncio.run(lwm2m(server, product))
        asyncio.run(raw(server, product))
    print("aiocoap: LwM2M and raw client registered, observed, reported, moved, deregistered")


if __name__ == "__main__":
    main()
