"""Who asks, through the SDK: wrong, late, altered and revoked proofs; roles; resource spaces."""

import contextlib
import datetime

import huaweicloudsdkcore.signer.signer as signer
import huaweicloudsdkiotda.v5 as iot
from huaweicloudsdkcore.exceptions.exceptions import ClientRequestException

from sdk_batch import create, details, end
from sdk_bench import SCHEMES, Client

# Not who he says; and not allowed.
UNKNOWN = (401, 403)
NO_CALLER = "IOTDA.000004"
FORBIDDEN = "IOTDA.001002"
NO_DEVICE = "IOTDA.014000"
NO_PRODUCT = "IOTDA.013001"


def ways(b):
    """The SDK does prove who asks in the way that is meant."""
    b.do("list_products")
    sent = b.client.authorization or ""
    fine = sent.startswith(SCHEMES[b.way])
    b.check_that("list_products", "Authorization", fine, sent, b.way)
    if b.way == "derived":
        fine = "/cn-north-4/iotdm, " in sent
        b.check_that("list_products", "Authorization", fine, sent, "the region in it")


def many_at_once(b):
    """Equal requests within a second carry equal signatures and pass; so do asynchronous ones."""
    for _ in range(3):
        b.do("list_products")
    keys = b.server.keys
    client = Client(b.server.http, keys, b.way, kind=iot.IoTDAAsyncClient)
    model = {"device_type": "x", "protocol_type": "CoAP", "data_format": "binary"}
    model["service_capabilities"] = []
    names = [b.name("async") for _ in range(8)]
    waiting = [
        client.sdk.create_product_async(
            iot.CreateProductRequest(body=iot.AddProduct(name=name, **model))
        )
        for name in names
    ]
    made = [future.result() for future in waiting]
    b.check("create_product_async", "names", [product.name for product in made], names)
    for product in made:
        request = iot.ShowProductRequest(product_id=product.product_id)
        shown = client.sdk.show_product_async(request).result()
        b.check("show_product_async", "product_id", shown.product_id, product.product_id)
    product = made[0].product_id
    body = iot.AddDevice(node_id=b.name("node"), product_id=product)
    device = client.sdk.add_device_async(iot.AddDeviceRequest(body=body)).result().device_id
    listed = client.sdk.list_devices_async(iot.ListDevicesRequest(product_id=product)).result()
    b.check("list_devices_async", "devices", [d.device_id for d in listed.devices], [device])
    client.sdk.delete_device_async(iot.DeleteDeviceRequest(device_id=device)).result()
    try:
        client.sdk.show_device_async(iot.ShowDeviceRequest(device_id=device)).result()
        b.check("show_device_async", "outcome", "an answer", "404")
    except ClientRequestException as error:
        b.check("show_device_async", "status", error.status_code, 404)
        b.check("show_device_async", "error_code", error.error_code, NO_DEVICE)
        id = error.request_id
        b.check_that("show_device_async", "request_id", id, id, "a text")
    b.gone("show_device", NO_DEVICE, device_id=device)


def changed(text):
    """The same with its last character changed."""
    return text[:-1] + ("0" if text[-1] != "0" else "1")


def wrong_keys(b):
    """Refused alike, whichever half is wrong, and nothing changed."""
    keys = b.server.keys
    wrong = {name: changed(value) for name, value in keys.items()}
    cases = [keys | {"access_key": "NOSUCHKEY", "token": "nosuchtoken"}, wrong]
    if b.way != "token":
        cases.append(keys | {"secret_key": wrong["secret_key"]})
    name = b.name("unknown")
    body = iot.AddApplication(app_name=name)
    told = set()
    for keys in cases:
        client = b.other(keys)
        b.refused("show_applications", UNKNOWN, NO_CALLER, client=client)
        error = b.refused("add_application", UNKNOWN, NO_CALLER, client=client, body=body)
        if error:
            told.add((error.status_code, error.error_code, error.error_msg))
        # Whether a thing is there is not told either.
        b.refused("show_device", UNKNOWN, NO_CALLER, client=client, device_id="nosuch")
    b.check_that("add_application", "refusals", len(told) == 1, told, "the same for each")
    b.do("show_applications")
    names = [space["app_name"] for space in b.raw()["applications"]]
    b.check("show_applications", "the refused one", name in names, False)


