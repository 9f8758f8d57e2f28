#!/usr/bin/env python3
"""Walks through the console in headless Chromium, as operators do, while real MCP clients call.

`browser` installs everything and calls this. A newcomer makes a policy by clicks alone, which has to hold for the next
call; approvals, grants, lockdown and the log go on from there. What the servers executed is in their own call logs.
Pictures of the pages are in target/interop/console: somebody has to look at them.
"""

import argparse
import contextlib
import shutil
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from console_gateway import TOKENS, Console, is_refused, passes
from console_hostile import be_shown_what_is_hostile, write_what_is_hostile
from console_pages import see_the_rest, use_it_without_scripts
from console_person import Operator
from drive import DEFAULT_DENY, HERE, end_children_on_signals, print_tails
from drive_browser import SECONDS, empty, expect

READ, STOP, RUN, KEYS = "download_execution_logs", "delete_flow_logs", "execute_flow", "manage_kv_store"
ONE_TOOL = {"version": "1", "default": "deny", "tools": {READ: {}}}
SHOP = {"namespace": "shop", "flow_id": "sync-stock"}


# ===== a newcomer =====


def row(tool: str) -> str:
    return f"//table[contains(@class, 'verdicts')]//tr[th/bdi[normalize-space()='{tool}']]"


def save(operator: Operator) -> None:
    operator.clicks("Review and save")
    operator.reads("Recorded calls")
    operator.clicks("Save")
    operator.found("//*[@role='status'][contains(., 'aved')]")


def make_the_first_policy(console: Console, operator: Operator) -> None:
    """From the list of tools to a policy that lets one be called, without a word of JSON."""
    operator.becomes("bob")
    operator.goes("/")
    operator.clicks("Tools", "//nav")
    operator.reads("39 tools")
    operator.see("tools")
    operator.clicks("kestra.json", f"//li[.//h3/bdi[normalize-space()='{READ}']]")
    operator.reads(READ)
    operator.see("builder-rule")
    operator.clicks("Start empty")
    operator.is_shown({"version": "1", "default": "deny"})
    operator.clicks("Allow", row(READ))
    operator.is_shown(ONE_TOOL)
    operator.see("builder-not-saved")
    operator.clicks("Review and save")
    operator.reads("Recorded calls")
    operator.see("review")
    expect(console.saved() != ONE_TOOL, "it is saved before anybody has said so")
    operator.clicks("Save")
    operator.found("//*[@role='status'][contains(., 'aved')]")
    operator.see("builder-saved")
    expect(console.saved() == ONE_TOOL, f"the file says {console.saved()}")
    operator.has_nothing_to_complain_about()


def get_exactly_that(console: Console, _operator: Operator) -> None:
    """Every other tool is refused, and none of them is run."""
    before = len(console.executed())
    with console.agent("kestra") as agent:
        expect(len(agent.names) == 39, f"{len(agent.names)} tools are listed")
        for tool in agent.names:
            if tool == READ:
                passes(agent, tool, {"execution_id": "e-1"})
            else:
                is_refused(agent, tool, {}, DEFAULT_DENY)
    expect(console.executed()[before:] == [READ], f"the server has run {console.executed()[before:]}")


RULES = {
    READ: {"rate_limit": {"max": 2, "window": "minute"}},
    STOP: {"action": "deny", "reason": "Logs are kept."},
    RUN: {"require_approval": {"reason": "It costs money."}},
    KEYS: {"require": [{"conditions": [{"path": "args.action", "op": "in", "value": ["get", "list"]}]}]},
}


