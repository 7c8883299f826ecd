"""Groups and tags through the SDK: each operation, filters, limits."""

import huaweicloudsdkiotda.v5 as iot

from sdk_batch import later

NO_DEVICE = "IOTDA.014000"
INVALID = "IOTDA.000006"
REFUSED = (400, 403, 409)
LEVELS_MAX = 5
TAGS_MAX = 10
GROUPS_OF_DEVICE_MAX = 10


def groups_of(b, device):
    b.do("list_device_groups_by_device", device_id=device)
    return {group["group_id"]: group["name"] for group in b.raw()["device_groups"]}


def members(b, group):
    b.do("show_devices_in_group", group_id=group, limit=50)
    return [device["device_id"] for device in b.raw()["devices"]]


def life(b):
    """Created, listed, shown, changed, deleted."""
    name = b.name("group")
    body = iot.AddDeviceGroupDTO(name=name, description="Old,town.")
    made = b.do("add_device_group", body=body)
    b.check_has("add_device_group", {"name": name, "description": "Old,town."})
    created = b.raw()
    group = made.group_id
    b.do("show_device_group", group_id=group)
    b.check("show_device_group", "the whole answer", b.raw(), created)
    b.do("list_device_groups", name=name)
    summary = {key: value for key, value in created.items() if key != "dynamic_group_rule"}
    b.check("list_device_groups", "by name", b.raw()["device_groups"], [summary])

    child = b.group(super_group_id=group)
    b.check_has("add_device_group", {"super_group_id": group})
    renamed = b.name("group")
    body = iot.UpdateDeviceGroupDTO(name=renamed, description="New.")
    b.do("update_device_group", group_id=group, body=body)
    b.check(
        "update_device_group",
        "the whole answer",
        b.raw(),
        created | {"name": renamed, "description": "New."},
    )
    body = iot.UpdateDeviceGroupDTO(description="Newer.")
    b.do("update_device_group", group_id=group, body=body)
    b.check_has("update_device_group", {"name": renamed, "description": "Newer."})

    b.do("delete_device_group", group_id=child)
    b.do("delete_device_group", group_id=group)
    absent = {
        "show_device_group": {},
        "delete_device_group": {},
        "update_device_group": {"body": body},
        "show_devices_in_group": {},
        "create_or_delete_device_in_group": {
            "action_id": "addDevice",
            "device_id": b.device(b.product()),
        },
    }
    for operation, arguments in absent.items():
        b.gone(operation, None, group_id=group, **arguments)


def membership(b):
    """Devices added, listed both ways, removed; a device has its limit of groups."""
    product = b.product()
    devices = [b.device(product, device_name=b.name("named")) for _ in range(3)]
    group = b.group()
    name = b.raw()["name"]
    b.check("show_devices_in_group", "an empty group", members(b, group), [])
    b.to_group(group, *devices)
    b.check("show_devices_in_group", "devices", members(b, group), devices[::-1])
    shown = b.raw()["devices"][0]
    b.do("show_device", device_id=devices[2])
    wanted = {key: b.raw()[key] for key in ("device_id", "node_id", "device_name", "product_id")}
    b.check("show_devices_in_group", "a device", shown, wanted)
    b.check("list_device_groups_by_device", "groups", groups_of(b, devices[0]), {group: name})
    b.to_group(group, devices[1], action="removeDevice")
    b.check("show_devices_in_group", "after one left", members(b, group), [devices[2], devices[0]])
    b.check("list_device_groups_by_device", "of that one", groups_of(b, devices[1]), {})
    b.do("delete_device", device_id=devices[2])
    b.check("show_devices_in_group", "after one was deleted", members(b, group), devices[:1])
    b.do("delete_device_group", group_id=group)
    b.check("list_device_groups_by_device", "after the group went", groups_of(b, devices[0]), {})
    b.do("show_device", device_id=devices[0])

    groups = [b.group() for _ in range(GROUPS_OF_DEVICE_MAX + 1)]
    for group in groups[:-1]:
        b.to_group(group, devices[0])
    arguments = {"group_id": groups[-1], "action_id": "addDevice", "device_id": devices[0]}
    b.refused("create_or_delete_device_in_group", REFUSED, words=["10"], **arguments)
    b.check("show_devices_in_group", "the group over the limit", members(b, groups[-1]), [])
    b.check(
        "list_device_groups_by_device",
        "groups at the limit",
        set(groups_of(b, devices[0])),
        set(groups[:-1]),
    )
    b.to_group(groups[0], devices[0], action="removeDevice")
    b.to_group(groups[-1], devices[0])


