#!/usr/bin/env python3
"""Runs the official MCP conformance suite against servers directly and through the proxy, and compares check by check.

`conformance` installs everything and calls this. With a policy that allows everything, every check of every scenario
has to come out the same through the proxy as directly, also when it charges every call. With one tool hidden, the scenario about that tool has to
change and nothing else. What the proxy makes better is in suite/improvements.json, with the reason.
"""

import argparse
import contextlib
import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

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

SUITE_SECONDS = 120

ALLOW_ALL = {"version": "1", "default": "allow", "methods": {"*": "allow"}}

# Whatever the suite calls is charged and allowed, so that the states of a call that takes several rounds are sealed.
CHARGED = {"rate_limit": {"max": 1_000_000, "window": 3600}}
LIMITED = {**ALLOW_ALL, "all_tools": CHARGED, "prompts": {"*": CHARGED}, "resources": {"*": CHARGED}}


@dataclass(frozen=True)
class Suite:
    """One way of running the conformance suite."""

    name: str
    package: str  # in suite/package.json
    everything: tuple[str, ...]
    one: tuple[str, ...]  # what a single scenario needs to run as it does among the others


SUITES = (
    Suite("2025-11-25", "conformance-0.2", ("--requirements", "2025-11-25"), ("--spec-version", "2025-11-25", "--force")),
    Suite("2026-07-28", "conformance-0.2", ("--requirements", "2026-07-28"), ("--spec-version", "2026-07-28", "--force")),
    Suite("0.1.16", "conformance-0.1", ("--suite", "all"), ()),
)


@dataclass(frozen=True)
class Server:
    """A server, and the least that each suite has to make of it directly: a suite that did not run finds nothing."""

    name: str
    green: bool  # nothing may fail directly either
    minimum: dict[str, tuple[int, int]]  # by suite: scenarios, and checks that pass
    hidden: tuple[str, str] | None  # a tool, and the scenario about it


FIXTURE = Server(
    name="fixture",
    green=True,
    minimum={"2025-11-25": (33, 84), "2026-07-28": (50, 197), "0.1.16": (32, 47)},
    hidden=("test_image_content", "tools-call-image"),
)

EVERYTHING = Server(
    name="everything",
    green=False,
    minimum={"2025-11-25": (33, 47), "2026-07-28": (49, 11), "0.1.16": (32, 13)},
    hidden=None,
)

# By scenario, the checks as the suite wrote them down.
Results = dict[str, list[dict]]


@dataclass(frozen=True)
class Difference:
    """A check that came out differently. One scenario can make a check several times."""

    scenario: str
    check: str
    directly: list[str]
    proxied: list[str]

    def is_worse(self) -> bool:
        """More failures, more failures and warnings, or fewer passes than directly."""
        before, after = Counter(self.directly), Counter(self.proxied)
        return (
            after["FAILURE"] > before["FAILURE"]
            or after["FAILURE"] + after["WARNING"] > before["FAILURE"] + before["WARNING"]
            or after["SUCCESS"] < before["SUCCESS"]
        )

    def __str__(self) -> str:
        directly, proxied = (" ".join(statuses) or "not made" for statuses in (self.directly, self.proxied))
        return f"{self.scenario} {self.check}: directly {directly}, through the proxy {proxied}"


class Runner:
    """Runs the suite, each time into a directory of its own."""

    def __init__(self, installed: Path, node: Path, output: Path) -> None:
        self.packages = installed / "suite/node_modules"
        self.node = node
        self.output = output
        self.runs = 0

    def run(self, suite: Suite, url: str, scenario: str | None = None) -> Results:
        self.runs += 1
        directory = self.output / f"{self.runs:02}-{suite.name}"
        program = self.packages / suite.package / "dist/index.js"
        selected = suite.everything if scenario is None else ("--scenario", scenario, *suite.one)
        command = [self.node, program, "server", "--url", url, *selected, "-o", directory]
        log = directory.with_suffix(".log")
        with log.open("wb") as sink:
            try:
                # Its exit code says whether checks failed, which is for the comparison to say.
                subprocess.run(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=sink,
                    stderr=sink,
                    timeout=SUITE_SECONDS,
                    env=environment(),
                    check=False,
                )
            except subprocess.TimeoutExpired:
                raise Failure(f"{suite.name} was not done after {SUITE_SECONDS} s: see {log}") from None
        return read_results(directory)


