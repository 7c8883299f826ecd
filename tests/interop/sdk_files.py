"""Batch tasks from uploaded files through the SDK: xlsx as spreadsheets write it, and CSV.

The first row names the columns, in any order.
"""

import csv
import json

import huaweicloudsdkiotda.v5 as iot
import openpyxl
from huaweicloudsdkcore.exceptions.exceptions import ClientRequestException
from huaweicloudsdkcore.http.formdata import FormFile

from sdk_batch import create, details, end, statuses

FORMATS = ["xlsx", "csv"]
ROWS_MAX = 30000


def write_sheet(path, rows):
    if path.suffix == ".csv":
        with open(path, "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(rows)
        return
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    book.save(path)


def upload(b, name, rows=None, raw=None, client=None):
    """Uploads a file of these rows; gives its id."""
    path = b.work / name
    path.write_bytes(raw) if raw is not None else write_sheet(path, rows)
    with open(path, "rb") as file:
        body = iot.UploadBatchTaskFileRequestBody(file=FormFile(file))
        return b.do("upload_batch_task_file", body=body, client=client).file_id


def file_ids(b):
    b.do("list_batch_task_files")
    return [file["file_id"] for file in b.raw()["files"]]


def life(b):
    """Uploaded, listed, deleted."""
    before = file_ids(b)
    made = []
    for form in FORMATS:
        name = f"{b.name('file')}.{form}"
        file = upload(b, name, [["device_id"], ["nosuch"]])
        b.check("upload_batch_task_file", "file_name", b.raw()["file_name"], name)
        uploaded = b.raw()
        made.append(file)
        b.do("list_batch_task_files")
        listed = {element["file_id"]: element for element in b.raw()["files"]}
        b.check("list_batch_task_files", "the uploaded file", listed.get(file), uploaded)
    for file in made:
        b.do("delete_batch_task_file", file_id=file)
        b.gone("delete_batch_task_file", None, file_id=file)
        body = {"task_name": b.name(), "task_type": "deleteDevices", "document_source": file}
        b.refused("create_batch_task", (400, 404), words="document_source", body=body)
    b.check("list_batch_task_files", "files at the end", file_ids(b), before)


def creating(b):
    """Devices created from rows with every column; a row that is wrong fails alone."""
    space = b.space()
    product = b.product(app_id=space)
    gateway = b.device(product)
    columns = ["product_id", "node_id", "secret", "device_name", "device_id", "auth_type"]
    columns += ["secure_access", "timeout", "description", "app_id", "gateway_id"]
    for form in FORMATS:
        full, plain, wrong, orphan = (b.name(f"{form}node") for _ in range(4))
        id = b.name("dev")
        # Cells that are no text in a spreadsheet, as its user types them; text in CSV.
        flag, number = (True, 600) if form == "xlsx" else ("true", "600")
        rows = [columns]
        rows.append([product, full, "0123456789abcdef", "表-1", id, "SECRET", flag, number])
        rows[-1] += ["By,hand.", space, gateway]
        rows.append([product, plain] + [None] * 9)
        rows.append([product, wrong, "short"] + [None] * 8)
        rows.append(["nosuch", orphan] + [None] * 9)
        file = upload(b, f"{b.name('create')}.{form}", rows)
        task = create(b, "createDevices", document_source=file, app_id=space)
        end(b, task, "PartialSuccess", total=4, success=2, fail=2)
        failed = details(b, task, task_detail_status="Fail")
        text = json.dumps(failed, ensure_ascii=False)
        # A row that can't be read has no node to be called by.
        fine = wrong in text or "row 4" in text
        b.check_that("show_batch_task", "failed rows", fine, text, f"{wrong} or row 4 in it")
        for word in ("secret", orphan, "nosuch"):
            b.check_that("show_batch_task", "failed rows", word in text, text, f"{word} in it")
        codes = sorted(detail["error"]["error_code"] for detail in failed.values())
        b.check("show_batch_task", "their codes", codes, ["IOTDA.000006", "IOTDA.009002"])

        b.do("show_device", device_id=id)
        b.check_has(
            "show_device",
            {
                "node_id": full,
                "device_name": "表-1",
                "description": "By,hand.",
                "app_id": space,
                "gateway_id": gateway,
                "auth_info": {
                    "auth_type": "SECRET",
                    "secret": "0123456789abcdef",
                    "secure_access": True,
                    "timeout": 600,
                },
            },
        )
        b.do("show_device", device_id=f"{product}_{plain}")
        b.check_has("show_device", {"node_id": plain, "device_name": None, "app_id": space})
        for node in (wrong, orphan):
            b.do("list_devices", node_id=node)
            b.check("list_devices", "a device of a wrong row", b.raw()["devices"], [])


def others(b):
    """Devices changed, frozen, unfrozen and deleted from rows."""
    product = b.product()
    for form in FORMATS:
        devices = [b.device(product) for _ in range(3)]
        rows = [["description", "device_id", "device_name"]]
        rows.append(["Moved.", devices[0], "New-name"])
        rows.append([None, devices[1], "Other-name"])
        file = upload(b, f"{b.name('update')}.{form}", rows)
        task = create(b, "updateDevices", document_source=file)
        end(b, task, "Success", total=2, success=2)
        shown = [b.do("show_device", device_id=device) for device in devices]
        told = [(device.device_name, device.description) for device in shown]
        wanted = [("New-name", "Moved."), ("Other-name", None), (None, None)]
        b.check("updateDevices", "name and description", told, wanted)

        file = upload(b, f"{b.name('ids')}.{form}", [["device_id"], *([d] for d in devices)])
        for kind, status in (("freezeDevices", "FROZEN"), ("unfreezeDevices", "INACTIVE")):
            task = create(b, kind, document_source=file)
            end(b, task, "Success", total=3, success=3)
            b.check(kind, "status of the devices", statuses(b, devices), [status] * 3)
        task = create(b, "deleteDevices", document_source=file)
        end(b, task, "Success", total=3, success=3)
        b.check("show_batch_task", "targets", sorted(details(b, task)), sorted(devices))
        for device in devices:
            b.gone("show_device", "IOTDA.014000", device_id=device)


def refused_somewhere(b, name, kind, rows=None, raw=None):
    """A file that nothing comes of: refused at its upload or at the task, or the task fails."""
    path = b.work / name
    path.write_bytes(raw) if raw is not None else write_sheet(path, rows)
    try:
        with open(path, "rb") as file:
            body = iot.UploadBatchTaskFileRequestBody(file=FormFile(file))
            made = b.client.call("upload_batch_task_file", body=body)
        body = iot.CreateBatchTask(
            task_name=b.name(), task_type=kind, document_source=made.file_id
        )
        task = b.client.call("create_batch_task", body=body).task_id
    except ClientRequestException as error:
        fine = error.status_code in (400, 413, 415) and error.error_msg
        told = f"{error.status_code} {error.error_code} {error.error_msg}"
        b.check_that("upload or create", f"refusal of {name}", fine, told, "400 with a reason")
        return
    b.await_("show_batch_task", f"failure of {name}", lambda: is_failed(b, task), True)


def is_failed(b, task):
    return b.do("show_batch_task", task_id=task).batchtask.status == "Fail"


def bad_files(b):
    """Files that are none, too long, or without the columns that the task needs."""
    junk = b"PK\x03\x04 this is no spreadsheet"
    long = [["device_id"]] + [[f"d{n}"] for n in range(ROWS_MAX + 1)]
    for name, content in (
        ("junk.xlsx", {"raw": junk}),
        ("empty.csv", {"raw": b""}),
        ("empty.xlsx", {"raw": b""}),
        ("bytes.csv", {"raw": b"device_id\n\xff\xfe\x00\n"}),
        ("words.txt", {"raw": b"device_id\nx\n"}),
        ("rows.csv", {"rows": long}),
        ("headless.csv", {"rows": [["x"], ["y"]]}),
        ("headless.xlsx", {"rows": [["x"], ["y"]]}),
        ("headonly.csv", {"rows": [["device_id"]]}),
    ):
        refused_somewhere(b, name, "deleteDevices", **content)


SCENES = [life, creating, others, bad_files]
