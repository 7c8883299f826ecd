"""What the scenes of packages and upgrades work with: a product whose devices `strait sim` is, its
packages, and the simulated devices.
"""

import contextlib
import json
import signal
import subprocess
import urllib.parse

import huaweicloudsdkiotda.v5 as iot
from huaweicloudsdkcore.exceptions.exceptions import ClientRequestException

import sdk_shape
import server as strait
from sdk_bench import SceneOver

FIRMWARE, SOFTWARE = "firmwarePackage", "softwarePackage"
# What the devices run at first, and what most packages bring them to.
OLD, NEW = "V1.0", "V2.0"
# Every end of a task.
FINAL = {"Success", "Fail", "PartialSuccess", "Stopped"}


def product(b, **fields):
    """A product of water meters with its codec: another one each time, so all versions are free."""
    folder = strait.ROOT / "codecs" / "water-meter"
    model = json.loads((folder / "profile.json").read_text())
    model |= {"product_id": b.name("meter"), "name": b.name("meter")} | fields
    for service in model["service_capabilities"]:
        for one in service["properties"]:
            # The SDK reads 0.001 as another number than the one that stands there.
            one.pop("step", None)
    made = b.do("create_product", body=iot.AddProduct(**model)).product_id
    codec = (folder / "codec.toml").read_bytes()
    path = f"/v1/products/{made}/codec"
    status, answer = b.server.rest("PUT", path, codec, "application/toml")
    if not b.check_that("put_codec", "status", status == 201, (status, answer), 201):
        raise SceneOver
    return made


def image(version=NEW, size=1300, mark=0):
    """A file that names its version at its start, as the simulated devices look for it."""
    head = f"version={version}\n".encode()
    return head + bytes((n * 7 + mark) % 251 for n in range(size - len(head)))


def upload(b, product_id, package_type, version=NEW, raw=None, want=201, **query):
    """Uploads the file of a package; gives the answer, whose fields were all checked."""
    query |= {"package_type": package_type, "product_id": product_id, "version": version}
    path = f"/v1/packages?{urllib.parse.urlencode(query)}"
    raw = image(version) if raw is None else raw
    status, answer = b.server.rest("PUT", path, raw, "application/octet-stream")
    if not b.check_that("upload_package", "status", status == want, (status, answer), want):
        raise SceneOver
    if status in (200, 201):
        wrong = list(sdk_shape.mistakes("Package", answer))
        b.check("upload_package", "every field", wrong, [])
    return answer


def package(b, product_id, package_type, version=NEW, **query):
    return upload(b, product_id, package_type, version, **query)["package_id"]


def caller(b, *options):
    """A client with a credential of its own, which the server has taken."""
    client = b.other(b.credential(*options))

    def status():
        with contextlib.suppress(ClientRequestException):
            client.call("list_products")
        return client.last.status_code

    b.await_("list_products", "the new credential is taken", status, 200)
    return client


class Nodes:
    """Devices of a product whose node ids have numbers, as `strait sim` calls them."""

    def __init__(self, b, product_id, count):
        self.prefix, self.count = b.name("sim") + "-", count
        self.devices = [b.device(product_id, node_id=f"{self.prefix}{n}") for n in range(count)]


class Fleet:
    """These nodes as simulated devices, which come, report and upgrade until the end of a `with`.

    `mix` and `options` are those of `strait sim`. `tally` is what came of it, once it is over.
    """

    def __init__(self, b, nodes, mix, *options, runs=OLD, image=None):
        self.b, self.tally = b, None
        command = [strait.binary(), "sim", "--server", "{}:{}".format(*b.server.coap)]
        command += ["--prefix", nodes.prefix, "--count", str(nodes.count)]
        command += ["--product", "water-meter", "--interval", "1s", "--ack-timeout", "1s"]
        command += ["--upgrade", mix, "--runs", runs, "--json", *options]
        command += ["--reboot-after", "300ms", "--boot-time", "0s"]
        if image is not None:
            path = b.work / f"{b.name('image')}.bin"
            path.write_bytes(image)
            command += ["--expect", str(path)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.process.send_signal(signal.SIGINT)
        try:
            output, _ = self.process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
            self.b.check("strait sim", "end after SIGINT", "none within 30 s", "an end")
            return
        lines = output.decode().strip().splitlines()
        self.tally = json.loads(lines[-1])["upgrades"] if lines else None
        if not kind:
            self.b.check_that("strait sim", "tally", self.tally, output, "a tally as JSON")

    def check(self, **counts):
        """The devices say the same: after the end."""
        want = {"wrong": 0} | counts
        got = {name: (self.tally or {}).get(name) for name in want}
        self.b.check("strait sim", "what the devices went through", got, want)
