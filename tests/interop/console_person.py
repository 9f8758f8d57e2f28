"""Somebody in front of the console: what such a person can do with a mouse, a keyboard and eyes.

`see` looks at a page as it is at each size and in each theme: a picture of it, whether it is wider than the screen, and
what axe has to say. `reaches_everything` walks through it with the keyboard. What is wrong is kept until the end, so
that one run tells all of it.
"""

import base64
import json
from collections.abc import Callable
from pathlib import Path

from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from drive import Failure
from drive_browser import SIZES, Person, expect

# What is written down by those who made the rules, and what has proved itself.
AXE = """
const done = arguments[arguments.length - 1];
const tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
axe.run(document, { runOnly: tags, resultTypes: ["violations"] }).then(
  ({ violations }) => done(violations.map(({ id, help, nodes }) => `${id} (${help}): ` + nodes.slice(0, 3).map(
    (node) => `${node.target} ${node.html.slice(0, 160)} ${node.failureSummary.slice(0, 240)}`).join(" | "))),
  (wrong) => done([String(wrong)]));
"""

# What is wider than the screen, to be named.
WIDE = """
const width = document.documentElement.clientWidth;
if (document.scrollingElement.scrollWidth <= width) return [];
const wide = [...document.querySelectorAll("body *")].filter((node) => node.getBoundingClientRect().right > width + 1);
return [`${document.scrollingElement.scrollWidth} pixels of ${width}`,
  ...wide.slice(0, 4).map((node) => node.outerHTML.slice(0, 120))];
"""

# What somebody can use, and what of it a keyboard has reached. What is replaced meanwhile does not count.
WALK_BEGINS = """
const usable = "a[href], button, input:not([type=hidden]), select, textarea, summary";
const can = (node) => node.checkVisibility({ visibilityProperty: true }) && !node.disabled && !node.closest("[inert]");
window.wanted = [...document.querySelectorAll(usable)].filter((node) => can(node) && node.tabIndex >= 0);
window.reached = new Set();
window.marked = new Set();
document.activeElement?.blur();
document.addEventListener("focusin", ({ target }) => {
  const style = getComputedStyle(target);
  window.reached.add(target);
  if (style.outlineStyle !== "none" || style.boxShadow !== "none") window.marked.add(target);
});
return window.wanted.length;
"""
WALK_ENDS = """
const name = (node) => node.outerHTML.slice(0, 160);
const missed = window.wanted.filter((node) => node.isConnected && !window.reached.has(node));
// A pointer that says so promises that something happens.
const native = "a[href], button, input, select, textarea, summary, label, option";
const pretends = [...document.querySelectorAll("body *")].filter(
  (node) => getComputedStyle(node).cursor === "pointer" && !node.closest(native));
const unmarked = [...window.reached].filter((node) => node.isConnected && !window.marked.has(node));
return [missed.map(name), unmarked.map(name), pretends.map(name)].map((all) => all.slice(0, 4));
"""
TABS_AT_ONCE = 60


