"""A caller of the HTTP API that signs (SDK-HMAC-SHA256) and notes every write and its answer.

Standard library only; shares no code with the server. One connection is kept per caller.
"""

import datetime
import hashlib
import hmac
import http.client
import json
import threading
import urllib.parse

V5 = "/v5/iot/p"
READING_POSTS = ("query-devices", "query-resources", "list-device-group")
ANSWER_S = 60


class Cut(Exception):
    """The connection ended before the answer: the write was done, or it was not."""


class Ledger:
    """Every write that was sent, by its request id: (method, path, status or None)."""

    def __init__(self):
        self.lock = threading.Lock()
        self.writes = {}
        self.number = 0
        self.complaints = []

    def sent(self, method, path):
        with self.lock:
            self.number += 1
            name = f"kill9-{self.number}"
            self.writes[name] = (method, path, None)
            return name

    def answered(self, name, status):
        with self.lock:
            method, path, _ = self.writes[name]
            self.writes[name] = (method, path, status)

    def complain(self, text):
        with self.lock:
            self.complaints.append(text)


class Refused(Exception):
    """An answer that nobody expected."""


def quote(text):
    return urllib.parse.quote(str(text), safe="-_.~")


class Caller:
    def __init__(self, address, keys, ledger):
        self.address, self.keys, self.ledger = address, keys, ledger
        self.connection = None
        self.headers = {}

    def close(self):
        if self.connection:
            self.connection.close()
        self.connection = None

    def authorization(self, method, path, query, signed, body_hash):
        names = ";".join(sorted(signed))
        lines = "".join(f"{name}:{signed[name]}\n" for name in sorted(signed))
        canonical = "\n".join([method, path.rstrip("/") + "/", query, lines, names, body_hash])
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        text = f"SDK-HMAC-SHA256\n{signed['x-sdk-date']}\n{digest}"
        key = self.keys["secret_key"].encode()
        signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
        access = self.keys["access_key"]
        return f"SDK-HMAC-SHA256 Access={access}, SignedHeaders={names}, Signature={signature}"

    def signed_headers(self, method, path, query, data, content_type):
        now = datetime.datetime.now(datetime.timezone.utc)
        signed = {
            "content-type": content_type,
            "host": "%s:%d" % self.address,
            "x-sdk-date": now.strftime("%Y%m%dT%H%M%SZ"),
        }
        body_hash = hashlib.sha256(data).hexdigest()
        if content_type.startswith("multipart/"):
            body_hash = signed["x-sdk-content-sha256"] = "UNSIGNED-PAYLOAD"
        return signed | {
            "authorization": self.authorization(method, path, query, signed, body_hash)
        }

    def call(
        self, method, path, body=None, query=None, want=None, kind="application/json", headers=None
    ):
        """(status, parsed JSON). Raises Cut, and Refused for a status that is not in `want`."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode() if body else b""
        query = "&".join(f"{quote(k)}={quote(v)}" for k, v in sorted((query or {}).items()))
        whole = self.signed_headers(method, path, query, data, kind) | (headers or {})
        reads = method == "GET" or path.endswith(READING_POSTS)
        name = None if reads else self.ledger.sent(method, path)
        if name:
            whole["x-request-id"] = name
        try:
            if self.connection is None:
                self.connection = http.client.HTTPConnection(*self.address, timeout=ANSWER_S)
            target = f"{path}?{query}" if query else path
            self.connection.request(method, target, body=data, headers=whole)
            response = self.connection.getresponse()
            raw = response.read()
            self.headers = response.headers
        except TimeoutError as error:
            raise Refused(f"{method} {path}: no answer within {ANSWER_S} s") from error
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise Cut(f"{method} {path}") from error
        if name:
            self.ledger.answered(name, response.status)
        if want and response.status not in want:
            raise Refused(f"{method} {path} {query}: {response.status} {raw.decode()[:300]}")
        is_json = raw and "json" in response.headers.get("content-type", "")
        return response.status, json.loads(raw) if is_json else raw

    def get(self, path, want=(200,), **query):
        return self.call("GET", path, query=query, want=want)

    def pages(self, path, rows, method="GET", body=None, **query):
        """(all rows of a list, its count as the first page tells it)"""
        found, count = [], None
        while True:
            page = self.call(method, path, body, query | {"limit": 50}, want=(200,))[1]
            count = page["page"]["count"] if count is None else count
            found += page[rows]
            if len(page[rows]) < 50:
                return found, count
            query["marker"] = page["page"]["marker"]

    def count(self, condition):
        sql = f"select count(*) from device where {condition}"
        path = f"{V5}/search/query-devices"
        return self.call("POST", path, {"sql": sql}, want=(200,))[1]["count"]

    def events(self, last, field, value, seconds=30):
        """(name, body) of every event that is kept, until `last` with this value in this field."""
        connection = http.client.HTTPConnection(*self.address, timeout=seconds)
        headers = {"X-Auth-Token": self.keys["token"]}
        connection.request("GET", "/v1/events?from=0", headers=headers)
        response, name = connection.getresponse(), ""
        for line in response:
            line = line.decode().rstrip("\n")
            if line.startswith("event:"):
                name = line[6:].strip()
            elif line.startswith("data:"):
                body = json.loads(line[5:])["notify_data"]["body"]
                yield name, body
                if name == last and body[field] == value:
                    connection.close()
                    return
        raise Refused("the stream of events ended")
