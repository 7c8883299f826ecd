"""Asynchronous commands through the SDK, to devices on CoAP: both strategies to every end, lists, history,
counts, batch tasks. A time-out takes 180 s, so one command waits for it while other scenes run."""

import time

import huaweicloudsdkiotda.v5 as iot

import coap_device
import sdk_batch
import server as strait

INVALID = "IOTDA.000006"
ENDED = {"EXPIRED", "TIMEOUT", "SUCCESSFUL", "FAILED"}
CODEC = strait.ROOT / "fixtures" / "api" / "valve.toml"
ACK_WAIT_S = 180
# In one of the ways: the command that nobody acknowledges, with its device.
silent = {}


def product(b):
    """`SET_VALVE` is answered by its mid, `REBOOT` is not answered."""
    open_ = iot.ServiceCommandPara(
        para_name="open", data_type="int", required=True, min="0", max="1"
    )
    code = iot.ServiceCommandPara(para_name="code", data_type="string")
    after = iot.ServiceCommandPara(para_name="after_s", data_type="int")
    response = iot.ServiceCommandResponse(response_name="SET_VALVE_RSP", paras=[code])
    commands = [
        iot.ServiceCommand(command_name="SET_VALVE", paras=[open_], responses=[response]),
        iot.ServiceCommand(command_name="REBOOT", paras=[after]),
    ]
    volume = iot.ServiceProperty(property_name="volume", data_type="long", method="R")
    service = iot.ServiceCapability(
        service_id="Flow", service_type="Flow", properties=[volume], commands=commands
    )
    made = b.product(service_capabilities=[service])
    path = f"/v1/products/{made}/codec"
    b.server.rest("PUT", path, CODEC.read_bytes(), "application/toml", [201])
    path = f"/v1/products/{made}/settings"
    b.server.rest("PUT", path, {"command": {"response_timeout_s": 1}}, want=[200])
    return made


def answer(code):
    return lambda command: bytes([0x82]) + command[1:3] + bytes([code])


def attach(b, device, **options):
    """The device on a socket, registered."""
    node = b.do("show_device", device_id=device).node_id
    there = coap_device.Device(b.server.coap, node, **options)
    there.register()
    return there


def body(strategy, command="SET_VALVE", **fields):
    paras = {"open": 1} if command == "SET_VALVE" else {"after_s": 7}
    wanted = {"service_id": "Flow", "command_name": command, "paras": paras}
    return iot.AsyncDeviceCommandRequest(**(wanted | {"send_strategy": strategy} | fields))


def send(b, device, strategy, status, command="SET_VALVE", **fields):
    wanted = body(strategy, command, **fields)
    made = b.do("create_async_command", device_id=device, body=wanted)
    b.check("create_async_command", "status", made.status, status)
    return made.command_id


def end(b, device, command, status, result="any", patience=60):
    """Waits until the command has this status, and looks at its result."""
    deadline = time.monotonic() + patience
    show = lambda: b.do("show_async_device_command", device_id=device, command_id=command)  # noqa: E731
    while (got := show()).status != status and time.monotonic() < deadline:
        time.sleep(0.1 if patience <= 60 else 2)
    b.check("show_async_device_command", "status", got.status, status)
    if result != "any":
        b.check("show_async_device_command", "result", b.raw()["result"], result)
    return got


def silence_begins(b):
    """Sent, and never acknowledged: see `silence_ends`. In one way, for it takes long."""
    if b.way != "signed":
        return
    device = b.device(product(b))
    there = attach(b, device, behaviour="silent")
    silent[b.way] = (device, there, send(b, device, "immediately", "SENT"), time.monotonic())


def silence_ends(b):
    if b.way not in silent:
        return
    device, there, command, since = silent.pop(b.way)
    left = ACK_WAIT_S + 20 - (time.monotonic() - since)
    got = end(b, device, command, "TIMEOUT", None, patience=max(left, 1))
    b.check_that("TIMEOUT", "sent_time", got.sent_time, got.sent_time, "a time")
    b.check("TIMEOUT", "delivered_time", got.delivered_time, None)
    there.close()


def fates(b):
    """Every end of both strategies but the time-out."""
    device = b.device(product(b))
    off = send(b, device, "immediately", "FAILED")
    end(b, device, off, "FAILED")
    b.check("immediately", "error", b.raw()["result"]["resultDetail"]["error_code"], "IOTDA.014016")
    expires = send(b, device, "delay", "PENDING", expire_time=1)
    waits = send(b, device, "delay", "PENDING", expire_time=172800)
    end(b, device, expires, "EXPIRED", None)
    with attach(b, device, reply=answer(0)) as there:
        fine = {"resultCode": "SUCCESSFUL", "resultDetail": {"code": "ok"}}
        got = end(b, device, waits, "SUCCESSFUL", fine)
        times = [got.created_time, got.sent_time, got.delivered_time, got.response_time]
        b.check_that("SUCCESSFUL", "times in order", times == sorted(times), times, "ascending")
        command = send(b, device, "immediately", "SENT")
        end(b, device, command, "SUCCESSFUL", fine)
        there.reply = answer(1)
        failed = {"resultCode": "FAILED", "resultDetail": {"code": "fail"}}
        for strategy, first in (("immediately", "SENT"), ("delay", "PENDING")):
            end(b, device, send(b, device, strategy, first), "FAILED", failed)
        # Nothing answers it, so it rests, and the next one goes.
        there.behaviour = "ack"
        rests = send(b, device, "delay", "PENDING")
        end(b, device, rests, "DELIVERED", None)
        done = send(b, device, "delay", "PENDING", "REBOOT")
        end(b, device, done, "SUCCESSFUL")
        b.check("show_async_device_command", "status of what rests", status(b, device, rests), "DELIVERED")
        there.behaviour = "reset"
        end(b, device, send(b, device, "immediately", "SENT"), "FAILED")
        b.check("commands", "received once each", len(there.received), 6)
    b.do("list_async_commands", device_id=device)
    b.check("list_async_commands", "commands that are open", b.raw()["commands"], [])


