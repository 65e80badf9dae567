"""Where the course's own files lie, in a checkout and in an installed wheel."""

from __future__ import annotations

import os
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
CHECKOUT = PACKAGE.parent

_bundled = PACKAGE / "assets"
ASSETS = _bundled if _bundled.is_dir() else CHECKOUT / "assets"
"""Fonts, data and recordings: inside the package in a wheel, beside it in a checkout."""


def home() -> Path:
    """Folder of the learner's local records (predictions, quiz answers): ``RESIDUAL_LAB_HOME`` or ``~/.residual-lab``."""
    return Path(os.environ.get("RESIDUAL_LAB_HOME") or Path.home() / ".residual-lab")
