"""잔차 연결 실험실: ten interactive lessons on residual connections.

Importing the package costs nothing: torch is imported only by the modules that train
(`data`, `blocks`, `training`, `experiments`, `checks`).
"""

from residual_lab.hardware import device

__all__ = ["device"]
__version__ = "0.1.0"
