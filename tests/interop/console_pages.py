"""What of the console is left to be seen, and what is left of it without scripts."""

from selenium.webdriver.common.by import By

from console_gateway import Console, passes
from console_person import Operator
from drive_browser import expect

READ = "download_execution_logs"


def see_the_rest(console: Console, operator: Operator) -> None:
    """Each page by keyboard, and those that the walk has not come by."""
    operator.becomes("alice")
    with console.agent("kestra") as agent:
        passes(agent, READ, {"execution_id": "e-6"})
    # Before it is forgotten by itself.
    operator.goes("/limits")
    operator.see("limits")
    operator.reaches_everything("limits")
    operator.clicks("Forget everything that is counted…")
    operator.see("limits-sure")
    for path, name in (
        ("/", "overview"),
        ("/?over=day", "overview-day"),
        ("/tools", "tools"),
        ("/tools?text=logs", "tools-some"),
        ("/policies", "policies"),
        ("/approvals", "approvals-none"),
        ("/log", "log-all"),
        ("/log?verdict=wrong", "log-wrong"),
        ("/log?name=no-such-tool", "log-none"),
        ("/grants", "grants-revoked"),
        ("/nothing", "not-found"),
    ):
        operator.goes(path)
        if operator.all(".mark.waiting") and path.startswith("/tools"):
            operator.wait("what the servers offer", lambda: not operator.all("main .mark.waiting"))
        # The long one was seen before.
        if path != "/tools":
            operator.see(name)
        operator.reaches_everything(name)
    operator.goes("/policies")
    operator.clicks_on("//main//th/a")
    operator.reads(READ)
    operator.see("builder")
    operator.reaches_everything("builder")
    operator.clicks("Custom", f"//tr[th/bdi[normalize-space()='{READ}']]")
    operator.found(f"//section[contains(@class, 'rule')]//h2[normalize-space()='{READ}']")
    operator.reaches_everything("builder with a rule")


def use_it_without_scripts(console: Console, operator: Operator) -> None:
    """A policy is changed, a call found in the log, a grant made, and a page is never pretended to be live."""
    operator.becomes("alice")
    with operator.without_scripts():
        for path in ("/", "/tools", "/policies", "/approvals", "/log", "/limits", "/grants"):
            operator.goes(path)
            operator.one("h1")
            expect(operator.text(".connection") != "Live", f"{path} pretends to be live")
        operator.goes("/policies")
        press(operator, "main th a")
        rule = f"//tr[th/bdi[normalize-space()='{READ}']]"
        press(operator, f"{rule}//button[.='Custom']")
        operator.one("section.rule")
        field = operator.one("section.rule input[name$='/rate_limit/max']")
        field.clear()
        field.send_keys("50")
        press(operator, "//section[contains(@class, 'rule')]//button[.='Apply']")
        press(operator, "//button[.='Review and save']")
        operator.one("table.difference")
        press(operator, "//button[.='Save']")
        operator.one(".notice.good")
        limit = console.saved()["tools"][READ]["rate_limit"]
        expect(limit == {"max": 50, "window": "minute"}, f"without scripts the limit is {limit}")
        with console.agent("kestra") as agent:
            passes(agent, READ, {"execution_id": "e-7"})
        operator.goes(f"/log?name={READ}")
        press(operator, "table.log .time a")
        operator.one("#decided")
        operator.goes("/grants")
        operator.one("#label").send_keys("without-scripts")
        press(operator, "//button[.='Add, and show its token once']")
        operator.one("pre.token")


def press(operator: Operator, path: str) -> None:
    how = By.XPATH if path.startswith("/") else By.CSS_SELECTOR
    operator.wait(path, lambda: operator.browser.find_elements(how, path))
    operator.browser.find_element(how, path).click()
