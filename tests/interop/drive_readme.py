#!/usr/bin/env python3
"""Does what README.md says from nothing to a guarded Kestra, as it is written there, and compares what is printed.

`readme-kestra` calls this. The commands are the `sh` blocks of that section, and the first lines of its `console`
blocks after `$ `, above the output that they must have. One shell runs all of them: the first block in the repository,
the others in an empty folder. In the place of Kestra, at the address that the section names, is
servers/kestra_api.py, which says in the end what got through to it.
"""

import argparse
import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from drive import HERE, START_SECONDS, Failure, end_children_on_signals

ROOT = HERE.parent.parent
HEADING = "From nothing to a guarded Kestra"
# Most of it is for the compiler.
WHOLE_SECONDS = 3600
READY = "listening on "
# What the commands make of an agent's three calls.
ASKED = ["POST /api/v1/main/executions/shop/nightly"]


class Block:
    """One block of the section, and the files in which the shell finds and leaves what belongs to it."""

    def __init__(self, number: int, language: str, text: str, logs: Path) -> None:
        if language not in ("sh", "console"):
            raise Failure(f"a block of the section is `{language}`, which nobody runs:\n{text}")
        self.expected = None
        self.command = text
        if language == "console":
            first, _, expected = text.partition("\n")
            if not first.startswith("$ ") or "\n$ " in text:
                raise Failure(f"a `console` block is one command after `$ `, and its output:\n{text}")
            self.command, self.expected = first.removeprefix("$ ") + "\n", expected
        self.script = logs / f"{number}.sh"
        self.script.write_text(self.command, encoding="utf-8")
        self.printed = self.script.with_suffix(".out")
        self.errors = self.script.with_suffix(".err")
        # Holds the seconds that it took, and is there once it is done.
        self.done = self.script.with_suffix(".seconds")

    def lines(self) -> str:
        """For the shell that does one block after another, and ends when a command fails."""
        script, printed, errors, done = (
            shlex.quote(str(path)) for path in (self.script, self.printed, self.errors, self.done)
        )
        run = f"source {script} >{printed} 2>{errors}"
        if self.expected is not None:
            # What is refused ends with an error, and has to say what is written there.
            run += " || true"
        if self.command.rstrip().endswith("&"):
            run += f"\nuntil grep -q {shlex.quote(READY)} {errors}; do kill -0 $!; sleep 0.2; done"
        return f"SECONDS=0\n{run}\necho $SECONDS >{done}\n"

    def problem(self) -> str:
        """What is wrong with what it did, if anything."""
        title = self.command.strip()
        if not self.done.exists():
            # Whatever comes after what failed was not begun.
            how = "failed" if self.printed.exists() else "was not run"
            return f"{title}\n  {how}\n" + last_lines(read(self.printed) + read(self.errors))
        printed = read(self.printed).strip()
        if self.expected is not None and printed != self.expected.strip():
            promised = self.expected.strip()
            return f"{title}\n  printed:  {printed}\n  promised: {promised}\n" + last_lines(read(self.errors))
        return ""


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""


def last_lines(text: str) -> str:
    return "".join(f"  | {line[:300]}\n" for line in text.splitlines()[-15:])


def section() -> str:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.search(rf"^## {HEADING}\n(.*?)(?=^## |\Z)", readme, re.MULTILINE | re.DOTALL)
    if not found:
        raise Failure(f"README.md has no section `{HEADING}`")
    return found[1]


@contextlib.contextmanager
def kestra(address: str, log: Path):
    """Something like Kestra, until the block ends."""
    with log.open("wb") as sink:
        command = [sys.executable, HERE / "servers/kestra_api.py", address]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink)
    try:
        deadline = time.monotonic() + START_SECONDS
        while not read(log).startswith("ready\n"):
            if process.poll() is not None or time.monotonic() > deadline:
                raise Failure(f"nothing could listen at {address} in the place of Kestra:\n{read(log)}")
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait()


def shell(script: str, folder: Path, programs: Path) -> None:
    """Runs this to its end, whatever that is, and ends what it leaves behind."""
    variables = {
        **os.environ,
        "PATH": f"{programs / 'bin'}:{os.environ['PATH']}",
        # Nothing may be there before, and nothing is left in somebody's home.
        "CARGO_INSTALL_ROOT": str(programs),
        "PIP_NO_CACHE_DIR": "1",
        "npm_config_cache": str(programs / "npm"),
        "NO_COLOR": "1",
    }
    command = ["bash", "-e", "-o", "pipefail", "-c", script]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, cwd=ROOT, env=variables, start_new_session=True)
    try:
        process.wait(WHOLE_SECONDS)
    except subprocess.TimeoutExpired:
        print(f"the commands were not done after {WHOLE_SECONDS} s")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def drive(work: Path) -> bool:
    text = section()
    requirements = (HERE / "requirements-kestra.txt").read_text(encoding="utf-8").split()
    if missing := [one for one in requirements if one not in text]:
        raise Failure(f"the section does not install {missing}, as requirements-kestra.txt does")
    address = re.search(r"KESTRA_BASE_URL=http://([\d.]+:\d+)/api/v1\b", text)
    if not address:
        raise Failure("the section does not say where Kestra is")
    logs, folder, programs = work / "logs", work / "folder", work / "programs"
    for new in (logs, folder, programs):
        new.mkdir(parents=True)
    fenced = re.findall(r"^```(.*?)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    if 2 * len(fenced) != len(re.findall(r"^ *(?:```|~~~)", text, re.MULTILINE)):
        raise Failure("the section has blocks that are not understood")
    blocks = [Block(number, *found, logs) for number, found in enumerate(fenced)]
    if not {block.expected is None for block in blocks} == {True, False}:
        raise Failure("the section has no commands, or none that promises something")
    first, *others = (block.lines() for block in blocks)
    script = f"{first}cd {shlex.quote(str(folder))}\n" + "".join(others)
    with kestra(address[1], logs / "kestra.log"):
        shell(script, folder, programs)
    problems = [problem for block in blocks if (problem := block.problem())]
    asked = read(logs / "kestra.log").splitlines()[1:]
    if asked != ASKED:
        problems.append(f"this came to Kestra: {asked}")
    for problem in problems:
        print(f"FAILED {problem}")
    if not problems:
        compiling, *seconds = (int(read(block.done)) for block in blocks)
        print(f"ok {len(blocks)} blocks in {sum(seconds)} s {seconds}, after {compiling} s of the compiler")
    return not problems


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="a folder that is emptied first")
    options = parser.parse_args()
    end_children_on_signals()
    work = options.work.absolute()
    shutil.rmtree(work, ignore_errors=True)
    try:
        return 0 if drive(work) else 1
    except (Failure, OSError, ValueError) as failure:
        print(f"FAILED {failure}")
        return 1


if __name__ == "__main__":
    sys.exit(main())
