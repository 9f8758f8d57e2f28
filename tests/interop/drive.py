#!/usr/bin/env python3
"""Puts a policy in front of real MCP servers, lets real MCP clients talk through it, and checks what happened.

`run` installs everything and calls this. A client is a program that gets the URL and a mode as arguments and the
calls to make as JSON lines on its standard input; it prints one JSON line for the connection, one for the list of
tools and one for each call. A server appends one JSON line to its call log for each call that it executes. All
judgement is in this file.
"""

import argparse
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

# What drives servers from one address begins more sessions than one caller may.
MANY_SESSIONS = ("--sessions-per-minute", "100000")

HERE = Path(__file__).resolve().parent

START_SECONDS = 30
CLIENT_SECONDS = 20
STOP_SECONDS = 5

MODERN = "2026-07-28"
META = "io.github.mcp-policy/"
DEFAULT_DENY = "(default deny)"


class Failure(Exception):
    """Something that makes a run fail, in words for the person who reads the output."""


@dataclass(frozen=True)
class Call:
    """One call of a tool that the policy allows, and what its answer must say."""

    tool: str
    arguments: dict
    answer: str


@dataclass(frozen=True)
class Server:
    """A server, and what its policy document in policies/ makes of its tools."""

    name: str
    transport: str  # "http": streamable HTTP; "sse": the two addresses of 2024-11-05
    policy: str
    modern: bool  # also speaks 2026-07-28
    allowed: tuple[Call, Call, Call, Call]
    denied: str
    denied_reason: str
    hidden: str
    unlisted: str  # the server has it, the document does not name it


@dataclass(frozen=True)
class Client:
    """A client program and the way in which it is told to agree on a protocol version."""

    name: str
    mode: str  # for the client program: "legacy", "auto", or "sse", which is legacy over the transport of 2024-11-05

    def speaks_to(self, server: Server) -> bool:
        return (self.mode == "sse") == (server.transport == "sse")


EVERYTHING = Server(
    name="everything",
    transport="http",
    policy="everything.json",
    modern=False,
    allowed=(
        Call("echo", {"message": "one"}, "Echo: one"),
        Call("get-sum", {"a": 2, "b": 3}, "The sum of 2 and 3 is 5."),
        Call("echo", {"message": "zwei, три, 四"}, "Echo: zwei, три, 四"),
        Call("get-sum", {"a": 40, "b": 2}, "The sum of 40 and 2 is 42."),
    ),
    denied="toggle-simulated-logging",
    denied_reason="Logging stays as it is.",
    hidden="get-env",
    unlisted="get-tiny-image",
)

SERVERS = (
    EVERYTHING,
    replace(EVERYTHING, name="everything-sse", transport="sse"),
    Server(
        name="fastmcp",
        transport="http",
        policy="fastmcp.json",
        modern=True,
        allowed=(
            Call("echo", {"message": "one"}, "Echo: one"),
            Call("add", {"a": 2, "b": 3}, "5"),
            Call("echo", {"message": "zwei, три, 四"}, "Echo: zwei, три, 四"),
            Call("add", {"a": 40, "b": 2}, "42"),
        ),
        denied="erase",
        denied_reason="Nothing is erased from here.",
        hidden="read_secret",
        unlisted="send",
    ),
)

CLIENTS = (
    Client("typescript-1", "legacy"),
    Client("typescript-1", "sse"),
    Client("typescript-2", "legacy"),
    Client("typescript-2", "auto"),
    Client("typescript-2", "sse"),
    Client("python-1", "legacy"),
    Client("python-1", "sse"),
    Client("python-2", "legacy"),
    Client("python-2", "auto"),
    Client("python-2", "sse"),
    Client("rmcp", "legacy"),
    Client("rmcp", "auto"),
)

# A tool that no server has and no document names.
UNKNOWN_TOOL = "no_such_tool"


