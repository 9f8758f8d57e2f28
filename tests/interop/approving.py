"""What the calls of real MCP clients are seen with that somebody has to approve first: the server, the proxy in front of
it, where an operator decides, and the client programs. `drive_approvals.py` has what they do.
"""

import contextlib
import json
import re
import threading
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from drive import HERE, META, MODERN, Client, Failure, environment, listening, read_calls, server_environment
from drive_limits import Conversation, Relay

TOKEN = "operators-token-0123456789"
PUBLIC = "https://gateway.example.com"

# Less than a call is held, which is 25 s: nothing may pass because that is over.
SOON_SECONDS = 20

# Client programs that begin at once: that is most of the work, and each has a time to be done in.
BEGINNING = threading.Semaphore(4)


def eventually(what: str, look, seconds: int = SOON_SECONDS):
    """What `look` gives, once it gives something."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() > deadline:
            raise Failure(f"after {seconds} s: {what}")
        time.sleep(0.05)
    return found


@dataclass(frozen=True)
class Site:
    """A server behind the proxy, and everything that is to be seen of them."""

    name: str
    proxy: str
    admin: str
    calls: Path
    log: Path

    def requests(self, state: str) -> list[dict]:
        return self.ask(f"?state={state}")

    def ask(self, path: str, method: str = "GET") -> list | dict:
        headers = {"authorization": f"Bearer {TOKEN}"}
        request = urllib.request.Request(self.admin + path, headers=headers, method=method)
        with urllib.request.urlopen(request, timeout=SOON_SECONDS) as answer:
            return json.load(answer)

    def waiting(self, word: str) -> str:
        """The request for the call with this word, once it waits."""

        def look() -> str | None:
            pending = self.requests("pending")
            return next((request["id"] for request in pending if request["arguments"]["message"] == word), None)

        return eventually(f"nobody is asked about {word}", look)

    def approve(self, request: str) -> None:
        self.ask(f"/{request}/approve", "POST")

    def deny(self, request: str) -> None:
        self.ask(f"/{request}/deny", "POST")

    def state(self, request: str) -> str:
        return self.ask(f"/{request}")["state"]

    def page(self, url: str) -> str:
        """What a browser is shown at a URL that a client was told."""
        if not url.startswith(f"{PUBLIC}/approvals/"):
            raise Failure(f"the page is at {url}")
        local = self.proxy.removesuffix("/mcp") + url.removeprefix(PUBLIC)
        request = urllib.request.Request(local, headers={"host": PUBLIC.removeprefix("https://")})
        with urllib.request.urlopen(request, timeout=SOON_SECONDS) as answer:
            return answer.read().decode()

    def ran(self, word: str) -> list[dict]:
        return [line for line in read_calls(self.calls) if line.get("message") == word]

    def refused(self, caller: str) -> int:
        """How many calls of this caller the proxy says that it refused; to be told to wait is to be refused, too."""
        return self.log.read_text(encoding="utf-8").count(f'refused caller="{caller}"')


class Talk(Conversation):
    """A client program in front of a site."""

    def call(self, tool: str, word: str, *answers: dict, **more: object) -> None:
        self.send({"name": tool, "arguments": {"message": word}, "answers": answers, **more})

    def asked(self, mode: str) -> dict:
        """What the client was asked while it makes a call."""
        line = self.line()
        if line["event"] != "elicited" or line["params"].get("mode", "form") != mode:
            raise Failure(f"the client should have been asked by {mode}, but said {line}")
        return line["params"]

    def passes(self, text: str) -> None:
        answer = self.line()
        if answer["event"] != "result" or answer["isError"] or answer["text"] != text:
            raise Failure(f"instead of {text} the client got {answer}")

    def is_refused(self, text: str, request: str | None = None) -> dict:
        """The call is answered with an error result that says this, about this request."""
        answer = self.line()
        if answer["event"] != "result" or not answer["isError"] or text not in answer["text"]:
            raise Failure(f"instead of a refusal that says {text!r} the client got {answer}")
        if not answer["text"].startswith("Policy violation:"):
            raise Failure(f"the refusal does not say what it is: {answer}")
        if request is not None and answer["meta"].get(META + "approvalId") != request:
            raise Failure(f"the refusal is not about {request}: {answer}")
        return answer

    def is_sent_to_a_page(self) -> str:
        """The call is answered with the error of 2025-11-25 that names a page. Gives its URL."""
        answer = self.line()
        if answer["event"] != "error" or answer.get("code") != -32042 or len(answer["elicitations"]) != 1:
            raise Failure(f"instead of an error that names a page the client got {answer}")
        page = answer["elicitations"][0]
        if page["mode"] != "url":
            raise Failure(f"the page is {page}")
        return page["url"]


class Trial:
    """One client, with an address of its own, in front of a site."""

    def __init__(self, site: Site, client: Client, command: list, address: str, logs: Path) -> None:
        self.site, self.client, self.command, self.logs = site, client, command, logs
        self.address, self.relay = address, Relay(site.proxy, address)

    def word(self, scenario: str) -> str:
        return f"{scenario}-{self.client.name}-{self.client.mode}"

    def talk(self, scenario: str, **variables: str) -> contextlib.closing:
        command = [*self.command, self.relay.url, self.client.mode]
        errors = self.logs / f"{self.site.name}-{self.word(scenario)}.log"
        with BEGINNING:
            talk = Talk(command, errors, variables)
        if (talk.protocol == MODERN) != (self.client.mode == "auto"):
            talk.close()
            raise Failure(f"the client agreed on {talk.protocol}")
        return contextlib.closing(talk)

    def is_not_held(self, refused: int, seconds: int = SOON_SECONDS) -> None:
        """Waits until more calls of this client were refused than these."""
        eventually("the call is still held", lambda: self.site.refused(self.address) > refused, seconds)

    def has_run(self, word: str, times: int) -> None:
        found = len(self.site.ran(word))
        if found != times:
            raise Failure(f"the server executed {word} {found} times instead of {times}")


def open_site(
    stack: contextlib.ExitStack, name: str, server: list, policy: str, proxy: Path, logs: Path
) -> Site:
    calls, output = logs / f"{name}-calls.jsonl", logs / f"{name}-proxy.log"
    calls.touch()
    upstream = stack.enter_context(listening(server, logs / f"{name}-server.log", server_environment(calls)))
    serve = [proxy, "serve", "--policy", HERE / "policies" / policy, "--upstream", upstream, "--listen", "127.0.0.1:0"]
    serve += ["--admin", "127.0.0.1:0", "--public-url", PUBLIC]
    variables = {**environment(), "MCP_POLICY_ADMIN_TOKENS": f"dora:{TOKEN}"}
    url = stack.enter_context(listening(serve, output, variables))
    admin = re.search(r"approvals wait at (http://\S+)", output.read_text(encoding="utf-8"))
    if not admin:
        raise Failure(f"{output.name} does not say where approvals wait")
    return Site(name, url, admin[1], calls, output)
