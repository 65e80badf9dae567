"""Text to notebook: execute the sources, derive the exercises, find what is stale. Imports no torch.

`text` reads a source and gives every cell its id, `exercise` knows tasks and wrong answers, `execute` runs and
writes, `stale` compares what is stored with what the sources say, `cli` is ``residual-lab notebooks``.
"""

from . import quick  # noqa: F401
