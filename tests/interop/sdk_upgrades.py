"""Upgrade tasks through the SDK, to the end of simulated devices: firmware over object 5, software
over PCP; by targets, groups and files, now or later; failures, retries, stops, confirmations.
"""

import datetime

import huaweicloudsdkiotda.v5 as iot

from sdk_batch import create, details
from sdk_bench import SceneOver
from sdk_files import upload as upload_rows
from sdk_fleet import FINAL, FIRMWARE, NEW, OLD, SOFTWARE, Fleet, Nodes, caller
from sdk_fleet import image, package, product

INVALID = "IOTDA.000006"
NO_DEVICE = "IOTDA.014000"
NO_TASK = "0123456789abcdef01234567"
KINDS = {"firmwareUpgrade": FIRMWARE, "softwareUpgrade": SOFTWARE}
# What a detail says of a device whose version the package is not for.
OTHER_SOURCE = f"The package does not support the device's version \"{OLD}\""


def of(package_id, **fields):
    """What a task of this package is created with."""
    return {"document": {"package_ids": [package_id]}} | fields


def progress(b, task):
    """Status and counts of a task as it is now."""
    shown = b.do("show_batch_task", task_id=task).batchtask
    counts = {key: n for key, n in b.raw()["batchtask"]["task_progress"].items() if n}
    return shown.status, counts


def follow(b, task, status, **counts):
    """Watches a task to its end: nothing that ended begins again, and the parts are the whole."""
    seen, ended = [], 0

    def is_over():
        nonlocal ended
        now, parts = progress(b, task)
        total, done = parts.pop("total"), parts.get("success", 0) + parts.get("fail", 0)
        b.check("show_batch_task", f"sum of {parts}", sum(parts.values()), total)
        fine = done >= ended
        b.check_that("show_batch_task", "ended devices", fine, done, f"no fewer than {ended}")
        ended = done
        if now not in seen:
            seen.append(now)
        return now in FINAL

    b.await_("show_batch_task", "an end", is_over, True)
    got = progress(b, task)
    b.check("show_batch_task", "status and task_progress", got, (status, counts))
    return seen


def has_become(b, task, **counts):
    """Waits until the counts of a task are these."""
    what = ", ".join(f"{name} {n}" for name, n in counts.items())

    def is_so():
        parts = progress(b, task)[1]
        return {name: parts.get(name, 0) for name in counts} == counts

    b.await_("show_batch_task", what, is_so, True)


def versions(b, devices, field):
    return [getattr(b.do("show_device", device_id=device), field) for device in devices]


def told(b, task, **filters):
    """Target -> status and the text of its error."""
    found = details(b, task, **filters).items()
    return {target: (one["status"], (one["error"] or {}).get("error_msg")) for target, one in found}


def order(b, operation, task, *devices):
    """An order about these targets, or all: target -> problem."""
    body = iot.BatchTargets(targets=list(devices) or None)
    b.do(operation, task_id=task, body=body)
    results = {one["target"]: one["error_msg"] for one in b.raw()["targets"]}
    for one in b.raw()["targets"]:
        want = ("failure", INVALID) if one["error_msg"] else ("success", None)
        b.check(operation, "status, error_code", (one["status"], one["error_code"]), want)
    return results