def say_more(console: Console, operator: Operator) -> None:
    """A limit, a reason, an approval and a condition, each with the fields of the builder."""
    operator.becomes("bob")
    operator.goes("/policies")
    operator.clicks_on("//main//th/a")
    rule = "//section[contains(@class, 'rule')]"
    tools = {READ: {}}
    policy = lambda: {"version": "1", "default": "deny", "tools": tools}
    operator.clicks("Custom", row(READ))
    operator.fills("Calls at most", "2", rule)
    tools[READ] = RULES[READ]
    operator.is_shown(policy())

    operator.clicks("Deny", row(STOP))
    tools[STOP] = {"action": "deny"}
    operator.is_shown(policy())
    operator.clicks("Custom", row(STOP))
    operator.fills("Reason, for the caller", "Logs are kept.", rule)
    tools[STOP] = RULES[STOP]
    operator.is_shown(policy())

    operator.clicks("Allow", row(RUN))
    tools[RUN] = {}
    operator.is_shown(policy())
    operator.clicks("Custom", row(RUN))
    operator.found(f"{rule}//h2[normalize-space()='{RUN}']")
    operator.chooses("Approval", "needed", rule)
    tools[RUN] = {"require_approval": True}
    operator.is_shown(policy())
    operator.fills("Reason", "It costs money.", rule)
    tools[RUN] = RULES[RUN]
    operator.is_shown(policy())

    operator.clicks("Allow", row(KEYS))
    tools[KEYS] = {}
    operator.is_shown(policy())
    operator.clicks("Custom", row(KEYS))
    argument = f"{rule}//tr[th/code[normalize-space()='args.action']]"
    operator.found(argument)
    for value in ("get", "list"):
        operator.clicks_on(f"{argument}//label[normalize-space()='{value}']//input")
    operator.clicks("Add", argument)
    tools[KEYS] = RULES[KEYS]
    operator.is_shown(policy())
    operator.see("builder-conditions")
    save(operator)
    expect(console.saved() == policy(), f"the file says {console.saved()}")


def get_what_was_said(console: Console, operator: Operator) -> None:
    before = len(console.executed())
    with console.agent("kestra") as agent, ThreadPoolExecutor(1) as pool:
        is_refused(agent, STOP, SHOP, f"/tools/{STOP}/action", "Logs are kept.")
        passes(agent, KEYS, {"namespace": "shop", "action": "get", "key": "a"})
        sets = {"namespace": "shop", "action": "set", "key": "a"}
        is_refused(agent, KEYS, sets, f"/tools/{KEYS}/require/args.action-in")
        for _ in range(2):
            passes(agent, READ, {"execution_id": "e-1"})
        is_refused(agent, READ, {"execution_id": "e-1"}, f"/tools/{READ}/limits/rate")
        is_refused(agent, "find_flow", {}, DEFAULT_DENY)

        waiting = pool.submit(agent.call, RUN, {**SHOP, "inputs": {"card": "4000-0000"}})
        for name in ("carol", "bob"):
            operator.becomes(name)
            operator.goes("/approvals")
            operator.reads("It costs money.")
            expect("4000-0000" not in operator.browser.page_source, f"{name} sees the arguments")
        operator.becomes("alice")
        operator.goes("/approvals")
        operator.reads("4000-0000")
        operator.see("approvals")
        operator.reaches_everything("approvals")
        operator.clicks(RUN)
        operator.reads("It costs money.")
        operator.see("approval")
        operator.clicks("Approve once")
        answer = waiting.result(SECONDS)
        expect(answer["event"] == "result" and not answer["isError"], f"what was approved is answered {answer}")
    expect(console.executed()[before:] == [KEYS, READ, READ, RUN], f"the server has run {console.executed()[before:]}")


