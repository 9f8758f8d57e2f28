#!/usr/bin/env python3
"""Lets real MCP clients make calls that somebody has to approve first, all clients at once.

`approvals` installs everything and calls this. How a client is told to wait depends on what it speaks and declares:
the scenarios below are the ways, each with the client's own automatic behaviour. An operator decides over the admin
API meanwhile. What ran is in the servers' own logs, by a word that only one call of one client has in it.
"""

import argparse
import contextlib
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from approving import Site, Talk, Trial, open_site
from drive import HERE, Client, Failure, client_program, end_children_on_signals, print_tails
from drive_limits import HTTP_CLIENTS

# Longer than a call is held, which is 25 s.
HELD_SECONDS = 60

DENIED = "has denied exactly this call"

ACCEPT = {"action": "accept"}
DECLINE = {"action": "decline"}
ALLOW_ONCE = {"action": "accept", "content": {"decision": "allow_once"}}
DENY = {"action": "accept", "content": {"decision": "deny"}}
ROOM = {"action": "accept", "content": {"room": "7"}}


def end_of(url: str) -> str:
    return url.rpartition("/")[2]


def held(trial: Trial, talk: Talk, word: str) -> None:
    """Who can be told nothing is held, until somebody has decided."""
    site, answer = trial.site, f"Echo: {word}"
    talk.call("echo", word)
    request = site.waiting(word)
    trial.has_run(word, 0)
    site.approve(request)
    talk.passes(answer)
    trial.has_run(word, 1)
    # The same call again is another one.
    talk.call("echo", word)
    second = site.waiting(word)
    if second == request:
        raise Failure("the same request waits again")
    site.deny(second)
    talk.is_refused(DENIED, second)
    # Nobody is asked again for now.
    talk.call("echo", word)
    talk.is_refused(DENIED, second)
    trial.has_run(word, 1)


def held_call(trial: Trial) -> None:
    with trial.talk("held") as talk:
        held(trial, talk, trial.word("held"))


def pinned(trial: Trial) -> None:
    """A client of 2025-06-18 knows no pages, whatever it declares, but can be asked."""
    with trial.talk("pinned", PROTOCOL="2025-06-18", ELICITATION="form url") as talk:
        if talk.protocol != "2025-06-18":
            raise Failure(f"the client agreed on {talk.protocol}")
        held(trial, talk, trial.word("pinned"))
        ask_user(trial, talk, trial.word("pinned-form"))


def patient(trial: Trial) -> None:
    """What nobody has decided about in 25 s: a client of 2026-07-28 asks again by itself, others are told to."""
    word, site = trial.word("patient"), trial.site
    with trial.talk("patient") as talk:
        talk.call("echo", word)
        request = site.waiting(word)
        trial.is_not_held(0, HELD_SECONDS)
        trial.has_run(word, 0)
        if trial.client.mode == "legacy":
            talk.is_refused("Make the same call again once it is approved.", request)
            site.approve(request)
            talk.call("echo", word)
        else:
            site.approve(request)
        talk.passes(f"Echo: {word}")
        trial.has_run(word, 1)
        talk.call("echo", word)
        second = site.waiting(word)
        if second == request:
            raise Failure("the same request waits again")
        site.deny(second)
        talk.is_refused(DENIED, second)
        trial.has_run(word, 1)


def patient_page(trial: Trial) -> None:
    """The same, of a client that has opened the page: it is not sent there again."""
    word, site = trial.word("patient-page"), trial.site
    with trial.talk("patient-page", ELICITATION="url") as talk:
        talk.call("echo", word, ACCEPT)
        request = end_of(talk.asked("url")["url"])
        trial.is_not_held(1, HELD_SECONDS)
        trial.has_run(word, 0)
        site.approve(request)
        talk.passes(f"Echo: {word}")
        trial.has_run(word, 1)


def aborted(trial: Trial) -> None:
    """A call that its client aborts is not held any more, and does not run when it is approved after all."""
    word, site = trial.word("aborted"), trial.site
    with trial.talk("aborted") as talk:
        before = site.refused(trial.address)
        talk.call("echo", word, abort=True)
        request = site.waiting(word)
        talk.send({})
        answer = talk.line()
        if answer["event"] != "error":
            raise Failure(f"instead of an end the client got {answer}")
        trial.is_not_held(before)
        site.approve(request)
        # The session is alive, and whatever was left of the call would have run before this.
        talk.send({"name": "add", "arguments": {"a": 2, "b": 3}})
        talk.passes("5")
        trial.has_run(word, 0)
        # It is approved, once.
        talk.call("echo", word)
        talk.passes(f"Echo: {word}")
        trial.has_run(word, 1)


