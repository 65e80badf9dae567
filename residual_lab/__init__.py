"""잔차 연결 실험실: ten interactive lessons on residual connections.

Importing the package costs nothing: torch is imported only by modules that compute with it.
"""

from residual_lab.hardware import device

__all__ = ["device"]
__version__ = "0.1.0"
