"""Products through the SDK: each operation, filters, limits, and what goes with a product."""

import huaweicloudsdkiotda.v5 as iot

from sdk_bench import is_subset

NO_PRODUCT = "IOTDA.013001"
NO_DEVICE = "IOTDA.014000"
INVALID = "IOTDA.000006"
NO_SPACE = "IOTDA.001000"


def whole_model():
    """A service with every field that a model can have."""
    para = iot.ServiceCommandPara(
        para_name="level",
        data_type="decimal",
        required=True,
        min="0",
        max="9.5",
        step=0.5,
        unit="bar",
        description="Any text.",
    )
    word = iot.ServiceCommandPara(
        para_name="word", data_type="string", enum_list=["OPEN", "SHUT"], max_length=4
    )
    reading = iot.ServiceProperty(
        property_name="volume",
        data_type="int",
        required=True,
        min="0",
        max="1000000",
        step=1,
        unit="l",
        method="R",
        description="Since it was built in.",
    )
    interval = iot.ServiceProperty(
        property_name="interval", data_type="int", method="RW", default_value=3600
    )
    command = iot.ServiceCommand(
        command_name="SET_VALVE",
        paras=[para, word],
        responses=[iot.ServiceCommandResponse(response_name="DONE", paras=[para])],
    )
    return iot.ServiceCapability(
        service_id="Flow",
        service_type="Meter",
        properties=[reading, interval],
        commands=[command],
        events=[iot.ServiceEvent(event_type="leak", paras=[para])],
        description="What the meter does.",
        option="Mandatory",
    )


def life(b):
    """Created with every field, listed, shown, changed, deleted."""
    id, name = b.name("prod"), b.name("水表")
    fields = {
        "product_id": id,
        "name": name,
        "device_type": "WaterMeter",
        "protocol_type": "CoAP",
        "data_format": "binary",
        "manufacturer_name": "ACME",
        "industry": "water",
        "description": "Meters of the old town.",
    }
    body = iot.AddProduct(**fields, service_capabilities=[whole_model()])
    b.do("create_product", body=body)
    b.check_has("create_product", fields)
    service = b.raw()["service_capabilities"][0]
    wanted = {
        "service_id": "Flow",
        "option": "Mandatory",
        "description": "What the meter does.",
        "properties": [
            {"property_name": "volume", "min": "0", "max": "1000000", "method": "R", "step": 1},
            {"property_name": "interval", "default_value": 3600, "required": False},
        ],
        "commands": [
            {
                "command_name": "SET_VALVE",
                "paras": [
                    {"para_name": "level", "required": True, "max": "9.5"},
                    {"enum_list": ["OPEN", "SHUT"], "max_length": 4},
                ],
                "responses": [{"response_name": "DONE", "paras": [{"para_name": "level"}]}],
            }
        ],
        "events": [{"event_type": "leak", "paras": [{"unit": "bar"}]}],
    }
    for key, want in wanted.items():
        fine = is_subset(want, service[key])
        b.check_that("create_product", f"service {key}", fine, service, want)
    created = b.raw()

    b.do("show_product", product_id=id)
    b.check("show_product", "the whole answer", b.raw(), created)
    b.do("show_product", product_id=id, app_id=created["app_id"])
    b.do("list_products", product_name=name)
    listed = {key: value for key, value in created.items() if key != "service_capabilities"}
    b.check("list_products", "by name", b.raw()["products"], [listed])

    change = {"industry": "energy", "description": "Meters.", "manufacturer_name": "B&C"}
    b.do("update_product", product_id=id, body=iot.UpdateProduct(**change))
    b.check_has("update_product", change | {"name": name})
    b.check(
        "update_product",
        "service_capabilities",
        b.raw()["service_capabilities"],
        created["service_capabilities"],
    )
    b.do(
        "update_product",
        product_id=id,
        body=iot.UpdateProduct(
            service_capabilities=[iot.ServiceCapability(service_id="Next", service_type="Next")]
        ),
    )
    kept = [service["service_id"] for service in b.raw()["service_capabilities"]]
    b.check("update_product", "services after a new model", kept, ["Next"])

    b.do("delete_product", product_id=id)
    b.gone("show_product", NO_PRODUCT, product_id=id)
    b.gone("delete_product", NO_PRODUCT, product_id=id)
    b.gone("update_product", NO_PRODUCT, product_id=id, body=iot.UpdateProduct(name="x"))


