"""Whole data sets for big settings, read by torchvision from files that the user has. Nothing is downloaded here."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import numpy as np
import torch

from residual_lab.data import DataError, Task, load_digits
from residual_lab.paths import home

BIG_DATA = {"fashion_mnist": "Fashion-MNIST 28×28", "cifar10": "CIFAR-10 32×32"}
"""What a lab offers: the name of a data set, and what the learner reads."""
CLASSES = {"fashion_mnist": "FashionMNIST", "cifar10": "CIFAR10"}
"""torchvision's classes for them."""


def folder() -> Path:
    """Where torchvision's data lie: ``RESIDUAL_LAB_DATA``, or ``data`` in the learner's folder of records."""
    return Path(os.environ.get("RESIDUAL_LAB_DATA") or home() / "data")


@cache
def load_task(name: str, device: torch.device) -> Task:
    """The task on a device: "digits", or one of `BIG_DATA` in full size: 50,000 or 60,000 training and 10,000 test images.

    Fashion-MNIST: Xiao et al. 2017 (arXiv:1708.07747). CIFAR-10: Krizhevsky 2009, "Learning Multiple Layers of Features from Tiny
    Images". Each channel is standardised with the training images' mean and deviation.

    Raises:
        DataError: torchvision or the files are missing or damaged; the message says in Korean what to do.
    """
    task = load_digits() if name == "digits" else _read(name)
    return Task(*(part.to(device) for part in task))


def _read(name: str) -> Task:
    root = folder()
    kind = getattr(_torchvision_datasets(), CLASSES[name])
    try:
        train, test = (kind(str(root), train=part, download=False) for part in (True, False))
    except Exception as problem:  # torchvision tells a missing file and a damaged one by many exceptions
        raise DataError(
            f"{CLASSES[name]} 데이터를 {root}에서 읽을 수 없습니다({type(problem).__name__}: {problem}). 인터넷이 되는 곳에서 다음을 한 번 "
            f"실행하면 내려받습니다: python -c \"from torchvision.datasets import {CLASSES[name]}; {CLASSES[name]}('{root.as_posix()}', download=True)\" "
            "다른 폴더에 이미 있으면 환경 변수 RESIDUAL_LAB_DATA에 그 폴더를 적으십시오."
        ) from problem
    (x_train, y_train), (x_test, y_test) = _tensors(train), _tensors(test)
    mean, deviation = x_train.mean((0, 2, 3), keepdim=True), x_train.std((0, 2, 3), keepdim=True)
    return Task((x_train - mean) / deviation, y_train, (x_test - mean) / deviation, y_test)


def _tensors(part) -> tuple[torch.Tensor, torch.Tensor]:
    """Images in 0 … 1 as (N, C, H, W), and labels; torchvision keeps (N, H, W) or (N, H, W, C) bytes."""
    images = torch.as_tensor(np.asarray(part.data), dtype=torch.float32) / 255
    images = images.unsqueeze(1) if images.dim() == 3 else images.permute(0, 3, 1, 2).contiguous()
    return images, torch.as_tensor(np.asarray(part.targets), dtype=torch.int64)


def _torchvision_datasets():
    advice = "'pip install torchvision'으로 설치하십시오. torch와 판이 맞아야 하므로 torch를 받은 곳에서 함께 받는 것이 안전합니다."
    try:
        from torchvision import datasets
    except ImportError as problem:
        raise DataError(f"큰 데이터를 읽으려면 torchvision이 있어야 합니다({problem}). {advice}") from problem
    except RuntimeError as problem:  # what a torchvision says that was built for another torch
        raise DataError(f"설치된 torchvision이 이 torch({torch.__version__})와 맞지 않습니다({problem}). {advice}") from problem
    return datasets
