#!/usr/bin/env python3
"""Sends the requests of tests/attacks/cases.json to real MCP servers behind a policy, and checks what they executed;
then answers real MCP clients with the lists of tests/attacks/encodings.json, and checks what they saw.

`attacks` installs everything and calls this. A server appends one line to its call log for everything that it
executes. A client lists the tools once in each of many sessions and prints one JSON line for each. All judgement is in
this file.
"""

import argparse
import base64
import contextlib
import json
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "servers"))

from drive import (
    MANY_SESSIONS,
    Failure,
    end_children_on_signals,
    environment,
    listening,
    print_tails,
    server_environment,
)
from lists_server import ListsServer

ATTACKS = HERE.parent / "attacks"

ANSWER_SECONDS = 10
# A server without a policy may leave a request that makes no sense unanswered.
DIRECT_SECONDS = 2
LIST_MILLISECONDS = 3000
CLIENT_SECONDS = 60

CALL_AFTERWARDS = b'{"jsonrpc":"2.0","id":"afterwards","method":"tools/call","params":{"name":"safe"}}'


@dataclass(frozen=True)
class Server:
    """A server, and which allowed requests it refuses by itself, or executes nothing by."""

    name: str
    modern: bool
    refuses: frozenset[str]


# None of our servers completes anything.
NO_COMPLETION = "completion for an allowed prompt"
NULL_ARGUMENTS = "the arguments are null, an allowed call"
TYPE_IN_CAPITALS = "content-type: Application/JSON, an allowed call"
AS_A_TASK = "an allowed call as a task"
UNKNOWN_STATE = "an allowed call with a state of the server's"

SERVERS = (
    Server("typescript-1", False, frozenset({NO_COMPLETION, NULL_ARGUMENTS, AS_A_TASK})),
    Server("typescript-2", True, frozenset({NO_COMPLETION, NULL_ARGUMENTS})),
    Server("python-1", False, frozenset({NO_COMPLETION, TYPE_IN_CAPITALS})),
    Server("python-2", True, frozenset({NO_COMPLETION, TYPE_IN_CAPITALS, UNKNOWN_STATE})),
)
# So many of the requests that are refused each server executes when there is no policy.
FALLS_FOR_AT_LEAST = 50

CLIENTS = ("typescript-1", "typescript-2", "python-1", "python-2", "rmcp")
# In so many encodings each client sees the hidden tool when there is no policy.
SEES_AT_LEAST = 20


class Commands:
    """Where the installed programs are."""

    def __init__(self, installed: Path, proxy: Path, rmcp_lists: Path) -> None:
        self.installed = installed
        self.proxy = proxy
        self.rmcp_lists = rmcp_lists

    def server(self, name: str) -> list:
        file = f"attacked_{name.replace('-', '_')}"
        if name.startswith("python"):
            return [self.installed / name / "bin/python", HERE / f"servers/{file}.py"]
        return ["node", self.installed / f"node/{file}.mjs"]

    def client(self, name: str, url: str, sessions: int) -> list:
        file = f"lists_{name.replace('-', '_')}"
        if name == "rmcp":
            program = [self.rmcp_lists]
        elif name.startswith("python"):
            program = [self.installed / name / "bin/python", HERE / f"clients/{file}.py"]
        else:
            program = ["node", self.installed / f"node/{file}.mjs"]
        return [*program, url, str(sessions), str(LIST_MILLISECONDS)]

    def proxy_for(self, policy: Path, upstream: str) -> list:
        return [self.proxy, "serve", "--policy", policy, "--upstream", upstream, "--listen", "127.0.0.1:0", *MANY_SESSIONS]


# ===== requests =====


def body_of(piece: dict) -> bytes:
    """The bytes of a body, or of a part of one."""
    whole = b"".join(body_of(part) for part in piece.get("parts", []))
    whole += piece.get("text", "").encode() * piece.get("times", 1)
    return whole + base64.b64decode(piece.get("base64", ""))


