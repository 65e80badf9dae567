"""Part of `make bench`: how long it takes to see degradation with five seeds, here and with the usual PyTorch loop.

The loop is what tutorials teach: a module for a block, `DataLoader`, `torch.optim.SGD`, one network after another. Data,
sizes, batches, rates and epochs are those of lesson 01's 2×2.
"""

from __future__ import annotations

import time

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from residual_lab.data import load_digits
from residual_lab.experiments.degradation import BATCH, ConvTwoByTwo

EPOCHS, DEPTHS = 5, {"shallow": 20, "deep": 56}


class Block(nn.Module):
    def __init__(self, fan_in: int, fan_out: int, stride: int, skip: bool):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(fan_in, fan_out, 3, stride, 1, bias=False), nn.BatchNorm2d(fan_out)
        self.conv2, self.bn2 = nn.Conv2d(fan_out, fan_out, 3, 1, 1, bias=False), nn.BatchNorm2d(fan_out)
        self.stride, self.more, self.skip = stride, fan_out - fan_in, skip

    def forward(self, x):
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.skip:
            out = out + F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.more))
        return F.relu(out)


class Net(nn.Module):
    def __init__(self, depth: int, skip: bool, width: int = 4):
        super().__init__()
        blocks, channels = [], width
        for stage in range(3):
            for index in range((depth - 2) // 6):
                down = stage > 0 and index == 0
                blocks.append(Block(channels, channels * (2 if down else 1), 2 if down else 1, skip))
                channels *= 2 if down else 1
        self.stem = nn.Sequential(nn.Conv2d(1, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        self.blocks, self.head = nn.Sequential(*blocks), nn.Linear(channels, 10)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")

    def forward(self, x):
        return self.head(self.blocks(self.stem(x)).mean((2, 3)))


def train(depth: int, skip: bool, seed: int) -> float:
    """Error on the training set in percent, after training."""
    torch.manual_seed(seed)
    task, net = load_digits(), Net(depth, skip)
    data = DataLoader(TensorDataset(task.x_train, task.y_train), batch_size=BATCH, shuffle=True, drop_last=True)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS * len(data))
    for _ in range(EPOCHS):
        for x, y in data:
            optimizer.zero_grad()
            F.cross_entropy(net(x), y).backward()
            optimizer.step()
            schedule.step()
    net.eval()
    with torch.no_grad():
        return 100 * (net(task.x_train).argmax(1) != task.y_train).float().mean().item()


def usual(seeds: range) -> tuple[float, bool]:
    """CPU seconds for all networks, and whether the deep plain one was worse than the shallow one for every seed."""
    start = time.process_time()
    errors = {(size, skip): [train(depth, skip, seed) for seed in seeds] for size, depth in DEPTHS.items() for skip in (False, True)}
    worse = all(deep > shallow for deep, shallow in zip(errors["deep", False], errors["shallow", False]))
    return time.process_time() - start, worse


def ours(seeds: range) -> tuple[float, bool]:
    start = time.process_time()
    run = ConvTwoByTwo.run(deep=DEPTHS["deep"], epochs=EPOCHS, seeds_per_run=len(seeds))
    deep, shallow = (run.number("train_error", f"plain_{size}") for size in ("deep", "shallow"))
    return time.process_time() - start, bool((deep > shallow).all())