class Commands:
    """Where the installed programs are."""

    def __init__(self, installed: Path, proxy: Path, rmcp_client: Path, sse_gateway: Path) -> None:
        self.installed = installed
        self.proxy = proxy
        self.rmcp_client = rmcp_client
        self.sse_gateway = sse_gateway

    def server(self, server: Server) -> list:
        if server.name == "fastmcp":
            return [self.installed / "python-2/bin/python", HERE / "servers/fastmcp_server.py"]
        node = self.installed / "node"
        everything = node / "node_modules/@modelcontextprotocol/server-everything/dist/index.js"
        transport = "sse" if server.transport == "sse" else "streamableHttp"
        return ["node", "--import", node / "record_calls.mjs", everything, transport]

    def proxy_for(self, server: Server, upstream: str) -> list:
        policy = HERE / "policies" / server.policy
        if server.transport == "sse":
            return [self.sse_gateway, policy, upstream]
        return [self.proxy, "serve", "--policy", policy, "--upstream", upstream, "--listen", "127.0.0.1:0"]

    def client(self, client: Client, url: str) -> list:
        return [*client_program(client.name, self.installed, self.rmcp_client), url, client.mode]


def client_program(name: str, installed: Path, rmcp_client: Path) -> list:
    return {
        "typescript-1": ["node", installed / "node/typescript_1.mjs"],
        "typescript-2": ["node", installed / "node/typescript_2.mjs"],
        "python-1": [installed / "python-1/bin/python", HERE / "clients/python_1.py"],
        "python-2": [installed / "python-2/bin/python", HERE / "clients/python_2.py"],
        "rmcp": [rmcp_client],
    }[name]


def environment() -> dict:
    """For clients and the proxy. An HTTP proxy that the machine is set up with must not see loopback traffic."""
    return {**os.environ, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}


def server_environment(call_log: Path) -> dict:
    """For servers. Next to nothing, because one of their tools tells its environment to whoever calls it."""
    return {"PATH": os.environ["PATH"], "PORT": "0", "CALL_LOG": str(call_log)}