def no_proof(b):
    """Requests that prove nothing."""
    client = b.other(b.server.keys)
    for headers in (
        {"Authorization": "none"},
        {"Authorization": "none", "X-Auth-Token": ""},
        {"Authorization": "Basic YTpi"},
        {"Authorization": SCHEMES["signed"] + "Access=, SignedHeaders=, Signature="},
        {"Authorization": SCHEMES["derived"].strip()},
    ):
        client.sdk.preset_headers = headers
        b.refused("list_products", UNKNOWN, NO_CALLER, client=client)
        b.refused("delete_product", UNKNOWN, NO_CALLER, client=client, product_id="nosuch")


def altering(part, change):
    """A request handler that changes this header, or the body or target, after it was signed."""

    def alter(request, **_):
        place = request.header_params if part in request.header_params else vars(request)
        before = place[part]
        place[part] = change(before)
        assert place[part] != before, f"{part} is still {before!r}"

    return alter


def without_date(request, **_):
    del request.header_params["X-Sdk-Date"]


def swapping(old, new):
    return lambda text: text.replace(old, new)


def altered(b):
    """A signed request of which anything was changed on its way."""
    if b.way == "token":
        return
    product, name = b.product(), b.name("altered")
    model = {"name": f"{name}x1", "device_type": "x", "protocol_type": "CoAP"}
    model |= {"data_format": "json", "service_capabilities": []}
    cases = [
        ("list_products", altering("Authorization", changed), {}),
        ("list_products", altering("Authorization", swapping("x-sdk-date", "x-sdk-data")), {}),
        ("list_products", altering("Authorization", swapping("host;", "")), {}),
        ("list_products", altering("X-Sdk-Date", later_by_a_second), {}),
        ("list_products", altering("X-Project-Id", swapping("p1", "p2")), {}),
        ("list_products", altering("User-Agent", changed), {}),
        ("list_products", altering("Instance-Id", changed), {"instance_id": "i"}),
        ("list_products", without_date, {}),
        ("list_products", altering("_uri", swapping("limit=5", "limit=6")), {"limit": 5}),
        (
            "show_product",
            altering("_uri", swapping(product, changed(product))),
            {"product_id": product},
        ),
        ("create_product", altering("_body", swapping(b"x1", b"x2")), {"body": model}),
    ]
    for operation, alter, arguments in cases:
        client = b.other(b.server.keys)
        client.sdk.get_http_client()._http_handler.add_request_handler(alter)
        b.refused(operation, UNKNOWN, NO_CALLER, client=client, **arguments)
    for suffix in ("x1", "x2"):
        b.do("list_products", product_name=f"{name}{suffix}")
        b.check("list_products", "the refused one", b.raw()["products"], [])


def later_by_a_second(text):
    at = datetime.datetime.strptime(text, "%Y%m%dT%H%M%SZ") + datetime.timedelta(seconds=1)
    return at.strftime("%Y%m%dT%H%M%SZ")


@contextlib.contextmanager
def clock_off_by(minutes):
    """The SDK's clock, as much before or behind the server's."""

    class Shifted(datetime.datetime):
        @classmethod
        def utcnow(cls):
            return datetime.datetime.utcnow() + datetime.timedelta(minutes=minutes)

    own = signer.datetime
    signer.datetime = Shifted
    try:
        yield
    finally:
        signer.datetime = own


def clocks(b):
    """A signature is good for 15 minutes, before and behind."""
    if b.way == "token":
        return
    for minutes in (14, -14):
        with clock_off_by(minutes):
            b.do("list_products")
    for minutes in (16, -16, 24 * 60):
        with clock_off_by(minutes):
            b.refused("list_products", UNKNOWN, NO_CALLER)
    b.do("list_products")


def await_status(b, client, what, want):
    """A running server takes notice of credentials in its own time."""

    def status():
        with contextlib.suppress(ClientRequestException):
            client.call("list_products")
        return client.last.status_code in want

    b.await_("list_products", what, status, True)


def revoked(b):
    """A credential works once it was added, and not once it was revoked."""
    keys = b.credential("--role", "operator")
    client = b.other(keys)
    await_status(b, client, "the new credential is taken", [200])
    b.do("list_products", client=client)
    listed = b.command("credentials", "list").stdout
    b.check_that("credentials list", "access key", keys["access_key"] in listed, listed, "in it")
    for secret in ("secret_key", "token"):
        b.check("credentials list", f"shows a {secret}", keys[secret] in listed, False)
    b.command("credentials", "revoke", keys["access_key"])
    await_status(b, client, "the revoked credential is refused", UNKNOWN)
    b.refused("list_products", UNKNOWN, NO_CALLER, client=client)
    b.do("list_products")


