#!/usr/bin/env python3
"""Scans real MCP servers, and puts the policies that `scan` recommends in front of them.

`inventory` installs everything and calls this. No server gets a credential that is worth anything. All are scanned at
once from a client's configuration, which also pins what was seen; then each policy has to pass `check --strict` against
its server, and behind `serve` a tool that reads has to reach the server, and one that destroys must not.
"""

import argparse
import concurrent.futures
import fcntl
import http.client
import json
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import termios
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from drive import HERE, Failure, end_children_on_signals, listening, print_tails

SCAN_SECONDS = 120
CHECK_SECONDS = 60
ANSWER_SECONDS = 30

# Of the servers below so many have a tool that the policy hides.
HIDDEN_AT_LEAST = 6
TERMINAL_COLUMNS = 90
# What says nothing but what a terminal is to do.
ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


@dataclass
class Server:
    name: str
    command: list
    # So many tools it had when this was written: the versions are pinned.
    tools: int
    variables: dict = field(default_factory=dict)

    def environment(self) -> dict:
        """Next to nothing, because some of their tools tell it to whoever calls them."""
        return {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **self.variables}


def servers(installed: Path, work: Path) -> list[Server]:
    node = installed / "scanned-node/node_modules/.bin"
    python = installed / "scanned/bin"
    [kestra] = (installed / "kestra/lib").glob("python3*/site-packages/src")
    kestra_variables = {"PYTHONPATH": str(kestra), "KESTRA_BASE_URL": "http://127.0.0.1:9", "KESTRA_MCP_DISABLED_TOOLS": ""}
    return [
        Server("chrome-devtools", [node / "chrome-devtools-mcp", "--no-usage-statistics"], 32),
        Server("context7", [node / "context7-mcp"], 2),
        Server("everything", [node / "mcp-server-everything", "stdio"], 13),
        Server("fetch", [python / "mcp-server-fetch"], 1),
        Server("filesystem", [node / "mcp-server-filesystem", work], 14),
        Server("git", [python / "mcp-server-git", "--repository", work], 12),
        Server("github", [node / "mcp-server-github"], 26, {"GITHUB_PERSONAL_ACCESS_TOKEN": "dummy"}),
        Server("kestra", [installed / "kestra/bin/python", "-m", "server"], 29, kestra_variables),
        Server("kubernetes", [node / "mcp-server-kubernetes"], 23),
        Server("memory", [node / "mcp-server-memory"], 9, {"MEMORY_FILE_PATH": str(work / "memory.json")}),
        Server("notion", [node / "notion-mcp-server"], 24, {"NOTION_TOKEN": "dummy"}),
        Server("playwright", [node / "playwright-mcp"], 25),
        Server("sequential-thinking", [node / "mcp-server-sequential-thinking"], 1),
        Server("time", [python / "mcp-server-time"], 2),
    ]


def client_configuration(servers: list[Server]) -> dict:
    def entry(server: Server) -> dict:
        program, *arguments = map(str, server.command)
        return {"command": program, "args": arguments, "env": server.variables}

    return {"mcpServers": {server.name: entry(server) for server in servers}}


# ===== scanning =====


def scan(proxy: Path, *arguments) -> dict:
    command = [proxy, "scan", "--json", *arguments]
    finished = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=SCAN_SECONDS, check=False)
    if finished.returncode != 0 or finished.stderr:
        raise Failure(f"scan ended with {finished.returncode}: {finished.stdout[-2000:]!r} {finished.stderr[-2000:]!r}")
    return json.loads(finished.stdout)


def check_found(servers: list[Server], found: dict) -> list[str]:
    """What is wrong with what a scan says of them."""
    problems = []
    if [server["name"] for server in found["servers"]] != [server.name for server in servers]:
        problems.append(f"these servers were scanned: {[server['name'] for server in found['servers']]}")
    for server, own in zip(servers, found["servers"]):
        if len(own["tools"]) != server.tools:
            problems.append(f"{server.name} has {len(own['tools'])} tools")
        for tool in own["tools"]:
            says_so = any(evidence["category"] == tool["category"] for evidence in tool["evidence"])
            if tool["category"] != "unknown" and not says_so:
                problems.append(f"nothing tells why {tool['name']} of {server.name} is {tool['category']}")
            if tool["rule"] != own["policy"]["tools"].get(tool["name"]):
                problems.append(f"the rule of {tool['name']} of {server.name} is not in the policy")
    return problems