def firmware_by_targets(b):
    """The life of a task: it waits for its devices, they upgrade, it is over and deleted."""
    made_for, raw = product(b), image()
    made = package(b, made_for, FIRMWARE, raw=raw)
    nodes = Nodes(b, made_for, 3)
    policy = iot.TaskPolicy(retry_count=2, retry_interval=5)
    extra = {"task_mode": "NORMAL", "task_ext_info": {"wave": 3}, "need_confirm": False}
    fields = of(made, targets=nodes.devices, task_policy=policy) | extra
    task = create(b, "firmwareUpgrade", **fields)
    created = b.raw()
    want = extra | {"targets": nodes.devices, "targets_filter": None, "status_desc": None}
    want["document"] = {"package_ids": [made], "package_id": made}
    want["task_policy"] = {"schedule_time": None, "retry_count": 2, "retry_interval": 5}
    b.check_has("create_batch_task", want)
    has_become(b, task, processing=3)
    b.refused("delete_batch_task", 400, INVALID, "stop it first", task_id=task)
    b.refused("delete_ota_package", 409, INVALID, [made, task], package_id=made)
    b.do("list_batch_tasks", task_type="firmwareUpgrade", status="Processing", limit=50)
    listed = {one["task_id"]: one for one in b.raw()["batchtasks"]}
    same = {key: created[key] for key in created if key not in ("status", "task_progress")}
    got = {key: listed.get(task, {}).get(key) for key in same}
    b.check("list_batch_tasks", "the task", got, same)
    with Fleet(b, nodes, "fota,fota-pull,fota-eight", image=raw) as fleet:
        follow(b, task, "Success", total=3, success=3)
    fleet.check(installed=3, downloaded=3, failed=0)
    b.check("show_device", "fw_version", versions(b, nodes.devices, "fw_version"), [NEW] * 3)
    want = dict.fromkeys(nodes.devices, ("Success", None))
    b.check("show_batch_task", "details", told(b, task), want)
    b.refused("stop_batch_task", 400, INVALID, "Success", task_id=task, body=iot.BatchTargets())
    b.refused("retry_batch_task", 400, INVALID, "Success", task_id=task, body=iot.BatchTargets())
    # Those that have the version already get nothing.
    again = create(b, "firmwareUpgrade", **of(made, targets=nodes.devices))
    with Fleet(b, nodes, "fota", runs=NEW) as fleet:
        follow(b, again, "Success", total=3, success=3)
    fleet.check(offered=0)
    for one in (task, again):
        b.do("delete_batch_task", task_id=one)
        b.gone("show_batch_task", INVALID, task_id=one)
    b.do("delete_ota_package", package_id=made)


def software_by_groups(b):
    """The devices of two groups, each once, with software of both kinds of modules."""
    made_for, raw = product(b), image()
    made = package(b, made_for, SOFTWARE, raw=raw, fragment_size=200)
    nodes = Nodes(b, made_for, 3)
    first, second = b.group(), b.group()
    b.to_group(first, *nodes.devices[:2])
    b.to_group(second, *nodes.devices[1:])
    chosen = {"group_ids": [first, second]}
    task = create(b, "softwareUpgrade", **of(made, targets_filter=chosen))
    b.check_has("create_batch_task", {"targets": None, "targets_filter": chosen})
    with Fleet(b, nodes, "at,lwm2m", image=raw) as fleet:
        follow(b, task, "Success", total=3, success=3)
    fleet.check(installed=3, failed=0)
    b.check("show_device", "sw_version", versions(b, nodes.devices, "sw_version"), [NEW] * 3)
    b.check("show_batch_task", "targets", sorted(told(b, task)), nodes.devices)


def by_rows(b):
    """The devices of a file, and of a space: `package_id` names the package as well."""
    space = b.space()
    made_for, raw = product(b, app_id=space), image()
    made = package(b, made_for, FIRMWARE, raw=raw)
    nodes = Nodes(b, made_for, 2)
    stranger = b.device(b.product())
    rows = [["device_id"], *([device] for device in (*nodes.devices, stranger))]
    for form in ("csv", "xlsx"):
        file = upload_rows(b, f"{b.name('rows')}.{form}", rows)
        body = {"document_source": file, "document": {"package_id": made}, "app_id": space}
        task = create(b, "firmwareUpgrade", **body)
        with Fleet(b, nodes, "fota", image=raw):
            follow(b, task, "PartialSuccess", total=3, success=2, fail=1)
        want = {stranger: ("Fail", f"device_id: there is no device {stranger}")}
        b.check("show_batch_task", "details", told(b, task, task_detail_status="Fail"), want)
    for arguments, want in (({"app_id": space}, True), ({"app_id": "default"}, False)):
        b.do("list_batch_tasks", task_type="firmwareUpgrade", limit=50, **arguments)
        listed = {one["task_id"] for one in b.raw()["batchtasks"]}
        b.check("list_batch_tasks", f"the task with {arguments}", task in listed, want)


