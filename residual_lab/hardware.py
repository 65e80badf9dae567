"""Where big settings train."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@cache
def device() -> torch.device:
    """The GPU that torch can use (CUDA), else the CPU. Asked once: a machine gains no GPU while it runs.

    float32 means float32 there too: torch would let convolutions round their inputs to TF32's 10 bits of mantissa.
    """
    import torch

    if not torch.cuda.is_available():
        return torch.device("cpu")
    torch.backends.cudnn.conv.fp32_precision = "ieee"
    return torch.device("cuda")
