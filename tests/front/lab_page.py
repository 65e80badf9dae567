"""One lab on a page, in the words of the tests."""

from __future__ import annotations

from playwright.sync_api import Page


class LabPage:
    """Presses, turns and reads one lab."""

    def __init__(self, page: Page, root: str = ".rl-lab"):
        self.page = page
        self.root = page.locator(root)

    def button(self, act: str):
        return self.root.locator(f'[data-act="{act}"]')

    def press(self, act: str) -> None:
        self.button(act).click()

    def knob(self, name: str):
        return self.root.locator(f'[data-knob="{name}"]')

    def panel(self, key: str):
        return self.root.locator(f'[data-panel="{key}"]')

    def reaches(self, phase: str) -> None:
        self.page.wait_for_function("([el, phase]) => el.dataset.phase === phase", arg=[self.root.element_handle(), phase])

    def run(self) -> None:
        self.press("start")
        self.reaches("done")

    def settle(self) -> None:
        """Until what was asked for has been drawn."""
        self.page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")

    @property
    def step(self) -> int:
        return int(self.root.locator(".rl-meter").evaluate("(meter) => meter.value"))

    @property
    def enabled(self) -> set[str]:
        acts = ("start", "pause", "step", "stop", "reset", "pin")
        return {act for act in acts if self.button(act).is_enabled()}

    def curve(self, panel: str = "loss") -> str:
        return self.panel(panel).locator(".rl-plot .rl-mean").first.get_attribute("d") or ""

    def host(self, expression: str):
        """Evaluate with ``host`` as the made-up host."""
        return self.page.evaluate(f"() => {{ const host = window.lab.model; return {expression}; }}")
