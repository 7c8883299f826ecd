"""Batch tasks over devices through the SDK: by targets, by groups; stop, retry, delete; limits."""

import datetime

import huaweicloudsdkiotda.v5 as iot

INVALID = "IOTDA.000006"
REFUSED = (400, 403, 409)
FINAL = {"Success", "Fail", "PartialSuccess", "Stopped"}
NO_TASK = "0123456789abcdef01234567"


def later(minutes):
    at = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=minutes)
    return at.strftime("%Y%m%dT%H%M%SZ")


def create(b, kind, **fields):
    name = b.name(kind)
    body = iot.CreateBatchTask(task_name=name, task_type=kind, **fields)
    task = b.do("create_batch_task", body=body).task_id
    b.check_has("create_batch_task", {"task_name": name, "task_type": kind})
    return task


def end(b, task, status, **progress):
    """Waits for the end of a task and checks how it ended."""
    b.await_(
        "show_batch_task",
        "an end",
        lambda: b.do("show_batch_task", task_id=task).batchtask.status in FINAL,
        True,
    )
    got = b.raw()["batchtask"]
    b.check("show_batch_task", "status", got["status"], status)
    counts = {name: n for name, n in (got["task_progress"] or {}).items() if n}
    b.check("show_batch_task", "task_progress", counts, progress)
    return got


def details(b, task, **filters):
    """Target -> detail, of one page."""
    b.do("show_batch_task", task_id=task, limit=50, **filters)
    return {detail["target"]: detail for detail in b.raw()["task_details"]}


def check_ordered_all(b, operation, want):
    """An order to all names each that it was carried out for, or none as there may be many."""
    got = sorted(result["target"] for result in b.raw()["targets"])
    b.check_that(operation, "all targets", got in ([], sorted(want)), got, sorted(want))


def statuses(b, devices):
    return [b.do("show_device", device_id=device).status for device in devices]


def by_targets(b):
    """Frozen, unfrozen, changed and deleted by their ids."""
    product = b.product()
    devices = [b.device(product) for _ in range(5)]
    stays = b.device(product)
    for kind, status in (("freezeDevices", "FROZEN"), ("unfreezeDevices", "INACTIVE")):
        task = create(b, kind, targets=devices)
        end(b, task, "Success", total=5, success=5)
        b.check(kind, "status of the devices", statuses(b, devices), [status] * 5)
        b.check(kind, "status of another", statuses(b, [stays]), ["INACTIVE"])
        told = {target: detail["status"] for target, detail in details(b, task).items()}
        b.check("show_batch_task", "details", told, dict.fromkeys(devices, "Success"))
    task = create(b, "updateDevices", targets=devices[:2], document={"description": "Moved."})
    end(b, task, "Success", total=2, success=2)
    told = [b.do("show_device", device_id=device).description for device in devices[:3]]
    b.check("updateDevices", "description", told, ["Moved.", "Moved.", None])
    task = create(b, "deleteDevices", targets=devices)
    end(b, task, "Success", total=5, success=5)
    b.do("list_devices", product_id=product)
    left = [device["device_id"] for device in b.raw()["devices"]]
    b.check("deleteDevices", "devices that are left", left, [stays])


def by_groups(b):
    """The devices of two groups, each once; targets go before the filter."""
    product = b.product()
    devices = [b.device(product) for _ in range(4)]
    first, second = b.group(), b.group()
    b.to_group(first, *devices[:2])
    b.to_group(second, *devices[1:3])
    chosen = {"group_ids": [first, second]}
    task = create(b, "freezeDevices", targets_filter=chosen)
    got = end(b, task, "Success", total=3, success=3)
    b.check("show_batch_task", "targets_filter", got["targets_filter"], chosen)
    wanted = ["FROZEN"] * 3 + ["INACTIVE"]
    b.check("freezeDevices", "status of the devices", statuses(b, devices), wanted)
    task = create(b, "unfreezeDevices", targets=devices[:1], targets_filter=chosen)
    end(b, task, "Success", total=1, success=1)
    wanted[0] = "INACTIVE"
    b.check("unfreezeDevices", "status of the devices", statuses(b, devices), wanted)
    task = create(b, "deleteDevices", targets_filter={"group_ids": [second]})
    end(b, task, "Success", total=2, success=2)
    b.do("show_devices_in_group", group_id=second)
    b.check("deleteDevices", "devices in the group", b.raw()["devices"], [])
    body = {"task_name": b.name(), "task_type": "freezeDevices"}
    body["targets_filter"] = {"group_ids": [NO_TASK]}
    b.refused("create_batch_task", (400, 404), words=NO_TASK, body=body)


