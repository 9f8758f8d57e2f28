#!/usr/bin/env python3
"""Walks through the pages for approvals in headless Chromium, as a person does, while real MCP clients wait.

`browser` installs everything and calls this. What the server executed is in its own call log. Pictures of the pages
are in target/interop/pages: somebody has to look at them.
"""

import argparse
import base64
import contextlib
import json
import re
import socket
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from drive import HERE, Failure, end_children_on_signals, environment, listening, print_tails, server_environment
from drive_limits import Conversation

TOKEN = "alices-token-0123456789"
SECONDS = 30

# Whoever lets this run has lost: it changes the title, asks for a picture, and pretends to be something else.
HOSTILE = (
    "</code></pre><script>document.title = 'taken'</script>"
    "<img src=x onerror=\"document.title = 'taken'\"> \x1b[2J\x1b[31m \u202eevil\u2069 \u200b& 'quotes' \"more\""
)
READABLE = (
    "</code></pre><script>document.title = 'taken'</script>"
    "<img src=x onerror=\\\"document.title = 'taken'\\\"> \\u001b[2J\\u001b[31m \\u202eevil\\u2069 \\u200b& 'quotes'"
)
SIZES = {"desktop": (1280, 900), "phone": (390, 844)}


def expect(is_so: object, otherwise: str) -> None:
    if not is_so:
        raise Failure(otherwise)


class Person:
    """Somebody in front of a browser."""

    def __init__(self, pictures: Path) -> None:
        options = webdriver.ChromeOptions()
        options.binary_location = "/usr/bin/chromium"
        for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1280,900"):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.browser = webdriver.Chrome(options, webdriver.ChromeService("/usr/bin/chromedriver"))
        self.pictures = pictures

    def close(self) -> None:
        self.browser.quit()

    def wait(self, what: str, is_there: Callable[[], object]) -> object:
        return WebDriverWait(self.browser, SECONDS, 0.1).until(lambda _: is_there(), f"never seen: {what}")

    def all(self, selector: str) -> list:
        return self.browser.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector: str) -> WebElement:
        return self.wait(selector, lambda: next(iter(self.all(selector)), None))

    def text(self, selector: str = "main") -> str:
        return self.one(selector).text

    def reads(self, text: str) -> None:
        """Waits until it is to be read, however often the page changes until then."""
        script = "return document.body?.innerText ?? ''"
        try:
            self.wait(text, lambda: text in self.browser.execute_script(script))
        except Exception:
            raise Failure(f"{text!r} is not to be read in {self.browser.execute_script(script)!r}") from None

    def signs_in(self, token: str) -> None:
        self.one("#token").send_keys(token, Keys.ENTER)

    def card(self, number: int) -> WebElement:
        """The one that waits at this place."""
        return self.wait(f"request {number}", lambda: dict(enumerate(self.all("main .card:has(form)"))).get(number))

    def cards(self, count: int) -> None:
        self.wait(f"{count} requests", lambda: len(self.all("main .card:has(form)")) == count)

    def takes_pictures(self, name: str) -> None:
        """At each size, in each theme; nothing may be wider than the page."""
        browser = self.browser
        for size, (width, height) in SIZES.items():
            metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": size == "phone"}
            browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
            for theme in ("light", "dark"):
                feature = {"name": "prefers-color-scheme", "value": theme}
                browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
                shot = browser.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True})
                picture = self.pictures / f"{name}-{size}-{theme}.png"
                picture.write_bytes(base64.b64decode(shot["data"]))
            wide = browser.execute_script("return document.scrollingElement.scrollWidth")
            expect(wide <= width, f"{name} is {wide} pixels wide on a {size} of {width}")
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})

    def has_nothing_to_complain_about(self) -> None:
        """Of the policy about content, for example. A refusal is said by a status, which is no complaint."""
        complaints = [entry["message"] for entry in self.browser.get_log("browser") if entry["level"] in ("WARNING", "SEVERE")]
        complaints = [message for message in complaints if not re.search(r"status of 40[1349]", message)]
        expect(not complaints, f"the browser complains: {complaints}")

    @contextlib.contextmanager
    def without_scripts(self) -> Iterator[None]:
        for off in (True, False):
            self.browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": off})
            if off:
                yield


