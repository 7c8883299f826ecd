"""Devices and their shadow through the SDK: each operation, every field, filters, limits."""

import datetime
import socket

import huaweicloudsdkiotda.v5 as iot

import server as strait

NO_DEVICE = "IOTDA.014000"
INVALID = "IOTDA.000006"


def ids(b):
    return [device["device_id"] for device in b.raw()["devices"]]


def life(b):
    """Created with every field, shown, changed, frozen, deleted."""
    product, node = b.product(), b.name("node")
    fields = {
        "device_id": b.name("dev"),
        "node_id": node,
        "device_name": "地下室-7",
        "product_id": product,
        "description": "Behind,the,door.",
        "extension_info": {"floor": -1, "height": 1.5, "keys": ["a", None], "sub": {"x": True}},
    }
    secret = "00112233445566ff"
    auth = iot.AuthInfo(auth_type="SECRET", secret=secret, secure_access=True, timeout=0)
    shadow = [iot.InitialDesired(service_id="Flow", desired={"volume": 5})]
    b.do("add_device", body=iot.AddDevice(**fields, auth_info=auth, shadow=shadow))
    known = {"status": "INACTIVE", "node_type": "GATEWAY", "gateway_id": fields["device_id"]}
    known |= {"tags": [], "modules": [], "active_time": None}
    known["auth_info"] = {
        "auth_type": "SECRET",
        "secret": secret,
        "secure_access": True,
        "timeout": 0,
    }
    b.check_has("add_device", fields | known)
    created = b.raw()
    device = fields["device_id"]
    b.do("show_device", device_id=device)
    b.check("show_device", "the whole answer", b.raw(), created)
    b.do("list_devices", node_id=node)
    known = {"device_id": device, "description": "Behind,the,door.", "status": "INACTIVE"}
    b.check_has("list_devices", {"devices": [known], "page": {"count": 1}})

    b.do("show_device_shadow", device_id=device)
    b.check_has(
        "show_device_shadow",
        {
            "device_id": device,
            "shadow": [{"service_id": "Flow", "desired": {"properties": {"volume": 5}}}],
        },
    )

    change = {"device_name": "Attic", "description": "Up.", "extension_info": {"floor": 3}}
    auth = iot.AuthInfoWithoutSecret(secure_access=False, timeout=3600)
    b.do("update_device", device_id=device, body=iot.UpdateDevice(**change, auth_info=auth))
    change["auth_info"] = {
        "secure_access": False,
        "timeout": 3600,
        "secret": secret,
    }
    b.check_has("update_device", change | {"node_id": node})
    b.do("update_device", device_id=device, body=iot.UpdateDevice(device_name="Roof"))
    b.check_has("update_device", change | {"device_name": "Roof"})

    for operation, status in (
        ("freeze_device", "FROZEN"),
        ("freeze_device", "FROZEN"),
        ("unfreeze_device", "INACTIVE"),
    ):
        b.do(operation, device_id=device)
        b.check(operation, "status", b.do("show_device", device_id=device).status, status)

    b.do("delete_device", device_id=device)
    absent = {
        "show_device": {},
        "delete_device": {},
        "update_device": {"body": iot.UpdateDevice(device_name="x")},
        "freeze_device": {},
        "unfreeze_device": {},
        "show_device_shadow": {},
        "update_device_shadow_desired_data": {"body": iot.UpdateDesireds(shadow=[])},
        "delete_device_shadow": {},
        "list_device_groups_by_device": {},
        "reset_device_secret": {"action_id": "resetSecret", "body": iot.ResetDeviceSecret()},
    }
    for operation, arguments in absent.items():
        b.gone(operation, NO_DEVICE, device_id=device, **arguments)
    b.device(product, device_id=device, node_id=node)


def defaults(b):
    """Ids, space and secret that nobody named."""
    product, node = b.product(), b.name("node")
    made = b.do("add_device", body=iot.AddDevice(node_id=node, product_id=product))
    b.check("add_device", "device_id", made.device_id, f"{product}_{node}")
    app = b.do("show_product", product_id=product)
    b.check("add_device", "app_id", made.app_id, app.app_id)
    b.check("add_device", "app_name", made.app_name, app.app_name)
    b.check("add_device", "product_name", made.product_name, app.name)
    secret = made.auth_info.secret
    fine = secret and not set(secret) - set("0123456789abcdef")
    b.check_that("add_device", "secret", fine, secret, "hexadecimal digits")


