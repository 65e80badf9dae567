"""The experiments of all lessons. ``EXPERIMENTS`` maps each id to its class."""

from residual_lab.experiments import degradation, ensemble, gradient_flow, residual_math, stochastic_depth
from residual_lab.experiments.base import Experiment, Frame, KnobError, Result

EXPERIMENTS: dict[str, type[Experiment]] = {
    experiment.id: experiment
    for lesson in (degradation, residual_math, gradient_flow, ensemble, stochastic_depth)
    for experiment in lesson.EXPERIMENTS
}

__all__ = ["EXPERIMENTS", "Experiment", "Frame", "KnobError", "Result"]
