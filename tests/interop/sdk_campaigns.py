"""What upgrade tasks have beyond the SDK, by plain HTTP: pause and resume, a canary share, and a
window of the day. The tasks and their devices are as in sdk_upgrades.py.
"""

import datetime

from sdk_batch import create
from sdk_fleet import FIRMWARE, Fleet, Nodes, image, package, product
from sdk_upgrades import OTHER_SOURCE, follow, has_become, of, order, progress, told

INVALID = "IOTDA.000006"
NO_TASK = "0123456789abcdef01234567"
NOTHING = {"canary": None, "window": None}


def rest(b, method, task, what, body=None, want=200):
    """One of our operations; gives its answer, whose status was checked."""
    status, answer = b.server.rest(method, f"/v1/campaigns/{task}/{what}", body)
    b.check_that(f"{method} {what}", "status", status == want, (status, answer), want)
    return answer


def refused(b, method, task, what, words, body=None, status=400):
    answer = rest(b, method, task, what, body, status)
    told = {"error_code": None, "error_msg": ""} | (answer or {})
    fine = told["error_code"] == INVALID and words in told["error_msg"]
    b.check_that(f"{method} {what}", "error", fine, answer, f"{INVALID} with {words!r}")


def closed_window():
    """One that opens in an hour, and closes an hour later."""
    now = datetime.datetime.now(datetime.timezone.utc)
    opens, closes = (now + datetime.timedelta(hours=hours) for hours in (1, 2))
    return {"from": f"{opens:%H:%M}", "to": f"{closes:%H:%M}", "utc_offset_min": 0}


def paused(b):
    """No device of a paused task begins, whatever is confirmed; resumed, it goes to its end."""
    made_for, raw = product(b), image()
    made = package(b, made_for, FIRMWARE, raw=raw)
    nodes = Nodes(b, made_for, 3)
    devices = nodes.devices
    with Fleet(b, nodes, "fota", image=raw) as fleet:
        task = create(b, "firmwareUpgrade", **of(made, targets=devices[:2], need_confirm=True))
        for body in ({}, None):
            answer = rest(b, "POST", task, "pause", body)
            want = {"task_id": task, "status": "Waitting", "paused": True}
            b.check("pause", "the whole answer", answer, want)
        order(b, "confirm_batch_task", task)
        # Another task, made later, is over before this one begins.
        other = create(b, "firmwareUpgrade", **of(made, targets=devices[2:]))
        follow(b, other, "Success", total=1, success=1)
        counts = progress(b, task)[1]
        b.check("pause", "counts of the paused task", counts, {"total": 2, "waitting": 2})
        b.check("resume", "paused", rest(b, "POST", task, "resume", {})["paused"], False)
        follow(b, task, "Success", total=2, success=2)
    fleet.check(installed=3)
    for what in ("pause", "resume"):
        refused(b, "POST", task, what, "the task is Success", {})
    refused(b, "PUT", task, "policy", "the task is Success", {})
    b.check("policy", "of one that is over", rest(b, "GET", task, "policy"), NOTHING)


def canary(b):
    """A share goes first. What fails stops the task; where it succeeds, the others follow."""
    made_for, raw = product(b), image()
    made = package(b, made_for, FIRMWARE, raw=raw, support_source_versions="V1.5")
    nodes = Nodes(b, made_for, 4)
    policy = {"share_percent": 50, "max_failure_percent": 25, "min_results": 2}
    task = create(b, "firmwareUpgrade", **of(made, targets=nodes.devices, need_confirm=True))
    b.check("policy", "of a new task", rest(b, "GET", task, "policy"), NOTHING)
    answer = rest(b, "PUT", task, "policy", {"canary": policy})
    b.check("policy", "the whole answer", answer, NOTHING | {"canary": policy})
    b.check("policy", "as it is shown", rest(b, "GET", task, "policy"), answer)
    order(b, "confirm_batch_task", task)
    has_become(b, task, processing=2, waitting=2)
    with Fleet(b, nodes, "fota") as fleet:
        follow(b, task, "Stopped", total=4, fail=2, stopped=2)
    fleet.check(offered=0)
    b.do("show_batch_task", task_id=task)
    why = b.raw()["batchtask"]["status_desc"]
    want = "stopped by its canary: 2 of 2 devices failed, at most 25 % may"
    b.check("show_batch_task", "status_desc", why, want)
    failed = [text for _, text in told(b, task, task_detail_status="Fail").values()]
    fine = len(failed) == 2 and all(text.startswith(OTHER_SOURCE) for text in failed)
    b.check_that("show_batch_task", "details with Fail", fine, failed, OTHER_SOURCE)

    task = create(b, "firmwareUpgrade", **of(made, targets=nodes.devices, need_confirm=True))
    rest(b, "PUT", task, "policy", {"canary": policy})
    order(b, "confirm_batch_task", task)
    with Fleet(b, nodes, "fota", runs="V1.5", image=raw) as fleet:
        follow(b, task, "Success", total=4, success=4)
    fleet.check(installed=4)


