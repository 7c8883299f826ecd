#!/usr/bin/env bash
# DTLS clients that are not ours: libcoap's on OpenSSL and on GnuTLS, `openssl s_client`, and pion/dtls
# from the Go module proxy (its versions are in dtls_cid/go.sum). dtls_tools.sh installs and builds
# what is absent; then dtls_clients.py does it.
set -euo pipefail
cd "$(dirname "$0")/../.."

tests/interop/dtls_tools.sh
exec timeout 170 python3 tests/interop/dtls_clients.py "$@"