def scheduled(b):
    """A task waits for its time; then it goes to its end."""
    made_for, raw = product(b), image()
    made = package(b, made_for, FIRMWARE, raw=raw)
    nodes = Nodes(b, made_for, 1)
    at = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=3)
    policy = iot.TaskPolicy(schedule_time=at.strftime("%Y%m%dT%H%M%SZ"))
    with Fleet(b, nodes, "fota", image=raw):
        task = create(b, "firmwareUpgrade", **of(made, targets=nodes.devices, task_policy=policy))
        shown = b.raw()["task_policy"]["schedule_time"]
        b.check("create_batch_task", "schedule_time", shown, policy.schedule_time)
        got = progress(b, task)
        want = ("Waitting", {"total": 1, "waitting": 1})
        b.check("show_batch_task", "before its time", got, want)
        b.refused("delete_ota_package", 409, INVALID, task, package_id=made)
        follow(b, task, "Success", total=1, success=1)
        early = datetime.datetime.now(datetime.timezone.utc) < at.replace(microsecond=0)
        b.check("show_batch_task", "it ended before its time", early, False)


def failures_and_retry(b):
    """What fails says why, by itself or from the start; retried, it goes to its end."""
    for kind, mix in (("firmwareUpgrade", "fota"), ("softwareUpgrade", "lwm2m")):
        made_for, raw = product(b), image()
        made = package(b, made_for, KINDS[kind], raw=raw, support_source_versions="V1.5")
        nodes = Nodes(b, made_for, 2)
        foreign, missing = b.device(b.product()), b.name("missing")
        task = create(b, kind, **of(made, targets=[*nodes.devices, foreign, missing]))
        with Fleet(b, nodes, mix) as fleet:
            follow(b, task, "Fail", total=4, fail=4)
        fleet.check(offered=0)
        found = details(b, task, task_detail_status="Fail")
        b.check("show_batch_task", "page.count with Fail", b.raw()["page"]["count"], 4)
        codes = [(found.get(target) or {}).get("error") for target in (foreign, missing)]
        codes = [error and error["error_code"] for error in codes]
        b.check("show_batch_task", "codes of what has no such device", codes, [INVALID, NO_DEVICE])
        for target, words in (
            (nodes.devices[0], OTHER_SOURCE),
            (nodes.devices[1], OTHER_SOURCE),
            (foreign, f"the package is for {made_for}"),
            (missing, f"there is no device {missing}"),
        ):
            got = told(b, task, target=target).get(target) or ("", "")
            fine = got[0] == "Fail" and words in got[1]
            b.check_that("show_batch_task", f"detail of {target}", fine, got, words)

        with Fleet(b, nodes, mix, runs="V1.5", image=raw) as fleet:
            problems = order(b, "retry_batch_task", task, nodes.devices[0], foreign, "nosuch")
            got = {target: problem is None for target, problem in problems.items()}
            want = {nodes.devices[0]: True, foreign: False, "nosuch": False}
            b.check("retry_batch_task", "which were taken", got, want)
            follow(b, task, "PartialSuccess", total=4, success=1, fail=3)
            order(b, "retry_batch_task", task)
            follow(b, task, "PartialSuccess", total=4, success=2, fail=2)
        fleet.check(installed=2)
        order(b, "retry_batch_task", task, nodes.devices[0])
        result = b.raw()["targets"][0]
        fine = "Success" in (result["error_msg"] or "")
        b.check_that("retry_batch_task", "one that succeeded", fine, result, "refused: Success")
        words = "no subtask failed"
        b.refused("retry_batch_task", 400, INVALID, words, task_id=task, body=iot.BatchTargets())