def window(b):
    """Outside its hours a device is asked and stands in line, and fetches nothing."""
    made_for, raw = product(b), image()
    made = package(b, made_for, FIRMWARE, raw=raw)
    nodes = Nodes(b, made_for, 2)
    task = create(b, "firmwareUpgrade", **of(made, targets=nodes.devices[:1], need_confirm=True))
    hours = closed_window()
    answer = rest(b, "PUT", task, "policy", {"window": hours})
    b.check("policy", "the whole answer", answer, NOTHING | {"window": hours})
    with Fleet(b, nodes, "fota", image=raw) as fleet:
        order(b, "confirm_batch_task", task)
        other = create(b, "firmwareUpgrade", **of(made, targets=nodes.devices[1:]))
        follow(b, other, "Success", total=1, success=1)
        # It was asked: its version is known.
        device = nodes.devices[0]
        version = lambda: b.do("show_device", device_id=device).fw_version  # noqa: E731
        b.await_("show_device", "fw_version of the waiting one", version, "V1.0")
        got = progress(b, task)
        b.check("window", "the task", got, ("Processing", {"total": 1, "processing": 1}))
        b.check("policy", "taken back", rest(b, "PUT", task, "policy", {}), NOTHING)
        follow(b, task, "Success", total=1, success=1)
    fleet.check(offered=2, installed=2)


def bad_values(b):
    """Each refused with its field, and nothing changed."""
    made_for = product(b)
    made = package(b, made_for, FIRMWARE)
    devices = [b.device(made_for) for _ in range(4)]
    task = create(b, "firmwareUpgrade", **of(made, targets=devices))
    has_become(b, task, processing=4)
    fine = {"share_percent": 100, "max_failure_percent": 0, "min_results": 1}
    hours = {"from": "22:00", "to": "05:00"}
    for field, body in (
        ("canary.share_percent", {"canary": fine | {"share_percent": 0}}),
        ("canary.share_percent", {"canary": fine | {"share_percent": 101}}),
        ("canary.share_percent", {"canary": fine | {"share_percent": None}}),
        # More have begun than the share has.
        ("canary.share_percent", {"canary": fine | {"share_percent": 25}}),
        ("canary.max_failure_percent", {"canary": fine | {"max_failure_percent": 101}}),
        ("canary.min_results", {"canary": fine | {"min_results": 0}}),
        ("canary.min_results", {"canary": fine | {"min_results": "1"}}),
        ("canary.share", {"canary": fine | {"share": 5}}),
        ("canary", {"canary": []}),
        ("window.from", {"window": {"to": "05:00"}}),
        ("window.from", {"window": hours | {"from": "24:00"}}),
        ("window.to", {"window": hours | {"to": "5:00"}}),
        ("window.to", {"window": hours | {"to": "22:00"}}),
        ("window.utc_offset_min", {"window": hours | {"utc_offset_min": 841}}),
        ("window.utc_offset_min", {"window": hours | {"utc_offset_min": 1.5}}),
        ("window.days", {"window": hours | {"days": 1}}),
        ("pause", {"pause": True}),
    ):
        refused(b, "PUT", task, "policy", f"{field}: ", body)
    for what in ("pause", "resume"):
        refused(b, "POST", task, what, "for: ", {"for": 60})
    b.check("policy", "after all refusals", rest(b, "GET", task, "policy"), NOTHING)
    freezing = create(b, "freezeDevices", targets=["nosuch"])
    orders = [("POST", "pause"), ("POST", "resume"), ("GET", "policy"), ("PUT", "policy")]
    for method, what in orders:
        body = None if method == "GET" else {}
        refused(b, method, freezing, what, "freezeDevices", body)
        refused(b, method, NO_TASK, what, NO_TASK, body, 404)
    order(b, "stop_batch_task", task)


SCENES = [paused, canary, window, bad_values]
