"""A server with authentication, the official SDK's clients for it, and the tally of checks.

Every call through `Bench.do` is checked whole: status, headers, each field of the JSON against
sdk_fields.py, and what the SDK parsed. Every call through `Bench.refused` must fail as it says.
A call that can't go on ends its scene and no other; all failures are told at the end.
"""

import decimal
import itertools
import json
import re
import subprocess
import time

import huaweicloudsdkiotda.v5 as iot
from huaweicloudsdkcore.auth.credentials import BasicCredentials, DerivedCredentials
from huaweicloudsdkcore.exceptions.exceptions import ClientRequestException, SdkException
from huaweicloudsdkcore.http.http_config import HttpConfig
from huaweicloudsdkcore.http.http_handler import HttpHandler
from huaweicloudsdkcore.region.region import Region

import sdk_shape
import server as strait
from sdk_fields import ANSWERS

WAYS = ["signed", "derived", "token"]
# What the Authorization header begins with.
SCHEMES = {"signed": "SDK-HMAC-SHA256 ", "derived": "V11-HMAC-SHA256 ", "token": "none"}
CODE = re.compile(r"IOTDA\.\d{6}")
# Of a path that is not served.
NO_PATH = "IOTDA.000008"
TASK_S = 60


class SceneOver(Exception):
    """The scene can't go on; why is in the tally."""


class Tally:
    """Numbered checks, and those that failed."""

    def __init__(self):
        self.count = 0
        self.failures = []
        self.place = ""

    def check(self, operation, field, got, want, fine=None):
        """`fine` says it otherwise than by equality."""
        self.count += 1
        is_fine = got == want if fine is None else fine
        if not is_fine:
            self.failures.append((self.count, self.place, operation, field, got, want))
        return is_fine

    def report(self):
        for number, place, operation, field, got, want in self.failures:
            print(f"FAILED check {number} ({place}): {operation}: {field}")
            print(f"    got  {str(got)[:600]}")
            print(f"    want {str(want)[:600]}")
        print(f"sdk: {self.count} checks, {len(self.failures)} failed")


def request_class(operation):
    return getattr(iot, "".join(word.title() for word in operation.split("_")) + "Request")


def is_subset(want, got):
    """Whether `want` is in `got`: objects may have more fields, lists have the same length."""
    if isinstance(want, dict):
        known = isinstance(got, dict)
        return known and all(k in got and is_subset(v, got[k]) for k, v in want.items())
    if isinstance(want, list):
        same = isinstance(got, list) and len(want) == len(got)
        return same and all(is_subset(w, g) for w, g in zip(want, got))
    return want == got


def parse_json(raw):
    return json.loads(raw, parse_float=decimal.Decimal)


class Client:
    """The SDK's client with one set of keys, one way; remembers its last answer."""

    def __init__(self, address, keys, way, kind=iot.IoTDAClient):
        self.last = None
        self.authorization = None
        url = f"http://{address[0]}:{address[1]}"
        credentials = BasicCredentials(keys["access_key"], keys["secret_key"], "p1")
        handler = HttpHandler().add_response_handler(self._remember)
        # No retries: what a test sees is one exchange. No proxy: the server is on loopback.
        config = HttpConfig(retry_times=0, timeout=(5, 60), proxy_protocol=None)
        config.proxy_host = None
        builder = kind.new_builder().with_http_config(config).with_http_handler(handler)
        if way == "derived":
            predicate = DerivedCredentials.get_default_derived_predicate()
            credentials.with_derived_predicate(predicate)
            builder = builder.with_region(Region("cn-north-4", url))
        else:
            builder = builder.with_endpoint(url)
        self.sdk = builder.with_credentials(credentials).build()
        if way == "token":
            self.sdk.preset_headers = {"X-Auth-Token": keys["token"], "Authorization": "none"}

    def _remember(self, response, **_):
        self.last = response
        self.authorization = response.request.headers.get("Authorization")

    def call(self, operation, **arguments):
        return getattr(self.sdk, operation)(request_class(operation)(**arguments))


