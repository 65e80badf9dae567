"""What a training step costs, counted and not timed: bytes stored for the backward pass, bytes alive at most, multiply-adds."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry


def _storages(tensors: list) -> dict[int, torch.UntypedStorage]:
    """Each storage once, by its address: two views of one storage cost no more than one."""
    found = [t.untyped_storage() for t in tensors if isinstance(t, Tensor)]
    return {storage.data_ptr(): storage for storage in found if storage.nbytes()}


def saved_bytes(forward: Callable[[], Tensor], *, but: list[Tensor] | tuple = ()) -> int:
    """Bytes that autograd stores while ``forward`` runs; the storages of the tensors ``but`` (parameters) do not count."""
    saved = []
    with saved_tensors_hooks(lambda tensor: saved.append(tensor) or tensor, lambda tensor: tensor):
        forward()
    excepted = _storages(list(but))
    return sum(s.nbytes() for address, s in _storages(saved).items() if address not in excepted)


class _Alive(TorchDispatchMode):
    """Knows of every storage made while it is on, and the most bytes that were alive at once."""

    def __init__(self, given: list[Tensor]):
        super().__init__()
        self.given, self.alive, self.peak = _storages(given), {}, 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        for address, storage in _storages(tree_leaves(out)).items():
            if address not in self.given:
                self.alive[address] = StorageWeakRef(storage), storage.nbytes()
        self.alive = {address: one for address, one in self.alive.items() if not one[0].expired()}
        self.peak = max(self.peak, sum(nbytes for _, nbytes in self.alive.values()))
        return out


def peak_bytes(step: Callable[[], object], *, but: list[Tensor] | tuple = ()) -> int:
    """The most bytes alive after any operation of ``step`` (forward and backward); storages that exist before do not count.

    Args:
        but: tensors from before the step that operations may return (parameters, the input).
    """
    with _Alive(list(but)) as mode:
        step()
    return mode.peak


class _Work(TorchDispatchMode):
    """Adds up the floating-point operations of convolutions and matrix products, as torch's own table has them."""

    flops = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        if count := flop_registry.get(function._overloadpacket):
            self.flops += count(*args, **(kwargs or {}), out_val=out)
        return out


def multiply_adds(step: Callable[[], object]) -> int:
    """Multiply-adds of the convolutions and matrix products of ``step``, those of its backward pass included."""
    with _Work() as mode:
        step()
    return mode.flops // 2