def status(b, device, command):
    return b.do("show_async_device_command", device_id=device, command_id=command).status


def lists(b):
    """Pages, filters and counts of what is open and of what has ended."""
    device = b.device(product(b))
    waiting = [send(b, device, "delay", "PENDING") for _ in range(3)]
    waiting.append(send(b, device, "delay", "PENDING", "REBOOT"))
    failed = [send(b, device, "immediately", "FAILED") for _ in range(5)]
    for operation, want in (
        ("list_async_commands", waiting),
        ("list_async_history_commands", failed),
    ):
        seen, marker = [], None
        while True:
            page = b.do(operation, device_id=device, limit=2, marker=marker)
            if not page.commands:
                break
            seen += [command.command_id for command in page.commands]
            marker = page.page.marker
        b.check(operation, "all pages", seen, want[::-1])
    page = b.do("list_async_commands", device_id=device, command_name="REBOOT")
    b.check("list_async_commands", "command_name", [c.command_id for c in page.commands], waiting[3:])
    b.check("list_async_commands", "count", page.page.count, 1)
    page = b.do("list_async_commands", device_id=device, status="SENT", offset=0)
    b.check("list_async_commands", "status", page.commands, [])
    created = b.do("show_async_device_command", device_id=device, command_id=failed[-1]).created_time
    for filters, want in (
        ({}, 5),
        ({"status": "FAILED"}, 5),
        ({"status": "SUCCESSFUL"}, 0),
        ({"command_name": "REBOOT"}, 0),
        ({"start_time": "20200101T000000Z", "end_time": created}, 5),
        ({"end_time": "20200101T000000Z"}, 0),
    ):
        got = b.do("count_async_history_commands", device_id=device, **filters).count
        b.check("count_async_history_commands", str(filters), got, want)


def refusals(b):
    """What is no command is refused, and says why."""
    device = b.device(product(b))
    create = lambda words, code=INVALID, of=400, to=device, **fields: b.refused(  # noqa: E731
        "create_async_command",
        of,
        code,
        words,
        device_id=to,
        body=body(**({"strategy": "delay"} | fields)),
    )
    create("service_id", service_id="Nope")
    create("command_name", command_name="Nope")
    create("paras.open", paras={})
    create("paras.open", paras={"open": 2})
    create("paras", paras={"open": 1, "x": "a" * 33000})
    create("expire_time", expire_time=172801)
    create("device_id", "IOTDA.014000", 404, "gone")
    for _ in range(20):
        send(b, device, "delay", "PENDING")
    create("20 commands wait", "IOTDA.021101", 403)
    none = "01a0c4f1-9c00-7000-8000-000000001001"
    b.gone("show_async_device_command", INVALID, device_id=device, command_id=none)
    b.refused("list_async_commands", 400, "IOTDA.000017", "limit", device_id=device, limit=51)
    b.refused("list_async_commands", 400, INVALID, "status", device_id=device, status="DONE")


def batch(b):
    """A command to many devices, and what is told of those that can't get it."""
    made = product(b)
    devices = [b.device(made) for _ in range(3)]
    document = {
        "service_id": "Flow",
        "command_name": "SET_VALVE",
        "paras": {"open": 1},
        "expire_time": 600,
        "send_strategy": "delay",
    }
    task = sdk_batch.create(
        b, "createAsyncCommands", targets=[*devices, "gone"], document=document
    )
    got = sdk_batch.end(b, task, "PartialSuccess", total=4, success=3, fail=1)
    b.check("show_batch_task", "document", got["document"], document)
    told = sdk_batch.details(b, task)
    b.check("gone", "error_code", told["gone"]["error"]["error_code"], "IOTDA.014000")
    for device in devices:
        command = told[device]["output"]
        b.check("createAsyncCommands", "status", status(b, device, command), "PENDING")
        with attach(b, device, reply=answer(0)):
            end(b, device, command, "SUCCESSFUL")
    task = sdk_batch.create(
        b, "createAsyncCommands", targets=devices, document=document | {"paras": {"open": 9}}
    )
    sdk_batch.end(b, task, "Fail", total=3, fail=3)


# `silence_ends` is after the last scene of all.
SCENES = [silence_begins, fates, lists, refusals, batch]
