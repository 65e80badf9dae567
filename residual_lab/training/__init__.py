"""Training as a generator, and many small networks trained at once.

Importing this package limits torch to one thread: the course's networks are too small to gain from a second, and
on a machine with other work two threads were measured up to twelve times slower.
"""

import torch

from residual_lab.training.fit import Step, evaluate, fit
from residual_lab.training.stacked import Condition, StackedConvNet, StackedMLP, stacked_batches

torch.set_num_threads(1)

__all__ = ["Condition", "StackedConvNet", "StackedMLP", "Step", "evaluate", "fit", "stacked_batches"]