class Clients:
    """Real clients, each of which makes one call and waits."""

    def __init__(self, installed: Path, url: str, logs: Path) -> None:
        self.command = [installed / "python-2/bin/python", HERE / "clients/python_2.py", url, "auto"]
        self.logs = logs
        self.pool = ThreadPoolExecutor(8)
        self.count = 0

    def call(self, message: str) -> Future:
        self.count += 1
        errors = self.logs / f"client-{self.count}.log"
        return self.pool.submit(self.echo, message, errors)

    def echo(self, message: str, errors: Path) -> dict:
        with contextlib.closing(Conversation(self.command, errors)) as client:
            return client.echo(message)


def result(answer: Future, is_error: bool) -> str:
    said = answer.result(SECONDS)
    is_right = said["event"] == "result" and said["isError"] == is_error
    expect(is_right, f"the waiting client got {said}")
    return said["text"]


def sign_in(person: Person, admin: str) -> None:
    person.browser.get(admin)
    person.takes_pictures("sign-in")
    person.signs_in("wrong-token-0123456789")
    person.reads("That is not the token of an operator.")
    person.signs_in(TOKEN)
    person.reads("Nothing waits")
    person.reads("Live")
    person.takes_pictures("nothing")


def see_what_waits(person: Person, clients: Clients) -> tuple[Future, Future]:
    """It shows up without a reload, readable, and nothing in it runs; and what is being typed stays."""
    person.browser.execute_script("window.isTheSame = true")
    first = clients.call(HOSTILE)
    person.cards(1)
    shown = person.card(0).find_element(By.TAG_NAME, "pre").text
    expect(READABLE in shown, f"the arguments are shown as {shown!r}")
    expect(not person.all("main script, main img"), "an argument has become a part of the page")
    person.reads("Whatever is said is heard by everybody.")
    note = person.card(0).find_element(By.TAG_NAME, "textarea")
    note.send_keys("Half a no")
    second = clients.call("another one")
    person.cards(2)
    note.send_keys("te")
    expect(note.get_attribute("value") == "Half a note", "what was typed is lost")
    expect(note == person.browser.switch_to.active_element, "the place where it is typed is lost")
    expect(person.browser.execute_script("return window.isTheSame"), "the page was loaded again")
    expect(person.browser.title == "(2) Approvals", f"the title is {person.browser.title}")
    person.takes_pictures("waiting")
    return first, second


def decide(person: Person, first: Future, second: Future) -> None:
    # By keyboard alone, from the note to the button behind it.
    person.browser.switch_to.active_element.send_keys(Keys.TAB)
    button = person.browser.switch_to.active_element
    expect(button.text == "Approve once", f"behind the note is {button.text}")
    button.send_keys(Keys.ENTER)
    expect(result(first, False) == f"Echo: {HOSTILE}", "the approved call was changed")
    person.cards(1)
    card = person.card(0)
    card.find_element(By.TAG_NAME, "textarea").send_keys("Say it to me first.")
    card.find_element(By.CSS_SELECTOR, "button.deny").click()
    expect("Say it to me first." in result(second, True), "the client is not told the note")
    person.reads("Nothing waits")
    person.reads("Say it to me first.")
    person.takes_pictures("decided")


def try_what_is_forbidden(person: Person, clients: Clients) -> None:
    """A form without the secret of the session changes nothing; without scripts everything works."""
    third = clients.call("a third one")
    person.cards(1)
    person.browser.execute_script("document.querySelector('.decide [name=csrf]').remove()")
    person.card(0).find_element(By.CSS_SELECTOR, "button.approve").click()
    person.reads("Nothing was done")
    person.takes_pictures("refused")
    person.browser.get(person.browser.current_url.partition("/approvals")[0] + "/approvals")
    person.cards(1)
    person.has_nothing_to_complain_about()
    with person.without_scripts():
        person.card(0).find_element(By.CSS_SELECTOR, "h2 a").click()
        person.one(".back")
        expect("Reload to see what is new." in person.text(".connection"), "it pretends to be live")
        person.card(0).find_element(By.CSS_SELECTOR, "button.approve").click()
        expect(result(third, False) == "Echo: a third one", "the approved call was changed")


