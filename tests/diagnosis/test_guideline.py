import dataclasses
import functools
import json
import types
from typing import Any

import numpy as np
import pytest

import edgechaos as ec
from edgechaos import data, training
from edgechaos.data import npz
from edgechaos.diagnosis import guideline
from edgechaos.errors import UserError
from edgechaos.files import read_npz
from tests import processes
from tests.problems import make_dataset

DIGITS = data.load("digits")


OTHER = {"learning_rate": 0.02, "momentum": 0.9}  # five times the momentum's factor, a quarter of eta


@functools.cache
def recommended(**changes):
    return ec.recommend(DIGITS, **changes)


def test_relaxation_is_found_in_noise():
    clock = np.linspace(0, 1.7, 20)
    noise = 1e-6 * np.random.default_rng(0).normal(size=20)
    found = guideline.fit_relaxation(clock, 8.6e-5 - 2.8e-5 * np.exp(-clock) + noise)
    assert found.weight_decay == pytest.approx(8.6e-5, abs=4 * found.standard_error)
    assert found.standard_error < 3e-6
    assert found.amplitude < 0


def test_a_falling_decay_is_taken_from_its_last_quarter():
    clock = np.linspace(0, 1, 20)
    value, error, is_falling = guideline.steady_state(clock, 1e-3 + 3e-3 * np.exp(-8 * clock))
    assert is_falling
    assert value == pytest.approx(1e-3, rel=0.02)
    assert error < 1e-4


@pytest.mark.parametrize("bend", [0.3, 8.0])
def test_a_rising_decay_is_extrapolated_and_its_drift_is_in_the_error(bend):
    """Against numpy.polyfit; a first quarter of another kind does not matter, the drift counts up to 20 %."""
    clock = np.linspace(0, 1.7, 21)[1:]
    held = 8.6e-5 - 2.8e-5 * np.exp(-clock) + bend * 1e-5 * np.maximum(clock - 1.2, 0)
    held[clock < 0.3] = 3e-4  # would make it fall
    late = clock >= 0.25 * clock[-1]
    (slope, value), covariance = np.polyfit(np.exp(-clock[late]), held[late], 1, cov="unscaled")
    residual = held[late] - value - slope * np.exp(-clock[late])
    standard_error = np.sqrt(residual @ residual / (late.sum() - 2) * covariance[1, 1])
    fewer = (clock >= 0.25 * clock[14]) & (np.arange(20) < 15)  # without the last quarter of the epochs
    drift = abs(np.polyfit(np.exp(-clock[fewer]), held[fewer], 1)[1] - value)
    found, error, is_falling = guideline.steady_state(clock, held)
    assert not is_falling
    assert found == pytest.approx(value, rel=1e-6)
    assert error == pytest.approx(np.hypot(standard_error, min(drift, 0.2 * value)), rel=1e-6)
    assert (drift > 0.2 * value) == (bend > 1)


@pytest.mark.parametrize(
    ("limit", "expected"),
    [(0.5, (0.32, 4)), (np.inf, (1.28, 5)), (0.1, (0.08, 2)), (0.03, (0.02, 3)), (0.005, (0.005, 5))],
)
def test_the_largest_stable_rate_is_one_that_was_tried(limit, expected):
    """Doubled or halved at most four times; a trial that only guesses is not stable, nor is one that diverges."""
    tried = []

    def probe(rate, num_epochs, init_j, constraint):
        assert (num_epochs, init_j, constraint) == (1, 1.0, "hold_at_edge")
        tried.append(rate)
        bad = {"train_loss": np.log(10) + 0.01} if len(tried) % 2 else {"j_squared": np.inf}
        outcome = {"j_squared": 1.0, "train_loss": np.log(10) - 0.01} | ({} if rate <= limit else bad)
        return types.SimpleNamespace(**{name: np.array([0.0, value]) for name, value in outcome.items()})

    assert guideline._largest_stable(probe, 0.08, 10) == pytest.approx(expected)
    assert expected[0] in [pytest.approx(rate) for rate in tried]
    assert len(tried) == expected[1]


def test_no_stable_rate_is_said():
    loss: Any = types.SimpleNamespace(j_squared=np.ones(2), train_loss=np.full(2, np.log(10)))
    with pytest.raises(ValueError, match=r"learning_rate = 0.08: .* down to 0.005: .*; try 0.64"):
        guideline._largest_stable(lambda *arguments: loss, 0.08, 10)


