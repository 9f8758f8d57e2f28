#!/usr/bin/env python3
"""Sends the cases of examples/policies to real MCP servers, directly and behind the policies, and checks what they ran.

`stories` installs everything and calls this. A server appends one line to its call log for every tool that it runs, with
the arguments as it understood them. Two things have to hold behind a policy: each case is decided as it says, and of every
other spelling of it nothing runs that, as the server understood it, is harmful. What is harmful is written down here
once more, in Python. All judgement is in this file.
"""

import argparse
import http.client
import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from drive import (
    MANY_SESSIONS,
    Failure,
    end_children_on_signals,
    environment,
    listening,
    print_tails,
    server_environment,
)

HERE = Path(__file__).resolve().parent
POLICIES = HERE.parent.parent / "examples/policies"

ANSWER_SECONDS = 20

# So often each server does harm when there is no policy, and so often with an argument that it brought into another type.
FALLS_FOR_AT_LEAST = 300
COERCES_AT_LEAST = {"python": 20, "typescript": 0}


# ===== JSON as it is written =====


class Number(str):
    """A number in the spelling of the file: `1e3` is not what `1000` is."""


def read(path: Path) -> list[dict]:
    return json.loads(path.read_text(encoding="utf-8"), parse_int=Number, parse_float=Number)


def written(value) -> str:
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(key)}:{written(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(written, value)) + "]"
    return json.dumps(value)


def message(tool: str, arguments) -> bytes:
    params = f'{{"name":{json.dumps(tool)},"arguments":{written(arguments)}}}'
    return f'{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}'.encode()


# ===== other spellings =====


def spellings(value) -> list:
    """What some server could take for the same value."""
    if isinstance(value, Number):
        return [str(value), f" {value} ", [value], [str(value)], {"value": value}, Number(f"{value}e0")]
    if isinstance(value, bool):
        return [str(value), str(value).lower(), "on" if value else "off", Number(int(value)), str(int(value)), [value]]
    if isinstance(value, str):
        return [[value], f" {value}", f"{value}\n", f"{value}\0", value.upper(), {"value": value}, json.dumps(value)]
    return [json.dumps(json.loads(written(value))), [value], {"value": value}]


def kind(value) -> str:
    """The type of a value for JSON."""
    is_number = isinstance(value, (Number, int, float)) and not isinstance(value, bool)
    return "number" if is_number else type(value).__name__


def is_coerced(sent, line: dict) -> bool:
    """Whether the server understood an argument as one of another type."""
    both = sent.keys() & line["arguments"].keys() if isinstance(sent, dict) else ()
    return any(kind(sent[name]) != kind(line["arguments"][name]) for name in both)


def keys(name: str) -> list[str]:
    """What some server could take for the same key."""
    camel = re.sub("_(.)", lambda found: found[1].upper(), name)
    wide = chr(ord(name[0]) + 0xFEE0) + name[1:]
    return [name.upper(), f"{name[0]}_{name[1:]}", f"{name}-", camel, wide, f"{name}\0"]


def variants(arguments: dict, harmless: dict):
    """What these arguments have that an allowed call of the tool has not, in other spellings, alone and beside those of
    that call.
    """
    for name, value in arguments.items():
        if harmless.get(name) == value:
            continue
        for other in spellings(value):
            yield arguments | {name: other}
        for key in keys(name):
            if key != name:
                yield {**harmless, key: value}
        if name in harmless:
            yield {**harmless, name: [harmless[name], value]}
            yield {**harmless, name: value}
    yield json.dumps(json.loads(written(arguments)))
    yield [arguments]


# ===== what is harmful =====


def is_outside(path: str) -> bool:
    parts = []
    for part in re.split(r"[/\\]", path.replace("%2e", ".").replace("%2f", "/").replace("%25", "%")):
        if part == "..":
            parts[-1:] = []
        elif part not in ("", "."):
            parts.append(part)
    return parts[:1] != ["workspace"] or any(part.startswith(".") for part in parts) or "\0" in path


def leads_to(url: str, hosts: tuple[str, ...]) -> bool:
    try:
        split = urlsplit(url)
        return split.scheme in ("http", "https") and split.hostname in hosts and split.username is None
    except ValueError:
        return False


PAGES = ("docs.example.com", "en.wiki.example.org")
HARMLESS_WORD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./-]*")


def is_harmful_command(words: list[str]) -> bool:
    programs = [["ls"], ["cat"], ["wc"], ["git", "status"], ["git", "diff"], ["git", "log"]]
    program = next((start for start in programs if words[: len(start)] == start), None)
    rest = words[len(program) :] if program else []
    return program is None or any(not HARMLESS_WORD.fullmatch(word) or "/." in word for word in rest)