def levels(b):
    """Five levels of groups, and no sixth."""
    above = None
    for _ in range(LEVELS_MAX):
        above = b.group(super_group_id=above) if above else b.group()
    body = {"name": b.name("sixth"), "super_group_id": above}
    b.refused("add_device_group", REFUSED, words=["5"], body=body)
    b.do("list_device_groups", name=body["name"])
    b.check("list_device_groups", "the sixth level", b.raw()["device_groups"], [])


def filters(b):
    """Each filter of the list."""
    space = b.space()
    first, second = b.group(app_id=space), b.group(app_id=space)
    name = b.raw()["name"]
    cases = [
        ({"app_id": space}, [second, first]),
        ({"app_id": space, "name": name}, [second]),
        ({"app_id": space, "name": "nosuch"}, []),
        ({"app_id": space, "last_modified_time": later(-5)}, [second, first]),
        ({"app_id": space, "last_modified_time": later(5)}, []),
    ]
    for arguments, want in cases:
        b.do("list_device_groups", **arguments)
        got = [group["group_id"] for group in b.raw()["device_groups"]]
        b.check("list_device_groups", f"groups with {arguments}", got, want)
        count = b.raw()["page"]["count"]
        b.check("list_device_groups", f"count with {arguments}", count, len(want))
    b.refused("list_device_groups", 400, "IOTDA.000009", last_modified_time="today")


def bad_groups(b):
    """Each refused with its field."""
    group, device = b.group(), b.device(b.product())
    name = b.name("bad")
    for field, body in (
        ("name", {"name": "x" * 65}),
        ("name", {"name": "a\tb"}),
        ("description", {"name": name, "description": "x" * 65}),
        ("super_group_id", {"name": name, "super_group_id": "not hex"}),
        ("app_id", {"name": name, "app_id": "a" * 37}),
    ):
        b.refused("add_device_group", 400, INVALID, field, body=body)
    missing = "0123456789abcdef01234567"
    body = {"name": name, "super_group_id": missing}
    b.refused("add_device_group", (400, 404), words=missing, body=body)
    taken = b.do("show_device_group", group_id=group).name
    b.refused("add_device_group", REFUSED, words=taken, body={"name": taken})
    for field, body in (("name", {"name": "x" * 65}), ("description", {"description": "x" * 65})):
        b.refused("update_device_group", 400, INVALID, field, group_id=group, body=body)
    action = "create_or_delete_device_in_group"
    arguments = {"group_id": group, "device_id": device}
    b.refused(action, 400, INVALID, "action_id", action_id="moveDevice", **arguments)
    arguments["device_id"] = "nosuch"
    b.gone(action, NO_DEVICE, action_id="addDevice", **arguments)
    elsewhere = b.device(b.product(app_id=b.space()))
    b.refused(
        action, (400, 403, 404), group_id=group, action_id="addDevice", device_id=elsewhere
    )
    b.check("show_devices_in_group", "devices", members(b, group), [])