def failures_and_retry(b):
    """What can't be done is told by target; a retry does that alone."""
    product = b.product()
    there, missing = b.device(product), b.name("missing")
    task = create(b, "freezeDevices", targets=[there, missing])
    end(b, task, "PartialSuccess", total=2, success=1, fail=1)
    told = details(b, task, task_detail_status="Fail")
    b.check("show_batch_task", "details with Fail", list(told), [missing])
    b.check("show_batch_task", "page.count with Fail", b.raw()["page"]["count"], 1)
    error = (told.get(missing) or {}).get("error") or {}
    b.check("show_batch_task", "error_code", error.get("error_code"), "IOTDA.014000")
    told = details(b, task, task_detail_status="Success")
    b.check("show_batch_task", "details with Success", list(told), [there])
    b.check("show_batch_task", "details of a target", list(details(b, task, target=there)), [there])
    b.check("show_batch_task", "details of a stranger", details(b, task, target="nosuch"), {})

    b.device(product, device_id=missing)
    b.do("retry_batch_task", task_id=task, body=iot.BatchTargets())
    check_ordered_all(b, "retry_batch_task", [missing])
    end(b, task, "Success", total=2, success=2)
    b.check("retry_batch_task", "status", statuses(b, [there, missing]), ["FROZEN"] * 2)
    b.check("retry_batch_task", "details", details(b, task)[missing]["error"], None)
    body = iot.BatchTargets()
    b.refused("retry_batch_task", REFUSED, words="Success", task_id=task, body=body)
    b.refused("stop_batch_task", REFUSED, words="Success", task_id=task, body=body)
    b.refused("confirm_batch_task", REFUSED, task_id=task, body=body)

    task = create(b, "deleteDevices", targets=["nosuch1", "nosuch2"])
    end(b, task, "Fail", total=2, fail=2)
    chosen = iot.BatchTargets(targets=["nosuch2"])
    b.do("retry_batch_task", task_id=task, body=chosen)
    retried = [result["target"] for result in b.raw()["targets"]]
    b.check("retry_batch_task", "chosen targets", retried, ["nosuch2"])
    end(b, task, "Fail", total=2, fail=2)


def scheduled_and_stopped(b):
    """A task that waits for its time is stopped, one target and then all."""
    devices = [b.device(b.product()) for _ in range(3)]
    policy = iot.TaskPolicy(schedule_time=later(60))
    task = create(b, "freezeDevices", targets=devices, task_policy=policy)
    b.do("show_batch_task", task_id=task)
    got = b.raw()["batchtask"]
    b.check("show_batch_task", "status", got["status"], "Waitting")
    shown = got["task_policy"]["schedule_time"]
    b.check("show_batch_task", "schedule_time", shown, policy.schedule_time)
    b.do("stop_batch_task", task_id=task, body=iot.BatchTargets(targets=devices[:1]))
    stopped = [result["target"] for result in b.raw()["targets"]]
    b.check("stop_batch_task", "chosen targets", stopped, devices[:1])
    told = {target: detail["status"] for target, detail in details(b, task).items()}
    b.check("show_batch_task", "status of the stopped one", told.get(devices[0]), "Stopped")
    b.do("stop_batch_task", task_id=task, body=iot.BatchTargets())
    check_ordered_all(b, "stop_batch_task", devices[1:])
    end(b, task, "Stopped", total=3, stopped=3)
    b.check("stop_batch_task", "status of the devices", statuses(b, devices), ["INACTIVE"] * 3)
    b.refused("stop_batch_task", REFUSED, task_id=task, body=iot.BatchTargets())
    b.do("delete_batch_task", task_id=task)


