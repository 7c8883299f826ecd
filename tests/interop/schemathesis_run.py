#!/usr/bin/env python3
"""schemathesis (PyPI) against a running server and its own OpenAPI document, with all checks.

Installs schemathesis into target/interop when it is not there. Seeds what the document's examples
speak of, then runs the phases examples, coverage and fuzzing with a fixed seed. What is not checked,
and why, is in schemathesis.toml and schemathesis_hooks.py beside this. Run it from anywhere:
    tests/interop/schemathesis_run.py [--no-auth] [--max-examples N] [--seed N] [ARGUMENT OF run...]
"""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
VERSION = "4.32.5"
VENV = ROOT / "target" / "interop" / f"schemathesis-{VERSION}"

sys.path.append(str(HERE))
import server as strait  # noqa: E402


def install():
    tool = VENV / "bin" / "schemathesis"
    if not tool.is_file():
        subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True)
        pip = [str(VENV / "bin" / "pip"), "install", "-q", "--disable-pip-version-check"]
        subprocess.run([*pip, f"schemathesis=={VERSION}"], check=True, stdin=subprocess.DEVNULL)
    return str(tool)


def seed(server):
    """The product, codec and device of the examples: their own requests."""
    paths = server.rest("GET", "/openapi.json", want=[200])[1]["paths"]
    for path, method in [
        ("/v5/iot/{project_id}/products", "post"),
        ("/v1/products/{product_id}/codec", "put"),
        ("/v5/iot/{project_id}/devices", "post"),
    ]:
        operation = paths[path][method]
        for parameter in operation["parameters"]:
            path = path.replace("{%s}" % parameter["name"], str(parameter.get("example")))
        media, content = next(iter(operation["requestBody"]["content"].items()))
        example = content["example"]
        body = example.encode() if isinstance(example, str) else example
        server.rest(method.upper(), path, body, media, want=[200, 201])


def main():
    parser = argparse.ArgumentParser(description="schemathesis against a server of its own")
    parser.add_argument("--max-examples", default="12")
    parser.add_argument("--seed", default="20260301")
    parser.add_argument("--no-auth", action="store_true", help="nobody has to say who he is")
    args, others = parser.parse_known_args()
    tool = install()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        data = pathlib.Path(folder) / "data"
        log = pathlib.Path(folder) / "log"
        with strait.Server(data, log=log, authenticated=not args.no_auth) as server:
            seed(server)
            address = "http://%s:%d/openapi.json" % server.http
            command = [tool, "--config-file", str(HERE / "schemathesis.toml"), "run", address]
            command += ["--phases", "examples,coverage,fuzzing", "--continue-on-failure"]
            command += ["--max-examples", args.max_examples, "--seed", args.seed]
            # A product model takes long to make up on a busy machine, which is no fault of the server.
            command += ["--suppress-health-check", "too_slow"]
            command += ["--generation-database", "none", *others]
            if args.no_auth:
                command += ["--exclude-checks", "ignored_auth"]
            else:
                command += ["--header", f"X-Auth-Token: {server.keys['token']}"]
            hooks = {"SCHEMATHESIS_HOOKS": "schemathesis_hooks", "PYTHONPATH": str(HERE)}
            # It leaves a cache in its working directory.
            code = subprocess.run(command, cwd=folder, env=os.environ | hooks).returncode
            server.rest("GET", "/healthz", want=[200])
    print(f"schemathesis: exit {code} after {time.monotonic() - began:.0f} s")
    return code


if __name__ == "__main__":
    sys.exit(main())
