"""잔차 연결 실험실: ten interactive lessons on residual connections.

Importing the package costs nothing: torch is imported only by the modules that train
(`data`, `blocks`, `training`, `experiments`, `checks`).
"""

__version__ = "0.1.0"
