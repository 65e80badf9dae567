"""Any small modules of one structure trained at once, by ``torch.func.vmap``."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap


class StackedModules(nn.Module):
    """K modules that differ in the values of their parameters and buffers only: inputs (K, …) → outputs (K, …)."""

    def __init__(self, models: Sequence[nn.Module]):
        super().__init__()
        parameters, buffers = stack_module_state(list(models))
        self.names = list(parameters)
        self.stacked = nn.ParameterList(nn.Parameter(value.detach()) for value in parameters.values())
        self.constants = buffers
        self.__dict__["_structure"] = copy.deepcopy(models[0]).to("meta")  # not a submodule: it has no weights of its own

    def forward(self, x: Tensor) -> Tensor:
        def one(parameters: dict, buffers: dict, x: Tensor) -> Tensor:
            return functional_call(self._structure, (parameters, buffers), (x,))

        return vmap(one)(dict(zip(self.names, self.stacked)), self.constants, x)

    @torch.no_grad()
    def member(self, k: int) -> nn.Module:
        """Module k with a copy of its present weights."""
        model = copy.deepcopy(self._structure).to_empty(device="cpu")
        state = dict(zip(self.names, self.stacked)) | self.constants
        model.load_state_dict({name: value[k].clone() for name, value in state.items()})
        return model
