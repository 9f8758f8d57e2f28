#!/usr/bin/env python3
"""Puts the proxy in front of a real MCP server on stdio, and real MCP clients over HTTP in front of the proxy.

`stdio-over-http` installs everything and calls this. The client programs are those of `drive.py`. Between the proxy
and the server stands a program that writes down what reaches the server.
"""

import argparse
import contextlib
import json
import sys
from pathlib import Path

from drive import (
    CLIENTS,
    DEFAULT_DENY,
    HERE,
    MODERN,
    Client,
    Failure,
    client_program,
    end_children_on_signals,
    environment,
    listening,
    print_tails,
    talk,
)

ALLOWED = "list_executions"
POLICY = {"version": "1", "default": "deny", "tools": {ALLOWED: {}}}
TOOLS = 29
DENIED_BY = f"[rule {DEFAULT_DENY}]"


class Commands:
    """Where the installed programs are."""

    def __init__(self, installed: Path, proxy: Path, rmcp_client: Path) -> None:
        self.installed = installed
        self.proxy = proxy
        self.rmcp_client = rmcp_client

    def client(self, client: Client, url: str) -> list:
        return [*client_program(client.name, self.installed, self.rmcp_client), url, client.mode]


def serve(commands: Commands, policy: Path, record: Path) -> list:
    python = commands.installed / "kestra/bin/python"
    server = [python, HERE / "servers/record_messages.py", record, python, "-m", "server"]
    return [commands.proxy, "serve", "--policy", policy, "--listen", "127.0.0.1:0", "--", *server]


def server_environment(commands: Commands) -> dict:
    """For the proxy, from which the server has it."""
    # Its console script does not find its own modules, so they go on the path.
    [sources] = (commands.installed / "kestra/lib").glob("python3*/site-packages/src")
    return {
        **environment(),
        "PYTHONPATH": str(sources),
        # Nobody is there: a call that gets this far fails.
        "KESTRA_BASE_URL": "http://127.0.0.1:9",
        "KESTRA_MCP_DISABLED_TOOLS": "",
    }


def read_messages(record: Path) -> list[dict]:
    return [json.loads(line) for line in record.read_text(encoding="utf-8").splitlines()]


def check_client(names: list[str], events: list[dict]) -> list[str]:
    """What the client saw: every tool, and one answer of the server's."""
    connected, listed, *answers = events
    problems = []
    if connected["protocol"] == MODERN:
        problems.append(f"the client agreed on {MODERN}, which the server does not speak")
    if listed["names"] != names:
        problems.append(f"{len(listed['names'])} tools are listed")
    for tool, answer in zip(names, answers, strict=True):
        is_refused = answer["event"] == "result" and answer["isError"] and DENIED_BY in answer["text"]
        if answer["event"] != "result" or is_refused == (tool == ALLOWED):
            problems.append(f"{tool} was answered {answer}")
    return problems


def check_server(messages: list[dict]) -> list[str]:
    """What reached the server: one session, and in it one call."""
    methods = [message.get("method") for message in messages]
    problems = []
    if methods[:2] != ["initialize", "notifications/initialized"] or methods.count("initialize") != 1:
        problems.append(f"the server was greeted with {methods[:3]}")
    called = [message["params"]["name"] for message in messages if message.get("method") == "tools/call"]
    if called != [ALLOWED]:
        problems.append(f"calls of {called} reached the server")
    return problems


def drive(commands: Commands, logs: Path) -> list[bool]:
    policy, record, output = (logs / f"kestra{end}" for end in ("-policy.json", "-messages.jsonl", "-proxy.log"))
    policy.write_text(json.dumps(POLICY), encoding="utf-8")
    record.touch()
    verdicts = []
    with contextlib.ExitStack() as stack:
        try:
            command = serve(commands, policy, record)
            url = stack.enter_context(listening(command, output, server_environment(commands)))
            names = talk(commands.client(CLIENTS[0], url), [], logs / "kestra-tools.log")[1]["names"]
            if len(names) != TOOLS or ALLOWED not in names:
                raise Failure(f"the server has {TOOLS} tools, and these are listed: {names}")
        except (Failure, OSError) as failure:
            print(f"FAILED kestra: {failure}")
            print_tails([output])
            return [False]
        calls = [{"name": name, "arguments": {}} for name in names]
        for client in (client for client in CLIENTS if client.mode != "sse"):
            name = f"kestra {client.name} {client.mode}"
            errors = logs / f"{name.replace(' ', '-')}.log"
            before = len(read_messages(record))
            protocol = "no version agreed"
            try:
                events = talk(commands.client(client, url), calls, errors)
                protocol = events[0]["protocol"]
                problems = check_client(names, events) + check_server(read_messages(record)[before:])
            except (Failure, OSError, ValueError) as failure:
                problems = [str(failure)]
            verdicts.append(not problems)
            print(f"{'FAILED' if problems else 'ok'} {name} ({protocol})", flush=True)
            for problem in problems:
                print(f"  - {problem[:500]}")
            if problems:
                print_tails([errors, output])
    return verdicts


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--installed", type=Path, required=True, help="where server and clients were installed")
    parser.add_argument("--proxy", type=Path, required=True, help="the binary under test")
    parser.add_argument("--rmcp-client", type=Path, required=True, help="the binary of clients/rmcp_client.rs")
    options = parser.parse_args()
    end_children_on_signals()

    logs = options.installed.absolute() / "logs"
    logs.mkdir(exist_ok=True)
    for old in logs.glob("kestra*"):
        old.unlink()

    paths = (options.installed, options.proxy, options.rmcp_client)
    verdicts = drive(Commands(*(path.absolute() for path in paths)), logs)
    print(f"{verdicts.count(True)} passed, {verdicts.count(False)} failed")
    return 0 if all(verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
