"""Packages through the SDK, and their files by our own operations, which the SDK has none for.

The SDK's packages refer to files elsewhere; here a file is uploaded, and what refers to it is told
apart by its location.
"""

import hashlib
import http.client

import huaweicloudsdkiotda.v5 as iot

from sdk_fleet import FIRMWARE, NEW, SOFTWARE, caller, image, package, product, upload

INVALID = "IOTDA.000006"
FORBIDDEN = "IOTDA.001002"
NO_PRODUCT = "IOTDA.013001"
NO_SPACE = "IOTDA.001000"
NO_PACKAGE = "0123456789abcdef01234567"
# A file that is somewhere else.
ELSEWHERE = {"region_name": "cn-north-4", "bucket_name": "meters", "object_key": "meter/v2.bin"}


def location(**fields):
    return iot.FileLocation(obs_location=iot.ObsLocation(**(ELSEWHERE | fields)))


def create(b, product_id, package_type=FIRMWARE, version=NEW, space="default", **fields):
    """A package by reference, of all that the SDK requires."""
    fields = {"file_location": location()} | fields
    body = iot.CreateOtaPackage(
        app_id=space,
        package_type=package_type,
        product_id=product_id,
        version=version,
        **fields,
    )
    return b.do("create_ota_package", body=body).package_id


def own(b, package_id):
    """The package as `/v1` shows it: with its file."""
    return b.server.rest("GET", f"/v1/packages/{package_id}", want=[200])[1]


def listed(b, package_type, **arguments):
    b.do("list_ota_package_info", package_type=package_type, **arguments)
    return [one["package_id"] for one in b.raw()["packages"]]


def fetch(b, path, headers=None):
    """A download without credentials: (status, bytes)."""
    connection = http.client.HTTPConnection(*b.server.http, timeout=30)
    try:
        connection.request("GET", path, headers=headers or {})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def life(b):
    """Created with every field, shown, listed, deleted."""
    made_for = product(b)
    fields = {
        "module_name": "MCU_1.a-b",
        "support_source_versions": ["V1.0", "V1.1-rc_2"],
        "description": "Counts backward flow, 倒流.",
        "custom_info": '{"wave": 3}',
    }
    places = location(sign_method="SHA256", sign="not-of-ours")
    made = create(b, made_for, version="V2.0-a_b", file_location=places, **fields)
    created = b.raw()
    want = fields | {"package_type": FIRMWARE, "product_id": made_for, "version": "V2.0-a_b"}
    want |= {"app_id": "default", "file_location": {"obs_location": dict(ELSEWHERE)}}
    want["file_location"]["obs_location"] |= {"sign_method": "SHA256", "sign": "not-of-ours"}
    b.check_has("create_ota_package", want)
    b.do("show_product", product_id=made_for)
    b.check("create_ota_package", "product_name", created["product_name"], b.raw()["name"])
    b.do("show_ota_package", package_id=made)
    b.check("show_ota_package", "the whole answer", b.raw(), created)
    b.do("list_ota_package_info", package_type=FIRMWARE, product_id=made_for)
    short = {key: value for key, value in created.items() if key != "file_location"}
    b.check("list_ota_package_info", "the package", b.raw()["packages"], [short])

    plain = create(b, made_for, SOFTWARE)
    absent = {"module_name": None, "support_source_versions": [], "description": None}
    b.check_has("create_ota_package", absent | {"custom_info": None})
    for one in (made, plain):
        b.do("delete_ota_package", package_id=one)
        for operation in ("show_ota_package", "delete_ota_package"):
            b.gone(operation, INVALID, package_id=one)
    for kind in (FIRMWARE, SOFTWARE):
        got = listed(b, kind, product_id=made_for)
        b.check("list_ota_package_info", "after the deletion", got, [])


