"""Big settings: offered where there is a GPU, the same experiments there, whole data sets, and a table of what was measured."""

import hashlib
import pickle
import struct
import sys

import numpy as np
import pytest
import torch

import bench_gpu
from bench_log import append
from pretend_gpu import DEVICE, OnGPU, PretendGPU
from residual_lab import big_runs, full_data
from residual_lab.big_runs import BigRun
from residual_lab.blocks.bottleneck import resnet_cifar_bottleneck
from residual_lab.blocks.preact import preact_cifar_bottleneck
from residual_lab.data import DataError, Task, load_digits
from residual_lab.experiments import EXPERIMENTS, KnobError, base, degradation, preactivation
from residual_lab.experiments.degradation import ConvTwoByTwo
from residual_lab.experiments.norm_placement import DepthUse
from residual_lab.experiments.preactivation import OrderAndLastBN
from residual_lab.experiments.scaling import DeepRescue, ReZeroGain
from residual_lab.lab.host import explain
from residual_lab.lab.recording import grid, load, recorded
from residual_lab.site import big_settings
from residual_lab.training import Condition, StackedConvNet, stacked_batches
from residual_lab.training.stack_of_one import StackOfOne
from residual_lab.training.stacked import augmented

WITH_BIG = [experiment for experiment in EXPERIMENTS.values() if any(knob.big for knob in experiment.knobs().values())]


def offered(experiment):
    return {knob["name"]: knob["values"] for knob in experiment().spec()["knobs"]}


@pytest.mark.parametrize("experiment", WITH_BIG, ids=lambda e: e.id)
def test_only_a_machine_with_a_gpu_is_offered_big_values(experiment, monkeypatch):
    monkeypatch.setattr(base, "device", lambda: torch.device("cpu"))
    small = offered(experiment)
    monkeypatch.setattr(base, "device", lambda: torch.device("cuda"))
    both = offered(experiment)
    big = {name: list(knob.big) for name, knob in experiment.knobs().items() if knob.big}
    assert {name: [v for v in values if v not in small.get(name, [experiment.knobs()[name].default])] for name, values in both.items() if name in big} == big
    assert set(grid(experiment)) == set(small), "big settings are not recorded, on whatever machine"
    assert experiment().device.type == "cpu", "a small setting gives the same numbers on every machine"


def test_a_big_value_can_be_chosen_in_code_on_every_machine_and_is_told_of():
    assert ConvTwoByTwo.create({"deep": 110}).deep == 110
    assert 110 in offered(lambda: ConvTwoByTwo(deep=110))["deep"], "its lab can show what was chosen"
    with pytest.raises(KnobError, match="큰 설정\\(GPU\\) 110, 1202"):
        ConvTwoByTwo.create({"deep": 99})


def few(name, place):
    """Some digits; three channels of them in the place of CIFAR-10."""
    task = load_digits()
    x_train, x_test = (x.repeat(1, 3 if name == "cifar10" else 1, 1, 1) for x in (task.x_train[:256], task.x_test[:64]))
    return Task(*(part.to(place) for part in (x_train, task.y_train[:256], x_test, task.y_test[:64])))


RUNS = (
    (ConvTwoByTwo, {"seeds_per_run": 1, "deep": 32, "epochs": 3, "data": "cifar10", "augment": True}),
    (OrderAndLastBN, {"depth": 20, "data": "cifar10", "augment": True}),
    (OrderAndLastBN, {"depth": 1001, "lr": 0.1}),
    (DepthUse, {"depth": 4, "seeds_per_run": 20}),
    (ReZeroGain, {"depth": 6, "seeds_per_run": 20}),
    (DeepRescue, {"depth": 6, "seeds_per_run": 20}),
)