def check_again(first: dict, second: dict, written: Path, again: Path) -> list[str]:
    """A second scan finds the same, all of it approved, and writes the same."""
    problems = []
    for one, other in zip(first["servers"], second["servers"], strict=True):
        if one["policy"] != other["policy"]:
            problems.append(f"{one['name']} gets another policy the second time")
        states = {tool["state"] for tool in other["tools"]}
        if states != {"approved"}:
            problems.append(f"{one['name']} has tools that are {states}")
        for end in (".json", ".pins.json"):
            if (written / (one["name"] + end)).read_bytes() != (again / (one["name"] + end)).read_bytes():
                problems.append(f"{one['name']}{end} is another one the second time")
    return problems


def on_a_terminal(command: list) -> str:
    """What a program prints, stdout and stderr, on a terminal of so many columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, TERMINAL_COLUMNS, 0, 0))
    variables = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS")}
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs, env=variables)
    os.close(theirs)
    printed = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:
            # Nobody has the other end any more.
            break
        if not piece:
            break
        printed += piece
    os.close(ours)
    if process.wait(CHECK_SECONDS) != 0:
        raise Failure(f"scan on a terminal ended with {process.returncode}: {printed[-2000:]!r}")
    return printed.decode()


def check_terminal(proxy: Path, configuration: Path) -> list[str]:
    """For a person: a line that says how far it is and goes away, colours, and nothing wider than the terminal."""
    printed = on_a_terminal([proxy, "scan", "--client-config", configuration])
    *progress, report = printed.split("\r\x1b[K")
    problems = []
    if not any("servers asked, waiting for" in line for line in progress):
        problems.append("no line says how far it is")
    if "\x1b[31m" not in report or "waiting for" in report:
        problems.append(f"the report looks like {report[:300]!r}")
    for line in report.splitlines():
        if len(ESCAPES.sub("", line)) > TERMINAL_COLUMNS:
            problems.append(f"wider than the terminal: {line!r}")
    return problems


# ===== behind the recommended policy =====


class Session:
    """A session of a client with the proxy."""

    def __init__(self, url: str) -> None:
        address = urlsplit(url)
        self.connection = http.client.HTTPConnection(address.hostname, address.port, timeout=ANSWER_SECONDS)
        self.path = address.path
        self.headers = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
        self.last_id = 0
        hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "inventory", "version": "1"}}
        self.request("initialize", hello)
        self.send({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def send(self, message: dict) -> str:
        self.connection.request("POST", self.path, json.dumps(message), self.headers)
        response = self.connection.getresponse()
        session = response.getheader("mcp-session-id")
        if session:
            self.headers["mcp-session-id"] = session
        return response.read().decode()

    def request(self, method: str, params: dict) -> dict:
        self.last_id += 1
        text = self.send({"jsonrpc": "2.0", "id": self.last_id, "method": method, "params": params})
        lines = [line.removeprefix("data:") for line in text.splitlines() if line.startswith("data:")] or [text]
        for line in lines:
            message = json.loads(line)
            if message.get("id") == self.last_id and "method" not in message:
                return message
        raise Failure(f"{method} is answered {text[:500]!r}")


def reader(found: dict, listed: dict) -> str:
    """A tool that only reads and is allowed: one that the server itself refuses without arguments, if there is one."""
    names = [tool["name"] for tool in found["tools"] if tool["category"] == "read" and tool["rule"].keys() <= {"description"}]
    # A server without one has another that is allowed.
    names = names or [tool["name"] for tool in found["tools"] if tool["rule"].get("action", "allow") == "allow"]
    needs = {tool["name"]: tool["inputSchema"].get("required") for tool in listed["result"]["tools"]}
    return next((name for name in names if needs.get(name)), names[0])


def check_served(proxy: Path, server: Server, found: dict, policy: Path, logs: Path) -> tuple[list[str], bool]:
    """What is wrong behind the policy, and whether there was a hidden tool to try."""
    record = logs / f"{server.name}-messages.jsonl"
    record.touch()
    between = [sys.executable, HERE / "servers/record_messages.py", record]
    command = [proxy, "serve", "--policy", policy, "--listen", "127.0.0.1:0", "--", *between, *server.command]
    hidden = [tool["name"] for tool in found["tools"] if tool["rule"].get("action") == "hide"]
    with listening(command, logs / f"{server.name}-proxy.log", server.environment()) as url:
        session = Session(url)
        listed = session.request("tools/list", {})
        names = [tool["name"] for tool in listed["result"]["tools"]]
        allowed = reader(found, listed)
        refused = hidden[0] if hidden else "delete_everything"
        session.request("tools/call", {"name": allowed, "arguments": {}})
        answer = session.request("tools/call", {"name": refused, "arguments": {}})
    messages = [json.loads(line) for line in record.read_text(encoding="utf-8").splitlines()]
    called = [message["params"]["name"] for message in messages if message.get("method") == "tools/call"]
    problems = []
    if called != [allowed]:
        problems.append(f"calls of {called} reached the server, and not of {allowed} alone")
    if set(names) & set(hidden):
        problems.append(f"hidden and listed: {set(names) & set(hidden)}")
    if "error" not in answer and not answer["result"].get("isError"):
        problems.append(f"{refused} is answered {answer}")
    return problems, bool(hidden)


def check_strictly(proxy: Path, server: Server, policy: Path) -> list[str]:
    command = [proxy, "check", policy, "--strict", "--", *server.command]
    finished = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=CHECK_SECONDS,
        env=server.environment(),
        check=False,
    )
    return [] if finished.returncode == 0 else [f"check --strict: {finished.stdout[-1000:]!r} {finished.stderr[-1000:]!r}"]


def check_policy(proxy: Path, server: Server, found: dict, policy: Path, logs: Path) -> tuple[list[str], bool]:
    try:
        problems, has_hidden = check_served(proxy, server, found, policy, logs)
        return check_strictly(proxy, server, policy) + problems, has_hidden
    except (Failure, OSError, ValueError, KeyError, subprocess.TimeoutExpired, http.client.HTTPException) as failure:
        return [f"{type(failure).__name__}: {failure}"], False


def drive(proxy: Path, installed: Path, logs: Path) -> bool:
    work = logs / "work"
    work.mkdir()
    subprocess.run(["git", "init", "--quiet", work], check=True)
    asked = servers(installed, work)
    configuration = logs / "mcp.json"
    configuration.write_text(json.dumps(client_configuration(asked)), encoding="utf-8")
    few = logs / "few.json"
    few.write_text(json.dumps(client_configuration([s for s in asked if s.name in ("memory", "time")])), encoding="utf-8")
    written, again = logs / "policies", logs / "policies-again"

    first = scan(proxy, "--client-config", configuration, "--pin", "--write", written)
    problems = check_found(asked, first)
    second = scan(proxy, "--client-config", configuration, "--policy", written, "--pin", "--write", again)
    problems += check_again(first, second, written, again)
    problems += check_terminal(proxy, few)
    print(f"{'FAILED' if problems else 'ok'} scan of {len(asked)} servers: {json.dumps(first['totals'])}", flush=True)
    for problem in problems:
        print(f"  - {problem[:500]}")

    with_hidden = 0
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        runs = [
            pool.submit(check_policy, proxy, server, found, written / f"{server.name}.json", logs)
            for server, found in zip(asked, first["servers"], strict=True)
        ]
        for server, run in zip(asked, runs, strict=True):
            own, has_hidden = run.result()
            with_hidden += has_hidden
            print(f"{'FAILED' if own else 'ok'} policy of {server.name}", flush=True)
            for problem in own:
                print(f"  - {problem[:1500]}")
            if own:
                print_tails([logs / f"{server.name}-proxy.log"])
            problems += own
    if with_hidden < HIDDEN_AT_LEAST:
        problems.append(f"only {with_hidden} servers have a tool that is hidden")
        print(f"FAILED {problems[-1]}")
    return not problems


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--installed", type=Path, required=True, help="where the servers were installed")
    parser.add_argument("--proxy", type=Path, required=True, help="the binary under test")
    options = parser.parse_args()
    end_children_on_signals()

    installed = options.installed.absolute()
    logs = installed / "logs-inventory"
    shutil.rmtree(logs, ignore_errors=True)
    logs.mkdir()
    try:
        return 0 if drive(options.proxy.absolute(), installed, logs) else 1
    except (Failure, OSError, ValueError, subprocess.SubprocessError) as failure:
        print(f"FAILED inventory: {failure}")
        return 1


if __name__ == "__main__":
    sys.exit(main())