def bytes_of(request: dict, url: str) -> bytes:
    """The bytes of a request of cases.json, for the host in this URL."""
    names = {name.lower() for name, _ in request["headers"]}
    lines = [f"{request['method']} {request['target']} HTTP/1.1"]
    if "host" not in names:
        lines.append(f"host: {urlsplit(url).netloc}")
    lines += [f"{name}: {value}" for name, value in request["headers"]]
    body = body_of(request.get("body", {}))
    if "body" in request and not names & {"content-length", "transfer-encoding"}:
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


class Connection:
    """HTTP/1.1 as bytes on a socket."""

    def __init__(self, url: str, seconds: float) -> None:
        address = urlsplit(url)
        self.socket = socket.create_connection((address.hostname, address.port), seconds)
        self.rest = b""

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_arguments) -> None:
        self.socket.close()

    def send(self, content: bytes) -> bool:
        """Send bytes. Whether all of them were taken: who refuses a request need not read it."""
        try:
            self.socket.sendall(content)
        except OSError:
            return False
        return True

    def read_more(self) -> bool:
        try:
            more = self.socket.recv(65536)
        except OSError:
            return False
        self.rest += more
        return bool(more)

    def take(self, size: int) -> bytes:
        while len(self.rest) < size and self.read_more():
            pass
        taken, self.rest = self.rest[:size], self.rest[size:]
        return taken

    def take_until(self, mark: bytes) -> bytes | None:
        while mark not in self.rest:
            if not self.read_more():
                return None
        taken, self.rest = self.rest.split(mark, 1)
        return taken

    def until_end(self) -> bytes:
        while self.read_more():
            pass
        return self.rest

    def answer(self, verb: str) -> dict | None:
        """The next answer, without its framing; `None` if there is none."""
        while True:
            head = self.take_until(b"\r\n\r\n")
            if head is None:
                return None
            status_line, *lines = head.decode("latin-1").split("\r\n")
            status = int(status_line.split(" ")[1])
            if status >= 200:
                break
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = b""
        if verb != "HEAD" and status not in (204, 304):
            events = headers.get("content-type", "").startswith("text/event-stream")
            if events and verb == "GET":
                # It lasts as long as the session, and this connection ends with it.
                return {"status": status, "closes": True, "body": b""}
            if "transfer-encoding" in headers:
                while size := int(self.take_until(b"\r\n") or b"0", 16):
                    body += self.take(size)
                    self.take(2)
                    if events and b'"notifications/subscriptions/acknowledged"' in body:
                        return {"status": status, "closes": True, "body": body}
                self.take_until(b"\r\n")
            elif "content-length" in headers:
                body = self.take(int(headers["content-length"]))
            else:
                body = self.until_end()
                self.rest = b""
        return {"status": status, "closes": headers.get("connection") == "close", "body": body}


