#!/usr/bin/env python3
"""Runs the scenes of sdk_*.py against a fresh server for each way of proving who asks.

    tests/interop/sdk.sh [--way signed|derived|token] [SCENE...]     default: all of all

Tells every failure at the end (way and scene, operation, field, got, wanted); then exit code 1.
"""

import argparse
import os
import pathlib
import sys
import tempfile
import time
import traceback

# The SDK keeps a file in the home directory, and would ask proxies for loopback.
HOME = tempfile.TemporaryDirectory()
os.environ |= {"HOME": HOME.name, "NO_PROXY": "*", "no_proxy": "*"}
sys.path.insert(0, str(pathlib.Path(__file__).parent))

import huaweicloudsdkiotda.v5.model as sdk_models  # noqa: E402

import sdk_apps  # noqa: E402
import sdk_auth  # noqa: E402
import sdk_batch  # noqa: E402
import sdk_campaigns  # noqa: E402
import sdk_commands  # noqa: E402
import sdk_devices  # noqa: E402
import sdk_files  # noqa: E402
import sdk_groups  # noqa: E402
import sdk_packages  # noqa: E402
import sdk_paging  # noqa: E402
import sdk_products  # noqa: E402
import sdk_rules  # noqa: E402
import sdk_search  # noqa: E402
import sdk_shadow  # noqa: E402
import sdk_shape  # noqa: E402
import sdk_upgrades  # noqa: E402
from sdk_bench import WAYS, Bench, SceneOver, Tally  # noqa: E402
from sdk_fields import ANSWERS  # noqa: E402

MODULES = [
    sdk_commands,
    sdk_products,
    sdk_devices,
    sdk_shadow,
    sdk_search,
    sdk_groups,
    sdk_batch,
    sdk_files,
    sdk_packages,
    sdk_upgrades,
    sdk_campaigns,
    sdk_apps,
    sdk_rules,
    sdk_paging,
    sdk_auth,
]


def check_table(tally):
    """The table of fields and the SDK's classes list the same."""
    tally.place = "table"
    for operation, (_, model) in ANSWERS.items():
        words = "".join(word.title() for word in operation.split("_"))
        sdk_class = getattr(sdk_models, f"{words}Response")
        if model:
            wrong = list(sdk_shape.unlike_the_sdk(model, sdk_class))
            tally.check(operation, "fields of the table", wrong, [])
    for model in sdk_shape.FIELDS:
        if hasattr(sdk_models, model):
            wrong = list(sdk_shape.unlike_the_sdk(model, getattr(sdk_models, model)))
            tally.check(model, "fields of the table", wrong, [])


def chosen_scenes(names):
    scenes = []
    for module in MODULES:
        feature = module.__name__.removeprefix("sdk_")
        for scene in module.SCENES:
            name = f"{feature}.{scene.__name__}"
            if not names or {feature, name} & set(names):
                scenes.append((name, scene))
    if any(scene is sdk_commands.silence_begins for _, scene in scenes):
        # What was begun first ends last: it waits for minutes meanwhile.
        scenes.append(("commands.silence_ends", sdk_commands.silence_ends))
    return scenes


def run_way(way, scenes, tally):
    with tempfile.TemporaryDirectory() as work:
        tally.place, known = way, len(tally.failures)
        bench = Bench(pathlib.Path(work), way, tally)
        with bench.server:
            for name, scene in scenes:
                tally.place = f"{way}, {name}"
                before, failed, begun = tally.count, len(tally.failures), time.monotonic()
                try:
                    scene(bench)
                except SceneOver:
                    pass
                except Exception:  # noqa: BLE001: a broken scene is a failure, not the end
                    tally.check(name, "scene", traceback.format_exc(limit=-3), "goes to its end")
                failed, took = len(tally.failures) - failed, time.monotonic() - begun
                word = f"{failed} FAILED of" if failed else "ok:"
                # A scene about signatures has nothing to check with a token.
                if checks := tally.count - before:
                    print(f"{way} {name}: {word} {checks} checks, {took:.1f} s", flush=True)
            code = bench.server.process.poll()
            tally.check("server", "exit code while it serves", code, None)
            if len(tally.failures) > known:
                lines = bench.log.read_text(errors="replace").splitlines()[-15:]
                print("the server's last words:", *lines, sep="\n  ")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--way", choices=WAYS, action="append")
    parser.add_argument("scenes", nargs="*")
    options = parser.parse_args()
    scenes = chosen_scenes(options.scenes)
    if not scenes:
        names = ", ".join(name for name, _ in chosen_scenes([]))
        sys.exit(f"no scene {' '.join(options.scenes)}, takes: {names}")
    tally = Tally()
    check_table(tally)
    for way in options.way or WAYS:
        run_way(way, scenes, tally)
    tally.report()
    sys.exit(1 if tally.failures else 0)


if __name__ == "__main__":
    main()