def uploads(b):
    """An uploaded file is a package of the SDK's; a version means one file for ever."""
    made_for, raw = product(b), image()
    digest = hashlib.sha256(raw).hexdigest()
    query = {"description": "Winter, 冬.", "support_source_versions": "V1.0,V1.1"}
    first = upload(b, made_for, SOFTWARE, raw=raw, fragment_size=100, **query)
    want = {"size": 1300, "sha256": digest, "fragment_size": 100, "fragments": 13}
    b.check("upload_package", "its file", {key: first.get(key) for key in want}, want)
    same = upload(b, made_for, SOFTWARE, raw=raw, want=200, fragment_size=100, **query)
    b.check("upload_package", "the same again", same, first)
    made = first["package_id"]
    b.do("show_ota_package", package_id=made)
    want = {"version": NEW, "support_source_versions": ["V1.0", "V1.1"], "file_location": None}
    b.check_has("show_ota_package", want | {"description": "Winter, 冬."})

    other = upload(b, made_for, SOFTWARE, raw=image(mark=1), want=409)
    fine = digest in other["error_msg"]
    b.check_that("upload_package", "other bytes", fine, other, f"{digest} in it")
    body = iot.CreateOtaPackage("default", SOFTWARE, made_for, version=NEW)
    body.file_location = location()
    b.refused("create_ota_package", 409, INVALID, [made, NEW], body=body)
    b.do("delete_ota_package", package_id=made)
    upload(b, made_for, SOFTWARE, raw=image(mark=1), want=409)
    again = upload(b, made_for, SOFTWARE, raw=raw)
    b.check_that("upload_package", "its id", again["package_id"] != made, again, "a new one")
    # Of the other type it is another version.
    upload(b, made_for, FIRMWARE, raw=image(mark=1))


def locations(b):
    """Which file a location means: one by its hash, another package's, one that comes later."""
    made_for, raw = product(b), image()
    source = upload(b, made_for, FIRMWARE, raw=raw)
    digest = source["sha256"]
    cases = [
        ({"object_key": f"sha256:{digest}"}, digest),
        ({"object_key": f"sha256:{digest.upper()}"}, digest),
        ({"object_key": source["package_id"]}, digest),
        ({"sign": digest, "sign_method": "SHA256"}, digest),
        ({"sign": "ab" * 32}, None),
        ({"object_key": NO_PACKAGE}, None),
        ({}, None),
    ]
    for number, (fields, want) in enumerate(cases):
        made = create(b, made_for, version=f"V3.{number}", file_location=location(**fields))
        got = own(b, made)["sha256"]
        b.check("create_ota_package", f"file of the location {fields}", got, want)
    # The last one has no file: no task can use it until there is one.
    body = {"task_name": b.name(), "task_type": "firmwareUpgrade", "targets": ["x"]}
    body["document"] = {"package_ids": [made]}
    words = ["document.package_ids", made]
    b.refused("create_batch_task", 400, INVALID, words, body=body)
    given = upload(b, made_for, FIRMWARE, f"V3.{len(cases) - 1}", raw=raw)
    b.check("upload_package", "the package that waited", given["package_id"], made)
    b.do("show_ota_package", package_id=made)
    b.check_has("show_ota_package", {"file_location": {"obs_location": ELSEWHERE}})

    missing = {"app_id": "default", "package_type": FIRMWARE, "product_id": made_for}
    place = ELSEWHERE | {"object_key": "sha256:" + "ab" * 32}
    body = missing | {"version": "V4", "file_location": {"obs_location": place}}
    b.refused("create_ota_package", 400, INVALID, ["object_key", "PUT /v1/packages"], body=body)
    # A hash that was announced binds: other bytes are refused.
    upload(b, made_for, FIRMWARE, "V3.4", raw=raw, want=400)


def downloads(b):
    """A file whole, in parts, and by a link without credentials."""
    raw = image(size=3000)
    made = package(b, product(b), FIRMWARE, raw=raw)
    path = f"/v1/packages/{made}/file"
    b.check("download_package", "without credentials", fetch(b, path)[0], 401)
    status, link = b.server.rest("POST", f"/v1/packages/{made}/token", {"expires_s": 600})
    b.check("create_package_token", "status", status, 200)
    b.check("download_package", "whole", fetch(b, link["path"]), (200, raw))
    for part, want in (("0-499", raw[:500]), ("2900-", raw[2900:]), ("-10", raw[-10:])):
        got = fetch(b, link["path"], {"Range": f"bytes={part}"})
        b.check("download_package", f"bytes={part}", got, (206, want))
    status, _ = fetch(b, link["path"], {"Range": "bytes=3000-"})
    b.check("download_package", "beyond its end", status, 416)
    b.check("download_package", "another token", fetch(b, f"{path}?token=1.ab")[0], 403)
    b.do("delete_ota_package", package_id=made)
    b.check("download_package", "after the deletion", fetch(b, link["path"])[0], 404)


