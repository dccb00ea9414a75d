import json

import numpy as np
import pytest

from configs import fig6
from edgechaos import analysis
from edgechaos.analysis import History
from edgechaos.files import read_npz
from experiments import fig6 as experiment
from tests import processes


def test_papers_runs():
    config = fig6.get_config()
    assert config.sweep.weight_decay == (0.0, 1e-5, 5e-5, 9e-5, 1.5e-4, 3e-4, 5e-4, 1e-3)
    assert (config.num_seeds, config.epochs, config.learning_rate, config.batch_size) == (10, 501, 0.02, 32)


def test_weight_decay_at_the_edge_is_interpolated_in_the_logarithms():
    """J^2 = (lambda* / lambda)^(1/2), with two lambda*."""
    decay = np.array([0.0, 1e-5, 1e-4, 1e-3])
    stars = np.array([8e-5, 9e-5])
    j_squared = np.concatenate([np.full((1, 2), 4.0), np.sqrt(stars / decay[1:, None])])
    np.testing.assert_allclose(analysis.weight_decay_that_ends_at(1.0, decay, j_squared), stars)
    assert np.isnan(analysis.weight_decay_that_ends_at(100.0, decay, j_squared)).all()


def test_best_score_and_those_within_its_error():
    values = np.array([0.0, 1.0, 2.0, 3.0])
    noise = np.array([-0.01, 0.0, 0.01])
    scores = np.array([0.5, 0.895, 0.9, 0.85])[:, None] + noise
    # standard error of a difference: 0.01 sqrt(2 / 3) = 0.008
    assert analysis.best_of(values, scores) == (2.0, 1.0, 2.0)
    assert analysis.best_of(values, scores[:, 1:2]) == (2.0, 2.0, 2.0)


def test_closed_form_solves_the_balance_of_appendix_c():
    columns = {"learning_rate": 0.02, "momentum": 0.5, "batch_size": 32, "weight_decay": 9e-5}
    arrays = {name: np.array([value]) for name, value in columns.items()} | {"j_squared": np.full((1, 2001), 0.25)}
    course = analysis.closed_form(History(arrays, 60_000), 0, 10.96)
    assert course[0] == pytest.approx(0.25)
    assert course[-1] == pytest.approx(10.96 / (4 * 60_000 * 9e-5), rel=1e-4)
    slope = course[1] - course[0]
    assert slope == pytest.approx(10.96 * 0.00125 - 4 * 60_000 * 9e-5 * 0.00125 * 0.25, rel=0.02)


def test_experiment_on_the_digits(tmp_path):
    config = tmp_path / "short.py"
    config.write_text(
        "from configs.fig6 import get_config as base\n"
        "def get_config(variant=None):\n"
        "    config = base('digits')\n    config.update(epochs=60, num_seeds=2)\n    return config\n"
    )
    result = processes.run("fig6", tmp_path / "run", config=str(config))
    assert result.returncode == 0, result.stderr
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["predicted"].keys() == summary["measured"].keys() == summary["meaning"].keys()
    decays = [row["weight_decay"] for row in summary["runs"]]
    ends = [row["j_squared"] for row in summary["runs"]]
    assert decays == sorted(decays)
    assert ends == sorted(ends, reverse=True)  # more decay, smaller weights
    arrays = read_npz(tmp_path / "run" / "history.npz")
    assert arrays["j_squared"].shape == (16, 61)
    assert (tmp_path / "run" / "fig6.pdf").exists()
    accuracy = arrays["test_accuracy"]
    free = summary["runs"][0]
    assert free["last_accuracy"] == pytest.approx(accuracy[arrays["weight_decay"] == 0, -1].mean(), rel=1e-5)
    assert free["largest_accuracy"] == pytest.approx(accuracy[arrays["weight_decay"] == 0].max(1).mean(), rel=1e-5)
    assert free["largest_accuracy_deviation"] >= 0
    assert summary["accuracies"].keys() == {"accuracy", "last_accuracy", "largest_accuracy"}


def test_three_accuracies_of_a_run():
    """Each seed's own: mean of the last twentieth (2 of 40 entries), last entry, largest entry."""
    accuracy = np.full((4, 40), 0.5)
    accuracy[0, -2:] = 0.6, 0.8
    accuracy[1, 3] = 0.95
    accuracy[2, -1] = 0.7
    accuracy[3] = np.nan  # diverged
    history = {
        "weight_decay": np.array([0.0, 0.0, 1e-4, 1e-4]),
        "seed": np.array([0, 1, 0, 1]),
        "epochs": np.full(4, 39),
        "test_accuracy": accuracy,
        **dict.fromkeys(("j_squared", "test_loss", "calibrated_test_loss"), np.ones((4, 40))),
    }
    decay, values = experiment.ends(History(history, 60_000))
    np.testing.assert_array_equal(decay, [0, 1e-4])
    np.testing.assert_allclose(values["accuracy"], [[0.7, 0.5], [0.6, np.nan]])
    np.testing.assert_allclose(values["last_accuracy"], [[0.8, 0.5], [0.7, np.nan]])
    np.testing.assert_allclose(values["largest_accuracy"], [[0.8, 0.95], [0.7, np.nan]])
    rows = experiment.run_by_run(History(history, 60_000))
    assert rows[0]["last_accuracy_deviation"] == pytest.approx(0.3 / 2**0.5)


def test_the_largest_of_noisy_numbers_is_biased():
    """Runs that all have an accuracy of 0.5 and noise of 0.01: the largest of 200 lies 2.7 deviations above it."""
    noise = 0.5 + 0.01 * np.random.default_rng(0).normal(size=(50, 200))
    history = History({"epochs": np.full(50, 199), "seed": np.arange(50), "a": noise}, 1)
    assert history.last("a").mean() == pytest.approx(0.5, abs=0.005)
    assert history.largest("a").mean() == pytest.approx(0.5275, abs=0.002)


def test_sweep_without_zero_is_refused(tmp_path):
    config = tmp_path / "short.py"
    config.write_text(
        "from configs.fig6 import get_config as base\n"
        "def get_config(variant=None):\n"
        "    config = base('digits')\n    config.sweep = dict(weight_decay=(1e-3,))\n    return config\n"
    )
    result = processes.run("fig6", tmp_path / "run", config=str(config))
    assert result.returncode == 2
    assert "sweep.weight_decay: must contain 0" in result.stderr
