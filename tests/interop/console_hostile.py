"""What servers and callers can say that is hostile to whoever looks at it, shown in the console."""

import json
from pathlib import Path

from console_gateway import Console
from console_person import Operator
from drive_browser import expect

TAKEN = "document.title = 'taken'"
LONG = "w" * 10_000
# Each would change the title of the page if it were more than text.
SCRIPTS = (
    f"<script>{TAKEN}</script>",
    f'<img src=x onerror="{TAKEN}">',
    f"\"><svg onload=\"{TAKEN}\">",
    f"</textarea></code></pre></title><script>{TAKEN}</script>",
    f"' onfocus='{TAKEN}' autofocus='",
    f'" onmouseover="{TAKEN}" x="',
    f"javascript:{TAKEN}//",
    f"<!--<script>{TAKEN}",
    f"{{{{ {TAKEN} }}}}",
    f"<a href=\"javascript:{TAKEN}\">click</a>",
)
STRANGE = (
    "\u202egnp.exe\u2066",
    "\u2067right\u2069 to left \u200f",
    "\x00\x07\x1b[31m\x1b]0;taken\x07",
    "line\nof\r\nlines\u2028\u2029",
    "\u200b\u200d\ufeff\u00ad",
    "a" + "\u0301" * 500,
    "\U000e0041\U000e0042 tags",
    "__proto__",
    "constructor",
    "a/b~c d?e#f&g=h%00",
    LONG,
)
HOSTILE = SCRIPTS + STRANGE
TOOLS = 1_000


def hostile_tool(words: str) -> dict:
    properties = {
        words: {"type": "string", "description": words},
        "choice": {"enum": [words, 1, None, {"a": words}], "title": words},
        "strange": {"type": words, "default": words},
    }
    return {
        "name": words,
        "title": words,
        "description": words,
        "inputSchema": {"type": "object", "properties": properties, "required": [words]},
        "annotations": {"title": words, "readOnlyHint": True},
    }


def write_what_is_hostile(folder: Path) -> Path:
    """A catalogue of a thousand tools. Few of them have what is long, because what clients take has its bounds."""
    tools = [{"tool": hostile_tool(words), "answer": words} for words in HOSTILE]
    for number in range(len(HOSTILE), TOOLS):
        words = f"{HOSTILE[number % len(HOSTILE)][:40]} {number}"
        tools.append({"tool": {"name": words, "description": words, "inputSchema": {"type": "object"}}})
    path = folder / "hostile-tools.json"
    path.write_text(json.dumps(tools), encoding="utf-8")
    return path


# What can stand in a page only if some of it was taken for more than text.
MADE = "main :is(script, img, [onload], [onfocus], [onerror], [onmouseover], [href^='javascript:'])"
INVISIBLE = (
    "return (document.body.innerText.match(/[\\u200b-\\u200f\\u202a-\\u202e\\u2066-\\u2069\\ufeff]/g) ?? []).length"
)


def is_only_text(operator: Operator, where: str) -> None:
    """Nothing of it has become a part of the page, or has run."""
    expect(operator.browser.title != "taken", f"{where} has run what it shows")
    made = [one.get_attribute("outerHTML")[:200] for one in operator.all(MADE)]
    expect(not made, f"{where} has made {made} of what it shows")
    invisible = operator.browser.execute_script(INVISIBLE)
    expect(invisible == 0, f"{invisible} invisible characters are on {where}")
    operator.has_nothing_to_complain_about()


def be_shown_what_is_hostile(console: Console, operator: Operator) -> None:
    operator.becomes("alice")
    calls = [*SCRIPTS, *STRANGE[:6], "wrong" * 400]
    with console.agent("hostile") as agent:
        expect(len(agent.names) == TOOLS, f"{len(agent.names)} tools are listed")
        for words in calls:
            agent.call(words, {words: words, "choice": words})
    policy = {
        "version": "1",
        "name": SCRIPTS[0],
        "default": "deny",
        "tools": {words: {"action": "deny", "reason": words} for words in SCRIPTS},
    }
    policy["tools"][SCRIPTS[1]] = {"require_approval": {"reason": SCRIPTS[1]}}
    console.policy.write_text(json.dumps(policy), encoding="utf-8")
    with console.agent("hostile") as agent:
        for words in (SCRIPTS[0], *SCRIPTS[2:]):
            answer = agent.call(words, {words: words})
            expect(answer.get("isError"), f"{words} is denied, and answered {answer}")
        waits = {"name": SCRIPTS[1], "arguments": {words: words for words in HOSTILE}}
        agent.send(waits)
        operator.goes("/approvals")
        operator.reads("1 waiting")
        is_only_text(operator, "what waits")
        operator.glances("hostile-approvals")
        operator.clicks("See the whole call to decide.")
        operator.one("main .deny")
        is_only_text(operator, "a call that waits")
        operator.see("hostile-approval")
        operator.clicks("Deny")
        agent.line()
    look_around(operator)


def look_around(operator: Operator) -> None:
    for path, name in (
        ("/", "overview"),
        ("/tools", "tools"),
        ("/tools?text=%3Cscript%3E", "tools-found"),
        ("/tools?text=" + "w" * 150, "tools-long"),
        ("/log", "log"),
        ("/policies", "policies"),
        ("/limits?caller=%3Cscript%3E&rule=" + LONG[:3000], "limits"),
        ("/log?name=%22%3E%3Csvg%20onload%3D%22alert(1)%22%3E", "log-found"),
        ("/nothing/%3Cscript%3E", "nothing"),
    ):
        operator.goes(path)
        if name == "tools":
            operator.wait("what the servers offer", lambda: not operator.all("main .mark.waiting"))
        is_only_text(operator, name)
        operator.glances(f"hostile-{name}")
    operator.goes("/tools")
    pages = 1
    while further := operator.all("main a[rel=next]"):
        further[0].click()
        operator.one("main a[rel=prev]")
        is_only_text(operator, "a page of tools")
        pages += 1
    expect(pages == 2 * TOOLS // 200, f"{2 * TOOLS} tools are on {pages} pages")
    operator.goes("/log")
    operator.clicks_on("//table//td[contains(@class, 'time')]/a")
    is_only_text(operator, "the explanation")
    operator.glances("hostile-log-one")
    operator.goes("/policies")
    operator.clicks_on("//main//th/a")
    operator.one("table.verdicts")
    is_only_text(operator, "the builder")
    operator.glances("hostile-builder")
    # Each of them opened, as far as it can be.
    for number in range(len(HOSTILE)):
        buttons = operator.all("table.verdicts .custom-it")
        if number >= len(buttons):
            break
        before = operator.browser.execute_script("return document.querySelector('.rule h2')?.textContent ?? ''")
        buttons[number].click()
        shown = "return document.querySelector('.rule h2')?.textContent ?? ''"
        operator.wait("the rule", lambda before=before: operator.browser.execute_script(shown) not in ("", before))
        is_only_text(operator, "a rule")
    operator.see("hostile-rule")
