"""`search_devices` through the SDK: the documented subset of SQL, its limits, its mistakes."""

import json

import huaweicloudsdkiotda.v5 as iot

INVALID = "IOTDA.000006"


def found(b, sql):
    b.do("search_devices", body=iot.SearchSql(sql=sql))
    return [device["device_id"] for device in b.raw()["devices"] or []]


def conditions(b):
    """Each field and operator against four devices of a space of their own."""
    space = b.space()
    product, other = b.product(app_id=space), b.product(app_id=space)
    stem = b.name("long")
    devices = [
        b.device(product, node_id=f"{stem}a1", device_name=f"{stem}-red"),
        b.device(product, node_id=f"{stem}a2", device_name=f"{stem}-blue"),
        b.device(other, node_id=f"{stem}b3"),
    ]
    devices.append(b.device(other, node_id=f"{stem}b4", gateway_id=devices[2]))
    group = b.group(app_id=space)
    b.to_group(group, devices[1], devices[3])
    tag = b.name("key")
    b.tag(devices[0], **{tag: "value"})
    b.tag(devices[3], **{tag: "other"})
    b.do("freeze_device", device_id=devices[2])
    found(b, f"select * from device where device_id = '{devices[1]}'")
    marker = b.raw()["devices"][0]["marker"]

    cases = [
        (f"device_id = '{devices[1]}'", [1]),
        (f"device_id = '{devices[1]}' or device_id = '{devices[2]}'", [1, 2]),
        (f"node_id = '{stem}b3'", [2]),
        (f"node_id like '{stem}a%'", [0, 1]),
        (f"device_name like '{stem}-%'", [0, 1]),
        (f"device_name = '{stem}-red'", [0]),
        (f"app_id = '{space}'", [0, 1, 2, 3]),
        (f"product_id = '{other}'", [2, 3]),
        (f"app_id = '{space}' and product_id != '{other}'", [0, 1]),
        (f"app_id = '{space}' and status = 'FROZEN'", [2]),
        (f"app_id = '{space}' and status in ('INACTIVE', 'ONLINE')", [0, 1, 3]),
        (f"app_id = '{space}' and status not in ('INACTIVE', 'ONLINE')", [2]),
        (f"app_id = '{space}' and node_type = 'ENDPOINT'", [3]),
        (f"gateway_id = '{devices[2]}'", [2, 3]),
        (f"group_id = '{group}'", [1, 3]),
        (f"tag_key = '{tag}'", [0, 3]),
        (f"tag_key = '{tag}' and tag_value = 'other'", [3]),
        (f"app_id = '{space}' and create_time > '2020-01-01T00:00:00.000Z'", [0, 1, 2, 3]),
        (f"app_id = '{space}' and create_time < '2020-01-01T00:00:00.000Z'", []),
        (f"app_id = '{space}' and marker > '{marker}'", [2, 3]),
        (f"app_id = '{space}' and marker < '{marker}'", [0]),
        # AND binds closer than OR.
        (
            f"device_id = '{devices[0]}' or product_id = '{other}' and status = 'FROZEN'",
            [0, 2],
        ),
        ("device_id = 'nosuch'", []),
    ]
    for where, want in cases:
        got = found(b, f"select * from device where {where}")
        want = sorted(devices[index] for index in want)
        b.check("search_devices", f"where {where}", sorted(got), want)

    where = f"where app_id = '{space}'"
    for rest, want in (
        ("order by marker asc", [0, 1, 2, 3]),
        ("order by marker desc", [3, 2, 1, 0]),
        ("ORDER BY marker DESC LIMIT 2", [3, 2]),
        ("order by marker desc limit 1,2", [2, 1]),
        ("order by marker asc limit 3,50", [3]),
        ("order by marker asc limit 500,50", []),
    ):
        got = found(b, f"SELECT * FROM device {where} {rest}")
        b.check("search_devices", rest, got, [devices[index] for index in want])
    for count in ("count(*)", "count(1)"):
        b.do("search_devices", body=iot.SearchSql(sql=f"select {count} from device {where}"))
        b.check("search_devices", count, b.raw()["count"], 4)

    one = f"from device where device_id = '{devices[3]}'"
    found(b, f"select node_id, status {one}")
    shown = {key: value for key, value in b.raw()["devices"][0].items() if value is not None}
    wanted = {"node_id": f"{stem}b4", "status": "INACTIVE"}
    b.check("search_devices", "chosen columns", shown, wanted)
    found(b, f"select * {one}")
    device = b.raw()["devices"][0]
    known = "app_id app_name device_id node_id gateway_id node_type product_id product_name marker"
    for field in known.split():
        b.check_that("search_devices", field, device[field], device[field], "a text")
    for field, want in (("groups", group), ("tags", tag), ("tags", "other")):
        text = json.dumps(device[field], default=str)
        b.check_that("search_devices", field, want in text, text, f"{want} in it")


def beginnings_of_tags(b):
    """`like` takes keys and values of tags as well."""
    product, stem = b.product(), b.name("long")
    devices = [b.device(product) for _ in range(3)]
    for device, (key, value) in zip(devices, (("-a", "-x1"), ("-b", "-x2"), ("-c", "-y1"))):
        b.tag(device, **{stem + key: stem + value})
    for where, want in (
        (f"tag_key like '{stem}-%'", [0, 1, 2]),
        (f"tag_key = '{stem}-a' and tag_value like '{stem}-x%'", [0]),
        (f"tag_key like '{stem}-%' and tag_value like '{stem}-x%'", [0, 1]),
        (f"tag_key = '{stem}-c' and tag_value like '{stem}-x%'", []),
    ):
        got = found(b, f"select * from device where {where}")
        b.check("search_devices", f"where {where}", sorted(got), sorted(devices[i] for i in want))


def ten_by_default(b):
    """Without a limit, ten; without a condition, any device."""
    product = b.product()
    for _ in range(11):
        b.device(product)
    where = f"where product_id = '{product}'"
    b.check("search_devices", "number", len(found(b, f"select * from device {where}")), 10)
    b.check("search_devices", "number", len(found(b, f"select * from device {where} limit 50")), 11)
    b.check("search_devices", "number", len(found(b, "select * from device")), 10)


def bad_statements(b):
    """Each refused, saying why."""
    b.refused("search_devices", 400, INVALID, "sql", body={})
    b.refused("search_devices", 400, INVALID, "sql", body={"sql": 5})
    # The limits of the public reference, 5 conditions and 400 characters, are not the server's.
    many = " or ".join(f"node_id = 'n{n}'" for n in range(51))
    for sql in (
        "",
        "select",
        "drop table device",
        "select * from product",
        "select * from device where",
        "select * from device where secret = 'x'",
        "select * from device where status = 'ASLEEP'",
        "select * from device where node_id = ''",
        "select * from device where node_id = null",
        "select * from device where node_id = 'open",
        "select * from device where node_id like '%abcde'",
        "select * from device where node_id like 'abcde'",
        "select * from device where product_id like 'abcde%'",
        "select * from device where node_id > 'a'",
        "select * from device where tag_key in ('a', 'b')",
        "select * from device where create_time > 'yesterday'",
        "select * from device order by node_id",
        "select * from device limit 51",
        "select * from device limit 0,51",
        "select * from device limit 501,10",
        "select max(node_id) from device",
        "select * from device; select * from device",
        f"select * from device where {many}",
        f"select * from device where node_id = '{'n' * 16384}'",
    ):
        b.refused("search_devices", 400, body=iot.SearchSql(sql=sql))


SCENES = [conditions, beginnings_of_tags, ten_by_default, bad_statements]
