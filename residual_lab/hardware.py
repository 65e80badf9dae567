"""Where big settings train."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@cache
def device() -> torch.device:
    """The GPU that torch can use (CUDA), else the CPU. Asked once: a machine gains no GPU while it runs."""
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
