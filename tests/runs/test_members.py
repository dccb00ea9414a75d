import jax.numpy as jnp
import numpy as np
import pytest

from configs import fig2
from edgechaos.errors import UserError
from edgechaos.runs import fields
from edgechaos.runs.config import from_record
from edgechaos.runs.history import METRICS, columns_of, empty_record, enter_epoch, fill_record
from edgechaos.runs.members import members_at_once, sweep_members
from edgechaos.training.epochs import Metrics
from experiments.fig2 import Config


def of(changes, mode="product", **fields):
    return {**fig2.get_config("digits").to_dict(), "sweep": changes, "sweep_mode": mode, **fields}


def members_of(config):
    return sweep_members(from_record(config))


def test_without_a_sweep_members_are_seeds():
    columns = members_of(of({}, seed=4, num_seeds=3))
    np.testing.assert_array_equal(columns["seed"], [4, 5, 6])
    np.testing.assert_array_equal(columns["learning_rate"], [0.02] * 3)
    np.testing.assert_array_equal(columns["epochs"], [200] * 3)


def test_product_has_all_combinations_and_seeds_run_fastest():
    columns = members_of(of({"learning_rate": (0.1, 0.2), "batch_size": (8, 16, 32)}, num_seeds=2))
    np.testing.assert_array_equal(columns["learning_rate"], np.repeat([0.1, 0.2], 6))
    np.testing.assert_array_equal(columns["batch_size"], np.tile(np.repeat([8, 16, 32], 2), 2))
    np.testing.assert_array_equal(columns["seed"], np.tile([0, 1], 6))


def test_zip_pairs_its_tuples():
    columns = members_of(of({"learning_rate": (0.1, 0.2), "momentum": (0.5, 0.9)}, "zip"))
    np.testing.assert_array_equal(columns["learning_rate"], [0.1, 0.2])
    np.testing.assert_array_equal(columns["momentum"], [0.5, 0.9])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((28, 784, 10, 1, "cpu", 1e10), 1),
        ((28, 784, 10, 4, "cpu", 1e10), 4),
        ((28, 64, 10, 1, "cpu", 1e10), 28),
        ((28, 784, 10, 1, "gpu", 1e10), 28),
        ((500, 784, 10, 2, "gpu", 1e10), 64),
        ((28, 784, 10, 1, "gpu", 5e7), 5),
        ((28, 784, 10, 8, "gpu", 1e3), 8),
    ],
)
def test_members_at_once(arguments, expected):
    assert members_at_once(*arguments) == expected


@pytest.mark.parametrize(
    ("changes", "mode", "message"),
    [
        ({"learning_rat": (0.1,)}, "product", r"sweep.learning_rat: must be one of .*; did you mean 'learning_rate'\?"),
        ({"seed": (1, 2)}, "product", r"sweep.seed: must be one of learning_rate, momentum"),
        ({"learning_rate": ()}, "product", r"sweep.learning_rate = \(\): must be a tuple of at least one value"),
        ({"learning_rate": 0.1}, "product", r"sweep.learning_rate = 0.1: must be a tuple"),
        (
            {"learning_rate": (0.1, 0.2), "momentum": (0.5,)},
            "zip",
            r"but they have learning_rate 2, mom",
        ),
        ({"learning_rate": (0.1, -0.2)}, "product", r"member 2: sweep.learning_rate = -0.2: must be > 0"),
        (
            {"batch_size": (8, 2.5)},
            "product",
            r"member 2: sweep.batch_size = 2.5: must be an integer >= 1",
        ),
        ({"learning_rate": (0.1,)}, "outer", r"sweep_mode = 'outer': must be one of product, zip"),
    ],
)
def test_bad_sweep_names_member_and_field(changes, mode, message):
    with pytest.raises(UserError, match=message):
        fields.validate(of(changes, mode), Config)


def metrics(*values):
    return Metrics(*(jnp.array(values, jnp.float32) for _ in METRICS))


def test_record_of_members_of_different_length_and_fate(caplog):
    columns = members_of(of({"epochs": (1, 3, 3)}, "zip"))
    kept = empty_record(columns)
    for epoch, values in enumerate([(1, 1, 1), (2, 2, np.nan), (3, 3, 3), (4, 4, 4)]):
        enter_epoch(kept, epoch, metrics(*values))
    expected = [[1, 2, np.nan, np.nan], [1, 2, 3, 4], [1, np.nan, np.nan, np.nan]]
    np.testing.assert_array_equal(kept.arrays["j_squared"], expected)
    np.testing.assert_array_equal(kept.epochs_done, [1, 3, 0])
    np.testing.assert_array_equal(kept.diverged, [False, False, True])
    assert not kept.is_running().any()
    assert caplog.text.count("diverged in epoch 1") == 1


def test_record_of_a_batch_goes_into_the_whole():
    columns = members_of(of({"epochs": (2, 4)}, "zip"))
    whole, one = empty_record(columns), empty_record(columns_of(columns, np.array([0])))
    for epoch in range(3):
        enter_epoch(one, epoch, metrics(epoch))
    fill_record(whole, np.array([0]), one.state())
    np.testing.assert_array_equal(whole.arrays["j0"], [[0, 1, 2, np.nan, np.nan], [np.nan] * 5])
    np.testing.assert_array_equal(whole.epochs_done, [2, 0])
    np.testing.assert_array_equal(whole.is_running(), [False, True])
