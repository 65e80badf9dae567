"""`make bench`: what stacking buys, what a lab costs and how quickly it answers, and how long everything takes to start and to run.

Nothing here can fail by being slow. Ratios are measured in one run, the two sides in turns; every number has its spread over
repetitions. Live numbers come from a real Chromium in front of a real JupyterLab. On a busy machine all of them get worse:
the load is printed with every section. ``python tests/bench.py stacked live`` measures these sections only.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from collections.abc import Iterator
from contextlib import contextmanager

os.environ["OMP_NUM_THREADS"] = "1"  # before anything imports torch

import torch
from matplotlib import pyplot
from playwright.sync_api import Browser, BrowserContext, sync_playwright

import bench_course as course
import bench_stacked as stacked
import bench_tutorial as tutorial
from bench_log import Log
from browser.jupyter import JupyterServer
from browser.pages import BROWSER_ARGUMENTS, LabView, NotebookPage
from residual_lab import figures
from residual_lab.browser import ADVICE, find_browser
from residual_lab.experiments import EXPERIMENTS
from residual_lab.site import benchmarks

REPETITIONS = 7
PRESSES = 20
DEGRADATION_SEEDS = range(5)

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
    given = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    given.add_argument("sections", nargs="*", help=f"{', '.join(SECTIONS)}; 없으면 모두")
    wanted = given.parse_args().sections or list(SECTIONS)
    if unknown := set(wanted) - set(SECTIONS):
        given.error(f"모르는 부분입니다: {', '.join(unknown)}")
    if not find_browser(as_readers_have=True):
        print(ADVICE, file=sys.stderr)
        return 1
    torch.set_num_threads(1)
    log = Log()
    for name in wanted:
        title, measure = SECTIONS[name]
        log.section(title)
        measure(log)
    return 0


def stacking(log: Log) -> None:
    ratios = []
    for workload in stacked.WORKLOADS:
        taken = stacked.stacking(workload, REPETITIONS)
        ratios.append(statistics.median(taken))
        log.add("stacked", EXPERIMENTS[workload.experiment].title, taken, "배")
    print(f"기하 평균 {statistics.geometric_mean(ratios):.2f}배, 가장 작은 것 {min(ratios):.2f}배")
    for depth in (8, 32):
        log.add("floor", f"MLP {depth}층의 한 단계 ÷ 그 행렬 곱셈만", stacked.above_the_floor(depth, REPETITIONS), "배")


def growth(log: Log) -> None:
    for one in stacked.GROWTH:
        for value, seconds in one.seconds(REPETITIONS):
            log.add("growth", f"{one.kind} · {one.size} · {value}", seconds, "초")
    draw_growth()


def draw_growth() -> None:
    """The newest rows as the picture that the execution-time page shows."""
    figures.use()
    found = benchmarks.growth(benchmarks.read())
    figure, axes = pyplot.subplots(1, len(benchmarks.THEORY), figsize=(12, 4.2), sharey=True)
    for ax, (size, theory) in zip(axes, benchmarks.THEORY.items()):
        for kind, sizes in found.items():
            values, seconds = zip(*sizes[size])
            ax.plot(values, [1000 * each for each in seconds], label=f"{kind}: {benchmarks.exponent(sizes[size]):.2f}")
        ticks = sorted({value for sizes in found.values() for value, _ in sizes[size]})[::2]
        ax.set(title=f"{size} (계산량의 지수 {theory})", xlabel=size, xscale="log", yscale="log")
        ax.set_xticks(ticks, [str(tick) for tick in ticks])
        ax.minorticks_off()
        ax.legend(title="잰 지수", loc="upper center", bbox_to_anchor=(0.5, -0.2))
    axes[0].set_ylabel("한 단계의 CPU 시간 (ms)")
    benchmarks.PICTURE.write_bytes(figures.png(figure))


def degradation(log: Log) -> None:
    ratios, seconds = [], {"ours": [], "usual": []}
    for _ in range(2):
        for name, run in (("ours", tutorial.ours), ("usual", tutorial.usual)):
            took, seen = run(DEGRADATION_SEEDS)
            assert seen, f"{name}: a deep plain network was no worse than the shallow one"
            seconds[name].append(took)
        ratios.append(seconds["usual"][-1] / seconds["ours"][-1])
    log.add("tutorial", "레슨 01의 2×2, 시드 다섯 개", seconds["ours"], "초")
    log.add("tutorial", "흔히 쓰는 PyTorch 반복문으로 같은 것", seconds["usual"], "초")
    log.add("tutorial", "흔히 쓰는 반복문 ÷ 2×2", ratios, "배")


def live(log: Log) -> None:
    with _jupyter() as (server, context):
        server.write("bench.ipynb", IN_KERNEL, "lab", "print(json.dumps(bare()))", "print(json.dumps(live()))")
        context.add_init_script(IN_PAGE)
        book = NotebookPage(context, server, "bench.ipynb")
        book.run_cell(0)
        book.run_cell(1)
        lab = book.lab(1)
        lab.root.evaluate(WATCH)
        overhead(log, book, lab)
        presses(log, book, lab)


def start(log: Log) -> None:
    for name, seconds in course.imports(REPETITIONS).items():
        log.add("start", f"{name}: torch 없이 불러오기 (CPU)", seconds, "초")
    with _jupyter() as (server, context):
        log.add("start", "새 커널에서 첫 그래프까지", course.first_chart(context, server, REPETITIONS), "초")


def whole(log: Log) -> None:
    for name, seconds in course.lessons().items():
        log.add("course", f"{name} 모두 실행 (CPU)", [seconds], "초")
    for workers in (1, 2):
        log.add("course", f"nbval, 레슨과 풀이, 프로세스 {workers}개", [course.nbval(workers)], "초")


def site(log: Log) -> None:
    with _browser() as browser:
        found = course.pages(browser, 3)
    for unit, what in (("kB", "쓸 수 있기까지 받는 것, 모든 쪽"), ("ms", "주소를 열고 쓸 수 있기까지, 모든 쪽")):
        medians = {name: statistics.median(values[unit]) for name, values in found.items()}
        log.add("site", what, list(medians.values()), f" {unit}", f"가장 큰 쪽 {max(medians, key=medians.get)}")


SECTIONS = {
    "stacked": ("쌓아서 함께 학습하기: 하나씩 학습하는 시간 ÷ 함께 학습하는 시간", stacking),
    "growth": ("비용은 어떻게 늘어나나", growth),
    "tutorial": ("성능 저하를 보기까지", degradation),
    "live": ("살아 있는 랩", live),
    "start": ("시작하기까지", start),
    "site": ("사이트의 쪽", site),
    "course": ("과정 전체", whole),
}


@contextmanager
def _browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(as_readers_have=True), args=BROWSER_ARGUMENTS)
        yield browser
        browser.close()


@contextmanager
def _jupyter() -> Iterator[tuple[JupyterServer, BrowserContext]]:
    with JupyterServer(sys.executable) as server, _browser() as browser:
        yield server, browser.new_context(viewport={"width": 1280, "height": 1000})


def overhead(log: Log, book: NotebookPage, lab: LabView) -> None:
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
    least = min(live["wall"] for _, live in pairs) / min(bare["wall"] for bare, _ in pairs)

    def add(what: str, values: list[float], unit: str, *more: str) -> None:
        log.add("live", what, values, unit, *more)

    add("맨 반복문, 깊이 16", [bare["wall"] for bare, _ in pairs], "초")
    add("랩에서 같은 학습", [live["wall"] for _, live in pairs], "초")
    add("랩 ÷ 맨 반복문, 걸린 시간", [live["wall"] / bare["wall"] for bare, live in pairs], "배", f"가장 빠른 것끼리 {least:.3f}배")
    add("랩 ÷ 맨 반복문, 커널의 CPU 시간", [live["cpu"] / bare["cpu"] for bare, live in pairs], "배")
    add("커널의 CPU 시간 ÷ 그 가운데 학습", [live["cpu"] / live["trained"] for _, live in pairs], "배")
    add("커널이 학습에 쓴 시간의 비율", [100 * live["training"] / live["wall"] for _, live in pairs], "%")
    add("그림 하나마다 학습한 시간", [1000 * live["training"] / live["slices"] for _, live in pairs], " ms")
    add("그래프 갱신", rates, "번/초")


def presses(log: Log, book: NotebookPage, lab: LabView) -> None:
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
            return window.frames.filter((at) => at > pressed + changed).length / 2;  // a slice is shown in two pictures
        }"""))
        lab.press("pause")
        lab.passes(lab.step)
    answers = book.page.evaluate("() => window.answers")
    for what, key in (("누르고 화면의 상태가 바뀌기까지", "changed"), ("누르고 다음 화면이 그려지기까지", "shown")):
        times = sorted(answer[key] for answer in answers)
        log.add("live", what, times, " ms", f"95%는 {times[int(0.95 * len(times))]:.1f} ms 안에")
    log.add("live", "일시정지 뒤에 커널이 더 한 몫", after, "번")


def said(book: NotebookPage, cell: int) -> dict:
    return json.loads(book.page.locator(".jp-Notebook .jp-Cell").nth(cell).locator(".jp-OutputArea-output").inner_text())


if __name__ == "__main__":
    sys.exit(main())
