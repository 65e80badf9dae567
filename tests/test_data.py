"""The data are what they say, and a damaged file is named in Korean."""

import shutil

import pytest
import torch

from residual_lab import data


def test_digits_are_standardised_and_split_once():
    task = data.load_digits()
    assert (task.x_train.shape, task.x_test.shape) == ((1437, 1, 8, 8), (360, 1, 8, 8))
    assert abs(task.x_train.mean()) < 1e-5 and abs(task.x_train.std() - 1) < 1e-4
    assert set(task.y_train.tolist()) == set(range(10))
    both = torch.cat([task.x_train, task.x_test]).flatten(1).unique(dim=0)
    assert len(both) == 1797, "no image is in both parts"


def test_fashion_has_a_thousand_images_of_each_class():
    task = data.load_fashion(train=8000)
    assert task.x_train.shape == (8000, 1, 28, 28)
    assert torch.bincount(torch.cat([task.y_train, task.y_test])).tolist() == [1000] * 10
    assert len(data.FASHION_LABELS) == 10


def test_fashion_can_be_pooled():
    pooled, full = data.load_fashion(pool=4), data.load_fashion()
    assert pooled.x_train.shape == (8000, 1, 7, 7)
    torch.testing.assert_close(pooled.x_train[0, 0, 0, 0], full.x_train[0, 0, :4, :4].mean())


@pytest.mark.parametrize("name", data.SHA256)
@pytest.mark.parametrize("damage", ["missing", "truncated", "other"])
def test_a_damaged_file_is_a_clear_error(tmp_path, damage, name):
    file = tmp_path / name
    if damage != "missing":
        shutil.copy(data.ASSETS / "data" / name, file)
        content = file.read_bytes()
        file.write_bytes(content[:-1000] if damage == "truncated" else b"PK" + content[3:] + b"x")
    with pytest.raises(data.DataError, match="assets/data/.*다시 받거나"):
        data._read(file)
