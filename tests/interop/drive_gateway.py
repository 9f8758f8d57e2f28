#!/usr/bin/env python3
"""Lets real MCP clients with grants meet a gateway in front of two real servers, all at once.

`gateway` installs everything and calls this. Each client program runs three times, with a token of its own each: one for
a server by a policy that allows, one for the same server by a policy that refuses, one for the other server. Then one
grant is revoked, one policy edited, one grant locked; in the end everything is. What the servers executed is in their
call logs, where each caller has a word of its own.
"""

import argparse
import contextlib
import json
import re
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from drive import (
    CLIENTS,
    HERE,
    META,
    START_SECONDS,
    STOP_SECONDS,
    Client,
    Failure,
    client_program,
    end_children_on_signals,
    environment,
    listening,
    report,
    server_environment,
)
from drive_limits import Conversation, passed

ALLOW = '{ "version": "1", "default": "deny", "tools": { "echo": {} } }'
REFUSE = '{ "version": "1", "default": "deny", "tools": { "echo": { "action": "deny", "reason": "Not for you." } } }'
# By what the grant says of its caller, and what the call says.
CLAIMS = """{ "version": "1", "default": "deny", "tools": { "echo": {
    "require": [ { "name": "team", "conditions": [ { "path": "caller.claims.team", "op": "eq", "value": "ops" } ] } ] } } }"""

# That of Rust has its own tests, which need nothing but Rust.
TOKEN_CLIENTS = [client for client in CLIENTS if client.mode != "sse" and client.name != "rmcp"]


class Gateway:
    """The proxy with a configuration, and the commands that are about it."""

    def __init__(self, proxy: Path, folder: Path, upstreams: dict[str, str]) -> None:
        self.proxy, self.folder = proxy, folder
        self.config = folder / "gateway.toml"
        servers = "".join(f'[servers.{name}]\nurl = "{url}"\n' for name, url in upstreams.items())
        self.config.write_text(f'listen = "127.0.0.1:0"\n{servers}', encoding="utf-8")
        for name, text in (("allow.json", ALLOW), ("claims.json", CLAIMS)):
            self.put(name, text)
        self.root = ""

    def put(self, name: str, text: str) -> None:
        """Write a file as a whole, or not at all."""
        new = self.folder / f"{name}.new"
        new.write_text(text, encoding="utf-8")
        new.replace(self.folder / name)

    def command(self, *arguments: str) -> str:
        command = [self.proxy, *arguments, "--config", self.config]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment(), check=False)
        if done.returncode:
            raise Failure(f"{' '.join(arguments[:2])} ended with {done.returncode}: {done.stderr.strip()}")
        return done.stdout.strip()

    def grant(self, label: str, server: str, policy: str, *more: str) -> str:
        return self.command("grant", "add", "--label", label, "--server", server, "--policy", policy, *more)

    @contextlib.contextmanager
    def serving(self, output: Path):
        """Serve until the block ends."""
        with output.open("wb") as sink:
            serve = [self.proxy, "serve", "--config", self.config]
            process = subprocess.Popen(serve, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, env=environment())
        try:
            deadline = time.monotonic() + START_SECONDS
            while not (ready := re.search(rb"listening on (http://127\.0\.0\.1:\d+/mcp)/one\s", output.read_bytes())):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise Failure("the gateway did not start")
                time.sleep(0.05)
            self.root = ready[1].decode()
            yield
        finally:
            process.terminate()
            process.wait(STOP_SECONDS)


def refused_by(answer: dict, rule: str, reason: str) -> None:
    """The agent is told that it is the policy, by which rule and why."""
    if answer["event"] != "result" or not answer["isError"]:
        raise Failure(f"a refused call is answered with an error result, but the client got {answer}")
    if answer["meta"].get(META + "rule") != rule or reason not in answer["text"]:
        raise Failure(f"the refusal is not that of {rule}: {answer}")


def allowed(client: Conversation, word: str) -> None:
    if not passed(answer := client.echo(word), word):
        raise Failure(f"an allowed call was answered {answer}")


def not_let_in(client: Conversation, word: str) -> None:
    """401 is the end of some clients, and an error for others. None of them gets a result."""
    try:
        answer = client.echo(word)
    except (Failure, OSError):
        return
    if answer["event"] != "error":
        raise Failure(f"a call with a revoked token was answered {answer}")


