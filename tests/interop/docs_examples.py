#!/usr/bin/env python3
"""Runs the examples of docs/api.md word for word, in order, against a fresh server on free ports.

    tests/interop/docs_examples.py [--self-test] [DOCUMENT...]     default: docs/api.md

Every ```sh block runs in bash with `set -eo pipefail`, in a fresh directory whose `data` is the
server's; variables and functions last from block to block, what runs in the background does not,
and `strait` is in the path. Every ```python block runs with the official SDK, in one interpreter
with the names of the blocks before and the environment of the shell. A block must exit with 0, and
nothing that curl fetched may be an error. Only this is not taken word for word: in lines that begin
with `export STRAIT=`, `export COAP=` or `export COAPS=` the default address becomes the one in use;
elsewhere a default address is a mistake. Before a block may stand `<!-- not run: reason -->`, or
`<!-- shows an error -->`: then an error must be among what was fetched.
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import server as strait  # noqa: E402

BLOCK_S = 120
DEFAULTS = {"STRAIT": "127.0.0.1:8080", "COAP": "127.0.0.1:5683", "COAPS": "127.0.0.1:5684"}
FENCE = re.compile(r"^ {0,3}```(.*)$")
MARK = re.compile(r"^<!--\s*(not run: \S.*?|shows an error)\s*-->$")
# As the server writes an error, and as programs that indent JSON do.
ERROR_BODY = re.compile(r'^\s*\{\s*"error_code"', re.MULTILINE)

# Keeps what curl fetches also where a block catches it in a variable.
CURL = """#!/usr/bin/env bash
set -o pipefail
{curl} "$@" | tee -a "$DOCS_FETCHED"
code=$?
echo >>"$DOCS_FETCHED"
exit $code
"""
SHELL = """set -eo pipefail
if [ -e "{state}/env" ]; then . "{state}/env"; cd "$(cat "{state}/cwd")"; fi
set -a
. "{state}/block"
set +a
{{ export -p; declare -f; }} >"{state}/env"
pwd >"{state}/cwd"
"""
# Runs blocks of Python one after another in one namespace; says on its own pipe how each ended.
PYTHON = """
import json, os, sys, traceback
reply, names = os.fdopen(os.dup(1), "w"), {"__name__": "__main__"}
for line in sys.stdin:
    block = json.loads(line)
    os.environ.clear()
    os.environ.update(block["env"])
    out = os.open(block["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(out, 1), os.dup2(out, 2), os.close(out)
    code = 0
    try:
        exec(compile(block["text"], block["name"], "exec"), names)
    except BaseException as error:
        code = error.code or 0 if isinstance(error, SystemExit) else 1
        if code:
            traceback.print_exc()
    sys.stdout.flush(), sys.stderr.flush()
    print(json.dumps(code if isinstance(code, int) else 1), file=reply, flush=True)
"""


class Block:
    """An example: its language, text, first line and mark."""

    def __init__(self, language, line, mark):
        self.language, self.line, self.mark = language, line, mark
        self.lines = []

    @property
    def text(self):
        return "\n".join(self.lines) + "\n"


def blocks_of(document):
    """The sh and python blocks of a document, and the mistakes of its marks."""
    blocks, mistakes, mark, current = [], [], None, None
    for number, line in enumerate(document.splitlines(), 1):
        fence = FENCE.match(line)
        if current and fence and not fence[1].strip():
            blocks.append(current)
            current = None
        elif current:
            current.lines.append(line)
        elif fence:
            language = fence[1].strip().split(" ")[0]
            if mark and language not in ("sh", "python"):
                mistakes.append(f"line {number}: a mark before a block that is not run anyway")
            current, mark = Block(language, number + 1, mark), None
        elif line.startswith("<!--"):
            found = MARK.match(line.strip())
            if found:
                mark = found[1]
            elif "not run" in line or "shows" in line:
                mistakes.append(f"line {number}: no such mark: {line.strip()}")
        elif line.strip():
            if mark:
                mistakes.append(f"line {number}: a mark with no block behind it")
            mark = None
    if current:
        mistakes.append(f"line {current.line}: a block without an end")
    return [block for block in blocks if block.language in ("sh", "python")], mistakes


class Session:
    """A server, a directory, a shell's state and an interpreter for one document."""

    def __init__(self, work):
        self.work = pathlib.Path(work)
        self.home, self.state = self.work / "home", self.work / "state"
        self.fetched, self.bin = self.state / "fetched", self.state / "bin"
        for folder in (self.home, self.state, self.bin):
            folder.mkdir()
        self.server = strait.Server(
            self.home / "data", log=self.state / "log", coaps="127.0.0.1:0", authenticated=True
        )
        curl = shutil.which("curl") or sys.exit("curl is needed")
        (self.bin / "curl").write_text(CURL.format(curl=curl))
        (self.bin / "curl").chmod(0o755)
        (self.bin / "strait").symlink_to(strait.binary())
        self.env = os.environ | {
            "PATH": f"{self.bin}:{os.environ['PATH']}",
            "HOME": str(self.home),
            "DOCS_FETCHED": str(self.fetched),
            "NO_PROXY": "*",
            "no_proxy": "*",
        }
        # Settings of whoever runs this are none of the examples'.
        for name in [name for name in self.env if name.startswith("STRAIT")]:
            del self.env[name]
        self.python = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.python:
            self.python.stdin.close()
            self.python.kill()
            self.python.wait()
            self.python.stdout.close()
        self.server.kill()

    def address(self, name):
        ports = {"STRAIT": self.server.http, "COAP": self.server.coap, "COAPS": self.server.coaps}
        return "{}:{}".format(*ports[name])

    def placed(self, text):
        """The block with the addresses in use, and the default addresses that stand elsewhere."""
        lines, mistakes = [], []
        for line in text.splitlines():
            exported = re.match(r"export (\w+)=", line)
            default = DEFAULTS.get(exported[1]) if exported else None
            if default:
                line = line.replace(default, self.address(exported[1]))
            mistakes += [f"{d} stands in it" for d in DEFAULTS.values() if d in line]
            lines.append(line)
        return "\n".join(lines) + "\n", mistakes

    def run(self, block, name):
        """What is wrong with the block, and what it printed."""
        text, mistakes = self.placed(block.text)
        if mistakes:
            return mistakes + ["take the variable of the `export` line"], ""
        self.fetched.write_text("")
        output = self.state / "output"
        output.write_text("")
        run = self._run_shell if block.language == "sh" else self._run_python
        code = run(text, name, output)
        printed = output.read_text(errors="replace")
        fetched = self.fetched.read_text(errors="replace")
        has_error = ERROR_BODY.search(printed) or ERROR_BODY.search(fetched)
        if code is None:
            mistakes.append(f"not done in {BLOCK_S} s")
        elif code:
            mistakes.append(f"exit code {code}")
        if has_error and block.mark != "shows an error":
            mistakes.append("an error was answered")
        if block.mark == "shows an error" and not has_error:
            mistakes.append("no error was answered, and the mark says there is one")
        return mistakes, printed + ("\nfetched:\n" + fetched if has_error else "")

    def _run_shell(self, text, name, output):
        (self.state / "block").write_text(text)
        script = SHELL.format(state=self.state)
        with open(output, "ab") as file:
            process = subprocess.Popen(
                ["bash", "-c", script, name],
                cwd=self.home,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
            try:
                return process.wait(BLOCK_S)
            except subprocess.TimeoutExpired:
                return None
            finally:
                # With all that it left in the background.
                try:
                    os.killpg(process.pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
                process.wait()

    def _shell_env(self):
        if not (self.state / "env").exists():
            return self.env
        script = f'. "{self.state}/env"; exec env -0'
        done = subprocess.run(["bash", "-c", script], env=self.env, capture_output=True, check=True)
        pairs = done.stdout.decode(errors="replace").split("\0")
        return dict(pair.split("=", 1) for pair in pairs if "=" in pair)

    def _run_python(self, text, name, output):
        if not self.python:
            self.python = subprocess.Popen(
                [sdk_python(), "-c", PYTHON],
                cwd=self.home,
                env=self.env,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        block = {"text": text, "name": name, "output": str(output), "env": self._shell_env()}
        print(json.dumps(block), file=self.python.stdin, flush=True)
        signal.signal(signal.SIGALRM, lambda *_: self.python.kill())
        signal.alarm(BLOCK_S)
        try:
            answer = self.python.stdout.readline()
        finally:
            signal.alarm(0)
        if answer:
            return json.loads(answer)
        self.python.wait()
        self.python.stdin.close()
        self.python.stdout.close()
        self.python = None
        return None


def sdk_python():
    """The interpreter that has the SDK."""
    script = pathlib.Path(__file__).with_name("sdk.sh")
    done = subprocess.run([str(script), "--install-only"], stdout=subprocess.PIPE, check=True)
    return done.stdout.decode().strip()


def run_document(name, document, quiet=False):
    """Runs all blocks of a document; gives the failures as texts, and how many ran."""
    blocks, failures = blocks_of(document)
    failures = [f"{name}, {mistake}" for mistake in failures]
    shell = "".join(block.text for block in blocks if block.language == "sh")
    if len(re.findall(r"^export STRAIT=", shell, re.MULTILINE)) != 1:
        failures.append(f"{name}: takes one line `export STRAIT=http://{DEFAULTS['STRAIT']}`")
    ran = 0
    with tempfile.TemporaryDirectory() as work, Session(work) as session:
        for block in blocks:
            place = f"{name}:{block.line}"
            if block.mark and block.mark.startswith("not run"):
                if not quiet:
                    print(f"{place}: {block.mark}")
                continue
            ran += 1
            mistakes, printed = session.run(block, place)
            if mistakes:
                text = "\n".join(f"    {line}" for line in block.lines)
                printed = "\n".join(f"    {line}" for line in printed.strip().splitlines()[-40:])
                told = "; ".join(mistakes)
                failures.append(f"{place}, {block.language}: {told}\n{text}\n  printed:\n{printed}")
    return failures, ran


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--self-test", action="store_true", help="try this script on samples first")
    parser.add_argument("documents", nargs="*", type=pathlib.Path)
    options = parser.parse_args()
    if options.self_test:
        import docs_samples

        docs_samples.check(run_document)
        if not options.documents:
            return
    failed = False
    for path in options.documents or [strait.ROOT / "docs" / "api.md"]:
        failures, ran = run_document(path.name, path.read_text())
        for failure in failures:
            print(f"FAILED {failure}")
        failed = failed or bool(failures) or not ran
        print(f"docs: {path.name}: {ran} examples ran, {len(failures)} failures")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
