"""A notebook in JupyterLab, and one lab in it, in the words of the tests."""

from __future__ import annotations

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import BrowserContext, ConsoleMessage, Error, Locator

from browser.jupyter import JupyterServer
from browser.wire import Wire

BROWSER_ARGUMENTS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]
PATIENCE_MS = 60_000
"""For states that a loaded machine may take long to reach."""
LOOK_EVERY_MS = 50
QUIET_MS = 300
MOST_OWED = 6
"""Frames that may come after a lab has stopped: it owes three at most, and the browser may tell of others late."""
NOT_OURS = "Could not restore the debugger state"
"""What JupyterLab's debugger may say when a kernel is restarted while it asks."""
GAVE_UP = "[anywidget] Failed to initialize model."
"""What anywidget says of a widget whose module came late, on a busy machine. The widget works all the same: ``test_trouble``."""

_SHOWN = "(knob) => JSON.stringify([knob.innerText, ...[...knob.querySelectorAll('input, select')].map((one) => [one.checked, one.value])])"
_DRAWN = """[...root.querySelectorAll('.rl-plot')].some((plot) => plot.querySelector('.rl-cell, .rl-column[d*="M"]')
    || [...plot.querySelectorAll('.rl-mean')].some((path) => path.getTotalLength() > 5))"""
_KERNEL = "window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel"


class NotebookPage:
    """A browser page that shows one notebook. What goes wrong on it is collected in ``problems``; widgets that anywidget gave up are counted."""

    def __init__(self, context: BrowserContext, server: JupyterServer, notebook: str):
        self.server, self.page = server, context.new_page()
        self.wire, self.problems = Wire(self.page), []
        self.page.set_default_timeout(PATIENCE_MS)
        self.given_up = 0
        self.page.on("pageerror", self._thrown)
        self.page.on("console", self._note)
        self.page.goto(server.page_of(notebook))
        self.ready()

    def _thrown(self, error: Error) -> None:
        if error.message == GAVE_UP:
            self.given_up += 1
        else:
            self.problems.append(f"{error}\n{error.stack}")

    def _note(self, line: ConsoleMessage) -> None:
        if line.type == "error" and not line.text.startswith(NOT_OURS):
            self.problems.append(f"{line.text} {line.location}")

    def ready(self) -> None:
        """The notebook is there and connected: a cell that is run earlier is silently not run."""
        self.page.wait_for_selector(".jp-Notebook .jp-Cell")
        self.until(f"() => {_KERNEL}?.connectionStatus === 'connected'")
        self.idle()

    def until(self, condition: str, argument: object = None) -> None:
        """Until a condition on the page holds. Asked at every frame, as Playwright does by itself, it would keep the page drawing."""
        self.page.wait_for_function(condition, arg=argument, polling=LOOK_EVERY_MS)

    def idle(self) -> None:
        """Until the kernel has nothing to do."""
        self.until(f"() => {_KERNEL}.status === 'idle'")

    def quiet(self) -> None:
        """Until the kernel trains no more: what a lab still had asked for has been answered, and no frame came for a while after it."""
        first = self.wire.frames
        while True:
            self.idle()
            before = self.wire.frames
            self.page.wait_for_timeout(QUIET_MS)
            if self.wire.frames == before:
                return
            assert self.wire.frames - first <= MOST_OWED, "the kernel goes on training"

    def do(self, command: str, **arguments: object) -> None:
        """One of JupyterLab's commands, to its end."""
        self.page.evaluate("""([command, arguments]) => {
            window.done = false;
            window.jupyterapp.commands.execute(command, arguments).then(() => { window.done = true; });
        }""", [command, arguments])
        self.until("() => window.done")

    def run_all(self) -> None:
        self.do("notebook:run-all-cells")

    def choose(self, index: int) -> None:
        """Make a cell the active one."""
        self.page.evaluate("(index) => { window.jupyterapp.shell.currentWidget.content.activeCellIndex = index; }", index)

    def run_cell(self, index: int) -> None:
        self.choose(index)
        self.do("notebook:run-cell")

    def failures(self) -> list[str]:
        """Tracebacks in the notebook."""
        return self.page.evaluate("""() => window.jupyterapp.shell.currentWidget.model.toJSON().cells
            .flatMap((cell) => cell.outputs ?? []).filter((output) => output.output_type === 'error').map((output) => output.traceback.join('\\n'))""")

    def reload(self) -> None:
        """Save, and load the page anew; the kernel lives on."""
        self.do("docmanager:save")
        self.page.reload()
        self.ready()

    def restart_kernel(self) -> None:
        self.page.evaluate(f"() => {_KERNEL}.restart()")

    def lab(self, cell: int) -> LabView:
        """The lab in the output of a cell."""
        lab = LabView(self, self.page.locator(".jp-Notebook .jp-Cell").nth(cell).locator(".rl-lab"))
        lab.root.scroll_into_view_if_needed()
        return lab

    def wear(self, theme: str) -> None:
        """Change JupyterLab's theme; while it loads, a splash screen covers the page."""
        self.do("apputils:change-theme", theme=theme)
        self.until("(theme) => document.body.dataset.jpThemeName === theme && !document.querySelector('#jupyterlab-splash')", theme)

    def grave_problems(self) -> list[tuple[str, str]]:
        """What axe-core calls serious or critical in the course's widgets.

        JupyterLab's body is 0 pixels high and hides what overflows it, which makes axe take all text for invisible and
        check no contrast; that is undone while it looks.
        """
        body = self.page.locator("body")
        body.evaluate("(body) => { body.style.overflow = 'visible'; }")
        found = Axe().run(self.page, ".residual-lab", {"resultTypes": ["violations", "passes"]}).response
        body.evaluate("(body) => { body.style.overflow = ''; }")
        checked = {rule["id"]: len(rule["nodes"]) for rule in (*found["passes"], *found["violations"])}
        assert checked["color-contrast"] >= 5, "axe looked at no text"
        return [(rule["id"], node["html"]) for rule in found["violations"] if rule["impact"] in ("serious", "critical") for node in rule["nodes"]]

    def settle(self) -> None:
        """Until what was asked for has been drawn."""
        self.page.wait_for_function("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))")