def find_it_in_the_log(_console: Console, operator: Operator) -> None:
    """Everything that was decided is there, with the text of the rule that did."""
    operator.becomes("carol")
    operator.goes("/log?server=kestra&verdict=denied&name=" + STOP)
    operator.see("log")
    for tool, verdict, rule, text in (
        (STOP, "denied", f"/tools/{STOP}/action", "Logs are kept."),
        (KEYS, "denied", f"/tools/{KEYS}/require/args.action-in", "args.action"),
        (READ, "limited", f"/tools/{READ}/limits/rate", '"max": 2'),
        (RUN, "allowed", f"/tools/{RUN}", "It costs money."),
        (READ, "allowed", f"/tools/{READ}", READ),
        ("find_flow", "denied", DEFAULT_DENY, '"deny"'),
    ):
        operator.goes(f"/log?verdict={verdict}&name={tool}&rule={rule}")
        links = operator.all("table.log .time a")
        expect(links, f"{tool}, {verdict} by {rule}, is not in the log: {operator.text()[:400]}")
        operator.surely(lambda: operator.found("//table//td[contains(@class, 'time')]/a").click())
        operator.reads("What the policy said")
        shown = operator.text()
        for part in (rule, text, verdict):
            expect(part in shown, f"{part} is not in the explanation of {tool}: {shown}")
        expect("4000-0000" not in operator.browser.page_source, "an argument is in the log")
        operator.see(f"log-{verdict}-{tool}")


def count_it(_console: Console, operator: Operator) -> None:
    operator.becomes("carol")
    operator.goes("/")
    figures = [figure.text for figure in operator.all(".figures .figure")]
    calls, refused = (int(figure.replace(",", "")) for figure in figures[:2])
    # 39 of the first policy; of the second seven, and one that was approved.
    expect(calls == 47 and refused == 42, f"{figures} are counted instead of 47 calls and 42 refusals")
    operator.see("overview")


# ===== several operators =====


def refuse_a_viewer(console: Console, operator: Operator) -> None:
    """No button, and no way around that."""
    before = console.saved()
    operator.becomes("carol")
    operator.goes("/policies")
    operator.see("policies")
    operator.clicks_on("//main//th/a")
    operator.reads(READ)
    operator.see("builder-of-a-viewer")
    page = operator.browser.page_source
    expect("Review and save" not in page, "a viewer is offered to save")
    operator.browser.execute_script(
        "const form = document.querySelector('[data-builder]');"
        "form.action = form.action.replace('/edit', '/save'); form.elements.text.value = '{\"version\":\"1\"}';"
        "HTMLFormElement.prototype.submit.call(form)"
    )
    operator.reads("that is not for the role viewer")
    operator.see("refused")
    expect(console.saved() == before, "a viewer has saved a policy")


def meet_another(console: Console, operator: Operator) -> None:
    """Two change one policy: the second is told, sees both, and loses nothing; the one before comes back."""
    before = console.saved()
    operator.becomes("bob")
    operator.goes("/policies")
    operator.clicks_on("//main//th/a")
    operator.clicks("Deny", row("find_flow"))
    operator.reads("Not saved yet")
    bobs = operator.browser.current_window_handle
    operator.browser.switch_to.new_window("tab")
    operator.goes("/login")
    operator.becomes("alice")
    operator.goes("/policies")
    operator.clicks_on("//main//th/a")
    operator.clicks("Hide", row("invite_user"))
    alices = {**before, "tools": {**before["tools"], "invite_user": {"action": "hide"}}}
    operator.is_shown(alices)
    save(operator)
    operator.browser.close()
    operator.browser.switch_to.window(bobs)
    operator.becomes("bob")
    operator.clicks("Review and save")
    operator.reads("Recorded calls")
    if buttons := [one for one in operator.all("main button") if one.text == "Save"]:
        buttons[0].click()
        operator.reads("somebody has changed the file")
    operator.see("conflict")
    expect(console.saved() == alices, "what another has saved is lost")
    operator.has_nothing_to_complain_about()

    operator.goes("/policies")
    operator.clicks_on("//main//th/a")
    operator.clicks("Restore the previous version")
    operator.is_shown(before)
    save(operator)
    expect(console.saved() == before, "the version before is not restored")
    with console.agent("kestra") as agent:
        expect("invite_user" in agent.names, "what was hidden is hidden still")