def wrong_results(b):
    """A device that tells success and has another version has failed; it waits for its next try."""
    made_for, raw = product(b), image("V1.9")
    made = package(b, made_for, FIRMWARE, NEW, raw=raw)
    nodes = Nodes(b, made_for, 1)
    policy = iot.TaskPolicy(retry_count=1, retry_interval=1440)
    task = create(b, "firmwareUpgrade", **of(made, targets=nodes.devices, task_policy=policy))
    with Fleet(b, nodes, "fota", image=raw) as fleet:
        has_become(b, task, fail_wait_retry=1)
    fleet.check(installed=1)
    got = told(b, task, task_detail_status="FailWaitRetry")
    text = 'The device reports success, and has version "V1.9", not the package\'s'
    want = {nodes.devices[0]: ("FailWaitRetry", text)}
    b.check("show_batch_task", "details with FailWaitRetry", got, want)
    b.check("show_batch_task", "status", progress(b, task)[0], "Processing")
    order(b, "stop_batch_task", task)
    follow(b, task, "Stopped", total=1, stopped=1)
    order(b, "retry_batch_task", task, *nodes.devices)
    # It is what the package says meanwhile.
    with Fleet(b, nodes, "fota", runs=NEW) as fleet:
        follow(b, task, "Success", total=1, success=1)
    fleet.check(offered=0)


def pages_and_stops(b):
    """Details by page and status of a task whose devices are away; stopped, one and then all."""
    made_for = product(b)
    made = package(b, made_for, FIRMWARE)
    nodes = Nodes(b, made_for, 12)
    devices = nodes.devices
    task = create(b, "firmwareUpgrade", **of(made, targets=devices))
    has_become(b, task, processing=12)
    marker, seen = "f" * 24, []
    for size in (5, 5, 2, 0):
        b.do("show_batch_task", task_id=task, limit=5, marker=marker)
        page = [one["target"] for one in b.raw()["task_details"]]
        b.check("show_batch_task", "targets of a page", len(page), size)
        b.check("show_batch_task", "count of each page", b.raw()["page"]["count"], 12)
        seen, marker = seen + page, b.raw()["page"]["marker"]
    b.check("show_batch_task", "page by page", seen, devices[::-1])
    b.do("show_batch_task", task_id=task, limit=3, offset=4)
    page = [one["target"] for one in b.raw()["task_details"]]
    b.check("show_batch_task", "with an offset", page, devices[::-1][4:7])

    other = create(b, "firmwareUpgrade", **of(made, targets=devices[:1]))
    follow(b, other, "Fail", total=1, fail=1)
    want = {devices[0]: ("Fail", "Task Conflict")}
    b.check("show_batch_task", "a second task", told(b, other), want)

    problems = order(b, "stop_batch_task", task, devices[0], "nosuch")
    want = {devices[0]: None, "nosuch": "the task has no such target"}
    b.check("stop_batch_task", "problems", problems, want)
    for status, want in (("Stopped", devices[:1]), ("Processing", devices[:0:-1]), ("Success", [])):
        got = list(details(b, task, task_detail_status=status))
        b.check("show_batch_task", f"details with {status}", got, want)
        b.check("show_batch_task", "page.count", b.raw()["page"]["count"], len(want))
    # What was stopped is free for others.
    order(b, "retry_batch_task", other)
    has_become(b, other, processing=1)
    order(b, "stop_batch_task", other)
    order(b, "stop_batch_task", task)
    for one, count in ((other, 1), (task, 12)):
        follow(b, one, "Stopped", total=count, stopped=count)
    b.refused("stop_batch_task", 400, INVALID, "Stopped", task_id=task, body=iot.BatchTargets())
    b.do("delete_device", device_id=devices[0])
    order(b, "retry_batch_task", task, *devices[:2])
    has_become(b, task, removed=1, processing=1)
    order(b, "stop_batch_task", task)
    follow(b, task, "Stopped", total=12, stopped=11, removed=1)
    b.do("delete_batch_task", task_id=task)
    b.do("delete_batch_task", task_id=other)
    b.do("delete_ota_package", package_id=made)