def secrets(b):
    """Both secrets reset, to a given value and to a made-up one."""
    device = b.device(b.product())
    for kind, field in (("PRIMARY", "secret"), ("SECONDARY", "secondary_secret")):
        for given in ("0123456789abcdef", None):
            body = iot.ResetDeviceSecret(secret=given, force_disconnect=False, secret_type=kind)
            arguments = {"device_id": device, "action_id": "resetSecret", "body": body}
            answer = b.do("reset_device_secret", **arguments)
            b.check_has("reset_device_secret", {"device_id": device, "secret_type": kind})
            if given:
                b.check("reset_device_secret", "secret", answer.secret, given)
            shown = getattr(b.do("show_device", device_id=device).auth_info, field)
            b.check("reset_device_secret", f"{field} afterwards", shown, answer.secret)
    for field, action, body in (
        ("secret", "resetSecret", {"secret": "1234567"}),
        ("secret", "resetSecret", {"secret": "a" * 33}),
        ("secret", "resetSecret", {"secret": "not hex!"}),
        ("secret_type", "resetSecret", {"secret_type": "THIRD"}),
        ("force_disconnect", "resetSecret", {"force_disconnect": "no"}),
        ("action_id", "melt", {}),
    ):
        arguments = {"device_id": device, "action_id": action, "body": body}
        b.refused("reset_device_secret", 400, INVALID, field, **arguments)


def option(delta, value):
    """A CoAP option: its number less that of the option before it, its length, its value."""
    head = bytes([delta << 4 | min(len(value), 13)])
    return head + (bytes([len(value) - 13]) if len(value) >= 13 else b"") + value


def post(b, message_id, resource, node, payload=None):
    """Sends a CoAP POST to /t/{resource} (RFC 7252) as the device; gives the answer's code."""
    message = bytes([0x40, 0x02]) + message_id.to_bytes(2, "big")
    message += option(11, b"t") + option(0, resource)
    endpoint = f"ep={node}".encode()
    if payload:
        message += option(1, bytes([42])) + option(3, endpoint) + b"\xff" + payload
    else:
        message += option(4, endpoint) + option(0, b"lt=600")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as device:
        device.settimeout(20)
        device.sendto(message, b.server.coap)
        while (answer := device.recv(1500))[2:4] != message[2:4]:
            pass
    return f"{answer[1] >> 5}.{answer[1] & 31:02}"


def reporting(b):
    """A device that came and reported: status, times and shadow."""
    product = b.product(service_capabilities=strait.COUNTER_MODEL["service_capabilities"])
    path = f"/v1/products/{product}/codec"
    b.server.rest("PUT", path, strait.COUNTER_CODEC, "application/toml", [200, 201])
    node = b.name("node")
    device = b.device(product, node_id=node)
    b.check("POST /t/r", "code", post(b, 1, b"r", node), "2.01")
    payload = strait.counter_bytes(4660)
    b.check("POST /t/d", "code", post(b, 2, b"d", node, payload), "2.04")
    b.do("show_device", device_id=device)
    b.check_has("show_device", {"status": "ONLINE"})
    for field in ("active_time", "connection_status_update_time"):
        b.check_that("show_device", field, b.raw()[field], b.raw()[field], "a time")
    b.do("list_devices", node_id=node)
    b.check_has("list_devices", {"devices": [{"device_id": device, "status": "ONLINE"}]})
    b.do("show_device_shadow", device_id=device)
    reported = b.raw()["shadow"][0]["reported"]
    b.check("show_device_shadow", "reported", reported["properties"], {"value": 4660})
    time = reported["event_time"]
    b.check_that("show_device_shadow", "event_time", time, time, "a time")
    b.do("freeze_device", device_id=device)
    b.check("POST /t/d", "code of a frozen device", post(b, 3, b"d", node, payload), "4.03")
    b.do("unfreeze_device", device_id=device)


def gateways(b):
    """A device behind a gateway, and one behind that."""
    product = b.product()
    top = b.device(product)
    middle = b.device(product, gateway_id=top)
    b.check_has("add_device", {"gateway_id": top, "node_type": "ENDPOINT"})
    low = b.device(product, gateway_id=middle)
    b.do("list_devices", gateway_id=top)
    direct = ids(b)
    b.check_that("list_devices", "gateway_id", middle in direct, direct, "the one behind it")
    b.check_that("list_devices", "gateway_id", low not in direct, direct, "not the second level")
    b.do("list_devices", gateway_id=top, is_cascade_query=True)
    found = ids(b)
    fine = {middle, low} <= set(found) and len(found) == len(set(found))
    b.check_that("list_devices", "is_cascade_query", fine, found, [low, middle])


