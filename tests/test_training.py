"""Stacked training gives the numbers of training one network at a time, and the ConvNet is the paper's."""

import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from residual_lab.blocks.resnet import ResNetCIFAR
from residual_lab.data import load_digits
from residual_lab.training import Condition, StackedConvNet, StackedMLP, evaluate, fit, stacked_batches
from residual_lab.training.chains import StackedChain
from residual_lab.training.optimizers import SGD, Adam, StackedAdam

PLAIN, RESIDUAL = Condition(skip=False), Condition(skip=True)
SEEDS = [3, 7]


def train(model, conditions, seeds, *, flat, steps=12, lr=0.05, **more):
    task = load_digits()
    x = task.x_train.flatten(1) if flat else task.x_train
    batches = stacked_batches(x, task.y_train, conditions=conditions, seeds=seeds, batch=32, steps=steps)
    return torch.stack([step.losses for step in fit(model, batches, steps=steps, lr=lr, **more)])


@pytest.mark.parametrize("condition", [PLAIN, RESIDUAL, Condition(skip=True, init="zero"), Condition(skip=False, init="orthogonal")])
def test_a_stacked_mlp_trains_like_each_of_its_networks_alone(condition):
    other = PLAIN if condition.skip else RESIDUAL
    stack = StackedMLP([other, condition], SEEDS, depth=6, sizes=(64, 16, 10))
    together = train(stack, 2, SEEDS, flat=True)[:, 2:]
    for column, seed in enumerate(SEEDS):
        alone = train(StackedMLP([condition], [seed], depth=6, sizes=(64, 16, 10)), 1, [seed], flat=True)[:, 0]
        torch.testing.assert_close(together[:, column], alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("network", "init", "sizes"), [
    (StackedMLP, "xavier", dict(depth=2, sizes=(4, 4, 2))), (StackedConvNet, "zero", dict(n=1, width=2)),
    (StackedChain, "orthogonal", dict(blocks=1, sizes=(4, 8))),
])
def test_an_initialisation_that_a_network_does_not_have_is_refused(network, init, sizes):
    with pytest.raises(ValueError, match=f"초기화는 he.* 가운데 하나여야 합니다: '{init}'"):
        network([Condition(skip=True, init=init)], [0], **sizes)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("depth", "width"), [(0, 5), (2, 32), (6, 5)])
def test_an_mlps_gradients_are_those_of_its_layers(depth, width, dtype):
    model = StackedMLP([PLAIN, RESIDUAL], SEEDS, depth=depth, sizes=(6, width, 3)).to(dtype)
    x = torch.randn(2 * len(SEEDS), 7, 6, dtype=dtype, requires_grad=True)
    weight = torch.randn(2 * len(SEEDS), 7, 3, dtype=dtype)
    results = []
    for forward in (model, model.layer_by_layer):
        logits = forward(x)
        results.append([logits, *torch.autograd.grad((logits * weight).sum(), [x, *model.parameters()], materialize_grads=True)])
    with torch.no_grad():
        assert torch.equal(model(x), results[0][0])
    assert all(torch.equal(ours, autograds) for ours, autograds in zip(*results, strict=True))


@pytest.mark.parametrize("condition", [PLAIN, RESIDUAL])
def test_a_stacked_convnet_trains_like_each_of_its_networks_alone(condition):
    stack = StackedConvNet([PLAIN, RESIDUAL], SEEDS, n=1, width=4)
    rows = slice(2, 4) if condition.skip else slice(0, 2)
    together = train(stack, 2, SEEDS, flat=False, steps=6, weight_decay=1e-4)[:, rows]
    for column, seed in enumerate(SEEDS):
        single = ResNetCIFAR(n=1, width=4, skip=condition.skip, in_channels=1)
        copy_network(single, condition, seed, n=1, width=4)
        torch.testing.assert_close(together[:, column], train_single(single, seed, steps=6), rtol=2e-3, atol=1e-4)


def copy_network(single, fresh, seed, *, n, width):
    """Give a readable single network the initial weights of the stacked one."""
    stack = StackedConvNet([fresh], [seed], n=n, width=width)
    grouped = [p for p in stack.state_dict().items() if not p[0].startswith(("skip", "head"))]
    with torch.no_grad():
        own = [p for p in single.state_dict().items() if not p[0].startswith("head")]
        assert [v.shape for _, v in grouped] == [v.shape for _, v in own]
        for (_, target), (_, source) in zip(own, grouped):
            target.copy_(source)
        single.head.weight.copy_(stack.head[0].T)
        single.head.bias.copy_(stack.head_bias[0, 0])


def train_single(model, seed, *, steps):
    """The loop a tutorial would write: one network, unfused SGD."""
    task = load_digits()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    losses = []
    for x, y in stacked_batches(task.x_train, task.y_train, conditions=1, seeds=[seed], batch=32, steps=steps):
        loss = F.cross_entropy(model(x[0]), y[0])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.detach())
    return torch.stack(losses)