class Bench:
    """A running server, the client of one way with all rights, and the tally."""

    def __init__(self, work, way, tally):
        self.work, self.way, self.tally = work, way, tally
        self.data = work / "data"
        self.log = work / "log"
        self.server = strait.Server(self.data, log=self.log, authenticated=True)
        self.client = Client(self.server.http, self.server.keys, way)
        self.numbers = itertools.count(1)

    def other(self, keys, way=None):
        """A client with other keys."""
        return Client(self.server.http, keys, way or self.way)

    def name(self, stem="t"):
        """A text that nothing else of this run has."""
        return f"{stem}{self.way[0]}{next(self.numbers):04}"

    def check(self, operation, field, got, want):
        return self.tally.check(operation, field, got, want)

    def check_that(self, operation, field, is_so, got, want):
        return self.tally.check(operation, field, got, want, fine=bool(is_so))

    def check_has(self, operation, want):
        """Whether the last answer holds these values."""
        got = self.raw()
        shown = {key: got.get(key) for key in want} if isinstance(got, dict) else got
        self.check_that(operation, ", ".join(want), is_subset(want, got), shown, want)

    def raw(self, client=None):
        """The last answer's JSON."""
        return parse_json((client or self.client).last.content)

    def do(self, operation, client=None, **arguments):
        """A call that must succeed; gives what the SDK parsed."""
        client = client or self.client
        if self.way != "token":
            arguments.setdefault("instance_id", "i")
        try:
            parsed = client.call(operation, **arguments)
        except SdkException as error:
            self.check(operation, "outcome", error, "success")
            raise SceneOver from error
        status, model = ANSWERS[operation]
        answer = client.last
        self.check(operation, "status", answer.status_code, status)
        self.check(operation, "status as the SDK has it", parsed.status_code, status)
        self._check_headers(operation, answer, has_body=model is not None)
        if model is None:
            self.check(operation, "body", answer.content, b"")
            return parsed
        raw = parse_json(answer.content)
        found = list(sdk_shape.mistakes(model, raw))
        found += [] if found else sdk_shape.differences(parsed, raw)
        if not found:
            self.check(operation, "every field", "fine", "fine")
        for field, got, want in found:
            self.check(operation, field, repr(got), want)
        return parsed

    def _check_headers(self, operation, answer, has_body=True):
        request_id = answer.headers.get("X-Request-Id")
        self.check_that(operation, "X-Request-Id", request_id, request_id, "some text")
        if has_body:
            self.check(
                operation, "Content-Type", answer.headers.get("Content-Type"), "application/json"
            )

    def refused(self, operation, statuses, code=None, words=(), client=None, **arguments):
        """A call that must fail with this status (or one of these), code and words."""
        statuses = statuses if isinstance(statuses, tuple) else (statuses,)
        wanted = " or ".join(map(str, statuses))
        client = client or self.client
        try:
            client.call(operation, **arguments)
        except ClientRequestException as error:
            shown = f"{error.status_code} {error.error_code} {error.error_msg}"
            fine = error.status_code in statuses
            self.check_that(operation, "status of the refusal", fine, shown, wanted)
            fine = error.error_code == code if code else CODE.fullmatch(error.error_code or "")
            self.check_that(operation, "error_code", fine, shown, code or "IOTDA.nnnnnn")
            for word in [words] if isinstance(words, str) else words:
                fine = word in (error.error_msg or "")
                self.check_that(operation, "error_msg", fine, shown, f"{word!r} in it")
            self.check_that(operation, "error_msg", error.error_msg, shown, "some text")
            header = client.last.headers.get("X-Request-Id")
            fine = header and error.request_id == header
            self.check_that(operation, "request_id", fine, error.request_id, header or "some text")
            body = parse_json(client.last.content)
            fine = {"error_code", "error_msg"} <= set(body)
            self.check_that(operation, "error body", fine, body, "error_code and error_msg")
            return error
        except Exception as error:  # noqa: BLE001: the SDK may not understand what was let in
            self.check(operation, "outcome", repr(error), f"refused with {wanted}")
        else:
            got = f"{client.last.status_code} {client.last.text}"
            self.check(operation, "outcome", got, f"refused with {wanted} {code or ''}")
        return None

    def gone(self, operation, code, **arguments):
        """A call about something that is not there; `code` None: any but that of unknown paths."""
        error = self.refused(operation, 404, code, **arguments)
        if error and error.error_code == NO_PATH:
            self.check(operation, "error_code", NO_PATH, "that of a missing thing, not of a path")

    def await_(self, operation, what, question, want):
        """Asks until the answer is `want`."""
        deadline = time.monotonic() + TASK_S
        while (got := question()) != want and time.monotonic() < deadline:
            time.sleep(0.05)
        if not self.check(operation, f"{what} within {TASK_S} s", got, want):
            raise SceneOver

    # What most scenes begin with.

    def product(self, **fields):
        body = {
            "name": self.name("product"),
            "device_type": "Meter",
            "protocol_type": "CoAP",
            "data_format": "binary",
            "service_capabilities": [
                {
                    "service_id": "Flow",
                    "service_type": "Flow",
                    "properties": [
                        {"property_name": "volume", "data_type": "int", "method": "RW"}
                    ],
                }
            ],
        }
        return self.do("create_product", body=iot.AddProduct(**(body | fields))).product_id

    def device(self, product, **fields):
        body = {"node_id": self.name("node"), "product_id": product} | fields
        return self.do("add_device", body=iot.AddDevice(**body)).device_id

    def group(self, **fields):
        body = iot.AddDeviceGroupDTO(**({"name": self.name("group")} | fields))
        return self.do("add_device_group", body=body).group_id

    def space(self):
        body = iot.AddApplication(app_name=self.name("space"))
        return self.do("add_application", body=body).app_id

    def to_group(self, group, *devices, action="addDevice"):
        for device in devices:
            self.do(
                "create_or_delete_device_in_group",
                group_id=group,
                action_id=action,
                device_id=device,
            )

    def tag(self, device, **tags):
        tags = [iot.TagV5DTO(tag_key=key, tag_value=value) for key, value in tags.items()]
        body = iot.BindTagsDTO(resource_type="device", resource_id=device, tags=tags)
        self.do("tag_device", body=body)

    # The command line.

    def credential(self, *options):
        """`strait credentials add`; gives the keys that it printed."""
        done = self.command("credentials", "add", *options)
        keys = {}
        for name in ("access_key", "secret_key", "token"):
            found = re.search(rf'"?{name}"?\s*[:=]?\s*"?([^\s",]+)', done.stdout)
            self.check_that("credentials add", name, found, done.stdout, "on stdout")
            if not found:
                raise SceneOver
            keys[name] = found[1]
        return keys

    def command(self, *words):
        command = [strait.binary(), *words, "--data", str(self.data)]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL
        )
        told = f"exit code {done.returncode}: {done.stderr.strip()}"
        if not self.check_that(" ".join(words), "exit code", done.returncode == 0, told, "0"):
            raise SceneOver
        return done
