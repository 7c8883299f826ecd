"""Shadows through the SDK: what is desired goes down to a device and comes back as reported."""

import json
import socket

import huaweicloudsdkiotda.v5 as iot

from sdk_batch import create, end
from sdk_devices import INVALID, option

# Of a shadow that was changed meanwhile.
CHANGED = 409
CONFIRMABLE, ACKNOWLEDGEMENT = 0, 2
POST, CHANGED_CODE, METHOD_NOT_ALLOWED = 0x02, 0x44, 0x85


class Device:
    """A device that speaks JSON over CoAP (RFC 7252) on one socket, and takes every set."""

    def __init__(self, b, node):
        self.node, self.message_id = node, 0
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.connect(b.server.coap)
        self.sets = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def say(self, resource, payload=None):
        """A POST to /t/{resource}; the code of its answer."""
        self.message_id += 1
        message_id = self.message_id.to_bytes(2, "big")
        message = bytes([0x40, POST]) + message_id
        message += option(11, b"t") + option(0, resource)
        endpoint = f"ep={self.node}".encode()
        if payload is None:
            message += option(4, endpoint) + option(0, b"lt=600")
        else:
            text = json.dumps(payload).encode()
            message += option(1, bytes([42])) + option(3, endpoint) + b"\xff" + text
        self.socket.send(message)
        while True:
            answer = self.hear(20)
            if answer is None:
                return None
            if answer[2:4] == message_id and answer[0] >> 4 & 3 == ACKNOWLEDGEMENT:
                return f"{answer[1] >> 5}.{answer[1] & 31:02}"

    def hear(self, seconds):
        """The next datagram, acknowledged if it wants that; None when there is none."""
        self.socket.settimeout(seconds)
        try:
            datagram = self.socket.recv(1500)
        except TimeoutError:
            return None
        if datagram[0] >> 4 & 3 == CONFIRMABLE:
            length = datagram[0] & 15
            known, start, payload = datagram[1] == POST, *datagram.partition(b"\xff{")[1:]
            if known and start:
                self.sets.append(json.loads(b"{" + payload))
            # Observing is not for it.
            code = CHANGED_CODE if known else METHOD_NOT_ALLOWED
            head = bytes([0x40 | ACKNOWLEDGEMENT << 4 | length, code])
            self.socket.send(head + datagram[2 : 4 + length])
        return datagram

    def take(self, b):
        """The properties of the next set, by service."""
        while not self.sets and self.hear(20):
            pass
        got = self.sets.pop(0) if self.sets else {}
        b.check("a set", "msg_type", got.get("msg_type"), "properties_set")
        services = got.get("services", [])
        return {service["service_id"]: service["properties"] for service in services}

    def report(self, properties):
        services = [{"service_id": "Flow", "properties": properties}]
        return self.say(b"d", {"services": services})


def wish(desired, **fields):
    one = iot.UpdateDesired(service_id="Flow", desired=desired, **fields)
    return iot.UpdateDesireds(shadow=[one])


def desire(b, device, desired, **fields):
    body = wish(desired, **fields)
    b.do("update_device_shadow_desired_data", device_id=device, body=body)
    return b.raw()["shadow"][0]


def json_product(b):
    properties = [
        {"property_name": "interval", "data_type": "int", "method": "RW"},
        {"property_name": "level", "data_type": "int", "method": "R"},
    ]
    service = {"service_id": "Flow", "service_type": "Flow", "properties": properties}
    return b.product(data_format="json", service_capabilities=[service])


def convergence(b):
    """From a wish to a device that was not there yet, to its report."""
    node = b.name("node")
    device = b.device(json_product(b), node_id=node)
    shown = desire(b, device, {"interval": 60}, version=0)
    b.check("update_device_shadow_desired_data", "version", shown["version"], 1)
    with Device(b, node) as thing:
        b.check("POST /t/r", "code", thing.say(b"r"), "2.01")
        b.check("a set", "properties", thing.take(b), {"Flow": {"interval": 60}})
        b.check("POST /t/d", "code", thing.report({"interval": 60, "level": 1}), "2.04")
        # It listens, so what differs goes at once; what it can't write does not.
        shown = desire(b, device, {"interval": 120, "level": 5}, version=1)
        wanted = {"interval": 120, "level": 5}
        b.check("update_device_shadow_desired_data", "desired", shown["desired"]["properties"], wanted)
        b.check("a set", "properties", thing.take(b), {"Flow": {"interval": 120}})
        b.check("POST /t/d", "code", thing.report({"interval": 120}), "2.04")
        b.do("show_device_shadow", device_id=device)
        shown = b.raw()["shadow"][0]
        wanted = {"interval": 120, "level": 1}
        b.check("show_device_shadow", "reported", shown["reported"]["properties"], wanted)
        b.check("POST /t/d", "code", thing.report({"level": 2}), "2.04")
        while thing.hear(0.5):
            pass
        b.check("a set", "once all is as desired", thing.sets, [])


def changes(b):
    """Merged, taken back, refused, cleared."""
    device = b.device(json_product(b))
    desire(b, device, {"interval": 60})
    shown = desire(b, device, {"level": 5})
    wanted = {"interval": 60, "level": 5}
    b.check("update_device_shadow_desired_data", "merged", shown["desired"]["properties"], wanted)
    shown = desire(b, device, {"interval": None})
    wanted = {"level": 5}
    b.check("update_device_shadow_desired_data", "null", shown["desired"]["properties"], wanted)
    shown = desire(b, device, {}, version=3)
    b.check("update_device_shadow_desired_data", "{}", shown["desired"]["properties"], {})
    b.check("update_device_shadow_desired_data", "version", shown["version"], 4)
    refused = {"operation": "update_device_shadow_desired_data", "device_id": device}
    error = b.refused(statuses=CHANGED, code=INVALID, words="version", body=wish({}, version=3), **refused)
    b.check_that("update_device_shadow_desired_data", "conflict", error, error, "an error")
    for desired in ({"a.b": 1}, {"$a": 1}, {"speed": 1}, {"interval": "x"}, {"interval": {"b.c": 1}}):
        b.refused(statuses=400, code=INVALID, words="shadow[0]", body=wish(desired), **refused)
    b.do("delete_device_shadow", device_id=device)
    b.do("show_device_shadow", device_id=device)
    b.check("delete_device_shadow", "what is left", b.raw()["shadow"], [])


def batch(b):
    """The same desired of many devices."""
    product = json_product(b)
    devices = [b.device(product) for _ in range(3)]
    document = {"shadow": [{"service_id": "Flow", "desired": {"interval": 7}}]}
    task = create(b, "updateDeviceShadows", targets=devices, document=document)
    got = end(b, task, "Success", total=3, success=3)
    b.check("show_batch_task", "document", got["document"], document)
    for device in devices:
        b.do("show_device_shadow", device_id=device)
        desired = b.raw()["shadow"][0]["desired"]["properties"]
        b.check("updateDeviceShadows", "desired", desired, {"interval": 7})


SCENES = [convergence, changes, batch]
