"""`make bench`: how much a lab costs, how quickly it answers, and how long the experiments take. Nothing here can fail by being slow.

Live numbers come from a real Chromium in front of a real JupyterLab; a lab's run and the bare loop take turns in one
kernel process. On a busy machine all of them get worse: the load is printed with them.
"""

from __future__ import annotations

import inspect
import json
import os
import platform
import statistics
import subprocess
import sys

from playwright.sync_api import sync_playwright

from browser.jupyter import JupyterServer
from browser.pages import BROWSER_ARGUMENTS, LabView, NotebookPage
from residual_lab.browser import ADVICE, find_browser
from residual_lab.experiments import EXPERIMENTS

REPETITIONS = 7
PRESSES = 20

IN_KERNEL = """
import json, time
import torch
from residual_lab.experiments.degradation import MLPDepth
from residual_lab.lab import Lab
from residual_lab.lab.host import Run

torch.set_num_threads(1)
lab = Lab(MLPDepth, depth=16)
first = last = slices = trained = None
_receive, _advance = lab._host.receive, Run.advance


def receive(message):
    global first, last, slices, trained
    if message["type"] == "start":
        first, slices, trained = None, 0, 0.0
    if message["type"] == "tick":
        first = first or (time.perf_counter(), time.process_time())
    _receive(message)
    last = (time.perf_counter(), time.process_time())


def advance(run, seconds):
    global slices, trained
    before = time.thread_time()
    new = _advance(run, seconds)
    slices, trained = slices + 1, trained + time.thread_time() - before
    return new


lab._host.receive, Run.advance = receive, advance


def bare():
    begin = (time.perf_counter(), time.process_time())
    for _ in MLPDepth(depth=16).frames():
        pass
    end = (time.perf_counter(), time.process_time())
    return {"wall": end[0] - begin[0], "cpu": end[1] - begin[1]}


def live():
    return {"wall": last[0] - first[0], "cpu": last[1] - first[1], "training": lab._host.run.seconds, "trained": trained, "slices": slices}


bare()
"""
IN_PAGE = """
window.frames = [];
window.WebSocket = class extends WebSocket {
    constructor(...given) {
        super(...given);
        const text = new TextDecoder();
        this.addEventListener('message', ({data}) => {
            const said = typeof data === 'string' ? data : text.decode(data);
            if (said.includes('"type":"frame"') || said.includes('"type": "frame"')) window.frames.push(performance.now());
        });
    }
};
"""
WATCH = """(root) => {
    const path = root.querySelector('.rl-plot .rl-mean');
    window.drawn = [];
    window.answers = [];
    new MutationObserver(() => window.drawn.push(performance.now())).observe(path, {attributeFilter: ['d']});
    let down;
    root.addEventListener('pointerdown', () => { down = performance.now(); }, true);
    new MutationObserver(() => {
        if (down === undefined) return;
        const pressed = down;
        down = undefined;
        const changed = performance.now() - pressed;
        requestAnimationFrame(() => window.answers.push({pressed, changed, shown: performance.now() - pressed}));
    }).observe(root, {attributeFilter: ['data-phase']});
}"""

# Playwright's own waiting looks every displayed frame, which makes the browser draw more than it does for a learner.
UNTIL_DONE = """(root) => new Promise((done) => {
    const look = () => { if (root.dataset.phase === 'done') requestAnimationFrame(() => requestAnimationFrame(done)); };
    new MutationObserver(look).observe(root, {attributeFilter: ['data-phase']});
    look();
})"""


def main() -> int:
    chromium = find_browser()
    if not chromium:
        print(ADVICE, file=sys.stderr)
        return 1
    print(f"{platform.machine()}, 코어 {os.cpu_count()}개, Python {platform.python_version()}, 부하 {os.getloadavg()[0]:.1f}\n", flush=True)
    with JupyterServer(sys.executable) as server, sync_playwright() as playwright:
        server.write("bench.ipynb", IN_KERNEL, "lab", "print(json.dumps(bare()))", "print(json.dumps(live()))")
        browser = playwright.chromium.launch(executable_path=chromium, args=BROWSER_ARGUMENTS)
        context = browser.new_context(viewport={"width": 1280, "height": 1000})
        context.add_init_script(IN_PAGE)
        book = NotebookPage(context, server, "bench.ipynb")
        book.run_cell(0)
        book.run_cell(1)
        lab = book.lab(1)
        lab.root.evaluate(WATCH)
        overhead(book, lab)
        presses(book, lab)
        browser.close()
    experiments()
    return 0