def read_only(b):
    """Reads everything, also by POST; changes nothing."""
    product = b.product()
    device, group, space = b.device(product), b.group(), b.space()
    client = b.other(b.credential("--role", "read-only"))
    await_status(b, client, "the new credential is taken", [200])
    tags = [iot.TagV5DTO(tag_key="k", tag_value="v")]
    query = iot.QueryResourceByTagsDTO(resource_type="device", tags=tags)
    for operation, arguments in (
        ("list_products", {}),
        ("show_product", {"product_id": product}),
        ("list_devices", {}),
        ("show_device", {"device_id": device}),
        ("show_device_shadow", {"device_id": device}),
        ("list_device_groups_by_device", {"device_id": device}),
        ("search_devices", {"body": iot.SearchSql(sql="select * from device")}),
        ("list_device_groups", {}),
        ("show_devices_in_group", {"group_id": group}),
        ("list_resources_by_tags", {"body": query}),
        ("list_batch_tasks", {"task_type": "freezeDevices"}),
        ("list_batch_task_files", {}),
        ("show_applications", {}),
        ("show_application", {"app_id": space}),
        ("list_routing_rules", {}),
        ("list_rule_actions", {}),
        ("batch_show_queue", {}),
    ):
        b.do(operation, client=client, **arguments)
    member = {"group_id": group, "action_id": "addDevice", "device_id": device}
    resource = {"resource_type": "device", "resource_id": device}
    task = {"task_name": "x", "task_type": "freezeDevices", "targets": [device]}
    for operation, arguments in (
        ("create_product", {"body": {"name": "x"}}),
        ("update_product", {"product_id": product, "body": {"industry": "x"}}),
        ("delete_product", {"product_id": product}),
        ("add_device", {"body": {"node_id": b.name(), "product_id": product}}),
        ("update_device", {"device_id": device, "body": {"device_name": "x"}}),
        ("delete_device", {"device_id": device}),
        ("freeze_device", {"device_id": device}),
        ("unfreeze_device", {"device_id": device}),
        ("reset_device_secret", {"device_id": device, "action_id": "resetSecret", "body": {}}),
        ("add_device_group", {"body": {"name": "x"}}),
        ("update_device_group", {"group_id": group, "body": {"name": "x"}}),
        ("delete_device_group", {"group_id": group}),
        ("create_or_delete_device_in_group", member),
        ("tag_device", {"body": resource | {"tags": tags}}),
        ("untag_device", {"body": resource | {"tag_keys": ["k"]}}),
        ("create_batch_task", {"body": task}),
        ("delete_batch_task_file", {"file_id": "0123456789abcdef01234567"}),
        ("add_application", {"body": {"app_name": "x"}}),
        ("update_application", {"app_id": space, "body": {"app_name": "x"}}),
        ("delete_application", {"app_id": space}),
        ("create_routing_rule", {"body": {"subject": {"resource": "device", "event": "create"}}}),
        ("create_access_code", {"body": {}}),
    ):
        b.refused(operation, 403, FORBIDDEN, client=client, **arguments)
    b.do("show_device", device_id=device)
    b.check_has("show_device", {"status": "INACTIVE", "tags": [], "device_name": None})


def bound_to_a_space(b):
    """Sees and changes what is in its space; the rest is not there."""
    own, other = b.space(), b.space()
    foreign = b.product(app_id=other)
    foreign_device, foreign_group = b.device(foreign), b.group(app_id=other)
    foreign_task = create(b, "freezeDevices", targets=["nosuch"], app_id=other)
    end(b, foreign_task, "Fail", total=1, fail=1)
    key = b.name("key")
    b.tag(foreign_device, **{key: "v"})

    everything = b.client
    b.client = b.other(b.credential("--role", "operator", "--app-id", own))
    try:
        await_status(b, b.client, "the new credential is taken", [200])
        product = b.product()
        b.check_has("create_product", {"app_id": own})
        device, group = b.device(product), b.group()
        b.to_group(group, device)
        b.tag(device, **{key: "v"})
        _only_its_own(b, own, key, product, device, group)
        _nothing_elsewhere(b, other, foreign, foreign_device, foreign_group, foreign_task)
        task = create(b, "freezeDevices", targets=[device, foreign_device])
        end(b, task, "PartialSuccess", total=2, success=1, fail=1)
        error = details(b, task)[foreign_device]["error"]
        b.check("freezeDevices", "a device elsewhere", error["error_code"], NO_DEVICE)
        b.do("delete_device", device_id=device)
    finally:
        b.client = everything
    b.do("show_device", device_id=foreign_device)
    b.check_has("show_device", {"status": "INACTIVE", "device_name": None})
    b.do("show_product", product_id=foreign)
    b.do("show_application", app_id=own)


