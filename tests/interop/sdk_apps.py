"""Resource spaces through the SDK: each operation, and what goes with a space."""

import huaweicloudsdkiotda.v5 as iot

NO_DEVICE = "IOTDA.014000"
NO_PRODUCT = "IOTDA.013001"
INVALID = "IOTDA.000006"
NO_SPACE = "IOTDA.001000"


def listed(b, **arguments):
    b.do("show_applications", **arguments)
    return {space["app_id"]: space for space in b.raw()["applications"]}


def life(b):
    """Created, listed, shown, renamed, deleted."""
    before = listed(b)
    defaults = [id for id, space in before.items() if space["default_app"]]
    b.check("show_applications", "number of default spaces", len(defaults), 1)

    name = b.name("space")
    made = b.do("add_application", body=iot.AddApplication(app_name=name))
    b.check_has("add_application", {"app_name": name, "default_app": False})
    created = b.raw()
    b.do("show_application", app_id=made.app_id)
    b.check("show_application", "the whole answer", b.raw(), created)
    after = listed(b)
    b.check("show_applications", "spaces", after, before | {made.app_id: created})
    b.check("show_applications", "default_app=true", list(listed(b, default_app=True)), defaults)
    others = listed(b, default_app=False)
    b.check("show_applications", "default_app=false", defaults[0] in others, False)
    b.check("show_applications", "default_app=false", made.app_id in others, True)

    renamed = b.name("space")
    body = iot.UpdateApplicationDTO(app_name=renamed)
    b.do("update_application", app_id=made.app_id, body=body)
    b.check("update_application", "the whole answer", b.raw(), created | {"app_name": renamed})
    product = b.product(app_id=made.app_id)
    b.check_has("create_product", {"app_id": made.app_id, "app_name": renamed})
    b.device(product)
    b.check_has("add_device", {"app_id": made.app_id, "app_name": renamed})

    b.do("delete_application", app_id=made.app_id)
    b.check("show_applications", "spaces at the end", listed(b), before)
    for operation, arguments in (
        ("show_application", {}),
        ("update_application", {"body": body}),
        ("delete_application", {}),
    ):
        b.refused(operation, (403, 404), NO_SPACE, app_id=made.app_id, **arguments)


def with_what_is_in_it(b):
    """Deleting a space takes its products, devices, groups and their tasks."""
    gone, stays = b.space(), b.space()
    products = {space: b.product(app_id=space) for space in (gone, stays)}
    devices = {space: [b.device(products[space]) for _ in range(3)] for space in products}
    groups = {space: b.group(app_id=space) for space in products}
    for space in products:
        b.to_group(groups[space], *devices[space])
    child = b.group(app_id=gone, super_group_id=groups[gone])
    tag = b.name("tag")
    for space in products:
        b.tag(devices[space][0], **{tag: "x"})

    b.do("delete_application", app_id=gone)
    b.gone("show_product", NO_PRODUCT, product_id=products[gone])
    for device in devices[gone]:
        b.gone("show_device", NO_DEVICE, device_id=device)
    for group in (groups[gone], child):
        b.gone("show_device_group", None, group_id=group)
    tags = [iot.TagV5DTO(tag_key=tag, tag_value="x")]
    body = iot.QueryResourceByTagsDTO(resource_type="device", tags=tags)
    b.do("list_resources_by_tags", body=body)
    found = [resource["resource_id"] for resource in b.raw()["resources"]]
    b.check("list_resources_by_tags", "after the space went", found, devices[stays][:1])
    for operation, key in (
        ("list_products", "products"),
        ("list_devices", "devices"),
        ("list_device_groups", "device_groups"),
    ):
        b.do(operation, limit=50)
        spaces = {element.get("app_id") for element in b.raw()[key]}
        b.check(operation, "elements of the space that went", gone in spaces, False)
    b.do("show_product", product_id=products[stays])
    b.do("show_devices_in_group", group_id=groups[stays])
    b.check("show_devices_in_group", "count", b.raw()["page"]["count"], 3)
    # Its ids are free again.
    b.device(products[stays], device_id=devices[gone][0])


def bad_values(b):
    """Each refused, and nothing made."""
    before = listed(b)
    default = next(id for id, space in before.items() if space["default_app"])
    product = b.product()
    for body in ({}, {"app_name": ""}, {"app_name": "x" * 65}, {"app_name": 5}):
        b.refused("add_application", 400, INVALID, "app_name", body=body)
    for body in ({"app_name": "x" * 65}, {"app_name": []}):
        b.refused("update_application", 400, INVALID, "app_name", app_id=default, body=body)
    b.refused("delete_application", (400, 403, 409), app_id=default)
    b.do("show_product", product_id=product)
    b.refused("show_application", (403, 404), NO_SPACE, app_id="nosuch")
    missing = {"app_id": "nosuch"}
    b.refused("add_device_group", 403, NO_SPACE, body={"name": b.name()} | missing)
    body = {"node_id": b.name("node"), "product_id": product} | missing
    b.refused("add_device", 403, NO_SPACE, body=body)
    body = {"task_name": b.name(), "task_type": "freezeDevices", "targets": ["x"]} | missing
    b.refused("create_batch_task", 403, NO_SPACE, body=body)
    b.check("show_applications", "spaces", listed(b), before)


SCENES = [life, with_what_is_in_it, bad_values]