def see_the_public_page(person: Person, clients: Clients, admin: str, public: str) -> None:
    """It says what has become of a request, and nothing else."""
    fourth = clients.call("a fourth one")
    person.browser.get(admin)
    person.cards(1)
    request = person.card(0).get_attribute("id")
    person.browser.get(f"{public}/approvals/{request}")
    person.reads("Waiting for approval")
    words = person.text()
    expect("echo" not in words and "fourth" not in words, f"the public page tells {words}")
    person.takes_pictures("public")
    person.browser.get(f"{admin}/{request}")
    person.takes_pictures("one")
    person.card(0).find_element(By.CSS_SELECTOR, "button.deny").click()
    result(fourth, True)
    person.browser.get(f"{public}/approvals/{request}")
    person.reads("Denied")


def leave(person: Person, admin: str) -> None:
    person.browser.get(admin)
    person.one(".leave button").click()
    person.one("#token")
    person.browser.get(admin)
    person.one("#token")


def walk(person: Person, clients: Clients, admin: str, public: str, call_log: Path) -> None:
    sign_in(person, admin)
    first, second = see_what_waits(person, clients)
    person.has_nothing_to_complain_about()
    decide(person, first, second)
    try_what_is_forbidden(person, clients)
    see_the_public_page(person, clients, admin, public)
    leave(person, admin)
    person.has_nothing_to_complain_about()
    executed = [json.loads(line)["message"] for line in call_log.read_text(encoding="utf-8").splitlines()]
    expect(executed == [HOSTILE, "a third one"], f"the server executed {executed}")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def empty(directory: Path) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    for old in directory.iterdir():
        old.unlink()
    return directory


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--installed", type=Path, required=True, help="where `browser` installed server and client")
    parser.add_argument("--proxy", type=Path, required=True, help="the binary under test")
    options = parser.parse_args()
    end_children_on_signals()

    installed = options.installed.absolute()
    logs, pictures = empty(installed / "logs-browser"), empty(installed / "pages")
    call_log = logs / "calls.jsonl"
    call_log.touch()
    server = [installed / "python-2/bin/python", HERE / "servers/fastmcp_server.py"]
    outputs = [logs / "server.log", logs / "proxy.log"]
    public = f"http://127.0.0.1:{free_port()}"
    problem = None
    with contextlib.ExitStack() as stack:
        try:
            upstream = stack.enter_context(listening(server, outputs[0], server_environment(call_log)))
            serve = [options.proxy.absolute(), "serve", "--policy", HERE / "policies/approval.json"]
            serve += ["--upstream", upstream, "--listen", public.removeprefix("http://"), "--public-url", public]
            variables = {**environment(), "MCP_POLICY_ADMIN_TOKENS": f"alice:{TOKEN}"}
            url = stack.enter_context(listening([*serve, "--admin", "127.0.0.1:0"], outputs[1], variables))
            admin = re.search(r"approvals wait at (http://\S+)", outputs[1].read_text(encoding="utf-8"))[1]
            person = stack.enter_context(contextlib.closing(Person(pictures)))
            walk(person, Clients(installed, url, logs), admin, public, call_log)
        except Exception as error:
            problem = f"{type(error).__name__}: {error}"
    print(f"{'FAILED' if problem else 'ok'} a person's walk through the pages for approvals")
    if problem:
        print(f"  - {problem[:2000]}")
        print_tails(outputs)
    print(f"the pages are in {pictures}")
    print(f"{int(not problem)} passed, {int(bool(problem))} failed")
    return 1 if problem else 0


if __name__ == "__main__":
    sys.exit(main())