def listed_and_deleted(b):
    """The list by type, status and space; a deleted task is gone."""
    space = b.space()
    device = b.device(b.product(app_id=space))
    freezing = create(b, "freezeDevices", targets=[device], app_id=space)
    end(b, freezing, "Success", total=1, success=1)
    policy = iot.TaskPolicy(schedule_time=later(60))
    waiting = create(b, "freezeDevices", targets=[device], app_id=space, task_policy=policy)
    failing = create(b, "freezeDevices", targets=["nosuch"], app_id=space)
    end(b, failing, "Fail", total=1, fail=1)
    thawing = create(b, "unfreezeDevices", targets=[device], app_id=space)
    end(b, thawing, "Success", total=1, success=1)
    cases = [
        ({"task_type": "freezeDevices"}, [failing, waiting, freezing]),
        ({"task_type": "unfreezeDevices"}, [thawing]),
        ({"task_type": "deleteDevices"}, []),
        ({"task_type": "freezeDevices", "status": "Success"}, [freezing]),
        ({"task_type": "freezeDevices", "status": "Fail"}, [failing]),
        ({"task_type": "freezeDevices", "status": "Waitting"}, [waiting]),
        ({"task_type": "freezeDevices", "status": "Processing"}, []),
    ]
    for arguments, want in cases:
        b.do("list_batch_tasks", app_id=space, **arguments)
        got = [task["task_id"] for task in b.raw()["batchtasks"]]
        b.check("list_batch_tasks", f"tasks with {arguments}", got, want)
        b.check("list_batch_tasks", f"count with {arguments}", b.raw()["page"]["count"], len(want))
    b.do("delete_batch_task", task_id=freezing)
    for operation in ("show_batch_task", "delete_batch_task"):
        b.gone(operation, None, task_id=freezing)
    for operation in ("stop_batch_task", "retry_batch_task"):
        b.gone(operation, None, task_id=freezing, body=iot.BatchTargets())
    b.do("list_batch_tasks", app_id=space, task_type="freezeDevices")
    got = [task["task_id"] for task in b.raw()["batchtasks"]]
    b.check("list_batch_tasks", "after a deletion", got, [failing, waiting])


def bad_values(b):
    """Each refused with its field, and no task made."""
    device = b.device(b.product())
    name = b.name("bad")
    fine = {"task_name": name, "task_type": "freezeDevices", "targets": [device]}
    policy = lambda **fields: {"task_policy": fields}  # noqa: E731
    cases = [
        ("task_name", {"task_name": None}),
        ("task_name", {"task_name": "x" * 129}),
        ("task_name", {"task_name": "a-b"}),
        ("task_type", {"task_type": None}),
        ("task_type", {"task_type": "paintDevices"}),
        ("targets", {"targets": None}),
        ("targets", {"targets": []}),
        ("targets", {"targets": device}),
        ("targets", {"targets": ["a b"]}),
        ("targets", {"targets": [f"d{n}" for n in range(30001)]}),
        ("targets_filter", {"targets": None, "targets_filter": {"colour": ["red"]}}),
        ("group_ids", {"targets": None, "targets_filter": {"group_ids": "all"}}),
        ("document_source", {"targets": None, "document_source": NO_TASK}),
        ("document_source", {"task_type": "createDevices", "targets": None}),
        ("retry_interval", policy(retry_count=3)),
        ("retry_count", policy(retry_interval=3)),
        ("retry_count", policy(retry_count=6, retry_interval=3)),
        ("retry_interval", policy(retry_count=3, retry_interval=1441)),
        ("schedule_time", policy(schedule_time="soon")),
        ("schedule_time", policy(schedule_time=later(8 * 24 * 60))),
        ("app_id", {"app_id": "a" * 37}),
    ]
    for field, change in cases:
        body = {key: v for key, v in (fine | change).items() if v is not None}
        b.refused("create_batch_task", (400, 404), None, field, body=body)
    b.do("list_batch_tasks", task_type="freezeDevices", limit=50)
    names = [task["task_name"] for task in b.raw()["batchtasks"]]
    b.check("list_batch_tasks", "a refused task is listed", name in names, False)
    b.check("create_batch_task", "status of the device", statuses(b, [device]), ["INACTIVE"])

    b.refused("list_batch_tasks", 400, INVALID, "task_type")
    b.refused("list_batch_tasks", 400, INVALID, "task_type", task_type="paint")
    arguments = {"task_type": "freezeDevices", "status": "Done"}
    b.refused("list_batch_tasks", 400, INVALID, "status", **arguments)
    task = create(b, "freezeDevices", targets=["nosuch"])
    end(b, task, "Fail", total=1, fail=1)
    arguments = {"task_id": task, "task_detail_status": "Done"}
    b.refused("show_batch_task", 400, INVALID, "task_detail_status", **arguments)
    body = {"targets": [f"d{n}" for n in range(101)]}
    b.refused("retry_batch_task", 400, None, "targets", task_id=task, body=body)
    b.refused("show_batch_task", (400, 404), task_id="not-hex")
    b.gone("show_batch_task", None, task_id=NO_TASK)


SCENES = [
    by_targets,
    by_groups,
    failures_and_retry,
    scheduled_and_stopped,
    listed_and_deleted,
    bad_values,
]
