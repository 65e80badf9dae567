"""What every experiment promises, and what lesson 01 claims of its own."""

import functools
import itertools
import json

import numpy as np
import pytest
import torch

from residual_lab.experiments import EXPERIMENTS, KnobError
from residual_lab.experiments.degradation import IdentityInsertion, LearningRateMap, MLPDepth, ScalarProduct
from residual_lab.lab.recording import recorded
from residual_lab.training import Condition, StackedMLP

ALL = pytest.mark.parametrize("experiment", EXPERIMENTS.values(), ids=EXPERIMENTS)


def head(experiment, count=2):
    """The first frames of a run."""
    return list(itertools.islice(experiment.frames(), count))


first = functools.cache(head)


@ALL
def test_the_same_settings_give_the_same_frames(experiment):
    assert repr(first(experiment())) == repr(head(experiment()))


@ALL
def test_frames_fill_only_declared_panels_and_count_their_steps(experiment):
    panels = {panel.key: panel for panel in experiment.panels}
    for frame in first(experiment()):
        for part, kind in (("curves", "lines"), ("profiles", "bars"), ("matrices", "heat"), ("tables", "table")):
            for key, content in getattr(frame, part).items():
                assert panels[key].kind == kind
                if kind in ("lines", "bars"):
                    assert set(content) <= {series["key"] for series in panels[key].more["series"]}
        assert 1 <= frame.step <= frame.total


@ALL
def test_the_front_end_can_be_told_of_it_in_json(experiment):
    spec = json.loads(json.dumps(experiment().spec(), allow_nan=False))
    assert [knob["name"] for knob in spec["knobs"]] == [name for name, knob in experiment.knobs().items() if len(knob.values) > 1]
    assert all(knob["default"] in knob["values"] for knob in spec["knobs"])


@ALL
def test_what_is_recorded_can_be_chosen_and_holds_the_defaults(experiment):
    for name, values in experiment.grid.items():
        knob = experiment.knobs()[name]
        assert set(values) <= set(knob.values)
        assert knob.default in values


@ALL
def test_a_seed_changes_the_run(experiment):
    if not experiment().seed_range():
        pytest.skip("nothing is random in this experiment")
    assert repr(first(experiment())) != repr(head(experiment(seed=50)))


@pytest.mark.parametrize(
    ("values", "said"),
    [({"depth": 33}, "깊이 L"), ({"depth": "32"}, "깊이 L"), ({"depht": 32}, "depht"), ({"lr": float("nan")}, "학습률"), ({"seed": True}, "시드")],
)
def test_an_impossible_setting_is_refused_with_what_can_be_chosen(values, said):
    with pytest.raises(KnobError, match=said):
        MLPDepth.create(values)


# What takes long to train is read as it was recorded; that recordings are real is what test_recording asks.


def test_no_learning_rate_of_the_map_saves_the_deep_plain_network():
    matrix = recorded(LearningRateMap, kind="plain", deepest=32).matrices["map"]
    best = dict(zip(matrix["ys"], np.nanmin(matrix["z"], axis=1)))
    assert best["32"] > 2 * best["16"] and best["16"] > 2 * best["8"]


def test_the_inserted_network_starts_where_the_shallow_one_ended_and_goes_further_down():
    shallow = StackedMLP([Condition(skip=False)], [0], depth=4, sizes=(64, 16, 10))
    x = torch.rand(1, 5, 64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(shallow.with_identity_layers(24)(x), shallow(x))
    run = recorded(IdentityInsertion, extra=24)
    loss = {key: run.curve("loss", key)[:, -10:].mean(1) for key in IdentityInsertion.series}
    assert (loss["inserted"] < 0.7 * loss["shallow"]).all()
    assert loss["scratch"].min() > 2 * loss["inserted"].max()


# Closed forms: claims of lesson 01, half the squared error, w = 1/2 and target 1 or 2.
def test_the_scalar_products_first_gradient_is_its_closed_form():
    for depth in (2, 20):
        numbers = ScalarProduct.run(depth=depth, start=0.5).numbers["first_gradient"]
        f = 0.5**depth
        torch.testing.assert_close(numbers["plain"][0], (f - 2.0) * 0.5 ** (depth - 1), rtol=1e-12, atol=0)
        assert numbers["residual"] == [-1.0]