@pytest.mark.parametrize(("experiment", "values"), RUNS, ids=lambda case: getattr(case, "id", None) or "-".join(map(str, case.values())))
def test_a_big_setting_trains_on_the_device_and_gives_the_cpu_s_numbers(experiment, values, monkeypatch):
    for module in (degradation, preactivation):
        monkeypatch.setattr(module, "load_task", few)
    for name in ("resnet_cifar_bottleneck", "preact_cifar_bottleneck"):
        build = getattr(preactivation, name)
        monkeypatch.setattr(preactivation, name, lambda n, build=build, **more: build(1, **more))
    results = {}
    for place in (torch.device("cpu"), DEVICE):
        monkeypatch.setattr(base, "device", lambda place=place: place)
        with PretendGPU():
            setting = experiment.create(values)
            for name, short in {"steps": 3, "every": 1}.items():
                object.__setattr__(setting, name, short)
            assert setting.device == place
            results[place.type] = result = base.Result(setting)
            for frame in setting.frames():
                result.add(frame)
    cpu, gpu = results["cpu"], results[DEVICE.type]
    for key, line in cpu.curves["loss"].items():
        assert gpu.curves["loss"][key]["y"][0] == pytest.approx(line["y"][0], rel=1e-4)
        assert gpu.curves["loss"][key]["y"][1] == pytest.approx(line["y"][1], rel=0.02), "one update later"
    assert cpu.numbers, "it came to its end"
    assert {name: set(series) for name, series in gpu.numbers.items()} == {name: set(series) for name, series in cpu.numbers.items()}


def test_the_pretended_gpu_refuses_what_a_gpu_refuses():
    with PretendGPU():
        x = torch.ones(3).to(DEVICE)
        assert isinstance(2 * x + torch.tensor(1.0), OnGPU)
        with pytest.raises(RuntimeError, match="same device"):
            x + torch.ones(3)
        with pytest.raises(RuntimeError, match="generator"):
            x.normal_(generator=torch.Generator())


@pytest.mark.parametrize(("experiment", "values"), [(ConvTwoByTwo, {"seeds_per_run": 1, "deep": 32}), (DepthUse, {"depth": 4}), (DeepRescue, {"depth": 6})])
def test_mixed_precision_is_near_float32_and_not_the_same(experiment, values):
    losses = {}
    for precision in ("float32", "bfloat16"):
        result = base.Result(None)
        for _, frame in zip(range(6), experiment(precision=precision, **values).frames()):
            result.add(frame)
        losses[precision] = {key: torch.tensor(line["y"]) for key, line in result.curves["loss"].items() if key != "unigram"}
    for key, exact in losses["float32"].items():
        torch.testing.assert_close(losses["bfloat16"][key], exact, rtol=0.05, atol=0.05)
        assert not torch.equal(losses["bfloat16"][key], exact), "nothing was computed in bfloat16"


def test_the_1001_layer_networks_are_the_paper_s():
    with torch.device("meta"):
        for build in (preact_cifar_bottleneck, resnet_cifar_bottleneck):
            network = build(111)
            layers = [m for m in network.modules() if isinstance(m, (torch.nn.Conv2d, torch.nn.Linear))]
            projections = 3  # where the shape changes; not counted as layers
            assert len(layers) - projections == 1001
            assert sum(p.numel() for p in network.parameters()) == pytest.approx(10.2e6, rel=0.02)  # He 2016, table 6


def test_a_network_alone_trains_as_a_stack_of_one_and_each_seed_has_its_own_weights():
    one, other = (StackOfOne(preact_cifar_bottleneck(1, in_channels=1), seed) for seed in (3, 4))
    x = load_digits().x_train[:16]
    torch.testing.assert_close(one(x.unsqueeze(0)), one.network(x).unsqueeze(0))
    assert not torch.equal(one.network.stem.weight, other.network.stem.weight)
    assert torch.equal(one.network.stem.weight, StackOfOne(preact_cifar_bottleneck(1, in_channels=1), 3).network.stem.weight)


def test_a_stack_sees_every_colour_of_its_images_as_one_network_does():
    stack = StackedConvNet([Condition(skip=True)], [3, 4], n=1, width=4, in_channels=3)
    x = torch.randn(2, 5, 3, 8, 8)
    for k, seed in enumerate((3, 4)):
        alone = StackedConvNet([Condition(skip=True)], [seed], n=1, width=4, in_channels=3)
        torch.testing.assert_close(stack(x)[k], alone(x[k : k + 1])[0], rtol=1e-4, atol=1e-5)
        assert not torch.allclose(alone(x[k : k + 1]), alone(x[k : k + 1].flip(2)))


def test_digits_are_not_moved_or_mirrored():
    with pytest.raises(KnobError, match="CIFAR-10"):
        ConvTwoByTwo.create({"augment": True})