def overhead(book: NotebookPage, lab: LabView) -> None:
    pairs, rates = [], []
    for _ in range(REPETITIONS):
        book.run_cell(2)
        bare = said(book, 2)
        book.page.evaluate("() => { window.drawn = []; }")
        lab.press("start")
        lab.root.evaluate(UNTIL_DONE)
        drawn = book.page.evaluate("() => window.drawn")
        rates.append((len(drawn) - 1) / (drawn[-1] - drawn[0]) * 1000)
        book.run_cell(3)
        pairs.append((bare, said(book, 3)))
    ratios = {kind: [live[kind] / bare[kind] for bare, live in pairs] for kind in ("wall", "cpu")}
    least = min(live["wall"] for _, live in pairs) / min(bare["wall"] for bare, _ in pairs)
    row("맨 반복문, 깊이 16", *spread([bare["wall"] for bare, _ in pairs], "초"))
    row("랩에서 같은 학습", *spread([live["wall"] for _, live in pairs], "초"))
    row("랩 ÷ 맨 반복문, 걸린 시간", *spread(ratios["wall"], "배"), f"가장 빠른 것끼리 {least:.3f}배")
    row("랩 ÷ 맨 반복문, 커널의 CPU 시간", *spread(ratios["cpu"], "배"))
    row("커널의 CPU 시간 ÷ 그 가운데 학습", *spread([live["cpu"] / live["trained"] for _, live in pairs], "배"))
    row("커널이 학습에 쓴 시간의 비율", *spread([100 * live["training"] / live["wall"] for _, live in pairs], "%"))
    row("한 번에 학습한 시간", *spread([1000 * live["training"] / live["slices"] for _, live in pairs], "ms"))
    row("그래프 갱신", *spread(rates, "번/초"))


def presses(book: NotebookPage, lab: LabView) -> None:
    lab.knob("depth").locator("input").press("End")  # 64 layers: long enough to be paused many times
    book.page.evaluate("() => { window.answers = []; }")
    lab.press("start")
    lab.passes(3)
    after = []
    for _ in range(PRESSES):
        lab.press("pause")
        lab.reaches("paused")
        book.idle()
        book.page.wait_for_timeout(250)
        after.append(book.page.evaluate("""() => {
            const {pressed, changed} = window.answers.at(-1);
            return window.frames.filter((at) => at > pressed + changed).length;
        }"""))
        lab.press("pause")
        lab.passes(lab.step)
    answers = book.page.evaluate("() => window.answers")
    for what, key in (("누르고 화면의 상태가 바뀌기까지", "changed"), ("누르고 다음 화면이 그려지기까지", "shown")):
        times = sorted(answer[key] for answer in answers)
        row(what, f"{statistics.median(times):.1f} ms", f"95%는 {times[int(0.95 * len(times))]:.1f} ms 안에 ({len(times)}번)")
    row("일시정지 뒤에 커널이 더 한 몫", f"{statistics.median(after):g}번", f"많아야 {max(after)}번")


def experiments() -> None:
    """CPU seconds of every experiment at its defaults, each in a process of its own."""
    print("\n실험의 CPU 시간 (기본 설정, 스레드 하나)")
    for experiment in EXPERIMENTS.values():
        name, module = experiment.__name__, inspect.getmodule(experiment).__name__
        code = (f"import time, torch; torch.set_num_threads(1); from {module} import {name}; start = time.process_time(); "
                f"{name}.run(); print(time.process_time() - start)")
        seconds = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
        row(experiment.title, f"{float(seconds):.1f}초")


def said(book: NotebookPage, cell: int) -> dict:
    return json.loads(book.page.locator(".jp-Notebook .jp-Cell").nth(cell).locator(".jp-OutputArea-output").inner_text())


def spread(values: list[float], unit: str) -> tuple[str, str]:
    digits = 3 if max(values) < 10 else 1
    return f"{statistics.median(values):.{digits}f}{unit}", f"{min(values):.{digits}f}~{max(values):.{digits}f}"


def row(what: str, value: str, *more: str) -> None:
    wide = sum(2 if ord(letter) > 0x1100 else 1 for letter in what)
    print(f"{what}{' ' * (44 - wide)}{value:>12}   {'   '.join(more)}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