@pytest.mark.parametrize("changes", [{}, OTHER], ids=["default", "other"])
def test_recommendation_for_digits(changes):
    found, num_samples = recommended(**changes), len(DIGITS.train_labels)
    assert found.num_epochs == 30  # five of the probe, five for stability, twenty held
    assert found.open_loop == pytest.approx(found.constant_d / (4 * num_samples))
    # 9.5e-4 at smaller eta (configs/independence.py:digits), and rising with eta
    assert 1e-3 < found.weight_decay < 1.4e-3
    assert 0 < found.weight_decay_error < 0.2 * found.weight_decay
    assert found.is_upper_bound  # as it falls on the digits
    setting = {"learning_rate": 0.08, "momentum": 0.5} | changes
    per_rate = 2 * 45 / (1 - setting["momentum"])  # 45 steps an epoch: what lambda = 1 adds to the clock, over eta
    rate = 2 * found.clock[0] / (found.held[0] * per_rate)  # of the held epochs
    assert rate * found.open_loop * per_rate * 20 == pytest.approx(2, rel=1e-3)  # two turns of the clock by Eq. 9
    assert setting["learning_rate"] < rate < found.largest_learning_rate
    relaxation = setting["learning_rate"] * found.weight_decay * 2 * num_samples / 32 / (1 - setting["momentum"])
    assert found.relaxation_epochs == pytest.approx(4 / relaxation, abs=1)


def test_recommendation_hardly_depends_on_the_setting():
    one, other = recommended(), recommended(**OTHER)
    error = np.hypot(one.weight_decay_error, other.weight_decay_error)
    assert one.weight_decay == pytest.approx(other.weight_decay, abs=2 * error)


def test_recommended_decay_ends_near_the_edge():
    """Over 200 epochs at the probe's learning rate; the decay is 10 % large there, so that J^2 is 4 % low."""
    found = recommended()
    numbers = ec.Hyperparameters(0.08, 0.5, found.weight_decay)
    history = training.train_one(DIGITS, ec.Spec(DIGITS.num_classes, 32), 0, numbers, 200)
    assert np.asarray(history.j_squared)[-10:].mean() == pytest.approx(1, abs=0.08)


def test_settings_have_one_scale_factor_and_are_stable():
    rows = recommended().settings
    scale = [row["learning_rate"] / ((1 - row["momentum"]) * row["batch_size"]) for row in rows]
    np.testing.assert_allclose(scale, 0.08 / (0.5 * 32), rtol=1e-6)
    largest = recommended().largest_learning_rate / 0.5
    assert all(row["learning_rate"] / (1 - row["momentum"]) <= 1.001 * largest for row in rows)
    seconds = [row["seconds_per_epoch"] for row in rows]
    assert min(seconds) > 0
    assert (np.diff(seconds) >= 0).all()
    assert {row["batch_size"] for row in rows} == {16, 32, 64, 128, 256}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"learning_rate": 2.0, "momentum": 0.9}, r"learning_rate = 2: .*; try "),
        ({"learning_rate": 1e9}, r"learning_rate = 1e\+09: .*try "),
        ({"batch_size": 2000}, r"batch_size = 2000: must be in \[1, 1437\]"),
        ({"batch_size": 0}, r"batch_size = 0: must be in \[1, 1437\]"),
    ],
)
def test_a_probe_that_cannot_tell_says_what_to_try(changes, message):
    with pytest.raises(ValueError, match=message):
        ec.recommend(DIGITS, **changes)


def test_command_writes_table_and_figure(tmp_path):
    result = processes.run("guideline", tmp_path / "run", "--config.num_seeds=2", "--verify")
    assert result.returncode == 0, result.stderr
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["predicted"].keys() == summary["measured"].keys() == summary["meaning"].keys()
    assert len(summary["members"]["weight_decay"]) == 2
    assert summary["members"]["weight_decay"][0] == pytest.approx(recommended().weight_decay, rel=0.02)
    assert summary["measured"]["verified_j_squared"] == pytest.approx(1, abs=0.1)
    assert read_npz(tmp_path / "run" / "guideline.npz")["held"].shape == (2, 20)
    assert (tmp_path / "run" / "guideline.png").read_bytes().startswith(b"\x89PNG")
    assert "use weight decay lambda = " in result.stdout
    assert "use this as an upper bound" in result.stdout