def read_results(directory: Path) -> Results:
    results = {}
    for checks in sorted(directory.glob("*/checks.json")):
        scenario = re.fullmatch(r"server-(.+?)-\d{4}-\d\d-\d\dT[-\d]+Z", checks.parent.name)
        if not scenario or scenario[1] in results:
            raise Failure(f"the suite wrote {checks.parent.name}, which is not expected")
        results[scenario[1]] = json.loads(checks.read_text(encoding="utf-8"))
    return results


def statuses(checks: list[dict]) -> dict[str, list[str]]:
    """By check, how it came out each time."""
    found = {}
    for check in checks:
        found.setdefault(check["id"], []).append(check["status"])
    return found


def compare_scenario(scenario: str, directly: Results, proxied: Results) -> list[Difference]:
    before, after = (statuses(results.get(scenario, [])) for results in (directly, proxied))
    return [
        Difference(scenario, check, before.get(check, []), after.get(check, []))
        for check in dict.fromkeys([*before, *after])
        if before.get(check) != after.get(check)
    ]


def compare(runner: Runner, suite: Suite, urls: tuple[str, str], directly: Results, proxied: Results) -> list:
    """The differences that are still there when the scenario runs once more on both sides."""
    differences = []
    for scenario in dict.fromkeys([*directly, *proxied]):
        first = compare_scenario(scenario, directly, proxied)
        if not first:
            continue
        again = [runner.run(suite, url, scenario) for url in urls]
        second = compare_scenario(scenario, *again)
        if not second:
            print(f"  flaky, the same when run again: {'; '.join(map(str, first))}")
            # What did not run at all is the same, too.
            if not all(again):
                raise Failure(f"{scenario} of {suite.name} did not run again by itself")
        differences += second
    return differences


def check_direct(server: Server, suite: Suite, directly: Results) -> list[str]:
    """A suite that ran must have found at least what is known to be there."""
    checks = [check for checks in directly.values() for check in checks]
    passed = sum(check["status"] == "SUCCESS" for check in checks)
    scenarios, minimum = server.minimum[suite.name]
    problems = []
    if len(directly) < scenarios:
        problems.append(f"only {len(directly)} scenarios ran directly instead of {scenarios}")
    if passed < minimum:
        problems.append(f"only {passed} checks pass directly instead of {minimum}")
    if server.green:
        problems += [
            f"{check['id']} is {check['status']} directly: {check.get('errorMessage')}"
            for check in checks
            if check["status"] in ("FAILURE", "WARNING")
        ]
    return problems


def check_same(server: Server, suite: Suite, differences: list[Difference], improvements: list[dict]) -> list[str]:
    """Nothing differs but what is known to be better."""
    known = {
        (entry["scenario"], check): entry
        for entry in improvements
        if server.name in entry["servers"] and suite.name in entry["suites"]
        for check in entry["checks"]
    }
    problems = []
    for difference in differences:
        listed = known.pop((difference.scenario, difference.check), None)
        if difference.is_worse() or not listed:
            problems.append(str(difference))
        else:
            print(f"  better: {difference}")
    problems += [f"{' '.join(key)} is listed as an improvement and is none" for key in known]
    return problems


def listed_tools(results: Results) -> set[str]:
    """The tools that the scenario about the list says it has seen."""
    return {
        name
        for check in results.get("tools-list", [])
        for name in (check.get("details") or {}).get("tools", [])
        if isinstance(name, str)
    }


def check_hidden(server: Server, directly: Results, proxied: Results, differences: list[Difference]) -> list[str]:
    """The scenario about the hidden tool has changed, and nothing else."""
    tool, scenario = server.hidden
    problems = [str(difference) for difference in differences if difference.scenario != scenario]
    if all(difference.scenario != scenario for difference in differences):
        problems.append(f"{tool} is hidden, and {scenario} is the same as without a policy")
    if listed_tools(directly) - listed_tools(proxied) != {tool}:
        problems.append(f"the tools that are missing from the list are not {tool} alone")
    return problems


def check_sealed(results: Results) -> list[str]:
    """Where there are states at all, the suite was given one of the proxy's."""
    seen = results.get("input-required-result-request-state")
    if seen is None or '"requestState": "mcp-policy.' in json.dumps(seen):
        return []
    return ["the state that the suite was given is not sealed"]


