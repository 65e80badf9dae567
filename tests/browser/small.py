# The experiment of the test notebooks, pasted into their first cell: every kind of knob and panel, quick and light.
import math
import time
from dataclasses import dataclass

from residual_lab.experiments.base import (
    Bars, Experiment, Frame, Heat, Lines, Table, choice, log_slider, seed_knob, slider, toggle,
)
from residual_lab.lab import Lab

KINDS = {"plain": "플레인", "residual": "잔차"}


@dataclass(frozen=True)
class Small(Experiment):
    id = "mlp_depth"  # for the still picture of a stored output
    title = "작은 실험"
    note = "시험에 쓰는 실험입니다."
    panels = (
        Lines("loss", "손실", x="단계", y="손실", series=KINDS, scale="log"),
        Bars("gradient", "층별 그래디언트", x="층", y="크기", series=KINDS, scale="log"),
        Heat("map", "지도", x="학습률", y="깊이", z="손실", scale="log"),
        Table("final", "마지막 값", columns=("조건", "손실")),
    )
    frames_wanted: int = slider("길이", (40, 400, 4000), 40)
    depth: int = slider("깊이 L", (4, 8, 16), 8, unit="층")
    lr: float = log_slider("학습률", (0.001, 0.01, 0.1), 0.01)
    kind: str = choice("망", {"a": "가", "b": "나"}, "a")
    method: str = choice("방법", {"sgd": "SGD", "momentum": "SGD + 모멘텀", "adam": "Adam", "adamw": "AdamW", "rms": "RMSprop"}, "sgd")
    bn: bool = toggle("배치 정규화", True)
    breaks: bool = toggle("고장", False)
    seed: int = seed_knob()

    def frames(self):
        for step in range(1, self.frames_wanted + 1):
            if self.breaks and step == 20:
                raise RuntimeError("일부러 낸 고장")
            time.sleep(0.004)
            rates = {"plain": self.lr, "residual": self.lr * self.depth}
            curves = {kind: [2 * math.exp(-rate * step) + 0.01 * (self.seed + s + 1) for s in range(3)] for kind, rate in rates.items()}
            frame = Frame(step, self.frames_wanted, curves={"loss": curves})
            if step % 10 == 1:
                frame.profiles["gradient"] = {kind: [rate * 0.7**i for i in range(self.depth)] for kind, rate in rates.items()}
                frame.matrices["map"] = {"xs": ["0.1", "0.2"], "ys": ["4", "8"], "z": [[0.1, 0.5 / step], [float("nan"), 1.0]]}
            if step == self.frames_wanted:
                frame.tables["final"] = [[label, f"{curves[kind][0]:.3g}"] for kind, label in KINDS.items()]
            yield frame