@contextlib.contextmanager
def listening(command: list, output: Path, variables: dict):
    """Run a program until the block ends; gives the URL that the program says it listens on."""
    with output.open("wb") as sink:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, env=variables)
    try:
        deadline = time.monotonic() + START_SECONDS
        while not (ready := re.search(rb"listening on (http://127\.0\.0\.1:\d+/(?:mcp|sse))\s", output.read_bytes())):
            if process.poll() is not None:
                raise Failure(f"{output.stem} ended with {process.returncode} before it was ready")
            if time.monotonic() > deadline:
                raise Failure(f"{output.stem} was not ready after {START_SECONDS} s")
            time.sleep(0.05)
        yield ready[1].decode()
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def talk(command: list, calls: list[dict], errors: Path) -> list[dict]:
    """Run a client program to its end and give back the lines that it printed."""
    lines = "".join(json.dumps(call) + "\n" for call in calls)
    with errors.open("wb") as sink:
        try:
            finished = subprocess.run(
                command,
                input=lines.encode(),
                stdout=subprocess.PIPE,
                stderr=sink,
                timeout=CLIENT_SECONDS,
                env=environment(),
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise Failure(f"the client was not done after {CLIENT_SECONDS} s") from None
    events = [json.loads(line) for line in finished.stdout.splitlines()]
    if finished.returncode != 0:
        raise Failure(f"the client ended with {finished.returncode} after {len(events)} lines")
    if len(events) != 2 + len(calls):
        raise Failure(f"the client printed {len(events)} lines for a connection, a list and {len(calls)} calls")
    return events


def planned_calls(server: Server) -> list[dict]:
    """An allowed call, one of each kind that is refused, then three more allowed calls.

    None of the refused tools needs arguments, so a call that got through would really be executed.
    """
    first, *others = ({"name": call.tool, "arguments": call.arguments} for call in server.allowed)
    refused = [server.denied, server.hidden, server.unlisted, UNKNOWN_TOOL]
    return [first, *({"name": tool, "arguments": {}} for tool in refused), *others]


def check_tools(server: Server, names: list[str]) -> list[str]:
    """Only what is hidden is missing from the list; what is denied stays in it."""
    visible = {call.tool for call in server.allowed} | {server.denied, server.unlisted}
    problems = [f"{tool} is not listed" for tool in sorted(visible - set(names))]
    if server.hidden in names:
        problems.append(f"{server.hidden} is hidden and listed")
    return problems


def check_allowed(call: Call, answer: dict) -> list[str]:
    if answer["event"] != "result" or answer["isError"] or answer["text"] != call.answer:
        return [f"{call.tool} is allowed and answered {answer}"]
    return []


def check_refused(tool: str, answer: dict, rule: str, reason: str = "") -> list[str]:
    """A refusal reaches the model: it is a result, and its text names the rule."""
    if answer["event"] != "result" or not answer["isError"]:
        return [f"{tool} is refused with an error result, but the client got {answer}"]
    problems = []
    if rule not in answer["text"]:
        problems.append(f"the refusal of {tool} does not name {rule}: {answer['text']}")
    if reason not in answer["text"]:
        problems.append(f"the refusal of {tool} does not give the reason: {answer['text']}")
    if answer["meta"].get(META + "rule") != rule:
        problems.append(f"the rule in _meta of the refusal of {tool} is not {rule}: {answer['meta']}")
    return problems


def check_same_refusal(answers: dict[str, dict]) -> list[str]:
    """A caller cannot tell a hidden tool from one that is not named, nor from one that does not exist."""
    anonymous = {tool: json.dumps(answer, sort_keys=True).replace(tool, "NAME") for tool, answer in answers.items()}
    problems = []
    if len(set(anonymous.values())) != 1:
        problems.append(f"refusals that must not differ do: {anonymous}")
    if any(META + "decisionId" in answer.get("meta", {}) for answer in answers.values()):
        problems.append("a refusal by default carries a decision id")
    return problems


def check_executed(server: Server, executed: list[dict], modern: bool, sessions_before: set) -> list[str]:
    """The server ran the allowed calls and nothing else, all in one session of this client's own."""
    problems = []
    tools = [line["tool"] for line in executed]
    expected = [call.tool for call in server.allowed]
    if tools != expected:
        problems.append(f"the server executed {tools} instead of {expected}")
    sessions = {line["session"] for line in executed}
    if modern and sessions != {None}:
        problems.append("a request of the modern era came with a session id")
    if not modern and (len(sessions) != 1 or None in sessions):
        problems.append(f"the calls came in sessions {sessions} instead of one")
    if not modern and sessions & sessions_before:
        problems.append("the calls came in the session of another client")
    return problems


def check_run(
    server: Server, client: Client, events: list[dict], executed: list[dict], sessions_before: set
) -> list[str]:
    """Everything that is wrong with what one client saw and what the server executed meanwhile."""
    connected, listed, first, denied, *by_default, second, third, fourth = events
    unnamed = dict(zip((server.hidden, server.unlisted, UNKNOWN_TOOL), by_default, strict=True))
    modern = server.modern and client.mode == "auto"
    problems = []
    if (connected["protocol"] == MODERN) != modern:
        problems.append(f"the client agreed on {connected['protocol']}")
    problems += check_tools(server, listed["names"])
    problems += check_refused(server.denied, denied, f"/tools/{server.denied}/action", server.denied_reason)
    for tool, answer in unnamed.items():
        problems += check_refused(tool, answer, DEFAULT_DENY)
    problems += check_same_refusal(unnamed)
    for call, answer in zip(server.allowed, (first, second, third, fourth), strict=True):
        problems += check_allowed(call, answer)
    problems += check_executed(server, executed, modern, sessions_before)
    return problems


def read_calls(call_log: Path) -> list[dict]:
    return [json.loads(line) for line in call_log.read_text(encoding="utf-8").splitlines()]


def report(problems: dict[str, list[str]], outputs: list[Path]) -> int:
    """Print what was found wrong with each, and the ends of the outputs if anything was; gives the exit code."""
    for name, wrong in problems.items():
        print(f"{'FAILED' if wrong else 'ok'} {name}")
        for problem in wrong:
            print(f"  - {problem[:500]}")
    failed = sum(map(bool, problems.values()))
    if failed:
        print_tails(outputs)
    print(f"{len(problems) - failed} passed, {failed} failed")
    return 1 if failed else 0


def print_tails(logs: list[Path]) -> None:
    for log in logs:
        if log.exists() and (lines := log.read_text(encoding="utf-8", errors="replace").splitlines()):
            print(f"  --- the end of {log.name}")
            print("\n".join(f"  | {line[:300]}" for line in lines[-25:]))


def drive_server(server: Server, commands: Commands, logs: Path) -> list[bool]:
    """All clients, one after another, against one server. Gives one verdict for each."""
    server_output = logs / f"{server.name}.log"
    proxy_output = logs / f"{server.name}-proxy.log"
    call_log = logs / f"{server.name}-calls.jsonl"
    call_log.touch()
    clients = [client for client in CLIENTS if client.speaks_to(server)]
    verdicts = []
    with contextlib.ExitStack() as stack:
        try:
            command = commands.server(server)
            upstream = stack.enter_context(listening(command, server_output, server_environment(call_log)))
            command = commands.proxy_for(server, upstream)
            url = stack.enter_context(listening(command, proxy_output, environment()))
        except (Failure, OSError) as failure:
            print(f"FAILED {server.name}: {failure}")
            print_tails([server_output, proxy_output])
            return [False] * len(clients)
        for client in clients:
            name = f"{server.name} {client.name} {client.mode}"
            errors = logs / f"{name.replace(' ', '-')}.log"
            before = read_calls(call_log)
            protocol = "no version agreed"
            try:
                events = talk(commands.client(client, url), planned_calls(server), errors)
                protocol = events[0]["protocol"]
                executed = read_calls(call_log)[len(before) :]
                problems = check_run(server, client, events, executed, {line["session"] for line in before})
            except (Failure, OSError, ValueError) as failure:
                problems = [str(failure)]
            verdicts.append(not problems)
            print(f"{'FAILED' if problems else 'ok'} {name} ({protocol})", flush=True)
            for problem in problems:
                print(f"  - {problem[:500]}")
            if problems:
                print_tails([errors, proxy_output, server_output])
    return verdicts


def end_children_on_signals() -> None:
    """Turn signals into an exception, so that every `finally` above ends its child."""

    def leave(number: int, _frame: object) -> None:
        for stopping in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(stopping, signal.SIG_IGN)
        sys.exit(128 + number)

    for stopping in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(stopping, leave)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--installed", type=Path, required=True, help="where `run` installed servers and clients")
    parser.add_argument("--proxy", type=Path, required=True, help="the binary under test")
    parser.add_argument("--rmcp-client", type=Path, required=True, help="the binary of clients/rmcp_client.rs")
    parser.add_argument("--sse-gateway", type=Path, required=True, help="the binary of servers/sse_gateway.rs")
    options = parser.parse_args()

    end_children_on_signals()

    logs = options.installed / "logs"
    logs.mkdir(exist_ok=True)
    for old in logs.iterdir():
        old.unlink()

    paths = (options.installed, options.proxy, options.rmcp_client, options.sse_gateway)
    commands = Commands(*(path.absolute() for path in paths))
    verdicts = [verdict for server in SERVERS for verdict in drive_server(server, commands, logs)]
    print(f"{verdicts.count(True)} passed, {verdicts.count(False)} failed")
    return 0 if all(verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