def defaults(b):
    """An id of its own, the default space, absent services."""
    body = iot.AddProduct(
        name="plain",
        device_type="x",
        protocol_type="MQTT",
        data_format="json",
        service_capabilities=[],
    )
    first = b.do("create_product", body=body)
    second = b.do("create_product", body=body)
    b.check_that(
        "create_product",
        "made-up ids",
        first.product_id != second.product_id,
        (first.product_id, second.product_id),
        "two ids",
    )
    default = b.do("show_applications", default_app=True).applications[0]
    b.check("create_product", "app_id", first.app_id, default.app_id)
    b.check("create_product", "app_name", first.app_name, default.app_name)


def with_its_devices(b):
    """Deleting a product takes its devices, their groups' membership and their shadows."""
    product, other = b.product(), b.product()
    devices = [b.device(product) for _ in range(12)]
    stays = b.device(other)
    group = b.group()
    b.to_group(group, *devices[:3], stays)
    b.tag(devices[0], kind=b.name("cascade"))
    b.do("delete_product", product_id=product)
    for device in (devices[0], devices[-1]):
        b.gone("show_device", NO_DEVICE, device_id=device)
        b.gone("show_device_shadow", NO_DEVICE, device_id=device)
    b.do("list_devices", product_id=product)
    b.check_has("list_devices", {"devices": [], "page": {"count": 0, "marker": None}})
    b.do("show_devices_in_group", group_id=group)
    left = [device["device_id"] for device in b.raw()["devices"]]
    b.check("show_devices_in_group", "after the product went", left, [stays])
    # What it held is free again.
    node = b.do("show_device", device_id=stays).node_id
    again = b.product(product_id=product)
    b.device(again, device_id=devices[0])
    b.refused(
        "add_device",
        400,
        "IOTDA.014031",
        node,
        body=iot.AddDevice(node_id=node, product_id=again),
    )


def bad_values(b):
    """Each refused with its field, and nothing made."""
    fine = {
        "name": b.name("bad"),
        "device_type": "x",
        "protocol_type": "CoAP",
        "data_format": "binary",
        "service_capabilities": [],
    }
    service = {"service_id": "S", "service_type": "S"}
    value = {"property_name": "v", "data_type": "int", "method": "R"}
    cases = [
        ("name", {"name": None}),
        ("name", {"name": ""}),
        ("name", {"name": "x" * 65}),
        ("name", {"name": "a b"}),
        ("name", {"name": 7}),
        ("product_id", {"product_id": "p" * 37}),
        ("product_id", {"product_id": "../x"}),
        ("device_type", {"device_type": "x" * 33}),
        ("protocol_type", {"protocol_type": "LwM2M"}),
        ("data_format", {"data_format": "xml"}),
        ("manufacturer_name", {"manufacturer_name": "x" * 33}),
        ("industry", {"industry": "x" * 65}),
        ("description", {"description": "x" * 129}),
        ("service_capabilities", {"service_capabilities": None}),
        ("service_capabilities", {"service_capabilities": "none"}),
        ("service_capabilities", {"service_capabilities": [service] * 501}),
        ("service_id", {"service_capabilities": [{"service_type": "S"}]}),
        ("option", {"service_capabilities": [service | {"option": "Maybe"}]}),
        (
            "data_type",
            {"service_capabilities": [service | {"properties": [value | {"data_type": "u8"}]}]},
        ),
        (
            "method",
            {"service_capabilities": [service | {"properties": [value | {"method": "X"}]}]},
        ),
        ("min", {"service_capabilities": [service | {"properties": [value | {"min": 1}]}]}),
        ("app_id", {"app_id": "a" * 37}),
    ]
    for field, change in cases:
        body = {key: v for key, v in (fine | change).items() if v is not None}
        b.refused("create_product", 400, INVALID, field, body=body)
    b.refused("create_product", 403, NO_SPACE, body=fine | {"app_id": "no-such-space"})
    b.do("list_products", product_name=fine["name"])
    b.check("list_products", "products of refused requests", b.raw()["products"], [])

    taken = b.product()
    b.refused("create_product", 400, words=taken, body=fine | {"product_id": taken})
    for field, change in cases[2:12]:
        if field != "product_id":
            b.refused("update_product", 400, INVALID, field, product_id=taken, body=change)
    b.gone("show_product", NO_PRODUCT, product_id=taken, app_id=b.space())
    b.gone("show_product", NO_PRODUCT, product_id="nosuch")


SCENES = [life, defaults, with_its_devices, bad_values]
