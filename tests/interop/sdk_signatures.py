"""Prints fixtures/api/signatures.json: requests as the official SDK signs and sends them.

The SDK's own signer makes the signature, and `requests` the target that would go over the wire.
Needs huaweicloudsdkcore. Sends nothing.
"""

import json
from urllib.parse import quote

import requests
from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkcore.sdk_request import SdkRequest

ACCESS_KEY = "QTWAOYTTINDUT2QVKYUC"
SECRET_KEY = "MFyfvK41ba2giqM7Uio6PznpdUKGpownRZlmVmHc"
HOST = "iot.example.com:8080"
DATE = "20260301T120000Z"
JSON = "application/json"


def row(name, method, path, query=(), body="", media=JSON, region=None, date=DATE, extra=None,
        sts=None):
    """`path`: as the client builds it, values already quoted."""
    credentials = BasicCredentials(ACCESS_KEY, SECRET_KEY, "p1")
    if sts:
        credentials.with_security_token(sts)
    if region:
        credentials._derived_auth_service_name = "iotdm"
        credentials._region_id = region
        credentials._derived_predicate = lambda request: True
    headers = {"User-Agent": "huaweicloud-usdk-python/3.0", "X-Project-Id": "p1", "X-Sdk-Date": date}
    if media:
        headers["Content-Type"] = media
    headers.update(extra or {})
    request = SdkRequest(
        method=method,
        schema="http",
        host=HOST,
        resource_path=path,
        query_params=list(query),
        header_params=headers,
        body=body,
    )
    signed = credentials.sign_request(request)
    sent = requests.Request(method, signed.url, headers=signed.header_params, data=body).prepare()
    return {
        "name": name,
        "method": sent.method,
        "target": sent.path_url,
        # Text goes over the wire as UTF-8. What the client library adds is not signed.
        "headers": {k: v.encode("latin-1").decode() for k, v in signed.header_params.items()},
        "body": body,
    }


def rows():
    devices = "/v5/iot/p1/devices"
    one = "/v5/iot/p1/devices/{}"

    def at(value):
        return one.format(quote(value, safe=""))

    query = [("product_id", "p 1"), ("node_id", "a+b"), ("empty", ""), ("tilde", "~x-._"),
             ("slash", "a/b?c=d&e"), ("name", "水表"), ("limit", 10), ("is_cascade", True)]
    for region in (None, "cn-north-4"):
        kind = "derived" if region else "plain"
        yield row(f"{kind}: no query", "GET", devices, region=region)
        yield row(f"{kind}: query", "GET", devices, query, region=region)
        yield row(f"{kind}: repeated key", "GET", devices, [("tag", "b"), ("tag", "a"), ("a", "z")],
                  region=region)
        yield row(f"{kind}: list", "GET", devices, [("tags", ["y", "x", "a b"])], region=region)
        yield row(f"{kind}: body", "POST", devices, body='{"node_id": "水"}', region=region,
                  media="application/json;charset=utf-8")
        yield row(f"{kind}: instance", "GET", at("d1"), extra={"Instance-Id": "i-1"}, region=region)
        yield row(f"{kind}: security token", "DELETE", at("d1"), sts="gQpjbi1u+/==", region=region)
        yield row(f"{kind}: form", "POST", "/v5/iot/p1/batchtask-files", body="--x\r\n\r\n--x--",
                  media="multipart/form-data; boundary=x", region=region)
        yield row(f"{kind}: no media type", "GET", at("d1"), media=None, region=region)
    values = ["a b", "a+b", "a%b", "a~b", "a/b", "a%2Fb", "水", "a:b@c", "a;b,c=d", "(a)*'!", "..a", "a."]
    for value in values:
        yield row(f"path: {value}", "GET", at(value))
    yield row("path: slash at its end", "GET", devices + "/")
    yield row("method: lower case", "put", at("d1"), body="{}")
    yield row("header: blanks", "GET", at("d1"), extra={"X-Note": "  a  b\t"})
    yield row("header: beyond ASCII", "GET", at("d1"), extra={"X-Note": "é水"})
    yield row("header: underscore is not signed", "GET", at("d1"), extra={"x_note": "a"})
    yield row("header: own host", "GET", at("d1"), extra={"host": "Other.Example"})
    yield row("empty form", "POST", "/v5/iot/p1/batchtask-files", media="text/csv")
    yield row("hash given", "POST", devices, body="{}", extra={"X-Sdk-Content-Sha256":
              "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"})
    yield row("another second", "GET", at("d1"), date="20260301T115959Z", region="r")


print(json.dumps({
    "access_key": ACCESS_KEY,
    "secret_key": SECRET_KEY,
    "rows": list(rows()),
}, indent=1, ensure_ascii=False))
