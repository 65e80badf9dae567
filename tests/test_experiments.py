"""What every experiment promises, and what lesson 01 claims of its own."""

import functools
import itertools
import json

import pytest
import torch

from residual_lab.experiments import EXPERIMENTS, KnobError
from residual_lab.experiments.degradation import IdentityInsertion, LearningRateMap, MLPDepth, ScalarProduct

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
    assert [knob["name"] for knob in spec["knobs"]] == list(experiment.knobs())
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


def test_no_learning_rate_of_the_map_saves_the_deep_plain_network():
    best = LearningRateMap.run(deepest=16).numbers["best_loss"]
    assert min(best["16"]) > 2 * max(best["8"])


def test_the_inserted_network_starts_where_the_shallow_one_ended():
    loss = IdentityInsertion.run(extra=24).numbers["train_loss"]
    assert loss["before"] == loss["shallow"]
    assert all(inserted < before for inserted, before in zip(loss["inserted"], loss["before"]))
    assert min(loss["scratch"]) > 2 * max(loss["inserted"])


# Closed forms: claims of lesson 01, half the squared error, w = 1/2 and target 1 or 2.
def test_the_scalar_products_first_gradient_is_its_closed_form():
    for depth in (2, 20):
        numbers = ScalarProduct.run(depth=depth, start=0.5).numbers["first_gradient"]
        f = 0.5**depth
        torch.testing.assert_close(numbers["plain"][0], (f - 2.0) * 0.5 ** (depth - 1), rtol=1e-12, atol=0)
        assert numbers["residual"] == [-1.0]