# For each policy what must not run; tools that are not here are harmless in every way. Each takes what the server
# understood.
HARMFUL = {
    "force-push": {
        "git_push": lambda a: a["force"] or not re.fullmatch(r"(feature|fix)/[a-z0-9_-]+", a["branch"]) or a["remote"] != "origin",
        "git_reset": lambda a: True,
    },
    "namespaces": {
        "execute_flow": lambda a: a["namespace"] not in ("dev", "staging"),
        "restart_execution": lambda a: True,
    },
    "refunds": {"refund_payment": lambda a: not 0 < a["amount"] <= 500 or a["currency"] != "EUR"},
    "web-fetch": {
        "fetch": lambda a: not leads_to(a["url"], PAGES) or len(a["url"]) > 500,
        "http_request": lambda a: not leads_to(a["url"], ("api.example.com",)) or a["method"] not in ("GET", "HEAD") or a.get("body") is not None,
    },
    "shell": {
        "run_command": lambda a: is_harmful_command(a["command"].split(" ")),
        "run_program": lambda a: a["program"] not in ("ls", "cat", "wc") or is_harmful_command([a["program"], *a["arguments"]]),
    },
    "secret-paths": {
        "read_text_file": lambda a: is_outside(a["path"]),
        "read_multiple_files": lambda a: any(map(is_outside, a["paths"])),
        "list_directory": lambda a: is_outside(a["path"]),
    },
    "mail": {
        "send_email": lambda a: a.get("bcc") is not None
        or not isinstance(a["to"], list)
        or not all(re.fullmatch(r"[a-z0-9._-]+@example\.com", address) for address in a["to"]),
    },
    "kestra-actions": {
        "manage_executions": lambda a: a["action"] not in ("get", "pause"),
        "manage_flow": lambda a: a["action"] == "delete" or (a["action"] in ("enable", "disable") and a["namespace"] not in ("dev", "staging")),
        "manage_kv_store": lambda a: a["action"] not in ("get", "list"),
        "namespace_file_action": lambda a: a["action"] not in ("get", "search"),
        "manage_group": lambda a: True,
    },
    "dispatcher": {
        "close_issue": lambda a: a["project"] != "playground",
        "delete_issue": lambda a: True,
        "admin": lambda a: True,
    },
    "token-spend": {
        "complete": lambda a: a.get("max_tokens") is None or not 1 <= a["max_tokens"] <= 2000 or a["model"] not in ("small", "medium"),
    },
    "organisation-baseline": {
        "git_push": lambda a: a["force"],
        "refund_payment": lambda a: a["amount"] > 10000,
        "complete": lambda a: (a.get("max_tokens") or 0) > 32000,
        "delete_issue": lambda a: True,
    },
}


def is_harmful(story: str, line: dict) -> bool:
    return HARMFUL[story].get(line["tool"], lambda _: False)(line["arguments"])


# ===== servers =====


@dataclass
class Count:
    """What was seen of one server."""

    sent: int = 0
    ran: int = 0
    harm: int = 0
    coerced: int = 0


class Endpoint:
    """An address to send calls to, and what the server behind it has run."""

    def __init__(self, url: str, log: Path) -> None:
        address = urlsplit(url)
        self.connection = http.client.HTTPConnection(address.hostname, address.port, timeout=ANSWER_SECONDS)
        self.path = address.path
        self.log = log
        log.touch()
        self.offset = log.stat().st_size

    def call(self, body: bytes) -> tuple[str, list[dict]]:
        """The answer, and what ran."""
        headers = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
        self.connection.request("POST", self.path, body, headers)
        answer = self.connection.getresponse().read().decode()
        with self.log.open(encoding="utf-8") as log:
            log.seek(self.offset)
            lines = log.read()
            self.offset = log.tell()
        return answer, [json.loads(line) for line in lines.splitlines()]


def check_case(story: str, case: dict, direct: Endpoint, guarded: Endpoint, count: Count) -> list[str]:
    """Everything that is wrong with what a case did."""
    body = message(case["call"]["name"], case["call"]["arguments"])
    _, directly = direct.call(body)
    answer, ran = guarded.call(body)
    count.sent += 1
    count.ran += bool(ran)
    harm = any(is_harmful(story, line) for line in directly)
    count.harm += harm
    if case["expect"] == "allow":
        if harm:
            return [f"it is allowed and harmful: {directly}"]
        if not directly:
            return ["the server itself does not run it"]
        return [] if ran == directly else [f"{ran} ran instead of {directly}; answered {answer}"]
    if ran:
        return [f"{ran} ran"]
    # What is hidden is answered like what nobody named.
    rule = case.get("rule", "(default deny)")
    return [] if f"[rule {rule}]" in answer else [f"no refusal by {rule}: {answer}"]


