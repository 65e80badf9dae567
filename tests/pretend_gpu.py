"""A stand-in for a GPU where there is none: tensors of a second device, computed on the CPU and held to a GPU's rules.

An operation that mixes tensors of the two devices fails as it would with CUDA (numbers without dimensions and indices may
come from the CPU), and so does drawing on this device with the CPU's generator. Values leave it by ``cpu``, ``tolist``
and ``item`` only. What it cannot tell: speed, memory, and CUDA's own kernels.
"""

from __future__ import annotations

import torch
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

DEVICE = torch.device("meta")  # the one device besides the CPU that a build without CUDA accepts in autograd

_MAY_INDEX = {torch.ops.aten.index.Tensor, torch.ops.aten.index_put_.default, torch.ops.aten.index_put.default}


class OnGPU(torch.Tensor):
    """A tensor of the pretended GPU; ``inner`` holds its numbers."""

    @staticmethod
    def __new__(cls, inner: torch.Tensor):
        given = {"strides": inner.stride(), "storage_offset": inner.storage_offset(), "dtype": inner.dtype, "layout": inner.layout}
        return torch.Tensor._make_wrapper_subclass(cls, inner.shape, device=DEVICE, requires_grad=inner.requires_grad, **given)

    def __init__(self, inner: torch.Tensor):
        self.inner = inner.detach()

    def __repr__(self) -> str:
        return f"OnGPU({self.inner})"

    def tolist(self):
        return self.inner.tolist()

    def __format__(self, form: str) -> str:
        return format(self.inner, form)

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        target = kwargs.pop("device", DEVICE)
        if func is torch.ops.aten._to_copy.default and torch.device(target) != DEVICE:
            return func(args[0].inner, **kwargs)
        if func is torch.ops.aten._local_scalar_dense.default:
            return func(args[0].inner)
        if kwargs.get("generator") is not None:
            raise RuntimeError("Expected a 'cuda' device type for generator but found 'cpu'")
        strangers = [t for t in pytree.tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor) and not isinstance(t, OnGPU) and t.dim()]
        if strangers and func not in _MAY_INDEX and func is not torch.ops.aten.copy_.default:
            raise RuntimeError(f"{func}: Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu!")
        inner = lambda t: t.inner if isinstance(t, OnGPU) else t
        result = func(*pytree.tree_map(inner, args), **pytree.tree_map(inner, kwargs))
        known = {id(t.inner): t for t in pytree.tree_leaves((args, kwargs)) if isinstance(t, OnGPU)}
        outer = lambda t: t if not isinstance(t, torch.Tensor) else known[id(t)] if id(t) in known else OnGPU(t)
        return pytree.tree_map(outer, result)


class PretendGPU(TorchFunctionMode):
    """Makes ``.to(DEVICE)`` and factories with ``device=DEVICE`` give tensors with numbers."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if func is torch.Tensor.to:
            wanted = [a for a in (*args[1:], kwargs.get("device")) if isinstance(a, (torch.device, str))]
            if wanted and torch.device(wanted[0]) == DEVICE and not isinstance(args[0], OnGPU):
                return OnGPU(args[0].detach().clone(memory_format=kwargs.get("memory_format") or torch.preserve_format))
        if kwargs.get("device") is not None and torch.device(kwargs["device"]) == DEVICE and not any(isinstance(a, torch.Tensor) for a in args):
            del kwargs["device"]
            return OnGPU(func(*args, **kwargs))
        return func(*args, **kwargs)