def page(trial: Trial) -> None:
    """A client of 2026-07-28 that opens pages opens one, and asks again by itself."""
    word, site = trial.word("page"), trial.site
    with trial.talk("page", ELICITATION="url") as talk:
        talk.call("echo", word, ACCEPT)
        asked = talk.asked("url")
        request = site.waiting(word)
        if end_of(asked["url"]) != request or word in asked["message"] or "hear it first" not in asked["message"]:
            raise Failure(f"the client was asked {asked} about {request}")
        if "Waiting for approval" not in site.page(asked["url"]):
            raise Failure(f"the page says {site.page(asked['url'])}")
        trial.has_run(word, 0)
        site.approve(request)
        talk.passes(f"Echo: {word}")
        trial.has_run(word, 1)
        # The same call again is another one, and its user does not want it.
        talk.call("echo", word, DECLINE)
        second = end_of(talk.asked("url")["url"])
        talk.is_refused("It was cancelled while it waited")
        if second == request or site.state(second) == "pending":
            raise Failure(f"after {request}, {second} is {site.state(second)}")
        trial.has_run(word, 1)
        # To open the page approves nothing.
        talk.call("echo", f"{word}-denied", ACCEPT)
        third = end_of(talk.asked("url")["url"])
        site.deny(third)
        talk.is_refused(DENIED, third)
        trial.has_run(f"{word}-denied", 0)


def page_error(trial: Trial) -> None:
    """A client of 2025-11-25 that opens pages is told of one with an error, and has to call again."""
    word, site = trial.word("page"), trial.site
    with trial.talk("page", ELICITATION="form url") as talk:
        talk.call("echo", word)
        url = talk.is_sent_to_a_page()
        request = site.waiting(word)
        if end_of(url) != request or "Waiting for approval" not in site.page(url):
            raise Failure(f"{url} is the page about {request}, and says {site.page(url)}")
        trial.has_run(word, 0)
        # The session is alive.
        talk.send({"name": "add", "arguments": {"a": 2, "b": 3}})
        talk.passes("5")
        site.approve(request)
        talk.call("echo", word)
        talk.passes(f"Echo: {word}")
        trial.has_run(word, 1)
        # The same call again is another one; who calls again too early is held.
        talk.call("echo", word)
        second = end_of(talk.is_sent_to_a_page())
        if second == request:
            raise Failure("the same request waits again")
        talk.call("echo", word)
        trial.has_run(word, 1)
        site.deny(second)
        talk.is_refused(DENIED, second)
        trial.has_run(word, 1)


def ask_user(trial: Trial, talk: Talk, word: str) -> None:
    """Where the client may approve its own calls, its user is asked."""
    talk.call("keep", word, ALLOW_ONCE)
    message = talk.asked("form")["message"]
    if word in message or "message" not in message or "keep" not in message:
        raise Failure(f"the user is asked: {message}")
    talk.passes(f"Kept: {word}")
    trial.has_run(word, 1)
    for number, answer in enumerate((DENY, DECLINE, {"action": "cancel"})):
        unwanted = f"{word}-{number}"
        talk.call("keep", unwanted, answer)
        talk.asked("form")
        talk.is_refused(DENIED)
        trial.has_run(unwanted, 0)
    # The same call again is another one.
    talk.call("keep", word, DENY)
    talk.asked("form")
    talk.is_refused(DENIED)
    trial.has_run(word, 1)
    pending = trial.site.requests("pending")
    if pending := [request for request in pending if word in request["arguments"]["message"]]:
        raise Failure(f"still waiting: {pending}")


def form(trial: Trial) -> None:
    with trial.talk("form", ELICITATION="form") as talk:
        ask_user(trial, talk, trial.word("form"))


def check_rounds(site: Site, word: str, calls: int) -> None:
    """The server saw every round of these calls once, with exactly the state that it had given."""
    lines = site.ran(word)
    if len(lines) != 3 * calls:
        raise Failure(f"the server saw {len(lines)} rounds of {calls} calls: {lines}")
    for number in range(calls):
        first, second, third = lines[3 * number : 3 * number + 3]
        if first["state"] is not None or second["room"] != "7" or third["next"] is not None:
            raise Failure(f"the rounds are {lines}")
        if second["state"] != first["next"] or third["state"] != second["next"]:
            raise Failure(f"the server did not get its own state back: {lines}")
    if others := {other for line in lines for other in line["others"]} - {"room"}:
        raise Failure(f"the server was answered what it did not ask: {others}")