def test_a_rate_of_its_own_for_each_network_is_that_network_trained_with_that_rate():
    rates = torch.tensor([0.01, 0.1])
    stack = StackedMLP([RESIDUAL, RESIDUAL], [5], depth=4, sizes=(64, 16, 10))
    together = train(stack, 2, [5], flat=True, lr=rates)
    for column, rate in enumerate(rates.tolist()):
        alone = train(StackedMLP([RESIDUAL], [5], depth=4, sizes=(64, 16, 10)), 1, [5], flat=True, lr=rate)[:, 0]
        torch.testing.assert_close(together[:, column], alone, rtol=1e-3, atol=1e-5)


def test_a_network_that_diverges_leaves_the_others_of_its_stack_alone():
    rates = torch.tensor([1e6, 0.01])
    stack = StackedMLP([PLAIN, PLAIN], [5], depth=4, sizes=(64, 16, 10))
    losses = train(stack, 2, [5], flat=True, lr=rates, steps=20)
    assert not losses[-1, 0].isfinite()
    assert losses[-1, 1] < losses[0, 1]


def test_inserted_identity_layers_leave_every_output_bit_as_it_was():
    stack = StackedMLP([PLAIN], SEEDS, depth=4, sizes=(64, 16, 10))
    train(stack, 1, SEEDS, flat=True)
    x = load_digits().x_test.flatten(1).expand(2, -1, -1)
    assert torch.equal(stack.with_identity_layers(48)(x), stack(x))


def test_evaluate_is_the_whole_data_set_in_evaluation_mode():
    task = load_digits()
    stack = StackedConvNet([RESIDUAL], SEEDS, n=1, width=4)
    loss, error = evaluate(stack, task.x_test, task.y_test, networks=2, batch=100)
    stack.eval()
    logits = stack(task.x_test.expand(2, *task.x_test.shape))[1].detach()
    torch.testing.assert_close(loss[1], F.cross_entropy(logits, task.y_test))
    torch.testing.assert_close(error[1], 100 * (logits.argmax(1) != task.y_test).float().mean())


# He et al. 2015 (arXiv:1512.03385), Table 6: parameters of the CIFAR-10 ResNets in millions.
@pytest.mark.parametrize(("n", "millions"), [(3, 0.27), (5, 0.46), (7, 0.66), (9, 0.85), (18, 1.7)])
def test_resnet_has_the_papers_parameter_counts(n, millions):
    count = sum(p.numel() for p in ResNetCIFAR(n=n).parameters())
    assert round(count / 1e6, 2 if millions < 1 else 1) == millions


def test_plain_and_residual_networks_have_the_same_parameters():
    shapes = [[p.shape for p in ResNetCIFAR(n=3, skip=skip).parameters()] for skip in (False, True)]
    assert shapes[0] == shapes[1]


def test_an_odd_depth_is_refused():
    with pytest.raises(ValueError, match="짝수"):
        StackedMLP([PLAIN], [0], depth=5, sizes=(4, 4, 2))


RULES = {
    "SGD": (lambda ps: SGD(ps, momentum=0.9, weight_decay=1e-3), lambda ps: torch.optim.SGD(ps, momentum=0.9, weight_decay=1e-3, fused=True)),
    "SGD without momentum": (SGD, lambda ps: torch.optim.SGD(ps, fused=True)),
    "Adam": (lambda ps: Adam(ps, (0.8, 0.9)), lambda ps: torch.optim.Adam(ps, betas=(0.8, 0.9), fused=True)),
}


def walk(rule, parameters, *, steps=6, used=(2, 1, 0)):
    """Follow the gradient of a quartic; ``used`` says how many of the parameters have one, step by step. Yields before each rule's step."""
    for step in range(steps):
        rule.zero_grad()
        for parameter in parameters[: used[step % len(used)]]:
            (parameter - step).pow(4).sum().backward()
        yield 0.02 / (1 + step)


def drawn(dtype=torch.float32):
    return [nn.Parameter(torch.randn(3, 4, generator=torch.Generator().manual_seed(i), dtype=dtype)) for i in range(2)]


@pytest.mark.parametrize("name", RULES)
def test_the_optimisers_are_torchs_to_the_last_bit(name):
    mine, theirs = drawn(), drawn()
    rules = [make(parameters) for make, parameters in zip(RULES[name], (mine, theirs))]
    for lr in walk(rules[0], mine):
        rules[0].step(lr)
    for lr in walk(rules[1], theirs):
        rules[1].param_groups[0]["lr"] = lr
        rules[1].step()
    assert all(torch.equal(a, b) for a, b in zip(mine, theirs))
    assert not torch.equal(mine[0], drawn()[0])


def test_the_stacks_adam_is_torchs():
    mine, theirs = drawn(torch.float64)[:1], drawn(torch.float64)[:1]
    stacked, adam = StackedAdam(mine, (0.8, 0.9)), torch.optim.Adam(theirs, betas=(0.8, 0.9))
    for lr in walk(stacked, mine, used=[1]):
        stacked.step(torch.full((3,), lr))
    for lr in walk(adam, theirs, used=[1]):
        adam.param_groups[0]["lr"] = lr
        adam.step()
    torch.testing.assert_close(mine, theirs)


def test_training_does_not_wait_for_torchs_compiler():
    train_a_little = """
import sys
from residual_lab.experiments import EXPERIMENTS
for name in ("mlp_depth", "stochastic_training", "warmup_map"):
    next(iter(EXPERIMENTS[name]().frames()))
sys.exit("torch._dynamo" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", train_a_little]).returncode == 0
