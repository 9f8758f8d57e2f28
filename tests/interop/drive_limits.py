#!/usr/bin/env python3
"""Lets real MCP clients meet a limit of ten calls a minute behind the proxy, all at once.

`limits` installs everything and calls this. The client programs are those of `drive.py`. Callers are told apart by the
address that they come from, so each comes through a relay of this driver's with a loopback address of its own. What the
server executed is in its own call log; each caller has a word of its own in it.
"""

import argparse
import contextlib
import json
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

from drive import (
    CLIENTS,
    HERE,
    META,
    Client,
    Failure,
    client_program,
    end_children_on_signals,
    environment,
    listening,
    report,
    server_environment,
)

MAX = 10
WINDOW_SECONDS = 60
RULE = "/tools/echo/limits/rate"
LINE_SECONDS = 120

HTTP_CLIENTS = [client for client in CLIENTS if client.mode != "sse"]


class Relay:
    """Everything that is sent to its port goes on to the proxy from one address, and back."""

    def __init__(self, proxy: str, source: str) -> None:
        target = urlsplit(proxy)
        self.target, self.source = (target.hostname, target.port), source
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}{target.path}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                server = socket.create_connection(self.target, source_address=(self.source, 0))
                for one, other in ((client, server), (server, client)):
                    threading.Thread(target=self.pass_on, args=(one, other), daemon=True).start()

    @staticmethod
    def pass_on(one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(65536):
                other.sendall(data)
        with contextlib.suppress(OSError):
            other.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self.listener.close()


class Conversation:
    """A client program that is asked one thing after another."""

    def __init__(self, command: list, errors: Path, variables: dict | None = None) -> None:
        self.errors = errors
        with errors.open("wb") as sink:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=sink,
                env={**environment(), **(variables or {})},
            )
        self.protocol = self.line()["protocol"]
        self.names = self.line()["names"]

    def line(self) -> dict:
        # A client that hangs is ended, which ends its output.
        timer = threading.Timer(LINE_SECONDS, self.process.kill)
        timer.start()
        try:
            line = self.process.stdout.readline()
        finally:
            timer.cancel()
        if not line:
            raise Failure(f"the client said nothing; see {self.errors.name}")
        return json.loads(line)

    def send(self, line: dict) -> None:
        self.process.stdin.write(json.dumps(line).encode() + b"\n")
        self.process.stdin.flush()

    def call(self, name: str, arguments: dict) -> dict:
        self.send({"name": name, "arguments": arguments})
        return self.line()

    def echo(self, word: str) -> dict:
        return self.call("echo", {"message": word})

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def passed(answer: dict, word: str) -> bool:
    return answer["event"] == "result" and not answer["isError"] and answer["text"] == f"Echo: {word}"


def milliseconds_to_wait(answer: dict) -> int:
    """What a refusal says that it has to say: that it is one, by which rule, and when to try again."""
    if answer["event"] != "result" or not answer["isError"]:
        raise Failure(f"a call beyond the limit is answered with an error result, but the client got {answer}")
    text, meta = answer["text"], answer["meta"]
    if not text.startswith("Policy violation:") or f"[rule {RULE}]" not in text or "Try again in " not in text:
        raise Failure(f"the refusal does not say what it has to: {text}")
    if meta.get(META + "rule") != RULE:
        raise Failure(f"the rule in _meta is not {RULE}: {meta}")
    wait = meta.get(META + "retryAfterMs")
    if not isinstance(wait, int) or not 0 < wait <= WINDOW_SECONDS * 1000:
        raise Failure(f"it is not told when to try again: {meta}")
    return wait


def meet_the_limit(command: list, relays: tuple[Relay, Relay], mode: str, word: str, errors: Path) -> None:
    """Ten calls pass, the eleventh does not, another caller's does; and after as long as was said it works again."""
    one, another = relays
    with contextlib.closing(Conversation([*command, one.url, mode], errors)) as client:
        for number in range(MAX):
            if not passed(answer := client.echo(word), word):
                raise Failure(f"call {number + 1} of {MAX} was answered {answer}")
        wait = milliseconds_to_wait(client.echo(word))
        refused_at = time.monotonic()
        theirs = f"{word}-of-another"
        with contextlib.closing(Conversation([*command, another.url, mode], errors.with_suffix(".another"))) as other:
            if not passed(answer := other.echo(theirs), theirs):
                raise Failure(f"another caller was answered {answer}")
        # Still, unless so much time has gone by.
        if time.monotonic() - refused_at < wait / 1000 - 5:
            milliseconds_to_wait(client.echo(word))
        time.sleep(max(0, refused_at + wait / 1000 - time.monotonic()))
        if not passed(answer := client.echo(word), word):
            raise Failure(f"after {wait} ms, as it was told, it was answered {answer}")


def drive(client: Client, number: int, command: list, proxy: str, errors: Path) -> list[str]:
    word = f"{client.name}-{client.mode}"
    relays = tuple(Relay(proxy, f"127.0.{half}.{number + 1}") for half in (1, 2))
    try:
        meet_the_limit(command, relays, client.mode, word, errors)
    except (Failure, OSError, ValueError) as failure:
        return [str(failure)]
    finally:
        for relay in relays:
            relay.close()
    return []


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--installed", type=Path, required=True, help="where `limits` installed server and clients")
    parser.add_argument("--proxy", type=Path, required=True, help="the binary under test")
    parser.add_argument("--rmcp-client", type=Path, required=True, help="the binary of clients/rmcp_client.rs")
    options = parser.parse_args()
    end_children_on_signals()

    installed, rmcp_client = options.installed.absolute(), options.rmcp_client.absolute()
    logs = installed / "logs-limits"
    logs.mkdir(exist_ok=True)
    for old in logs.iterdir():
        old.unlink()
    call_log = logs / "calls.jsonl"
    call_log.touch()
    server = [installed / "python-2/bin/python", HERE / "servers/fastmcp_server.py"]
    policy = HERE / "policies/limits.json"
    outputs = [logs / "server.log", logs / "proxy.log"]
    with contextlib.ExitStack() as stack:
        upstream = stack.enter_context(listening(server, outputs[0], server_environment(call_log)))
        serve = [options.proxy.absolute(), "serve", "--policy", policy, "--upstream", upstream, "--listen", "127.0.0.1:0"]
        proxy = stack.enter_context(listening(serve, outputs[1], environment()))
        with ThreadPoolExecutor(len(HTTP_CLIENTS)) as pool:
            found = [
                pool.submit(
                    drive,
                    client,
                    number,
                    client_program(client.name, installed, rmcp_client),
                    proxy,
                    logs / f"{client.name}-{client.mode}.log",
                )
                for number, client in enumerate(HTTP_CLIENTS)
            ]
        problems = {client: future.result() for client, future in zip(HTTP_CLIENTS, found, strict=True)}
    executed = Counter(json.loads(line)["message"] for line in call_log.read_text(encoding="utf-8").splitlines())
    for client, wrong in problems.items():
        word = f"{client.name}-{client.mode}"
        ran = (executed[word], executed[f"{word}-of-another"])
        if not wrong and ran != (MAX + 1, 1):
            wrong.append(f"the server executed {ran} calls instead of {(MAX + 1, 1)}")
    return report({f"{client.name} {client.mode}": wrong for client, wrong in problems.items()}, outputs)


if __name__ == "__main__":
    sys.exit(main())