class LabView:
    """One lab on a page."""

    def __init__(self, book: NotebookPage, root: Locator):
        self.book, self.page, self.root = book, book.page, root

    def button(self, act: str) -> Locator:
        return self.root.locator(f'[data-act="{act}"]')

    def press(self, act: str) -> None:
        self.button(act).click()

    def knob(self, name: str) -> Locator:
        return self.root.locator(f'[data-knob="{name}"]')

    def panel(self, key: str) -> Locator:
        return self.root.locator(f'[data-panel="{key}"]')

    def wait(self, condition: str, argument: object = None) -> None:
        """Until a condition on ``root`` holds."""
        self.book.until(f"([root, argument]) => {condition}", [self.root.element_handle(), argument])

    def reaches(self, *phases: str) -> None:
        self.wait("argument.includes(root.dataset.phase)", list(phases))

    def passes(self, step: int) -> None:
        self.wait("root.querySelector('.rl-meter').value > argument", step)

    def try_out(self) -> None:
        """Move every control by keyboard, train until something is drawn, pin it and put everything back."""
        self.root.scroll_into_view_if_needed()
        for knob in self.root.locator("[data-knob]").all():
            before = knob.evaluate(_SHOWN)
            knob.locator("input, select").first.focus()
            for key in ("ArrowUp", "ArrowDown", "ArrowDown", "Space"):
                self.page.keyboard.press(key)
                if knob.evaluate(_SHOWN) != before:
                    break
            assert knob.evaluate(_SHOWN) != before, knob.inner_text()
        self.press("reset")
        self.button("start").focus()
        self.page.keyboard.press("Enter")
        self.wait(_DRAWN)
        if self.root.get_attribute("data-phase") == "running":  # some labs are done at once
            self.button("pause").dispatch_event("click")
        self.reaches("paused", "done")
        self.press("pin")
        assert self.root.locator("[data-pin]").count() == 1
        self.press("reset")
        self.reaches("idle")

    @property
    def step(self) -> int:
        return int(self.root.locator(".rl-meter").evaluate("(meter) => meter.value"))

    @property
    def notice(self) -> str:
        told = self.root.locator(".rl-told")
        return told.inner_text() if told.is_visible() else ""

    @property
    def enabled(self) -> set[str]:
        return {act for act in ("start", "pause", "step", "stop", "reset", "pin") if self.button(act).is_enabled()}

    def picture(self) -> str:
        """All that the charts show, as markup."""
        return self.root.locator(".rl-charts").inner_html()

    def values(self) -> str:
        """The saved CSV."""
        with self.page.expect_download() as download:
            self.press("csv")
        return download.value.path().read_text(encoding="utf-8")
