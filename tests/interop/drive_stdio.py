#!/usr/bin/env python3
"""Puts `mcp-policy-proxy stdio` in front of the Kestra server, lets real MCP clients start both, and checks what came back.

`stdio` installs everything and calls this. Each client lists the tools and calls every one of them, once behind a
policy that allows everything and once behind one that names a single tool. Nobody is there whom the server could ask
and no call has arguments, so a call that reaches the server is told so in the server's own words.
"""

import argparse
import functools
import json
import sys
from pathlib import Path

from drive import DEFAULT_DENY, META, Client, Failure, check_refused, end_children_on_signals, print_tails, talk

CLIENTS = (
    Client("typescript-1", "legacy"),
    Client("typescript-2", "legacy"),
    Client("typescript-2", "auto"),
    Client("python-1", "legacy"),
)

NUMBER_OF_TOOLS = 29
NAMED = "list_executions"

ALLOW_ALL = {"version": "1", "default": "allow"}
ONE_NAMED = {"version": "1", "default": "deny", "tools": {NAMED: {}}}


class Commands:
    """Where the installed programs are."""

    def __init__(self, installed: Path, proxy: Path) -> None:
        self.installed = installed
        self.proxy = proxy

    def server(self) -> list:
        python = self.installed / "kestra/bin/python"
        (packages,) = (self.installed / "kestra/lib").glob("python3*/site-packages")
        # Its console script does not find its own modules, so they go on the path.
        variables = (f"PYTHONPATH={packages}/src", "KESTRA_BASE_URL=http://127.0.0.1:9", "KESTRA_MCP_DISABLED_TOOLS=")
        return ["env", *variables, python, "-m", "server"]

    def client(self, client: Client, policy: Path) -> list:
        program = {
            "typescript-1": ["node", self.installed / "node/typescript_1.mjs"],
            "typescript-2": ["node", self.installed / "node/typescript_2.mjs"],
            "python-1": [self.installed / "python-1/bin/python", Path(__file__).parent / "clients/python_1.py"],
        }[client.name]
        return [*program, "stdio", client.mode, self.proxy, "stdio", "--policy", policy, "--", *self.server()]


def session(commands: Commands, client: Client, policy: dict, calls: list[str], logs: Path) -> tuple[list, list]:
    """The names that are listed, and the answers to calls without arguments."""
    name = f"stdio-{client.name}-{client.mode}-{policy['default']}"
    document = logs / f"{name}.json"
    document.write_text(json.dumps(policy), encoding="utf-8")
    planned = [{"name": tool, "arguments": {}} for tool in calls]
    _, listed, *answers = talk(commands.client(client, document), planned, logs / f"{name}.log")
    return listed["names"], answers


def check_reached(tool: str, answer: dict) -> list[str]:
    """What the server says to a call that it cannot carry out, and no word of ours."""
    if (
        answer["event"] != "result"
        or not answer["text"].startswith(f"Error executing tool {tool}: ")
        or any(key.startswith(META) for key in answer["meta"])
    ):
        return [f"{tool} is allowed and answered {answer}"]
    return []


def check_client(commands: Commands, client: Client, tools: list[str], logs: Path) -> list[str]:
    """Everything that is wrong with what one client saw."""
    run = functools.partial(session, commands, client, calls=tools, logs=logs)
    problems = []
    listed, everything = run(policy=ALLOW_ALL)
    if listed != tools:
        problems.append(f"with everything allowed {len(listed)} tools are listed: {listed}")
    for tool, answer in zip(tools, everything, strict=True):
        problems += check_reached(tool, answer)
    listed, answers = run(policy=ONE_NAMED)
    if listed != tools:
        problems.append(f"with one tool allowed {len(listed)} tools are listed: {listed}")
    for tool, answer, unguarded in zip(tools, answers, everything, strict=True):
        if tool != NAMED:
            problems += check_refused(tool, answer, DEFAULT_DENY)
        elif answer != unguarded:
            problems.append(f"{NAMED} is allowed and answered {answer}")
    return problems


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--installed", type=Path, required=True, help="where `stdio` installed server and clients")
    parser.add_argument("--proxy", type=Path, required=True, help="the binary under test")
    options = parser.parse_args()
    end_children_on_signals()

    logs = options.installed.absolute() / "logs"
    logs.mkdir(exist_ok=True)
    for old in logs.glob("stdio-*"):
        old.unlink()

    commands = Commands(options.installed.absolute(), options.proxy.absolute())
    try:
        tools, _ = session(commands, CLIENTS[0], ALLOW_ALL, [], logs)
    except Failure as failure:
        print(f"FAILED stdio kestra: {failure}")
        print_tails(sorted(logs.glob("stdio-*.log")))
        return 1
    if len(tools) != NUMBER_OF_TOOLS or NAMED not in tools:
        print(f"FAILED stdio kestra: the server has {len(tools)} tools: {tools}")
        return 1
    failures = 0
    for client in CLIENTS:
        try:
            problems = check_client(commands, client, tools, logs)
        except (Failure, OSError, ValueError) as failure:
            problems = [str(failure)]
        failures += bool(problems)
        print(f"{'FAILED' if problems else 'ok'} stdio kestra {client.name} {client.mode}", flush=True)
        for problem in problems:
            print(f"  - {problem[:500]}")
        if problems:
            print_tails(sorted(logs.glob(f"stdio-{client.name}-{client.mode}-*.log")))
    print(f"{len(CLIENTS) - failures} passed, {failures} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
