#!/usr/bin/env bash
# libcoap's client (Debian: libcoap3-bin) registers a raw device at /t/r, posts bytes to /t/d, and
# the decoded properties stand in the device's shadow.
set -euo pipefail
cd "$(dirname "$0")/../.."

client=coap-client-notls
if ! command -v "$client" >/dev/null; then
    sudo=$([ "$(id -u)" = 0 ] || echo sudo)
    $sudo apt-get update -qq
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq libcoap3-bin
fi
command -v curl >/dev/null || { echo "curl is needed" >&2; exit 1; }

strait=${STRAIT:-}
for path in target/release/strait target/debug/strait; do
    [ -n "$strait" ] || { [ -x "$path" ] && strait=$path; } || true
done
[ -n "$strait" ] || { echo "no server binary: run cargo build --release" >&2; exit 1; }

work=$(mktemp -d)
server=
finish() {
    [ -z "$server" ] || kill "$server" 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT

fail() {
    echo "libcoap: $*" >&2
    tail -20 "$work/log" >&2 || true
    exit 1
}

STRAIT_LIMITS__DEVICE_PER_S=0 "$strait" serve --no-auth --data "$work/data" --http 127.0.0.1:0 --coap 127.0.0.1:0 --coaps off \
    >"$work/ready" 2>"$work/log" </dev/null &
server=$!
for _ in $(seq 600); do
    grep -q '^ready ' "$work/ready" && break
    kill -0 "$server" 2>/dev/null || fail "the server ended before it was ready"
    sleep 0.1
done
http=$(sed -n 's/^ready http=\([^ ]*\) .*/\1/p' "$work/ready")
coap=$(sed -n 's/^ready .* coap=\([^ ]*\) .*/\1/p' "$work/ready")
[ -n "$http" ] && [ -n "$coap" ] || fail "no ready line: $(cat "$work/ready")"

# One field of a JSON document on stdin, by Python path expression.
field() { python3 -c "import json,sys; print(json.load(sys.stdin)$1)"; }

request() { curl -sS --fail-with-body -X "$1" "http://$http$2" "${@:3}"; }

cat >"$work/model.json" <<'JSON'
{"name": "counter", "device_type": "Counter", "protocol_type": "CoAP", "data_format": "binary",
 "service_capabilities": [{"service_id": "Counter", "service_type": "Counter", "properties": [
   {"property_name": "value", "data_type": "long", "required": true,
    "min": "0", "max": "4294967295", "method": "R"}]}]}
JSON
cat >"$work/codec.toml" <<'TOML'
codec = { name = "counter", endian = "be", id = { at = 0, type = "u8" } }

[[message]]
id = 1
name = "count"
dir = "up"
service = "Counter"
fields = [ { n = "value", t = "u32" } ]
TOML

json='Content-Type: application/json'
product=$(request POST /v5/iot/p/products -H "$json" --data-binary "@$work/model.json" |
    field '["product_id"]') || fail "creating the product"
request PUT "/v1/products/$product/codec" -H 'Content-Type: application/toml' \
    --data-binary "@$work/codec.toml" >/dev/null || fail "uploading the codec"
node=867725038317248
device=$(request POST /v5/iot/p/devices -H "$json" \
    --data "{\"node_id\": \"$node\", \"product_id\": \"$product\"}" |
    field '["device_id"]') || fail "creating the device"

# One port for both requests: without an ep query the address says whose report it is.
port=$(python3 -c 'import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
coap() { "$client" -p "$port" -B 10 "$@" 2>&1; }

# The client prints the code only of errors.
answer=$(coap -m post "coap://$coap/t/r?ep=$node&lt=600") || fail "registering: $answer"
case $answer in *4.0*|*5.0*) fail "registering was answered $answer" ;; esac

reported() {
    request GET "/v5/iot/p/devices/$device/shadow" |
        field '["shadow"][0]["reported"]["properties"]["value"]' 2>/dev/null || true
}

printf '\001\000\000\022\064' >"$work/payload"
answer=$(coap -m post -t 42 -f "$work/payload" "coap://$coap/t/d") || fail "posting: $answer"
case $answer in *4.0*|*5.0*) fail "the post was answered $answer" ;; esac
got=$(reported)
[ "$got" = 4660 ] || fail "the shadow says '$got', expected 4660"

# From elsewhere with the ep query: the same device.
printf '\001\000\000\000\007' >"$work/payload"
answer=$("$client" -B 10 -m post -t 42 -f "$work/payload" "coap://$coap/t/d?ep=$node" 2>&1) ||
    fail "posting with ep: $answer"
got=$(reported)
[ "$got" = 7 ] || fail "the shadow says '$got', expected 7"

# A stranger is refused.
answer=$("$client" -B 10 -m post "coap://$coap/t/r?ep=stranger" 2>&1 || true)
case $answer in *4.03*) ;; *) fail "a stranger's registration was answered '$answer'" ;; esac

kill -TERM "$server"
wait "$server" || fail "the server ended with $? after SIGTERM"
server=
echo "libcoap: registered, two reports decoded, a stranger refused"