def moment(at, minutes):
    return (at + datetime.timedelta(minutes=minutes)).strftime("%Y%m%dT%H%M%SZ")


def filters(b):
    """Each filter of the list, alone and together."""
    space = b.space()
    product, other = b.product(app_id=space), b.product(app_id=space)
    name = b.name("named")
    first = b.device(product, device_name=name)
    second = b.device(product)
    third = b.device(other, device_name=name)
    node = b.do("show_device", device_id=second).node_id
    created = b.do("show_device", device_id=first).create_time
    at = datetime.datetime.strptime(created, "%Y%m%dT%H%M%SZ")
    before, after = moment(at, -1), moment(at, 5)
    cases = [
        ({"app_id": space}, [third, second, first]),
        ({"app_id": space, "product_id": product}, [second, first]),
        ({"app_id": space, "device_name": name}, [third, first]),
        ({"product_id": product, "device_name": name}, [first]),
        ({"node_id": node}, [second]),
        ({"node_id": node, "product_id": other}, []),
        ({"app_id": space, "start_time": before, "end_time": after}, [third, second, first]),
        ({"app_id": space, "start_time": after}, []),
        ({"app_id": space, "end_time": before}, []),
        ({"product_id": product, "gateway_id": first}, [first]),
    ]
    for arguments, want in cases:
        b.do("list_devices", **arguments)
        b.check("list_devices", f"devices with {arguments}", ids(b), want)
        b.check("list_devices", f"count with {arguments}", b.raw()["page"]["count"], len(want))
    b.refused("list_devices", 400, "IOTDA.000009", "start_time", start_time="yesterday")
    b.refused("list_devices", 400, "IOTDA.000010", start_time=after, end_time=before)
    b.refused("list_devices", 400, INVALID, "product_id", product_id="a b")
    b.refused("list_devices", 400, INVALID, "node_id", node_id="n" * 65)
    b.refused("list_devices", 400, INVALID, "is_cascade_query", is_cascade_query="maybe")


def bad_values(b):
    """Each refused with its field, and nothing made."""
    product = b.product()
    taken = b.do("show_device", device_id=b.device(product))
    node = b.name("bad")
    fine = {"node_id": node, "product_id": product}
    auth = lambda **fields: {"auth_info": fields}  # noqa: E731
    cases = [
        ("node_id", {"node_id": None}),
        ("node_id", {"node_id": "n" * 65}),
        ("node_id", {"node_id": "a/b"}),
        ("node_id", {"node_id": 5}),
        ("product_id", {"product_id": None}),
        ("device_id", {"device_id": "d" * 129}),
        ("device_id", {"device_id": "a b"}),
        ("device_name", {"device_name": "x" * 257}),
        ("device_name", {"device_name": "<b>"}),
        ("description", {"description": "x" * 2049}),
        ("gateway_id", {"gateway_id": "no such"}),
        ("extension_info", {"extension_info": "text"}),
        ("auth_info", {"auth_info": "text"}),
        ("auth_type", auth(auth_type="NONE")),
        ("secret", auth(secret="1234567")),
        ("secret", auth(secret="0" * 33)),
        ("secret", auth(secret="nothexnothex")),
        ("timeout", auth(timeout=-1)),
        ("secure_access", auth(secure_access=1)),
        ("fingerprint", auth(fingerprint="xyz")),
        ("shadow", {"shadow": [{"service_id": "Nosuch", "desired": {"a": 1}}]}),
        ("desired", {"shadow": [{"service_id": "Flow"}]}),
        ("volume", {"shadow": [{"service_id": "Flow", "desired": {"volume": "much"}}]}),
    ]
    for field, change in cases:
        body = {key: v for key, v in (fine | change).items() if v is not None}
        b.refused("add_device", 400, INVALID, field, body=body)
    b.refused("add_device", 400, "IOTDA.009002", "nosuch", body=fine | {"product_id": "nosuch"})
    for body in ({"node_id": taken.node_id}, {"device_id": taken.device_id}):
        b.refused("add_device", 400, "IOTDA.014031", list(body.values()), body=fine | body)
    b.gone("show_device", NO_DEVICE, device_id=f"{product}_{node}")
    device = taken.device_id
    for field, change in cases[7:10] + [("timeout", auth(timeout="soon"))]:
        b.refused("update_device", 400, INVALID, field, device_id=device, body=change)
    b.do("show_device", device_id=device)
    b.check_has("show_device", {"device_name": taken.device_name, "description": None})


SCENES = [life, defaults, secrets, reporting, gateways, filters, bad_values]