class Operator(Person):
    """Somebody who can be any of the operators, one after another, in one browser."""

    def __init__(self, pictures: Path, admin: str, tokens: dict[str, str], axe: Path) -> None:
        super().__init__(pictures)
        self.admin, self.tokens = admin, tokens
        self.axe = axe.read_text(encoding="utf-8")
        self.cookies: dict[str, dict] = {}
        self.wrong: list[str] = []

    # ===== going about =====

    def goes(self, path: str) -> None:
        self.browser.get(self.admin + path)

    def becomes(self, name: str) -> None:
        """Signs in, unless that has been done before: somebody else may have gone on meanwhile."""
        if not self.browser.current_url.startswith(self.admin):
            self.goes("/login")
        self.browser.delete_all_cookies()
        if cookie := self.cookies.get(name):
            self.browser.add_cookie(cookie)
            return
        self.goes("/")
        self.signs_in(self.tokens[name])
        self.wait(f"the page of {name}", lambda: self.all(".operator"))
        [self.cookies[name]] = self.browser.get_cookies()

    def found(self, path: str) -> WebElement:
        """By XPath, as soon as it is there and can be seen."""

        def is_there() -> WebElement | None:
            found = self.browser.find_elements(By.XPATH, path)
            return next((one for one in found if one.is_displayed()), None)

        return self.surely(lambda: self.wait(path, is_there))

    def surely(self, act: Callable[[], object]) -> object:
        """Does it again if the page has replaced what it was done with."""
        for _ in range(5):
            try:
                return act()
            except StaleElementReferenceException:
                continue
        return act()

    def clicks(self, text: str, within: str = "//main") -> None:
        """A button or a link, by what stands on it."""
        path = f"{within}//*[self::button or self::a or self::summary][normalize-space()='{text}']"
        self.surely(lambda: self.found(path).click())

    def clicks_on(self, path: str) -> None:
        """Whatever there is by XPath."""
        self.surely(lambda: self.found(path).click())

    def fills(self, label: str, value: str, within: str = "//main") -> None:
        """A field, by its label, as it is done by hand: the old goes, the new comes, and on to the next."""
        path = f"{within}//label[contains(normalize-space(), '{label}')]"
        field = f"({path}//*[self::input or self::textarea] | //*[@id={path}/@for])"

        def fill() -> None:
            self.found(field).send_keys(Keys.CONTROL, "a")
            self.found(field).send_keys(value, Keys.TAB)

        self.surely(fill)

    def chooses(self, label: str, text: str, within: str = "//main") -> None:
        """What a list offers, by what is read there."""
        option = f"{within}//label[contains(normalize-space(), '{label}')]//option[normalize-space()='{text}']"
        self.surely(lambda: self.found(option).click())

    # ===== looking =====

    def json(self) -> dict | None:
        """What the text of the builder says; nothing while it is no JSON."""
        text = self.browser.execute_script("return document.getElementById('text')?.value ?? ''")
        try:
            return json.loads(text)
        except ValueError:
            return None

    def is_shown(self, policy: dict) -> None:
        """Waits until the builder shows this policy."""
        try:
            self.wait("the policy", lambda: self.json() == policy)
        except Exception:
            raise Failure(f"instead of {policy} the builder shows {self.json()}: {self.text()[:600]}") from None

    def see(self, name: str, themes: tuple[str, ...] = ("light", "dark")) -> None:
        """Looks at the page at each size, in each of these themes."""
        self.browser.execute_script(self.axe)
        for size, (width, height) in SIZES.items():
            metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": size == "phone"}
            self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
            for theme in themes:
                where = f"{name}-{size}-{theme}"
                feature = {"name": "prefers-color-scheme", "value": theme}
                self.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
                self.asks_axe(where)
                self.takes_picture(where, width)
            if wide := self.browser.execute_script(WIDE):
                self.wrong.append(f"{name} is wider than a {size}: {wide}")
        self.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        self.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})

    def glances(self, name: str) -> None:
        """Looks at a page that is like another, but for what it shows."""
        self.see(name, themes=())
        self.takes_picture(name, SIZES["desktop"][0])

    def asks_axe(self, where: str) -> None:
        self.wrong += [f"{where}: {one}" for one in self.browser.execute_async_script(AXE)]

    def takes_picture(self, name: str, width: int) -> None:
        """Of the whole page, unless that is very long."""
        height = min(self.browser.execute_script("return document.documentElement.scrollHeight"), 3000)
        clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
        asked = {"captureBeyondViewport": True, "clip": clip}
        shot = self.browser.execute_cdp_cmd("Page.captureScreenshot", asked)
        (self.pictures / f"{name}.png").write_bytes(base64.b64decode(shot["data"]))

    # ===== the keyboard =====

    def reaches_everything(self, name: str) -> None:
        """Everything that can be used is come to with the tabulator, and it is seen where one is."""
        left = self.browser.execute_script(WALK_BEGINS) + TABS_AT_ONCE // 2
        expect(left > TABS_AT_ONCE // 2, f"nothing can be used on {name}")
        while left > 0:
            self.presses(Keys.TAB * min(left, TABS_AT_ONCE))
            left -= TABS_AT_ONCE
        says = ("is not reached by keyboard", "does not show that it has the focus", "can be clicked alone")
        for what, found in zip(says, self.browser.execute_script(WALK_ENDS), strict=True):
            self.wrong += [f"{name}: {what}: {one}" for one in found]

    def presses(self, keys: str) -> None:
        self.browser.switch_to.active_element.send_keys(keys)

    def has_seen_nothing_wrong(self) -> None:
        wrong = "\n    ".join(self.wrong)
        expect(not self.wrong, f"{len(self.wrong)} things are wrong:\n    {wrong}")
