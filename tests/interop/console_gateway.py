"""A gateway with a console in front of servers that offer what a file says, and its real clients."""

import contextlib
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from drive import HERE, META, START_SECONDS, STOP_SECONDS, Failure, environment
from drive_browser import expect
from drive_limits import Conversation

OPERATORS = {"alice": "admin", "bob": "policy-manager", "carol": "viewer"}
TOKENS = {name: f"{name}s-token-0123456789" for name in OPERATORS}


class Console:
    """A gateway with a console, and what has been done behind it."""

    def __init__(self, proxy: Path, installed: Path, logs: Path) -> None:
        self.proxy, self.installed, self.logs = proxy, installed, logs
        self.folder = logs / "gateway"
        self.folder.mkdir(parents=True)
        self.policy = self.folder / f"{logs.name}.json"
        for path in (self.policy, self.folder / "all.json"):
            path.write_text('{ "version": "1", "default": "allow" }\n', encoding="utf-8")
        self.call_log = logs / "calls.jsonl"
        self.call_log.touch()
        self.output = logs / "gateway.log"
        # In memory, if that is possible: a call is refused whose record a busy disk has not taken in 100 ms.
        memory = Path("/dev/shm")
        self.records = tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None)
        self.clients = 0
        self.admin = self.mcp = ""

    def write(self, **servers: tuple[Path, str]) -> None:
        """The configuration: the catalogue of each server, and what else is said of it."""
        lines = ['listen = "127.0.0.1:0"', 'admin = "127.0.0.1:0"', f'audit = "sqlite:{self.records.name}/audit.db"']
        for name, (catalogue, more) in servers.items():
            command = [sys.executable, "-B", HERE / "servers/catalogue.py", catalogue]
            lines += [f"[servers.{name}]", f"command = {json.dumps([str(word) for word in command])}"]
            lines += [f"env = {{ CALL_LOG = {json.dumps(str(self.call_log))} }}", more]
        (self.folder / "gateway.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")

    @contextlib.contextmanager
    def serving(self) -> Iterator[None]:
        roles = ",".join(f"{name}:{role}" for name, role in OPERATORS.items())
        tokens = ",".join(f"{name}:{token}" for name, token in TOKENS.items())
        variables = {"MCP_POLICY_ADMIN_TOKENS": tokens, "MCP_POLICY_ADMIN_ROLES": roles}
        command = [self.proxy, "serve", "--config", self.folder / "gateway.toml"]
        with self.output.open("wb") as sink:
            every = {**environment(), **variables}
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, env=every)
        try:
            self.admin = self.said(process, r"the console is at (http://\S+?)/\s")
            self.mcp = self.said(process, r"listening on (http://127\.0\.0\.1:\d+/mcp)/")
            yield
        finally:
            process.terminate()
            process.wait(STOP_SECONDS)

    def said(self, process: subprocess.Popen, what: str) -> str:
        deadline = time.monotonic() + START_SECONDS
        while not (found := re.search(what, self.output.read_text(encoding="utf-8", errors="replace"))):
            if process.poll() is not None or time.monotonic() > deadline:
                raise Failure("the gateway did not start")
            time.sleep(0.05)
        return found[1]

    @contextlib.contextmanager
    def agent(self, server: str, token: str = "") -> Iterator[Conversation]:
        """A real client of a server."""
        self.clients += 1
        command = [self.installed / "python-2/bin/python", HERE / "clients/python_2.py", f"{self.mcp}/{server}", "auto"]
        errors = self.logs / f"client-{self.clients}.log"
        with contextlib.closing(Conversation(command, errors, {"TOKEN": token} if token else None)) as agent:
            yield agent

    def saved(self) -> dict:
        return json.loads(self.policy.read_text(encoding="utf-8"))

    def executed(self) -> list[str]:
        lines = self.call_log.read_text(encoding="utf-8").splitlines()
        return [json.loads(line)["tool"] for line in lines]


def passes(agent: Conversation, tool: str, arguments: dict) -> None:
    answer = agent.call(tool, arguments)
    expect(answer["event"] == "result" and not answer["isError"], f"{tool} is allowed, and answered {answer}")


def is_refused(agent: Conversation, tool: str, arguments: dict, rule: str, reason: str = "") -> None:
    answer = agent.call(tool, arguments)
    expect(answer["event"] == "result" and answer["isError"], f"{tool} is refused, and answered {answer}")
    expect(answer["meta"].get(META + "rule") == rule, f"{tool} is refused by {answer['meta']} instead of {rule}")
    expect(reason in answer["text"], f"{reason!r} is not in {answer['text']!r}")
