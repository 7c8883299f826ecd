#!/usr/bin/env bash
# What the scripts with foreign DTLS clients need: installs libcoap's (Debian: libcoap3-bin), OpenSSL
# and Python where they are absent, and builds the device on pion/dtls into target/interop/dtls_cid.
# Go, of which dtls_cid/go.mod says the version, must be there; its modules come from the proxy.
set -euo pipefail
cd "$(dirname "$0")/../.."

missing=()
command -v coap-client-openssl >/dev/null && command -v coap-client-gnutls >/dev/null ||
    missing+=(libcoap3-bin)
command -v openssl >/dev/null || missing+=(openssl)
command -v python3 >/dev/null || missing+=(python3)
if [ ${#missing[@]} -gt 0 ]; then
    sudo=$([ "$(id -u)" = 0 ] || echo sudo)
    $sudo apt-get update -qq
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${missing[@]}"
fi

source=tests/interop/dtls_cid
command -v go >/dev/null || {
    echo "dtls: Go $(sed -n 's/^go //p' "$source/go.mod") or later is needed (https://go.dev/dl)" >&2
    exit 1
}
mkdir -p target/interop
client=$PWD/target/interop/dtls_cid
(cd "$source" && timeout 120 env GOFLAGS=-mod=readonly go build -buildvcs=false -o "$client" .) || {
    echo "dtls: building $source failed" >&2
    exit 1
}
