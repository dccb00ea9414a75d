"""What a user's own data set may hold."""

import numpy as np
import pytest

from edgechaos.data import npz
from edgechaos.errors import UserError


def write(path, **changes):
    rng = np.random.default_rng(0)
    arrays = {"x_train": rng.random((6, 4)), "y_train": np.arange(6) % 3, "x_test": rng.random((2, 4))}
    np.savez(path, **{**arrays, "y_test": np.array([2, 0]), **changes})
    return path


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint32, np.uint64, np.int64])
def test_labels_of_any_integer_type_keep_their_values(tmp_path, dtype):
    dataset = npz.load(write(tmp_path / "own.npz", y_train=(np.arange(6) % 3).astype(dtype)))
    np.testing.assert_array_equal(dataset.train_labels, [0, 1, 2, 0, 1, 2])
    assert dataset.train_labels.dtype == np.int32
    assert dataset.num_classes == 3


@pytest.mark.parametrize(
    ("wrapping", "last"),
    [
        (np.array(2**32), 2**32),
        (np.array(2**31), 2**31),
        (np.array(2**32 - 1, np.uint32), 2**32 - 1),
        (np.array(2**64 - 1, np.uint64), 2**64 - 1),
        (np.array(2 * 10**9), 2 * 10**9),
        (np.array(4), 4),
    ],
)
@pytest.mark.parametrize("name", ["y_train", "y_test"])
def test_a_label_beyond_the_classes_is_named_before_it_wraps(tmp_path, name, wrapping, last):
    labels = np.array([0, 1, 2, 0, 1, 2] if name == "y_train" else [2, 0], wrapping.dtype)
    labels[-1] = wrapping
    with pytest.raises(UserError, match=rf"labels must be 0 ... classes - 1.* the largest of all is {last}"):
        npz.load(write(tmp_path / "own.npz", **{name: labels}))


@pytest.mark.parametrize("values", [np.ones((6, 4), complex), np.ones((6, 4), bool), np.full((6, 4), "1")])
def test_inputs_must_be_real_numbers(tmp_path, values):
    with pytest.raises(UserError, match=r"x_train \(6, 4\) .*: must be real numbers"):
        npz.load(write(tmp_path / "own.npz", x_train=values))


def test_inputs_beyond_float32_are_refused(tmp_path):
    with pytest.raises(UserError, match="x_test has NaN or infinite numbers, first in sample 0"):
        npz.load(write(tmp_path / "own.npz", x_test=np.full((2, 4), 1e300)))


def test_a_users_file_is_not_to_be_removed(tmp_path):
    (tmp_path / "own.npz").write_bytes(b"PK")
    with pytest.raises(UserError, match="is damaged") as caught:
        npz.load(tmp_path / "own.npz")
    assert "remove" not in str(caught.value)


def test_the_content_names_a_file(tmp_path):
    one, other = write(tmp_path / "one.npz"), write(tmp_path / "other.npz", y_test=np.array([2, 1]))
    assert npz.content_sha256(one) == npz.content_sha256(write(tmp_path / "again.npz"))
    assert npz.content_sha256(one) != npz.content_sha256(other)
    with pytest.raises(UserError, match=r"dataset = '.*none.npz' is not a file"):
        npz.content_sha256(tmp_path / "none.npz")
