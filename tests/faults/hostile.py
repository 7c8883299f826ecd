#!/usr/bin/env python3
"""Broken datagrams by the million: the server goes on serving and its memory stays where it was.

    tests/faults/hostile.py [--datagrams 1000000] [--seed N] [--growth-mb 16]

The first tenth warms the server up (its bounded tables fill); memory is compared from there.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "interop"))

import server as strait  # noqa: E402


def attack(server, datagrams, seed):
    command = [strait.binary(), "load", "--workload", "hostile", "--json", "--prefix", "victim"]
    command += ["--server", "%s:%d" % server.coap, "--seed", str(seed)]
    command += ["--datagrams", str(datagrams)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False)
    if done.returncode != 0:
        raise SystemExit(f"hostile: the server stopped serving (seed {seed})")
    return json.loads(done.stdout)


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--datagrams", type=int, default=1_000_000)
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--growth-mb", type=float, default=16)
    arguments = arguments.parse_args()
    with tempfile.TemporaryDirectory() as work, strait.Server(f"{work}/data") as server:
        product = server.create_custom(strait.COUNTER_MODEL, strait.COUNTER_CODEC)
        # Known to the server, so that some of it gets past the first check.
        server.create_device(product, f"victim{0:010}")
        attack(server, max(arguments.datagrams // 10, 1), arguments.seed + 1)
        before = server.rss_kb()
        report = attack(server, arguments.datagrams, arguments.seed)
        after = server.rss_kb()
        server.rest("GET", "/healthz", want=[200, 204])
    rate = report["datagrams"] / max(report["elapsed_s"], 1e-9)
    print(
        f"hostile: {report['datagrams']} broken datagrams at {rate:.0f}/s, "
        f"{report['answers']} answers, {report['pongs']} pongs; "
        f"RSS {before / 1024:.1f} MB -> {after / 1024:.1f} MB"
    )
    if after - before > arguments.growth_mb * 1024:
        sys.exit(f"hostile: memory grew by more than {arguments.growth_mb} MB")


if __name__ == "__main__":
    main()