def grant_and_lock(console: Console, operator: Operator) -> None:
    """A grant is made and revoked on the page, and everything is locked and unlocked, while its client calls."""
    operator.becomes("alice")
    operator.goes("/grants")
    operator.see("grants-none")
    operator.fills("Label", "ada")
    operator.fills("Or another policy file", "all.json")
    operator.fills("Claims", "team=ops")
    operator.clicks("Add, and show its token once")
    operator.reads("Copy it now")
    token = operator.text("pre.token")
    operator.see("grant-token")
    with console.agent("granted", token) as agent:
        passes(agent, READ, {"execution_id": "e-2"})
        operator.goes("/grants")
        operator.see("grants")
        operator.reaches_everything("grants")
        expect(token not in operator.browser.page_source, "the token is shown again")
        operator.clicks("Lock down everything…")
        operator.see("grants-sure")
        operator.clicks_on("//main//button[contains(@class, 'deny')]")
        operator.reads("Everything is locked down")
        operator.see("grants-locked")
        answer = agent.call(READ, {"execution_id": "e-3"})
        expect(answer.get("isError") and "locked" in answer["text"], f"during lockdown it is answered {answer}")
        operator.goes("/")
        operator.reads("Locked down")
        operator.see("overview-locked")
        operator.goes("/grants")
        operator.clicks("End the lockdown…")
        operator.clicks_on("//main//form[contains(@class, 'decide')]//button")
        operator.found("//h2[normalize-space()='Lockdown']")
        passes(agent, READ, {"execution_id": "e-4"})
        operator.clicks("Revoke…")
        operator.clicks_on("//main//form[contains(@class, 'decide')]//button")
        operator.reads("revoked")
        answer = agent.call(READ, {"execution_id": "e-5"})
        expect(answer["event"] == "error", f"with a revoked token it is answered {answer}")


# ===== all of it =====


def start(_console: Console, operator: Operator) -> None:
    operator.goes("/")
    operator.see("login")
    operator.reaches_everything("login")


def at_kestra(console: Console, operator: Operator) -> None:
    """Each goes on where the one before has ended."""
    for stage in (
        start,
        make_the_first_policy,
        get_exactly_that,
        say_more,
        get_what_was_said,
        find_it_in_the_log,
        count_it,
        refuse_a_viewer,
        meet_another,
        grant_and_lock,
        see_the_rest,
        use_it_without_scripts,
    ):
        began = time.monotonic()
        stage(console, operator)
        operator.has_nothing_to_complain_about()
        print(f"ok to {stage.__name__.replace('_', ' ')} ({time.monotonic() - began:.0f} s)", flush=True)


def drive(options: argparse.Namespace, console: Console, pictures: Path, walk: Callable) -> str | None:
    """What went wrong, if anything did."""
    axe = options.installed.absolute() / "node/node_modules/axe-core/axe.min.js"
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(console.serving())
            operator = Operator(pictures, console.admin, TOKENS, axe)
            stack.enter_context(contextlib.closing(operator))
            walk(console, operator)
            operator.has_seen_nothing_wrong()
        except Exception as error:
            return f"{type(error).__name__}: {error}"
    return None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--installed", type=Path, required=True, help="where `browser` installed clients and axe")
    parser.add_argument("--proxy", type=Path, required=True, help="the binary under test")
    options = parser.parse_args()
    end_children_on_signals()

    installed = options.installed.absolute()
    pictures, logs = empty(installed / "console"), installed / "logs-console"
    shutil.rmtree(logs, ignore_errors=True)
    kestra = HERE.parent.parent / "examples/proxy/demo-tools.json"
    failed = 0
    for name, walk in (("kestra", at_kestra), ("hostile", be_shown_what_is_hostile)):
        console = Console(options.proxy.absolute(), installed, logs / name)
        catalogue = kestra if name == "kestra" else write_what_is_hostile(console.folder)
        console.write(**{name: (catalogue, f'policy = "{name}.json"'), "granted": (catalogue, "")})
        problem = drive(options, console, pictures, walk)
        print(f"{'FAILED' if problem else 'ok'} the console of a gateway in front of {name}", flush=True)
        if problem:
            failed += 1
            print(f"  - {problem[:8000]}")
            print_tails([console.output])
    print(f"the pages are in {pictures}")
    print(f"{2 - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
