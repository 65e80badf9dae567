"""A notebook in JupyterLab, and one lab in it, in the words of the tests."""

from __future__ import annotations

from playwright.sync_api import BrowserContext, Locator

from browser.jupyter import JupyterServer
from browser.wire import Wire

BROWSER_ARGUMENTS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]
PATIENCE_MS = 60_000
"""For states that a loaded machine may take long to reach."""

_KERNEL = "window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel"


class NotebookPage:
    """A browser page that shows one notebook. What goes wrong on it is collected in ``problems``."""

    def __init__(self, context: BrowserContext, server: JupyterServer, notebook: str):
        self.server, self.page = server, context.new_page()
        self.wire, self.problems = Wire(self.page), []
        self.page.set_default_timeout(PATIENCE_MS)
        self.page.on("pageerror", lambda error: self.problems.append(f"{error}\n{error.stack}"))
        self.page.on("console", lambda line: self.problems.append(f"{line.text} {line.location}") if line.type == "error" else None)
        self.page.goto(server.page_of(notebook))
        self.ready()

    def ready(self) -> None:
        """The notebook is there and connected: a cell that is run earlier is silently not run."""
        self.page.wait_for_selector(".jp-Notebook .jp-Cell")
        self.page.wait_for_function(f"() => {_KERNEL}?.connectionStatus === 'connected'")
        self.idle()

    def idle(self) -> None:
        """Until the kernel has nothing to do."""
        self.page.wait_for_function(f"() => {_KERNEL}.status === 'idle'")

    def do(self, command: str, **arguments: object) -> None:
        """One of JupyterLab's commands, to its end."""
        self.page.evaluate("""([command, arguments]) => {
            window.done = false;
            window.jupyterapp.commands.execute(command, arguments).then(() => { window.done = true; });
        }""", [command, arguments])
        self.page.wait_for_function("() => window.done")

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
        cells = self.page.evaluate("() => window.jupyterapp.shell.currentWidget.model.toJSON().cells")
        return ["\n".join(output["traceback"]) for cell in cells for output in cell.get("outputs", ()) if output["output_type"] == "error"]

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

    def settle(self) -> None:
        """Until what was asked for has been drawn."""
        self.page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


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
        self.page.wait_for_function(f"([root, argument]) => {condition}", arg=[self.root.element_handle(), argument])

    def reaches(self, *phases: str) -> None:
        self.wait("argument.includes(root.dataset.phase)", list(phases))

    def passes(self, step: int) -> None:
        self.wait("root.querySelector('.rl-meter').value > argument", step)

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