def lists(b):
    """Each filter, and the pages of each."""
    space = b.space()
    first, second = product(b, app_id=space), product(b, app_id=space)
    made = [
        create(b, first, version="V2", space=space),
        create(b, second, version="V2", space=space),
        create(b, second, version="V3", space=space),
        create(b, second, SOFTWARE, version="V2", space=space),
    ]
    b.check_has("create_ota_package", {"app_id": space})
    create(b, product(b))
    for arguments, want in (
        ({"package_type": FIRMWARE}, [2, 1, 0]),
        ({"package_type": SOFTWARE}, [3]),
        ({"package_type": FIRMWARE, "version": "V2"}, [1, 0]),
        ({"package_type": FIRMWARE, "product_id": second}, [2, 1]),
        ({"package_type": FIRMWARE, "product_id": second, "version": "V2"}, [1]),
        ({"package_type": FIRMWARE, "version": "V"}, []),
        ({"package_type": FIRMWARE, "product_id": "nosuch"}, []),
        ({"package_type": FIRMWARE, "limit": 2}, [2, 1]),
        ({"package_type": FIRMWARE, "limit": 1, "offset": 2}, [0]),
    ):
        got = listed(b, app_id=space, **arguments)
        want = [made[n] for n in want]
        b.check("list_ota_package_info", f"packages with {arguments}", got, want)
    marker, seen = "f" * 24, []
    for _ in range(4):
        seen += listed(b, FIRMWARE, app_id=space, limit=1, marker=marker)
        b.check("list_ota_package_info", "count of each page", b.raw()["page"]["count"], 3)
        marker = b.raw()["page"]["marker"]
    b.check("list_ota_package_info", "page by page", seen, made[2::-1])
    b.check("list_ota_package_info", "marker of an empty page", marker, None)
    b.check("list_ota_package_info", "of all spaces", made[0] in listed(b, FIRMWARE), True)
    b.do("delete_product", product_id=second)
    b.gone("show_ota_package", INVALID, package_id=made[1])
    left = listed(b, FIRMWARE, app_id=space)
    b.check("list_ota_package_info", "of a product that went", left, made[:1])
    b.do("delete_application", app_id=space)
    b.gone("show_ota_package", INVALID, package_id=made[0])


def callers(b):
    """Who is bound to a space has its packages alone; who may only read makes none."""
    own_space, other_space = b.space(), b.space()
    mine, others = product(b, app_id=own_space), product(b, app_id=other_space)
    theirs = create(b, others, space=other_space)
    bound = caller(b, "--role", "operator", "--app-id", own_space)
    body = iot.CreateOtaPackage(own_space, FIRMWARE, mine, version=NEW, file_location=location())
    made = b.do("create_ota_package", client=bound, body=body).package_id
    b.do("list_ota_package_info", client=bound, package_type=FIRMWARE)
    got = [one["package_id"] for one in b.raw(bound)["packages"]]
    b.check("list_ota_package_info", "of a bound caller", got, [made])
    for operation in ("show_ota_package", "delete_ota_package"):
        b.gone(operation, INVALID, client=bound, package_id=theirs)
    body = iot.CreateOtaPackage(other_space, FIRMWARE, others, version="V3")
    body.file_location = location()
    b.refused("create_ota_package", 403, FORBIDDEN, "app_id", client=bound, body=body)
    body = iot.CreateOtaPackage(own_space, FIRMWARE, others, version="V3")
    body.file_location = location()
    b.gone("create_ota_package", NO_PRODUCT, client=bound, body=body)
    reader = caller(b, "--role", "read-only")
    b.do("show_ota_package", client=reader, package_id=made)
    b.refused("delete_ota_package", 403, FORBIDDEN, client=reader, package_id=made)
    b.do("show_ota_package", package_id=theirs)