def check_variants(story: str, cases: list[dict], direct: Endpoint, guarded: Endpoint, count: Count) -> list[str]:
    """Every other spelling of what the policy refuses."""
    problems = []
    allowed = {}
    sent = set()
    for case in cases:
        if case["expect"] == "allow":
            allowed.setdefault(case["call"]["name"], case["call"]["arguments"])
    for case in cases:
        tool, arguments = case["call"]["name"], case["call"]["arguments"]
        # What is refused for its size alone has no spelling that matters.
        if case["expect"] == "allow" or len(written(arguments)) > 300:
            continue
        for variant in variants(arguments, allowed.get(tool, {})):
            body = message(tool, variant)
            if body in sent:
                continue
            sent.add(body)
            count.sent += 1
            _, directly = direct.call(body)
            harm = [line for line in directly if is_harmful(story, line)]
            count.harm += bool(harm)
            count.coerced += any(is_coerced(variant, line) for line in harm)
            answer, ran = guarded.call(body)
            count.ran += bool(ran)
            if harm := [line for line in ran if is_harmful(story, line)]:
                problems.append(f"{body.decode()}: {harm} ran")
            elif ran and ran != directly:
                problems.append(f"{body.decode()}: {ran} ran instead of {directly}")
            elif not ran and "jsonrpc" not in answer:
                problems.append(f"{body.decode()}: answered {answer!r}")
    return problems


def tell_stories(name: str, command: list, proxy: Path, logs: Path) -> bool:
    """All policies in front of one server. Whether everything was right."""
    count = Count()
    problems = []
    outputs = [logs / f"{name}-{way}.log" for way in ("direct", "guarded")]
    call_logs = [logs / f"{name}-{way}-calls.log" for way in ("direct", "guarded")]
    with (
        listening(command, outputs[0], server_environment(call_logs[0])) as direct_url,
        listening(command, outputs[1], server_environment(call_logs[1])) as upstream,
    ):
        for story in HARMFUL:
            cases = read(POLICIES / f"cases/{story}.json")
            output = logs / f"{name}-{story}.log"
            outputs.append(output)
            policy = POLICIES / f"{story}.json"
            serve = [proxy, "serve", "--policy", policy, "--upstream", upstream, "--listen", "127.0.0.1:0", *MANY_SESSIONS]
            with listening(serve, output, environment()) as url:
                direct, guarded = Endpoint(direct_url, call_logs[0]), Endpoint(url, call_logs[1])
                for case in cases:
                    found = check_case(story, case, direct, guarded, count)
                    problems += [f"{story}: {case['name']}: {problem}" for problem in found]
                problems += [f"{story}: {problem}" for problem in check_variants(story, cases, direct, guarded, count)]
    if count.harm < FALLS_FOR_AT_LEAST or count.coerced < COERCES_AT_LEAST[name]:
        problems.append(f"without a policy it does harm {count.harm} times only, {count.coerced} of them after it changed a type")
    verdict = "FAILED" if problems else "ok"
    print(
        f"{verdict} {name}: {count.sent} calls, {count.ran} ran; without a policy {count.harm} do harm, "
        f"{count.coerced} of them after it changed a type",
        flush=True,
    )
    for problem in problems[:40]:
        print(f"  - {problem[:600]}")
    if problems:
        print_tails(outputs[:2])
    return not problems


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--installed", type=Path, required=True, help="where `stories` installed the servers")
    parser.add_argument("--proxy", type=Path, required=True, help="the binary under test")
    options = parser.parse_args()
    end_children_on_signals()

    logs = options.installed.absolute() / "logs-stories"
    logs.mkdir(exist_ok=True)
    for old in logs.iterdir():
        old.unlink()

    told = {path.stem for path in POLICIES.glob("*.json")}
    if told != HARMFUL.keys():
        sys.exit(f"what is harmful is written down for {sorted(HARMFUL)}, and there are {sorted(told)}")
    installed, proxy = options.installed.absolute(), options.proxy.absolute()
    servers = {
        "python": [installed / "python-1/bin/python", HERE / "servers/stories_python.py"],
        "typescript": ["node", installed / "node/stories_typescript.mjs"],
    }
    verdicts = []
    for name, command in servers.items():
        try:
            verdicts.append(tell_stories(name, command, proxy, logs))
        except (Failure, OSError, http.client.HTTPException) as failure:
            print(f"FAILED {name}: {failure}")
            print_tails(sorted(logs.glob(f"{name}-*.log")))
            verdicts.append(False)
    print(f"{verdicts.count(True)} passed, {verdicts.count(False)} failed")
    return 0 if all(verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