def many(b):
    """More devices than a cell has slots for, and than a page has places: all get their turn."""
    made_for, raw = product(b), image()
    made = package(b, made_for, FIRMWARE, raw=raw)
    nodes = Nodes(b, made_for, 60)
    task = create(b, "firmwareUpgrade", **of(made, targets=nodes.devices))
    with Fleet(b, nodes, "fota", "--levels", "92/5/3", image=raw) as fleet:
        follow(b, task, "Success", total=60, success=60)
    fleet.check(installed=60)
    seen = told(b, task)
    b.check("show_batch_task", "targets of the first page", list(seen), nodes.devices[:9:-1])
    seen |= told(b, task, marker=b.raw()["page"]["marker"])
    want = dict.fromkeys(nodes.devices[::-1], ("Success", None))
    b.check("show_batch_task", "details of both pages", seen, want)


def confirmed(b):
    """With `need_confirm` each device waits until somebody says that it may."""
    made_for, raw = product(b), image()
    made = package(b, made_for, FIRMWARE, raw=raw)
    nodes = Nodes(b, made_for, 3)
    devices = nodes.devices
    with Fleet(b, nodes, "fota", image=raw):
        task = create(b, "firmwareUpgrade", **of(made, targets=devices, need_confirm=True))
        got = progress(b, task)
        b.check("show_batch_task", "unconfirmed", got, ("Waitting", {"total": 3, "waitting": 3}))
        problems = order(b, "confirm_batch_task", task, devices[1], "nosuch")
        want = {devices[1]: None, "nosuch": "the task has no such target"}
        b.check("confirm_batch_task", "problems", problems, want)
        has_become(b, task, success=1, waitting=2)
        fine = "Success" in (order(b, "confirm_batch_task", task, devices[1])[devices[1]] or "")
        b.check_that("confirm_batch_task", "one that is over", fine, b.raw(), "refused: Success")
        order(b, "stop_batch_task", task, devices[2])
        order(b, "confirm_batch_task", task)
        follow(b, task, "PartialSuccess", total=3, success=2, stopped=1)
    b.check("show_device", "fw_version", versions(b, devices, "fw_version"), [NEW, NEW, None])
    body = iot.BatchTargets()
    b.refused("confirm_batch_task", 400, INVALID, "PartialSuccess", task_id=task, body=body)
    plain = create(b, "firmwareUpgrade", **of(made, targets=devices[2:]))
    b.refused("confirm_batch_task", 400, INVALID, "need_confirm", task_id=plain, body=body)
    order(b, "stop_batch_task", plain)
    freezing = create(b, "freezeDevices", targets=devices[2:])
    b.refused("confirm_batch_task", 400, INVALID, "freezeDevices", task_id=freezing, body=body)
    b.gone("confirm_batch_task", INVALID, task_id=NO_TASK, body=body)