def _only_its_own(b, own, key, product, device, group):
    tags = [iot.TagV5DTO(tag_key=key, tag_value="v")]
    query = iot.QueryResourceByTagsDTO(resource_type="device", tags=tags)
    sql = iot.SearchSql(sql="select * from device limit 50")
    for operation, arguments, list_key, id_key, want in (
        ("list_products", {}, "products", "product_id", product),
        ("list_products", {"app_id": own}, "products", "product_id", product),
        ("list_devices", {}, "devices", "device_id", device),
        ("list_device_groups", {}, "device_groups", "group_id", group),
        ("show_applications", {}, "applications", "app_id", own),
        ("search_devices", {"body": sql}, "devices", "device_id", device),
        ("list_resources_by_tags", {"body": query}, "resources", "resource_id", device),
    ):
        b.do(operation, **arguments)
        got = [element[id_key] for element in b.raw()[list_key]]
        b.check(operation, "what a bound credential sees", got, [want])
    b.do("search_devices", body=iot.SearchSql(sql="select count(*) from device"))
    b.check("search_devices", "count(*) of a bound credential", b.raw()["count"], 1)
    b.do("list_batch_tasks", task_type="freezeDevices")
    b.check("list_batch_tasks", "what a bound credential sees", b.raw()["batchtasks"], [])


def _nothing_elsewhere(b, other, product, device, group, task):
    for operation, code, arguments in (
        ("show_product", NO_PRODUCT, {"product_id": product}),
        ("update_product", NO_PRODUCT, {"product_id": product, "body": {"industry": "x"}}),
        ("delete_product", NO_PRODUCT, {"product_id": product}),
        ("show_device", NO_DEVICE, {"device_id": device}),
        ("show_device_shadow", NO_DEVICE, {"device_id": device}),
        ("update_device_shadow_desired_data", NO_DEVICE, {"device_id": device, "body": {}}),
        ("delete_device_shadow", NO_DEVICE, {"device_id": device}),
        ("update_device", NO_DEVICE, {"device_id": device, "body": {"device_name": "x"}}),
        ("freeze_device", NO_DEVICE, {"device_id": device}),
        ("delete_device", NO_DEVICE, {"device_id": device}),
        ("show_device_group", None, {"group_id": group}),
        ("show_devices_in_group", None, {"group_id": group}),
        ("delete_device_group", None, {"group_id": group}),
        ("show_batch_task", None, {"task_id": task}),
        ("delete_batch_task", None, {"task_id": task}),
    ):
        b.gone(operation, code, **arguments)
    named = {"app_id": other}
    model = {"name": "x", "device_type": "x", "protocol_type": "CoAP", "data_format": "json"}
    model |= {"service_capabilities": []}
    for operation, arguments in (
        ("list_products", named),
        ("list_devices", named),
        ("list_device_groups", named),
        ("list_batch_tasks", named | {"task_type": "freezeDevices"}),
        ("create_product", {"body": model | named}),
        ("add_device_group", {"body": named | {"name": "x"}}),
        ("add_application", {"body": {"app_name": "x"}}),
    ):
        b.refused(operation, 403, FORBIDDEN, **arguments)
    body = {"node_id": b.name("node"), "product_id": product}
    b.refused("add_device", (400, 404), body=body)
    resource = {"resource_type": "device", "resource_id": device}
    tags = [{"tag_key": "k", "tag_value": "v"}]
    b.gone("tag_device", NO_DEVICE, body=resource | {"tags": tags})
    for operation in ("show_application", "delete_application"):
        b.refused(operation, (403, 404), app_id=other)


SCENES = [
    ways,
    many_at_once,
    wrong_keys,
    no_proof,
    altered,
    clocks,
    revoked,
    read_only,
    bound_to_a_space,
]
