#!/usr/bin/env bash
# The v5 API through Huawei's official Python SDK (PyPI, version below), unchanged, against a server
# with authentication (which binary: server.py): every operation signed, signed with a derived key,
# and with a token. Installs the SDK into target/interop; then sdk_run.py does it.
#
# usage: tests/interop/sdk.sh [--way signed|derived|token] [SCENE...]
#   default: all three ways, all scenes; a scene is named as in sdk_run.py's output, or its module
set -euo pipefail
cd "$(dirname "$0")/../.."

version=3.1.219
venv=$PWD/target/interop/sdk-$version
if ! [ -e "$venv/ready" ]; then
    rm -rf "$venv"
    mkdir -p target/interop
    python3 -m venv "$venv" || {
        echo "sdk: Python's venv is needed (Debian: python3-venv)" >&2
        exit 1
    }
    "$venv/bin/python" -m pip install -q --disable-pip-version-check \
        "huaweicloudsdkiotda==$version" "huaweicloudsdkcore==$version" openpyxl==3.1.5
    touch "$venv/ready"
fi
# Where the docs' examples find the same SDK.
[ "${1:-}" != --install-only ] || { echo "$venv/bin/python"; exit 0; }
exec timeout 900 "$venv/bin/python" tests/interop/sdk_run.py "$@"
