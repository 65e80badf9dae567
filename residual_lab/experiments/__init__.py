"""The experiments of all lessons. ``EXPERIMENTS`` maps each id to its class."""

from residual_lab.experiments import (
    degradation, densenet, ensemble, gradient_flow, norm_placement, preactivation, residual_math,
    residual_stream, scaling, stochastic_depth,
)
from residual_lab.experiments.base import Experiment, Frame, KnobError, Result

LESSONS = (
    degradation, residual_math, gradient_flow, ensemble, preactivation, densenet, norm_placement,
    scaling, stochastic_depth, residual_stream,
)
EXPERIMENTS: dict[str, type[Experiment]] = {experiment.id: experiment for lesson in LESSONS for experiment in lesson.EXPERIMENTS}

__all__ = ["EXPERIMENTS", "Experiment", "Frame", "KnobError", "Result"]
