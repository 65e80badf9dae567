"""Tasks for small Transformers: a short Korean text, letter by letter, and sequences that repeat themselves.

`load_jamo` reads the text that lies in ``assets/data``; `jamo_batches` and `repeated_sequences` feed a stack of models.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache
from typing import NamedTuple

import torch

from residual_lab.data import shipped
from residual_lab.paths import ASSETS

TEXT_FILE = "water_roads.txt"
TEXT_SHA256 = "73956010a6749853013d9c47d42645c84704a019e457df01bc0519a14692213b"
IGNORED = -100
"""The label of a position that does not count, as in ``F.cross_entropy``."""


class Jamo(NamedTuple):
    """A text as Hangul letters: Unicode NFD, where a syllable is two or three letters.

    Attributes:
        ids: int64 of shape (N,), places in ``vocabulary``.
        vocabulary: the different letters, sorted. An initial and a final ㄱ are two letters.
    """

    ids: torch.Tensor
    vocabulary: tuple[str, ...]

    @property
    def entropy(self) -> float:
        """Unigram entropy in nats: the loss of a model that knows only how often each letter occurs."""
        p = torch.bincount(self.ids).double() / len(self.ids)
        return -(p * p.log()).sum().item()

    def decode(self, ids: torch.Tensor) -> str:
        """The text of some ids, letters put together to syllables again."""
        return unicodedata.normalize("NFC", "".join(self.vocabulary[i] for i in ids.tolist()))

    @property
    def labels(self) -> tuple[str, ...]:
        """The vocabulary as it can be printed alone: ㄱ is an initial, ‑ㄱ a final, ␣ the space."""
        return tuple(_label(letter) for letter in self.vocabulary)


def _label(letter: str) -> str:
    initials = "ㄱㄲㄴㄷㄸㄹㅁㅂㅃㅅㅆㅇㅈㅉㅊㅋㅌㅍㅎ"
    finals = "ㄱㄲㄳㄴㄵㄶㄷㄹㄺㄻㄼㄽㄾㄿㅀㅁㅂㅄㅅㅆㅇㅈㅊㅋㅌㅍㅎ"
    code = ord(letter)
    if 0x1100 <= code < 0x1113:
        return initials[code - 0x1100]
    if 0x1161 <= code < 0x1176:
        return chr(0x314F + code - 0x1161)
    if 0x11A8 <= code < 0x11C3:
        return "-" + finals[code - 0x11A8]
    return "␣" if letter == " " else letter


@cache
def load_jamo() -> Jamo:
    """A short Korean text about rice terraces and the water that runs past them, written for this course (CC BY 4.0).

    Raises:
        DataError: the file is missing or not the one that the course ships.
    """
    text = shipped(ASSETS / "data" / TEXT_FILE, TEXT_SHA256, lines=True).decode()
    letters = unicodedata.normalize("NFD", " ".join(text.split()))
    vocabulary = tuple(sorted(set(letters)))
    return Jamo(torch.tensor([vocabulary.index(letter) for letter in letters]), vocabulary)


def jamo_batches(
    ids: torch.Tensor, *, conditions: int, seeds: Sequence[int], context: int, batch: int, steps: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Random windows of a text for a stack of K = conditions × seeds models: each seed has its own, its conditions share them.

    Yields:
        Tokens and the tokens after them, both (K, batch, context), ``steps`` times.
    Raises:
        ValueError: a text shorter than a window.
    """
    if len(ids) <= context:
        raise ValueError(f"글({len(ids)}자)이 창({context}자)보다 길어야 합니다.")
    generators = [torch.Generator().manual_seed(2_000_003 + seed) for seed in seeds]
    windows = ids.unfold(0, context + 1, 1)
    for _ in range(steps):
        starts = torch.stack([torch.randint(len(windows), (batch,), generator=g) for g in generators])
        picked = windows[starts.repeat(conditions, 1)]
        yield picked[..., :-1], picked[..., 1:]


def repeated_sequences(
    *, conditions: int, seeds: Sequence[int], batch: int, steps: int, vocabulary: int = 16, context: int = 24,
    periods: tuple[int, int] = (5, 12),
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:  # fmt: skip
    """Sequences that repeat a random passage, for induction heads (Olsson et al. 2022, arXiv:2209.11895).

    A passage has 5 to 12 different random tokens (``periods``, both included; drawn for each sequence, so that no fixed
    distance helps). The label is the next token from the second passage on, and `IGNORED` before: what token follows
    can be known only where the present one occurred before.

    Yields:
        Tokens and labels, both (K, batch, context), ``steps`` times.
    Raises:
        ValueError: a period below 1, or too long for the vocabulary or the sequence.
    """
    low, high = periods
    if not 1 <= low <= high <= min(vocabulary, context - 1):
        raise ValueError(f"주기 {periods}는 1 이상이고, 어휘 {vocabulary}개와 길이 {context}보다 길 수 없습니다.")
    generators = [torch.Generator().manual_seed(3_000_017 + seed) for seed in seeds]
    places = torch.arange(context + 1)
    for _ in range(steps):
        sequences, period = [], []
        for g in generators:
            passages = torch.rand(batch, vocabulary, generator=g).argsort(1)
            period.append(torch.randint(low, high + 1, (batch, 1), generator=g))
            sequences.append(passages.gather(1, places % period[-1]))
        picked, length = torch.stack(sequences), torch.stack(period)
        labels = picked[..., 1:].masked_fill(places[:-1] < length, IGNORED)
        yield picked[..., :-1].repeat(conditions, 1, 1), labels.repeat(conditions, 1, 1)