def test_command_takes_a_file_and_refuses_a_bad_probe(tmp_path):
    small = make_dataset(num_samples=400, num_neurons=20)
    write(
        tmp_path / "own.npz",
        x_train=small.train_images,
        y_train=small.train_labels,
        x_test=small.test_images,
        y_test=small.test_labels,
    )
    result = processes.run("guideline", tmp_path / "run", f"--config.dataset={tmp_path / 'own.npz'}")
    assert result.returncode == 0, result.stderr
    found = json.loads((tmp_path / "run" / "summary.json").read_text())["members"]
    np.testing.assert_allclose(found["constant_d"], 11.7, rtol=0.1)
    np.testing.assert_allclose(found["open_loop"], np.array(found["constant_d"]) / (4 * 400), rtol=1e-5)
    result = processes.run("guideline", tmp_path / "bad", "--config.learning_rate=50")
    assert result.returncode == 2
    assert "learning_rate = 50" in result.stderr


def write(path, **changes):
    arrays = {
        "x_train": np.ones((6, 2, 3)),
        "y_train": np.array([0, 1, 2, 0, 1, 2]),
        "x_test": np.ones((3, 2, 3)),
        "y_test": np.array([0, 1, 2]),
    }
    np.savez(path, **{name: value for name, value in {**arrays, **changes}.items() if value is not None})
    return path


def test_own_data_are_flattened(tmp_path):
    dataset = npz.load(write(tmp_path / "d.npz"))
    assert dataset.train_images.shape == (6, 6)
    assert dataset.num_classes == 3
    assert data.load(str(tmp_path / "d.npz")).num_classes == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y_test": None}, "has no y_test; it must hold x_train, y_train, x_test, y_test"),
        ({"x_train": np.array([[np.nan] * 6] * 6)}, "x_train has NaN or infinite numbers, first in sample 0"),
        ({"x_train": np.ones((5, 6))}, "x_train has 5 samples, y_train 6"),
        ({"x_test": np.ones((3, 7))}, "x_train has 6 numbers per sample, x_test 7"),
        ({"y_train": np.array([0, 1, 2, 0, 1, 9])}, r"labels must be 0 ... classes - 1"),
        ({"y_train": np.array([0, 1, -1, 0, 1, 2])}, "y_train has the label -1, but labels must count from 0"),
        ({"y_test": np.array([0, 1, 3])}, "y_test must have no others"),
        ({"y_train": np.ones((6, 3))}, r"y_train \(6, 3\) float64: must be integers \[samples\]"),
        ({"x_train": np.array(["a"] * 6)}, r"x_train .*: must be real numbers \[samples, ...\]"),
    ],
)
def test_bad_own_data_are_named(tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        npz.load(write(tmp_path / "d.npz", **changes))


def test_own_data_must_exist():
    with pytest.raises(UserError, match=r"dataset = 'none\.npz' is not a file"):
        data.load("none.npz")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"learning_rate": 0.0}, "learning_rate = 0.0: must be > 0"),
        ({"learning_rate": -0.1}, "learning_rate = -0.1: must be > 0"),
        ({"learning_rate": np.nan}, "learning_rate = nan: must be > 0"),
        ({"momentum": 1.0}, r"momentum = 1.0: must be in \[0, 1\)"),
        (
            {"learning_rate": 1e-6},
            r"learning_rate = 1e-06: J\^2 grows by .* too little to measure D .*; try 0.0001",
        ),
    ],
)
def test_numbers_that_tell_nothing_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        ec.recommend(DIGITS, **changes)


def changed(**arrays):
    return dataclasses.replace(DIGITS, **arrays)


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (changed(train_images=np.full_like(DIGITS.train_images, 0.3)), "all samples are equal"),
        (
            changed(train_labels=np.zeros_like(DIGITS.train_labels)),
            "all are 0; with one class",
        ),
        (changed(num_classes=4), r"train_labels: 9 is not in 0 ... 3"),
    ],
)
def test_data_that_tell_nothing_are_refused(dataset, message):
    with pytest.raises(ValueError, match=message):
        ec.recommend(dataset)


@pytest.mark.parametrize("learning_rate", [0.005, 1e-3])
def test_a_probe_that_is_too_short_does_not_say_that_nothing_grows(learning_rate):
    """J^2 of the digits grows at these rates, with D of 18 to 31."""
    with pytest.raises(ValueError, match=r"too short at this learning rate|too little to measure D"):
        ec.recommend(DIGITS, learning_rate=learning_rate)


def test_a_rising_decay_is_the_end_of_its_relaxation():
    """The branch of Fashion-MNIST: 9e-5 from 5e-5 on the clock s."""
    clock = np.linspace(0, 2, 20)
    noise = 2e-7 * np.random.default_rng(1).normal(size=20)
    value, error, is_falling = guideline.steady_state(clock, 9e-5 - 4e-5 * np.exp(-clock) + noise)
    assert not is_falling
    assert value == pytest.approx(9e-5, abs=3 * error)
    assert 0 < error < 1e-5