@pytest.mark.parametrize("experiment", WITH_BIG, ids=lambda e: e.id)
def test_what_was_recorded_is_found_on_a_machine_with_a_gpu(experiment, monkeypatch):
    """Lessons read recorded runs; a GPU offers more knobs, and these runs are still the same."""
    spec = experiment().spec(big=False)
    monkeypatch.setattr(base, "device", lambda: torch.device("cuda"))
    assert recorded(experiment, **experiment.sample).curves
    assert experiment().spec(big=False) == spec == load(experiment.id)["spec"]
    with pytest.raises(KnobError, match="기록에 없습니다"):
        recorded(experiment, seeds_per_run=20)


def test_augmented_images_are_moved_by_at_most_four_pixels_and_half_are_mirrored():
    x = torch.arange(1.0, 1 + 3 * 8 * 8).view(1, 3, 8, 8).expand(400, 3, 8, 8)
    batches = stacked_batches(x, torch.zeros(400, dtype=torch.int64), conditions=2, seeds=[0, 1], batch=400, steps=1)
    [(moved, _)] = augmented(batches, conditions=2, seeds=[0, 1])
    assert torch.equal(moved[0], moved[2]) and torch.equal(moved[1], moved[3]), "the conditions of a seed see the same images"
    assert not torch.equal(moved[0], moved[1])
    plain = torch.nn.functional.pad(x[0], (4, 4, 4, 4))
    windows = [plain[:, i : i + 8, j : j + 8] for i in range(9) for j in range(9)]
    possible = {w.numpy().tobytes(): False for w in windows} | {w.flip(2).numpy().tobytes(): True for w in windows}
    mirrored = [possible[image.numpy().tobytes()] for image in moved[0]]
    assert 0.4 < sum(mirrored) / len(mirrored) < 0.6
    assert len({image.numpy().tobytes() for image in moved[0]}) > 100


# Whole data sets.


@pytest.fixture(scope="module")
def torchvision():
    """torchvision, where need be without its operators: PyPI's wheel is linked with CUDA and cannot load them beside a CPU torch.
    They are for boxes in pictures; declaring them lets the data sets be imported."""
    while True:
        try:
            import torchvision.datasets

            return torchvision
        except RuntimeError as problem:
            missing = str(problem).partition("operator torchvision::")[2].partition(" ")[0]
            assert missing, problem
            torch.library.define(f"torchvision::{missing}", "(Tensor x) -> Tensor")
            for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
                del sys.modules[name]


@pytest.fixture
def data_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("RESIDUAL_LAB_DATA", str(tmp_path))
    full_data.load_task.cache_clear()
    yield tmp_path
    full_data.load_task.cache_clear()


def write_fashion(folder, counts):
    raw = folder / "FashionMNIST/raw"
    raw.mkdir(parents=True)
    drawn = np.random.default_rng(0)
    for part, count in counts.items():
        images = drawn.integers(0, 256, (count, 28, 28), np.uint8)
        (raw / f"{part}-images-idx3-ubyte").write_bytes(struct.pack(">4i", 0x803, count, 28, 28) + images.tobytes())
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">2i", 0x801, count) + bytes(i % 10 for i in range(count)))


def write_cifar(folder, torchvision, monkeypatch):
    """Twenty images in the five training files and four in the test file, with their checksums in place of the real ones."""
    base_folder = folder / "cifar-10-batches-py"
    base_folder.mkdir()
    cls, drawn = torchvision.datasets.CIFAR10, np.random.default_rng(1)

    def write(name, content):
        data = pickle.dumps(content)
        (base_folder / name).write_bytes(data)
        return [name, hashlib.md5(data).hexdigest()]

    def batch():
        return {"data": drawn.integers(0, 256, (4, 3072), np.uint8), "labels": [int(v) for v in drawn.integers(0, 10, 4)]}

    monkeypatch.setattr(cls, "train_list", [write(f"data_batch_{i}", batch()) for i in range(1, 6)])
    monkeypatch.setattr(cls, "test_list", [write("test_batch", batch())])
    name, md5 = write("batches.meta", {"label_names": list("abcdefghij")})
    monkeypatch.setattr(cls, "meta", {"filename": name, "key": "label_names", "md5": md5})


def test_whole_fashion_mnist_is_read_and_standardised(torchvision, data_folder):
    write_fashion(data_folder, {"train": 50, "t10k": 20})
    task = full_data.load_task("fashion_mnist", torch.device("cpu"))
    assert (task.x_train.shape, task.x_test.shape) == ((50, 1, 28, 28), (20, 1, 28, 28))
    assert task.y_train.tolist() == [i % 10 for i in range(50)]
    assert abs(task.x_train.mean()) < 1e-5 and abs(task.x_train.std() - 1) < 1e-3