def meet_the_gateway(gateway: Gateway, command: list, client: Client, logs: Path) -> None:
    word = f"{client.name}-{client.mode}"
    gateway.put(f"{word}.json", REFUSE)
    tokens = {
        "alice": gateway.grant(f"alice-{word}", "one", "allow.json"),
        "bob": gateway.grant(f"bob-{word}", "one", f"{word}.json"),
        "carol": gateway.grant(f"carol-{word}", "two", "claims.json", "--claim", "team=ops"),
    }
    with contextlib.ExitStack() as stack:
        open_one = lambda name, server: stack.enter_context(
            contextlib.closing(
                Conversation(
                    [*command, f"{gateway.root}/{server}", client.mode],
                    logs / f"{word}-{name}.log",
                    {"TOKEN": tokens[name]},
                )
            )
        )
        alice, bob, carol = open_one("alice", "one"), open_one("bob", "one"), open_one("carol", "two")
        allowed(alice, f"{word}-alice")
        refused_by(bob.echo(f"{word}-bob"), "/tools/echo/action", "Not for you.")
        allowed(carol, f"{word}-carol")

        gateway.command("grant", "revoke", f"alice-{word}")
        not_let_in(alice, f"{word}-alice")
        refused_by(bob.echo(f"{word}-bob"), "/tools/echo/action", "Not for you.")

        gateway.put(f"{word}.json", ALLOW)
        allowed(bob, f"{word}-bob")

        gateway.command("lockdown", "on", "--grant", f"carol-{word}")
        answer = carol.echo(f"{word}-carol")
        if answer["event"] != "result" or not answer["isError"] or "locked" not in answer["text"]:
            raise Failure(f"a call while its grant is locked was answered {answer}")
        allowed(bob, f"{word}-bob")
        gateway.command("lockdown", "off", "--grant", f"carol-{word}")
        allowed(carol, f"{word}-carol")


# How often the servers run what each caller asks for: alice at one, bob at one, carol at two.
EXPECTED = (1, 2, 2)


def drive(gateway: Gateway, command: list, client: Client, logs: Path) -> list[str]:
    try:
        meet_the_gateway(gateway, command, client, logs)
    except (Failure, OSError, ValueError) as failure:
        return [str(failure)]
    return []


def executed(call_log: Path) -> Counter:
    return Counter(json.loads(line)["message"] for line in call_log.read_text(encoding="utf-8").splitlines())


def locked_down(gateway: Gateway, command: list, client: Client, logs: Path) -> list[str]:
    """One command, and nobody gets anything."""
    token = gateway.grant("dave", "two", "allow.json")
    errors = logs / "locked-down.log"
    arguments = [*command, f"{gateway.root}/two", client.mode]
    with contextlib.closing(Conversation(arguments, errors, {"TOKEN": token})) as dave:
        allowed(dave, "dave")
        gateway.command("lockdown", "on")
        answer = dave.echo("dave")
        gateway.command("lockdown", "off")
        allowed(dave, "dave")
    return [] if answer.get("isError") else [f"a call during lockdown was answered {answer}"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--installed", type=Path, required=True, help="where `gateway` installed servers and clients")
    parser.add_argument("--proxy", type=Path, required=True, help="the binary under test")
    options = parser.parse_args()
    end_children_on_signals()

    installed = options.installed.absolute()
    logs = installed / "logs-gateway"
    logs.mkdir(exist_ok=True)
    for old in logs.iterdir():
        old.unlink()
    call_logs = {name: logs / f"calls-{name}.jsonl" for name in ("one", "two")}
    outputs = [logs / "one.log", logs / "two.log", logs / "gateway.log"]
    server = [installed / "python-2/bin/python", HERE / "servers/fastmcp_server.py"]
    command = lambda client: client_program(client.name, installed, Path())
    with contextlib.ExitStack() as stack:
        upstreams = {}
        for (name, call_log), output in zip(call_logs.items(), outputs, strict=False):
            call_log.touch()
            running = listening(server, output, server_environment(call_log))
            upstreams[name] = stack.enter_context(running)
        gateway = Gateway(options.proxy.absolute(), logs, upstreams)
        stack.enter_context(gateway.serving(outputs[2]))
        with ThreadPoolExecutor(len(TOKEN_CLIENTS)) as pool:
            found = [pool.submit(drive, gateway, command(client), client, logs) for client in TOKEN_CLIENTS]
        problems = {client: future.result() for client, future in zip(TOKEN_CLIENTS, found, strict=True)}
        last = locked_down(gateway, command(TOKEN_CLIENTS[0]), TOKEN_CLIENTS[0], logs)
    one, two = (executed(call_log) for call_log in call_logs.values())
    for client, wrong in problems.items():
        word = f"{client.name}-{client.mode}"
        ran = (one[f"{word}-alice"], one[f"{word}-bob"], two[f"{word}-carol"])
        if not wrong and ran != EXPECTED:
            wrong.append(f"the servers executed {ran} calls instead of {EXPECTED}")
    if not last and two["dave"] != 2:
        last.append(f"the server executed {two['dave']} calls around a lockdown instead of 2")
    log = outputs[2].read_text(encoding="utf-8", errors="replace")
    if "mcpp_" in log:
        last.append("a token is in the log of the gateway")
    named = {f"{client.name} {client.mode}": wrong for client, wrong in problems.items()}
    return report({**named, "everything locked down": last}, outputs)


if __name__ == "__main__":
    sys.exit(main())
