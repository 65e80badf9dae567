"""A tiny course to grade: two tasks that need no torch, so that a kernel starts in half a second."""

import json

import nbformat

from residual_lab.grading.exercise import read_exercise
from residual_lab.notebooks.text import Source

SOLUTION = '''---
kernelspec:
  name: python3
  display_name: Python 3
---

# 연습 01 · 작은 연습

```{code-cell} ipython3
import math
```

## 과제 1-1 · 두 배

```{code-cell} ipython3
:tags: [answer]

# 과제 1-1
def double(x):
    """두 배."""
    ### BEGIN SOLUTION
    return 2 * x
    ### END SOLUTION
```

```{code-cell} ipython3
:tags: [check]
:task: 1-1
:points: 2

from residual_lab.checks.base import require
require(double(3) == 6, "두 배가 아닙니다.")
print("double(3) =", double(3))
```

```{code-cell} ipython3
:tags: [grade]
:task: 1-1

for _ in range(5):
    show(double(draw.uniform(1, 9)))
```

```{code-cell} ipython3
:tags: [wrong]
:task: 1-1
:says: 두 배가

def double(x):
    return x
```

## 과제 1-2 · 네 배

```{code-cell} ipython3
:tags: [answer]

# 과제 1-2
def quadruple(x):
    ### BEGIN SOLUTION
    return double(double(x))
    ### END SOLUTION
```

```{code-cell} ipython3
:tags: [check]
:task: 1-2
:points: 3

from residual_lab.checks.base import require
require(quadruple(3) == 12, "네 배가 아닙니다.")
print(quadruple(3))
```

```{code-cell} ipython3
:tags: [grade]
:task: 1-2

show([quadruple(draw.randint(1, 999)) for _ in range(5)], digits=None)
```

```{code-cell} ipython3
:tags: [wrong]
:task: 1-2
:says: 네 배가

def quadruple(x):
    return 3 * x
```
'''

RIGHT = {"1-1": "# 과제 1-1\ndef double(x):\n    return x + x", "1-2": "# 과제 1-2\ndef quadruple(x):\n    return 4 * x"}
WRONG = {"1-1": "# 과제 1-1\ndef double(x):\n    return x", "1-2": "# 과제 1-2\ndef quadruple(x):\n    return x"}


def write_course(root):
    (root / "solutions").mkdir(parents=True, exist_ok=True)
    (root / "solutions" / "01_small.md").write_text(SOLUTION, encoding="utf-8")
    return root


def exercise_of(root):
    return read_exercise(Source(root, "solutions", "01_small"))


def cell(source, **more):
    return {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": [], "source": source, **more}


def write_submission(path, *sources, **notebook):
    """A notebook as Colab saves it: no ids, nothing but the cells."""
    path.parent.mkdir(parents=True, exist_ok=True)
    made = {"cells": [cell(source) for source in sources], "metadata": {}, "nbformat": 4, "nbformat_minor": 0, **notebook}
    path.write_text(json.dumps(made, ensure_ascii=False), encoding="utf-8")
    return path


def read_ipynb(path):
    return nbformat.read(path, as_version=4)