class CallLog:
    """What a server writes down."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.offset = 0
        path.touch()

    def take(self) -> list[str]:
        """What was executed since the last time."""
        with self.path.open(encoding="utf-8") as log:
            log.seek(self.offset)
            lines = log.read()
            self.offset = log.tell()
        return lines.splitlines()


def expected(case: dict) -> list[str]:
    return case.get("runs", ["safe"]) if case["executes"] else []


def has_run(case: dict, executed: list[str]) -> bool:
    """Whether an allowed request ran; what was smuggled in behind it may have run, too, without a policy."""
    wanted = expected(case)
    return executed[: len(wanted)] == wanted


def call_afterwards(url: str) -> bytes:
    head = (
        f"POST {urlsplit(url).path} HTTP/1.1\r\nhost: {urlsplit(url).netloc}\r\n"
        f"content-type: application/json\r\naccept: application/json, text/event-stream\r\nconnection: close\r\ncontent-length: {len(CALL_AFTERWARDS)}\r\n\r\n"
    )
    return head.encode() + CALL_AFTERWARDS


def executed_directly(url: str, cases: list[dict], log: CallLog) -> list[list[str]]:
    """What a server without a policy executes for each case."""
    executed = []
    for case in cases:
        with Connection(url, DIRECT_SECONDS) as connection:
            connection.send(bytes_of(case["request"], url))
            connection.answer(case["request"]["method"])
        executed.append(log.take())
    return executed


def check_case(url: str, case: dict, runs: bool, log: CallLog) -> list[str]:
    """Everything that is wrong with what a case did behind the policy. An allowed call goes out behind it, on the same
    connection if it is still there: whatever was smuggled in with the case comes before that.
    """
    wanted = expected(case) if runs else []
    afterwards = call_afterwards(url)
    problems = []
    with Connection(url, ANSWER_SECONDS) as connection:
        whole = connection.send(bytes_of(case["request"], url))
        answer = connection.answer(case["request"]["method"])
        executed = log.take()
        if executed != wanted:
            problems.append(f"executed {executed} instead of {wanted}; answered {answer}")
        if answer is None:
            problems.append("there was no answer")
        end = b""
        if whole and answer and not answer["closes"] and connection.send(afterwards):
            end = connection.until_end()
    if b"afterwards" not in end:
        with Connection(url, ANSWER_SECONDS) as connection:
            connection.send(afterwards)
            end = connection.until_end()
    executed = log.take()
    if b"afterwards" not in end or executed != ["safe"]:
        problems.append(f"afterwards executed {executed} instead of an allowed call")
    return problems


def attack_server(server: Server, commands: Commands, attacks: dict, logs: Path) -> bool:
    """All cases in front of one server, first directly, then through each policy. Whether everything was right."""
    outputs = [logs / f"attacks-{server.name}-{way}.log" for way in ("direct", "guarded", *attacks["policies"])]
    direct_log, log = (CallLog(logs / f"attacks-{server.name}-{way}-calls.log") for way in ("direct", "guarded"))
    command, cases = commands.server(server.name), attacks["cases"]
    with listening(command, outputs[0], server_environment(direct_log.path)) as url:
        directly = executed_directly(url, cases, direct_log)
    problems = []
    sent = ran = 0
    with contextlib.ExitStack() as stack:
        upstream = stack.enter_context(listening(command, outputs[1], server_environment(log.path)))
        urls = {}
        for (policy, document), output in zip(attacks["policies"].items(), outputs[2:], strict=True):
            path = output.with_suffix(".json")
            path.write_text(json.dumps(document), encoding="utf-8")
            urls[policy] = stack.enter_context(listening(commands.proxy_for(path, upstream), output, environment()))
        for case, executed in zip(cases, directly, strict=True):
            runs = case["executes"] and has_run(case, executed)
            for policy in [case["policy"]] if "policy" in case else attacks["policies"]:
                sent += 1
                ran += runs
                found = check_case(urls[policy], case, runs, log)
                problems += [f"{case['title']} ({policy}): {problem}" for problem in found]
    spoken = [pair for pair in zip(cases, directly, strict=True) if server.modern or pair[0]["era"] == "legacy"]
    refused = {case["title"] for case, executed in spoken if case["executes"] and not has_run(case, executed)}
    problems += [f"{title}: the server itself does not execute it" for title in sorted(refused - server.refuses)]
    problems += [f"{title}: the server does execute it" for title in sorted(server.refuses - refused)]
    fell_for = sum(bool(executed) for case, executed in spoken if not case["executes"])
    if fell_for < FALLS_FOR_AT_LEAST:
        problems.append(f"without a policy it falls for {fell_for} attacks only")
    verdict = "FAILED" if problems else "ok"
    print(f"{verdict} {server.name}: {sent} requests, {ran} ran; without a policy it falls for {fell_for}", flush=True)
    for problem in problems:
        print(f"  - {problem[:600]}")
    if problems:
        print_tails(outputs)
    return not problems


# ===== lists =====


def lists_seen(name: str, commands: Commands, url: str, sessions: int, errors: Path) -> list[list[str] | None]:
    """The names that a client saw in each session; `None` where it saw no list."""
    with errors.open("wb") as sink:
        try:
            finished = subprocess.run(
                commands.client(name, url, sessions),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=sink,
                timeout=CLIENT_SECONDS,
                env=environment(),
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise Failure(f"{name} was not done after {CLIENT_SECONDS} s") from None
    lines = {line["session"]: line for line in map(json.loads, finished.stdout.splitlines())}
    if finished.returncode != 0 or len(lines) != sessions:
        raise Failure(f"{name} ended with {finished.returncode} after {len(lines)} of {sessions} lines")
    return [lines[session].get("names") for session in range(sessions)]


def check_client(name: str, commands: Commands, urls: tuple[str, str], encodings: list[dict], logs: Path) -> bool:
    """One client in front of the server with the odd lists, without and with the policy between them."""
    direct_url, guarded_url = urls
    errors = [logs / f"lists-{name}-{way}.log" for way in ("direct", "guarded")]
    try:
        directly = lists_seen(name, commands, direct_url, len(encodings), errors[0])
        guarded = lists_seen(name, commands, guarded_url, len(encodings), errors[1])
    except (Failure, OSError, ValueError) as failure:
        print(f"FAILED {name}: {failure}", flush=True)
        print_tails(errors)
        return False
    problems = []
    for encoding, before, after in zip(encodings, directly, guarded, strict=True):
        if "hidden" in (after or []):
            problems.append(f"{encoding['name']}: it sees {after}")
        if "hidden" in (before or []) and encoding["shows"] and "safe" not in (after or []):
            problems.append(f"{encoding['name']}: it sees {before} without the policy, and {after} with it")
    seen = sum("hidden" in (names or []) for names in directly)
    if seen < SEES_AT_LEAST:
        problems.append(f"without a policy it sees the hidden tool {seen} times only")
    verdict = "FAILED" if problems else "ok"
    print(f"{verdict} {name}: {len(encodings)} lists, in {seen} it sees the hidden tool without a policy", flush=True)
    for problem in problems:
        print(f"  - {problem[:600]}")
    if problems:
        print_tails(errors)
    return not problems


def show_lists(commands: Commands, policy: dict, encodings: list[dict], logs: Path) -> list[bool]:
    """All clients at once. Gives one verdict for each."""
    path = logs / "lists.json"
    path.write_text(json.dumps(policy), encoding="utf-8")
    server = ListsServer(encodings)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    upstream = f"{server.address}/mcp"
    with (
        contextlib.closing(server.socket),
        listening(commands.proxy_for(path, upstream), logs / "lists-proxy.log", environment()) as url,
        ThreadPoolExecutor(len(CLIENTS)) as pool,
    ):
        return list(pool.map(lambda name: check_client(name, commands, (upstream, url), encodings, logs), CLIENTS))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--installed", type=Path, required=True, help="where `attacks` installed servers and clients")
    parser.add_argument("--proxy", type=Path, required=True, help="the binary under test")
    parser.add_argument("--rmcp-lists", type=Path, required=True, help="the binary of clients/rmcp_lists.rs")
    options = parser.parse_args()

    end_children_on_signals()

    logs = options.installed / "logs-attacks"
    logs.mkdir(exist_ok=True)
    for old in logs.iterdir():
        old.unlink()

    paths = (options.installed, options.proxy, options.rmcp_lists)
    commands = Commands(*(path.absolute() for path in paths))
    attacks = json.loads((ATTACKS / "cases.json").read_text(encoding="utf-8"))
    encodings = json.loads((ATTACKS / "encodings.json").read_text(encoding="utf-8"))["encodings"]

    with ThreadPoolExecutor(len(SERVERS)) as pool:
        verdicts = list(pool.map(lambda server: attack_server(server, commands, attacks, logs), SERVERS))
    verdicts += show_lists(commands, attacks["policies"]["standard"], encodings, logs)
    print(f"{verdicts.count(True)} passed, {verdicts.count(False)} failed")
    return 0 if all(verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
