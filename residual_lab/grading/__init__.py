"""Grading with nbval. Imports no torch, and runs no learner's code outside a kernel of its own.

`exercise` reads what is graded from a solution, `submission` takes the learner's answers from a file, `compose` puts the
two into notebooks, `reference` finds the expected values in a trusted kernel, `session` runs nbval on them with kernels
from `provisioner` inside what `sandbox` offers, `verdict` turns what nbval said into points and reasons, `batch` does it
for a folder, `reports`, `html` and `lms` write it down, `cli` is ``residual-lab grade``.
"""

from residual_lab.notebooks import quick  # noqa: F401