def tags(b):
    """Bound, replaced, counted, taken away; the query takes any of its tags."""
    product = b.product()
    devices = [b.device(product) for _ in range(4)]
    key, other = b.name("市"), b.name("key")
    b.tag(devices[0], **{key: "深圳", other: "1"})
    b.do("show_device", device_id=devices[0])
    shown = {tag["tag_key"]: tag["tag_value"] for tag in b.raw()["tags"]}
    b.check("tag_device", "tags", shown, {key: "深圳", other: "1"})
    b.tag(devices[0], **{key: "A.b-c_9"})
    b.do("list_devices", node_id=b.do("show_device", device_id=devices[0]).node_id)
    shown = {tag["tag_key"]: tag["tag_value"] for tag in b.raw()["devices"][0]["tags"]}
    b.check("tag_device", "a tag bound again", shown, {key: "A.b-c_9", other: "1"})

    b.tag(devices[1], **{other: "2"})
    b.tag(devices[2], **{other: "3", key: "A.b-c_9"})
    cases = [
        ({key: "A.b-c_9"}, [2, 0]),
        ({other: "2"}, [1]),
        ({key: "A.b-c_9", other: "2"}, [2, 1, 0]),
        ({key: "A.b-c_9", other: "3"}, [2, 0]),
        ({other: "none"}, []),
    ]
    for wanted, want in cases:
        pairs = [iot.TagV5DTO(tag_key=k, tag_value=v) for k, v in wanted.items()]
        body = iot.QueryResourceByTagsDTO(resource_type="device", tags=pairs)
        b.do("list_resources_by_tags", body=body)
        got = [resource["resource_id"] for resource in b.raw()["resources"]]
        want = [devices[index] for index in want]
        b.check("list_resources_by_tags", f"devices with {wanted}", got, want)
        count = b.raw()["page"]["count"]
        b.check("list_resources_by_tags", f"count with {wanted}", count, len(want))

    body = iot.UnbindTagsDTO(resource_type="device", resource_id=devices[0], tag_keys=[key])
    b.do("untag_device", body=body)
    b.do("show_device", device_id=devices[0])
    b.check("untag_device", "tags", b.raw()["tags"], [{"tag_key": other, "tag_value": "1"}])

    b.tag(devices[3], **{f"k{n}": "x" for n in range(TAGS_MAX)})
    one_more = {"resource_type": "device", "resource_id": devices[3]}
    one_more["tags"] = [{"tag_key": "k10", "tag_value": "x"}]
    b.refused("tag_device", REFUSED, words=["10"], body=one_more)
    b.tag(devices[3], k3="y")
    b.do("show_device", device_id=devices[3])
    shown = {tag["tag_key"]: tag["tag_value"] for tag in b.raw()["tags"]}
    b.check("tag_device", "at the limit", shown, {f"k{n}": "x" for n in range(10)} | {"k3": "y"})


def bad_tags(b):
    """Each refused with its field."""
    device = b.device(b.product())
    fine = {"resource_type": "device", "resource_id": device}
    tag = {"tag_key": "k", "tag_value": "v"}
    for field, change in (
        ("resource_type", {"resource_type": "product", "tags": [tag]}),
        ("resource_id", {"resource_id": "a b", "tags": [tag]}),
        ("tags", {}),
        ("tags", {"tags": "k=v"}),
        ("tags", {"tags": [{"tag_key": f"k{n}", "tag_value": "v"} for n in range(11)]}),
        ("tag_key", {"tags": [{"tag_value": "v"}]}),
        ("tag_key", {"tags": [tag | {"tag_key": "k" * 65}]}),
        ("tag_key", {"tags": [tag | {"tag_key": "a b"}]}),
        ("tag_value", {"tags": [tag | {"tag_value": "v" * 129}]}),
    ):
        b.refused("tag_device", (400, 403), None, field, body=fine | change)
    b.refused("untag_device", 400, INVALID, "tag_keys", body=fine)
    b.refused("untag_device", 400, INVALID, "tag_keys", body=fine | {"tag_keys": ["k" * 65]})
    query = {"resource_type": "device", "tags": [tag | {"tag_key": "k" * 65}]}
    b.refused("list_resources_by_tags", 400, INVALID, "tag_key", body=query)
    b.refused("list_resources_by_tags", 400, INVALID, "tags", body={"resource_type": "device"})
    missing = {"resource_type": "device", "resource_id": "nosuch"}
    b.gone("tag_device", NO_DEVICE, body=missing | {"tags": [tag]})
    b.gone("untag_device", NO_DEVICE, body=missing | {"tag_keys": ["k"]})
    b.do("show_device", device_id=device)
    b.check("tag_device", "tags of refused requests", b.raw()["tags"], [])


SCENES = [life, membership, levels, filters, bad_groups, tags, bad_tags]