def callers(b):
    """Who is bound to a space upgrades its devices with its packages alone."""
    own, other = b.space(), b.space()
    mine, others = product(b, app_id=own), product(b, app_id=other)
    ours, theirs = package(b, mine, FIRMWARE), package(b, others, FIRMWARE)
    device, foreign = b.device(mine), b.device(others)
    bound = caller(b, "--role", "operator", "--app-id", own)
    fields = {"task_name": b.name(), "task_type": "firmwareUpgrade"}
    body = iot.CreateBatchTask(**fields, **of(ours, targets=[device, foreign]))
    task = b.do("create_batch_task", client=bound, body=body).task_id
    got = told(b, task, task_detail_status="Fail")
    want = {foreign: ("Fail", f"device_id: there is no device {foreign}")}
    b.check("show_batch_task", "a device of another space", got, want)
    body = iot.CreateBatchTask(**fields, **of(theirs, targets=[device]))
    b.refused("create_batch_task", 400, INVALID, theirs, client=bound, body=body)
    body = iot.CreateBatchTask(**fields, **of(theirs, targets=[foreign]))
    hidden = b.do("create_batch_task", body=body).task_id
    everything = {"task_id": hidden, "client": bound}
    for operation in ("show_batch_task", "delete_batch_task"):
        b.gone(operation, INVALID, **everything)
    for operation in ("stop_batch_task", "retry_batch_task", "confirm_batch_task"):
        b.gone(operation, INVALID, body=iot.BatchTargets(), **everything)
    reader = caller(b, "--role", "read-only")
    b.do("show_batch_task", client=reader, task_id=task)
    for operation in ("stop_batch_task", "retry_batch_task", "confirm_batch_task"):
        body = iot.BatchTargets()
        b.refused(operation, 403, client=reader, task_id=task, body=body)
    for one in (task, hidden):
        order(b, "stop_batch_task", one)


def bad_values(b):
    """Each refused with its field, and no task made."""
    made_for = product(b)
    firmware, software = (package(b, made_for, kind) for kind in (FIRMWARE, SOFTWARE))
    device = b.device(made_for)
    fine = {"task_name": b.name("bad"), "task_type": "firmwareUpgrade", "targets": [device]}
    fine |= of(firmware)
    document = lambda **fields: {"document": fields}  # noqa: E731
    policy = lambda **fields: {"task_policy": fields}  # noqa: E731
    cases = [
        ("document", {"document": None}),
        ("document.package_ids", document()),
        ("document.package_ids", document(package_ids=[])),
        ("document.package_ids", document(package_ids=firmware)),
        ("document.package_ids", document(package_ids=[firmware, firmware])),
        ("document.package_ids[0]", document(package_ids=["a b"])),
        ("document.package_ids[0]", document(package_ids=[NO_TASK])),
        ("document.package_ids[0]", document(package_ids=[software])),
        ("document.package_ids[0]", document(package_id=software)),
        ("document.package_ids[0]", {"task_type": "softwareUpgrade"}),
        ("task_type", {"task_type": "moduleUpgrade"}),
        ("targets", {"targets": None}),
        ("targets", {"targets": []}),
        ("need_confirm", {"need_confirm": "yes"}),
        ("targets_filter", {"targets": None, "targets_filter": {"group_ids": [NO_TASK]}}),
        ("task_policy.retry_count", policy(retry_count=6, retry_interval=1)),
        ("task_policy.retry_interval", policy(retry_count=1, retry_interval=1441)),
        ("task_policy.retry_interval", policy(retry_count=1)),
        ("task_policy.schedule_time", policy(schedule_time="20200101T000000Z")),
    ]
    for field, change in cases:
        body = {key: value for key, value in (fine | change).items() if value is not None}
        b.refused("create_batch_task", 400, INVALID, field, body=body)
    for kind in KINDS:
        b.do("list_batch_tasks", task_type=kind, limit=50)
        names = [one["task_name"] for one in b.raw()["batchtasks"]]
        b.check("list_batch_tasks", "a refused task", fine["task_name"] in names, False)
    body = {"targets": [f"d{n}" for n in range(101)]}
    for operation in ("stop_batch_task", "retry_batch_task", "confirm_batch_task"):
        b.refused(operation, 400, INVALID, "targets", task_id=NO_TASK, body=body)


SCENES = [
    firmware_by_targets,
    software_by_groups,
    by_rows,
    scheduled,
    failures_and_retry,
    wrong_results,
    pages_and_stops,
    many,
    confirmed,
    callers,
    bad_values,
]
