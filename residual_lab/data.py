"""Small real tasks as tensors. Nothing is downloaded at run time.

Both lie in ``assets/data``: the 8×8 digits that scikit-learn carries (importing it would cost a notebook as much as torch does),
and a subset of Fashion-MNIST.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional as F

from residual_lab.paths import ASSETS

SHA256 = {
    "digits.npz": "b3b9c8cc11d765ce4264d8748bf3edbafa5038d91c93cf713ddbd6ae8652b410",
    "fashion_mnist_10k.npz": "a72fa80ba9a516f5e9d6e1a6abfe8c655e153d50a0952b68722015fa701aa57d",
}
REPAIR = "저장소를 다시 받거나 `git checkout -- assets/data`로 되돌려 주세요."
FASHION_LABELS = ("티셔츠", "바지", "풀오버", "원피스", "코트", "샌들", "셔츠", "운동화", "가방", "앵클부츠")


class DataError(RuntimeError):
    """A data file is missing or damaged; the message says in Korean what to do."""


class Task(NamedTuple):
    """A classification task.

    Attributes:
        x_train, x_test: float32 of shape (N, channels, H, W), each channel standardised with the training images' mean and deviation.
        y_train, y_test: int64 of shape (N,).
    """

    x_train: torch.Tensor
    y_train: torch.Tensor
    x_test: torch.Tensor
    y_test: torch.Tensor


def _task(images: np.ndarray, labels: np.ndarray, train: int) -> Task:
    x = torch.as_tensor(images, dtype=torch.float32).unsqueeze(1)
    y = torch.as_tensor(labels, dtype=torch.int64)
    mean, deviation = x[:train].mean(), x[:train].std()
    x = (x - mean) / deviation
    return Task(x[:train], y[:train], x[train:], y[train:])


@cache
def load_digits() -> Task:
    """Handwritten digits, 8×8, ten classes: 1,437 for training and 360 for testing (Alpaydin & Kaynak 1998, UCI).

    The split is fixed (a permutation with seed 0), so that only initialisation and batch order differ between seeds.

    Raises:
        DataError: the file is missing, truncated or not the one that the course ships.
    """
    images, labels = _read(ASSETS / "data/digits.npz")
    order = np.random.default_rng(0).permutation(len(labels))
    return _task(images[order] / 16.0, labels[order], train=1437)


@cache
def load_fashion(*, train: int = 8000, pool: int = 1) -> Task:
    """Fashion-MNIST (Xiao et al. 2017, arXiv:1708.07747), 1,000 images of each of ten classes, 28×28.

    Args:
        train: how many of the 10,000 images are for training; the rest is for testing.
        pool: average over pool×pool pixels of the standardised images (``pool=4`` gives 7×7, of a smaller deviation).
    Raises:
        DataError: the file is missing, truncated or not the one that the course ships.
    """
    images, labels = _read(ASSETS / "data/fashion_mnist_10k.npz")
    task = _task(images.astype(np.float32) / 255.0, labels, train=train)
    if pool == 1:
        return task
    return task._replace(x_train=F.avg_pool2d(task.x_train, pool), x_test=F.avg_pool2d(task.x_test, pool))


def _read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    content = io.BytesIO(shipped(path, SHA256[path.name]))
    try:
        with np.load(content) as archive:
            return archive["images"], archive["labels"]
    except (zipfile.BadZipFile, KeyError, ValueError) as problem:
        raise DataError(f"데이터 파일을 읽을 수 없습니다: assets/data/{path.name} ({problem}). {REPAIR}") from problem


def shipped(path: Path, sha256: str, *, lines: bool = False) -> bytes:
    """A data file of the course; of text ``lines`` the ends are those of Unix, as git may have changed them.

    Raises:
        DataError: the file is missing or not the one that the course ships.
    """
    if not path.is_file():
        raise DataError(f"데이터 파일이 없습니다: assets/data/{path.name}. {REPAIR}")
    content = path.read_bytes()
    if lines:
        content = content.replace(b"\r\n", b"\n")
    if hashlib.sha256(content).hexdigest() != sha256:
        raise DataError(f"데이터 파일이 손상되었거나 다른 파일입니다: assets/data/{path.name}. {REPAIR}")
    return content
