"""Paging of every list through the SDK: each element once, newest first, whatever the page size."""

import huaweicloudsdkiotda.v5 as iot

from sdk_batch import create, end

COUNT = 12
INVALID = "IOTDA.000006"
HIGHEST = "f" * 24


def walk(b, operation, key, id_of, want, ordered=True, **arguments):
    """All pages of a list that should hold `want`, newest first."""
    for limit in (5, 50, 1):
        seen, marker, pages = [], HIGHEST, 0
        while True:
            b.do(operation, limit=limit, marker=marker, **arguments)
            page, elements = b.raw()["page"], b.raw()[key]
            b.check(operation, f"page.count at limit {limit}", page["count"], len(want))
            seen += [id_of(element) for element in elements]
            pages += 1
            if not elements or pages > len(want) + 1:
                b.check(operation, "page.marker of an empty page", page["marker"], None)
                break
            fine = len(elements) <= limit
            b.check_that(operation, "length of a page", fine, len(elements), f"up to {limit}")
            marker = page["marker"]
        b.check(operation, f"elements at limit {limit}", *sort_unless(ordered, seen, want))
    if not ordered:
        return
    b.do(operation, **arguments)
    shown = [id_of(element) for element in b.raw()[key]]
    b.check(operation, "the default page", shown, want[:10])
    for offset, limit in ((0, 3), (4, 3), (COUNT - 1, 5), (COUNT, 5), (500, 50)):
        b.do(operation, offset=offset, limit=limit, **arguments)
        shown = [id_of(element) for element in b.raw()[key]]
        b.check(operation, f"offset {offset}, limit {limit}", shown, want[offset : offset + limit])
    b.do(operation, limit=3, **arguments)
    marker = b.raw()["page"]["marker"]
    b.do(operation, limit=3, offset=2, marker=marker, **arguments)
    shown = [id_of(element) for element in b.raw()[key]]
    b.check(operation, "offset behind a marker", shown, want[5:8])
    for code, field, value in (
        ("IOTDA.000017", "limit", 0),
        ("IOTDA.000017", "limit", 51),
        ("IOTDA.000017", "limit", "ten"),
        ("IOTDA.000018", "marker", "xyz"),
        (INVALID, "offset", 501),
        (INVALID, "offset", -1),
    ):
        b.refused(operation, 400, code, field, **(arguments | {field: value}))


def sort_unless(ordered, seen, want):
    return (seen, want) if ordered else (sorted(seen), sorted(want))


def products(b):
    space = b.space()
    made = [b.product(app_id=space) for _ in range(COUNT)][::-1]
    walk(b, "list_products", "products", lambda e: e["product_id"], made, app_id=space)
    # Going on is not disturbed by what is new or gone.
    b.do("list_products", app_id=space, limit=4)
    marker = b.raw()["page"]["marker"]
    b.product(app_id=space)
    b.do("delete_product", product_id=made[3])
    b.do("list_products", app_id=space, limit=4, marker=marker)
    shown = [product["product_id"] for product in b.raw()["products"]]
    b.check("list_products", "the next page after changes", shown, made[4:8])


def devices(b):
    product = b.product()
    made = [b.device(product) for _ in range(COUNT)][::-1]
    walk(b, "list_devices", "devices", lambda e: e["device_id"], made, product_id=product)


def groups(b):
    space = b.space()
    made = [b.group(app_id=space) for _ in range(COUNT)][::-1]
    walk(b, "list_device_groups", "device_groups", lambda e: e["group_id"], made, app_id=space)


def devices_in_group(b):
    product, group = b.product(), b.group()
    made = [b.device(product) for _ in range(COUNT)]
    b.to_group(group, *made)
    id_of = lambda e: e["device_id"]  # noqa: E731
    walk(b, "show_devices_in_group", "devices", id_of, made[::-1], group_id=group)


def resources(b):
    product, key = b.product(), b.name("key")
    made = [b.device(product) for _ in range(COUNT)]
    for device in made:
        b.tag(device, **{key: "x"})
    tags = [iot.TagV5DTO(tag_key=key, tag_value="x")]
    body = iot.QueryResourceByTagsDTO(resource_type="device", tags=tags)
    id_of = lambda e: e["resource_id"]  # noqa: E731
    walk(b, "list_resources_by_tags", "resources", id_of, made[::-1], body=body)


def tasks(b):
    space = b.space()
    made = [create(b, "freezeDevices", targets=["nosuch"], app_id=space) for _ in range(COUNT)]
    for task in made:
        end(b, task, "Fail", total=1, fail=1)
    arguments = {"task_type": "freezeDevices", "app_id": space}
    walk(b, "list_batch_tasks", "batchtasks", lambda e: e["task_id"], made[::-1], **arguments)


def task_details(b):
    targets = [f"nosuch{n}" for n in range(COUNT)]
    task = create(b, "deleteDevices", targets=targets)
    end(b, task, "Fail", total=COUNT, fail=COUNT)
    arguments = {"ordered": False, "task_id": task}
    walk(b, "show_batch_task", "task_details", lambda e: e["target"], targets, **arguments)


SCENES = [products, devices, groups, devices_in_group, resources, tasks, task_details]