def bad_values(b):
    """Each refused with its field, and no package made."""
    made_for = product(b)
    fine = {"app_id": "default", "package_type": SOFTWARE, "product_id": made_for}
    fine |= {"version": NEW, "file_location": {"obs_location": ELSEWHERE}}
    place = lambda **fields: {"obs_location": ELSEWHERE | fields}  # noqa: E731
    cases = [
        ("package_type", {"package_type": None}),
        ("package_type", {"package_type": "modulePackage"}),
        ("product_id", {"product_id": None}),
        ("product_id", {"product_id": "a b"}),
        ("version", {"version": None}),
        ("version", {"version": ""}),
        ("version", {"version": "V 2"}),
        ("version", {"version": "V" * 17}),
        ("version", {"version": "V" * 257, "package_type": FIRMWARE}),
        ("module_name", {"module_name": "a b"}),
        ("module_name", {"module_name": "x" * 65}),
        ("support_source_versions", {"support_source_versions": "V1"}),
        ("support_source_versions[1]", {"support_source_versions": ["V1", "V 2"]}),
        ("support_source_versions[0]", {"support_source_versions": ["V" * 17]}),
        ("description", {"description": "x" * 1025}),
        ("custom_info", {"custom_info": "x" * 4097}),
        ("file_location", {"file_location": None}),
        ("file_location.obs_location", {"file_location": {}}),
        ("file_location.obs_location.region_name", {"file_location": place(region_name=None)}),
        ("file_location.obs_location.bucket_name", {"file_location": place(bucket_name=None)}),
        ("file_location.obs_location.object_key", {"file_location": place(object_key=None)}),
        ("file_location.obs_location.object_key", {"file_location": place(object_key="sha256:ab")}),
        ("file_location.obs_location.object_key", {"file_location": place(object_key="x" * 1025)}),
        ("app_id", {"app_id": "a" * 37}),
    ]
    for field, change in cases:
        body = {key: value for key, value in (fine | change).items() if value is not None}
        b.refused("create_ota_package", 400, INVALID, field, body=body)
    b.refused("create_ota_package", 403, NO_SPACE, "app_id", body=fine | {"app_id": "nosuch"})
    b.gone("create_ota_package", NO_PRODUCT, body=fine | {"product_id": "nosuch"})
    got = listed(b, SOFTWARE, product_id=made_for)
    b.check("list_ota_package_info", "packages of refused requests", got, [])
    for field, arguments in (
        ("package_type", {}),
        ("package_type", {"package_type": "modulePackage"}),
        ("version", {"package_type": SOFTWARE, "version": "V 2"}),
        ("product_id", {"package_type": SOFTWARE, "product_id": "a b"}),
        ("limit", {"package_type": SOFTWARE, "limit": 51}),
        ("marker", {"package_type": SOFTWARE, "marker": "x"}),
    ):
        code = {"limit": "IOTDA.000017", "marker": "IOTDA.000018"}.get(field, INVALID)
        b.refused("list_ota_package_info", 400, code, field, **arguments)
    for operation in ("show_ota_package", "delete_ota_package"):
        b.gone(operation, INVALID, package_id=NO_PACKAGE)
    for field, query in (
        ("version", {"version": "V" * 17}),
        ("fragment_size", {"fragment_size": 31}),
        ("fragment_size", {"fragment_size": 501}),
        ("support_source_versions", {"support_source_versions": "V1,V 2"}),
        ("file_name", {"file_name": "固件.bin"}),
        ("signature", {"signature": "abc"}),
    ):
        refused = upload(b, made_for, SOFTWARE, want=400, **query)
        fine = field in refused["error_msg"]
        b.check_that("upload_package", "error_msg", fine, refused, f"{field} in it")
    refused = upload(b, made_for, FIRMWARE, want=400, fragment_size=500)
    fine = "fragment_size" in refused["error_msg"]
    b.check_that("upload_package", "error_msg", fine, refused, "fragment_size in it")
    upload(b, made_for, SOFTWARE, raw=b"", want=400)
    upload(b, "nosuch", SOFTWARE, want=404)


SCENES = [life, uploads, locations, downloads, lists, callers, bad_values]