def rounds(trial: Trial) -> None:
    """A server that asks for more itself: a call is charged once, however many rounds it takes."""
    word, site = trial.word("rounds"), trial.site
    with trial.talk("rounds", ELICITATION="form url") as talk:
        for call in (1, 2):
            talk.call("book", word, ROOM)
            talk.asked("form")
            answer = talk.line()
            if answer["event"] != "result" or answer["isError"] or not answer["text"].startswith(f"{word}: answered 7"):
                raise Failure(f"call {call} was answered {answer}")
            check_rounds(site, word, call)
        talk.call("book", word, ROOM)
        talk.is_refused("Try again in ")
        check_rounds(site, word, 2)


def approved_rounds(trial: Trial) -> None:
    """The same, once it is approved: what goes on is not asked about again."""
    word, site = trial.word("approved"), trial.site
    with trial.talk("approved", ELICITATION="form url") as talk:
        for call in (1, 2):
            talk.call("sign", word, ACCEPT, ROOM)
            talk.asked("url")
            request = site.waiting(word)
            check_rounds(site, word, call - 1)
            site.approve(request)
            talk.asked("form")
            answer = talk.line()
            if answer["event"] != "result" or answer["isError"] or not answer["text"].startswith(f"{word}: answered 7"):
                raise Failure(f"call {call} was answered {answer}")
            check_rounds(site, word, call)


def jobs(client: Client) -> list[tuple]:
    """What a client does at once: in front of which server, and what one after another."""
    if client.mode == "auto":
        asking = [(server, (rounds, approved_rounds)) for server in ("asking-typescript-2", "asking-python-2")]
        alone = [("fastmcp", (scenario,)) for scenario in (patient, patient_page)]
        return [("fastmcp", (held_call, aborted, page, form)), *alone, *asking]
    known = [held_call, page_error, form]
    # The SDK 1.x for Python cannot abort a call; these can be told to agree on an older version.
    known += [aborted] if client.name != "python-1" else []
    known += [pinned] if client.name in ("typescript-2", "python-1", "rmcp") else []
    return [("fastmcp", tuple(known)), ("fastmcp", (patient,))]


def attempt(scenario, trial: Trial) -> list[str]:
    try:
        scenario(trial)
    except (Failure, OSError, ValueError, KeyError) as failure:
        return [str(failure) or repr(failure)]
    return []


def drive(trial: Trial, scenarios: tuple) -> list[bool]:
    verdicts = []
    for scenario in scenarios:
        problems = attempt(scenario, trial)
        verdicts.append(not problems)
        name = f"{trial.site.name} {trial.client.name} {trial.client.mode} {scenario.__name__}"
        lines = [f"{'FAILED' if problems else 'ok'} {name}"]
        print("\n".join(lines + [f"  - {problem[:1000]}" for problem in problems]), flush=True)
    trial.relay.close()
    return verdicts


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--installed", type=Path, required=True, help="where `approvals` installed servers and clients")
    parser.add_argument("--proxy", type=Path, required=True, help="the binary under test")
    parser.add_argument("--rmcp-client", type=Path, required=True, help="the binary of clients/rmcp_client.rs")
    options = parser.parse_args()
    end_children_on_signals()

    installed, rmcp_client, proxy = (path.absolute() for path in (options.installed, options.rmcp_client, options.proxy))
    logs = installed / "logs-approvals"
    logs.mkdir(exist_ok=True)
    for old in logs.iterdir():
        old.unlink()
    python = installed / "python-2/bin/python"
    servers = {
        "fastmcp": ([python, HERE / "servers/fastmcp_server.py"], "approvals.json"),
        "asking-typescript-2": (["node", installed / "node/asking_typescript_2.mjs"], "rounds.json"),
        "asking-python-2": ([python, HERE / "servers/asking_python_2.py"], "rounds.json"),
    }
    with contextlib.ExitStack() as stack:
        sites = {
            name: open_site(stack, name, server, policy, proxy, logs) for name, (server, policy) in servers.items()
        }
        planned = [(client, *job) for client in HTTP_CLIENTS for job in jobs(client)]
        with ThreadPoolExecutor(len(planned)) as pool:
            found = []
            for number, (client, server, scenarios) in enumerate(planned):
                command = client_program(client.name, installed, rmcp_client)
                trial = Trial(sites[server], client, command, f"127.0.3.{number + 1}", logs)
                found.append(pool.submit(drive, trial, scenarios))
        verdicts = [verdict for future in found for verdict in future.result()]
    if not all(verdicts):
        print_tails(sorted(logs.glob("*-proxy.log")) + sorted(logs.glob("*-server.log")))
    print(f"{verdicts.count(True)} passed, {verdicts.count(False)} failed")
    return 0 if all(verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
