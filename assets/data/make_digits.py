"""Make ``digits.npz`` from the 1,797 handwritten digits that scikit-learn 1.9.1 carries (UCI, CC BY 4.0).

    pip install scikit-learn==1.9.1 && python assets/data/make_digits.py
"""

from pathlib import Path

import archive
import numpy as np
from sklearn.datasets import load_digits

digits = load_digits()
archive.write(Path(__file__).with_name("digits.npz"), images=digits.images.astype(np.uint8), labels=digits.target.astype(np.uint8))