def test_cifar_10_is_read_in_colour_and_each_channel_standardised(torchvision, data_folder, monkeypatch):
    write_cifar(data_folder, torchvision, monkeypatch)
    task = full_data.load_task("cifar10", torch.device("cpu"))
    assert (task.x_train.shape, task.x_test.shape) == ((20, 3, 32, 32), (4, 3, 32, 32))
    assert task.x_train.mean((0, 2, 3)).abs().max() < 1e-5
    first = pickle.loads((data_folder / "cifar-10-batches-py/data_batch_1").read_bytes())
    red = torch.tensor(first["data"][0, :1024]).view(32, 32).float()
    shown = task.x_train[0, 0]
    torch.testing.assert_close((shown - shown.min()) / (shown.max() - shown.min()), (red - red.min()) / (red.max() - red.min()))


@pytest.mark.parametrize("damage", ["missing", "truncated"])
@pytest.mark.parametrize("name", full_data.BIG_DATA)
def test_missing_or_damaged_data_say_how_to_get_them(torchvision, data_folder, monkeypatch, name, damage):
    if damage == "truncated":
        if name == "cifar10":
            write_cifar(data_folder, torchvision, monkeypatch)
        else:
            write_fashion(data_folder, {"train": 50, "t10k": 20})
        file = data_folder / ("cifar-10-batches-py/data_batch_3" if name == "cifar10" else "FashionMNIST/raw/train-images-idx3-ubyte")
        file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(DataError, match=f"download=True.*RESIDUAL_LAB_DATA") as raised:
        full_data.load_task(name, torch.device("cpu"))
    assert str(data_folder) in explain(raised.value), "the lab says the same"


def test_without_torchvision_it_is_said_how_to_install_it(data_folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(DataError, match="pip install torchvision"):
        full_data.load_task("cifar10", torch.device("cpu"))


def test_a_lab_that_runs_out_of_memory_says_what_to_reduce():
    assert "시드 수나 깊이를 줄" in explain(torch.OutOfMemoryError("CUDA out of memory"))


# The table.


@pytest.mark.parametrize("run", big_runs.RUNS, ids=lambda run: run.name)
def test_every_run_of_the_table_can_be_chosen_and_its_paper_s_numbers_belong_to_series(run):
    experiment = EXPERIMENTS[run.experiment]
    assert experiment.create(run.values).is_big()
    series = {part["key"] for panel in experiment.panels for part in panel.more.get("series", ())}
    assert set(run.paper) <= series and bool(run.paper) == bool(run.source)
    assert sum(other.name == run.name for other in big_runs.RUNS) == 1


def test_what_is_measured_is_kept_and_shown_with_its_date_and_device(tmp_path, monkeypatch):
    file = tmp_path / "big_runs.csv"
    run = BigRun("small", "scalar_product", {"depth": 10}, ("output", "마지막 f"), {"residual": "2"}, "어느 논문, 표 1")
    monkeypatch.setattr(big_runs, "RUNS", (run,))
    assert "아직 한 번도 재지 않았습니다" in big_settings.page(file)
    bench_gpu.measure_all(file)
    assert not file.exists(), "without a GPU nothing is measured"
    append([{**row, "mean": "999"} for row in bench_gpu.measure(run)], file, big_runs.COLUMNS)
    append(bench_gpu.measure(run), file, big_runs.COLUMNS)
    page = big_settings.page(file)
    row = next(line for line in page.splitlines() if "| 잔차 |" in line)
    assert "2 [1]" in row and "**2** (시드 1개" in row and "CPU" in row and "999" not in page
    assert f"마지막으로 잰 날은 {big_runs.read(file)['small']['residual']['date']}" in page


def test_the_measuring_command_explains_itself_and_knows_its_runs(capsys):
    with pytest.raises(SystemExit) as asked:
        bench_gpu.main(["--help"])
    assert asked.value.code == 0 and big_runs.RUNS[0].name in capsys.readouterr().out
    with pytest.raises(SystemExit) as mistyped:
        bench_gpu.main(["no_such_run"])
    assert mistyped.value.code == 2 and "모르는 설정입니다: no_such_run" in capsys.readouterr().err