class Commands:
    """Where the installed programs are."""

    def __init__(self, installed: Path, proxy: Path, fixture: Path) -> None:
        self.node = installed / "node"
        self.proxy = proxy
        self.fixture = fixture

    def server(self, server: Server) -> list:
        if server is FIXTURE:
            return [self.fixture]
        everything = self.node / "node_modules/@modelcontextprotocol/server-everything/dist/index.js"
        return ["node", "--import", self.node / "record_calls.mjs", everything, "streamableHttp"]

    def proxy_for(self, policy: Path, upstream: str) -> list:
        return [self.proxy, "serve", "--policy", policy, "--upstream", upstream, "--listen", "127.0.0.1:0", *MANY_SESSIONS]


def report(name: str, counted: Results, problems: list[str]) -> bool:
    passed = sum(check["status"] == "SUCCESS" for checks in counted.values() for check in checks)
    print(f"{'FAILED' if problems else 'ok'} {name} ({len(counted)} scenarios, {passed} checks pass)", flush=True)
    for problem in problems:
        print(f"  - {problem[:500]}")
    return not problems


def drive_server(server: Server, commands: Commands, runner: Runner, improvements: list[dict]) -> list[bool]:
    """Every suite, directly and behind each policy, one after another."""
    output = runner.output
    logs = [output / f"{server.name}{part}.log" for part in ("", "-proxy", "-limited", "-hiding")]
    verdicts = []
    with contextlib.ExitStack() as stack:

        def start(command: list, log: Path, variables: dict) -> str:
            return stack.enter_context(listening(command, log, variables))

        def guard(name: str, policy: dict, log: Path) -> str:
            document = output / f"{name}.json"
            document.write_text(json.dumps(policy), encoding="utf-8")
            return start(commands.proxy_for(document, upstream), log, environment())

        try:
            calls = output / f"{server.name}-calls.jsonl"
            upstream = start(commands.server(server), logs[0], server_environment(calls))
            proxied = guard("allow-all", ALLOW_ALL, logs[1])
            if server.hidden:
                limited = guard("limited", LIMITED, logs[2])
                hiding = guard("hiding", {**ALLOW_ALL, "hide": [server.hidden[0]]}, logs[3])
            for suite in SUITES:
                name = f"{server.name} {suite.name}"
                directly = runner.run(suite, upstream)
                verdicts.append(report(f"{name} directly", directly, check_direct(server, suite, directly)))

                through = runner.run(suite, proxied)
                differences = compare(runner, suite, (upstream, proxied), directly, through)
                problems = check_same(server, suite, differences, improvements)
                verdicts.append(report(f"{name} through the proxy", through, problems))

                if server.hidden:
                    charged = runner.run(suite, limited)
                    differences = compare(runner, suite, (upstream, limited), directly, charged)
                    problems = check_same(server, suite, differences, improvements) + check_sealed(charged)
                    verdicts.append(report(f"{name} with limits on everything", charged, problems))

                    hidden = runner.run(suite, hiding)
                    differences = compare(runner, suite, (upstream, hiding), directly, hidden)
                    problems = check_hidden(server, directly, hidden, differences)
                    verdicts.append(report(f"{name} with {server.hidden[0]} hidden", hidden, problems))
        except (Failure, OSError, ValueError) as failure:
            print(f"FAILED {server.name}: {failure}")
            verdicts.append(False)
        if not all(verdicts):
            print_tails(logs)
    return verdicts


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--installed", type=Path, required=True, help="where `conformance` installed the packages")
    parser.add_argument("--node", type=Path, required=True, help="a node that the suite runs on: 22 or later")
    parser.add_argument("--proxy", type=Path, required=True, help="the binary under test")
    parser.add_argument("--fixture", type=Path, required=True, help="the binary of servers/conformance_server")
    options = parser.parse_args()

    end_children_on_signals()

    output = options.installed.absolute() / "conformance"
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir()

    commands = Commands(*(path.absolute() for path in (options.installed, options.proxy, options.fixture)))
    runner = Runner(options.installed.absolute(), options.node, output)
    improvements = json.loads((HERE / "suite/improvements.json").read_text(encoding="utf-8"))
    verdicts = [
        verdict
        for server in (FIXTURE, EVERYTHING)
        for verdict in drive_server(server, commands, runner, improvements)
    ]
    print(f"{verdicts.count(True)} passed, {verdicts.count(False)} failed")
    return 0 if all(verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
