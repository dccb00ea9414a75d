import json

import numpy as np
import pytest

import edgechaos as ec
from configs import relu_adam as configs
from edgechaos.analysis import History
from edgechaos.files import read_npz
from experiments import relu_adam
from tests import processes


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("relu_adam")
    result = processes.run("relu_adam", workdir, "--config.epochs=30", "--config.map_num_neurons=50")
    assert result.returncode == 0, result.stderr
    return workdir, result


def test_full_is_the_authors_extra_run():
    config = configs.get_config()
    assert (config.activation, config.optimizer, config.learning_rate, config.batch_size) == ("relu", "adam", 1e-3, 32)
    assert (config.epochs, config.momentum) == (201, 0)
    assert config.sweep.weight_decay == (0.0, 1e-6, 1e-5, 4e-5, 1e-4, 3e-4, 5e-4, 1e-3)


def test_numbers_are_those_of_the_history(finished):
    workdir, _ = finished
    summary, history = json.loads((workdir / "summary.json").read_text()), read_npz(workdir / "history.npz")
    assert summary["predicted"].keys() == summary["measured"].keys() == summary["meaning"].keys()
    free = history["weight_decay"] == 0
    last = history["j0"][free, -1], np.sqrt(history["j_squared"][free, -1])
    np.testing.assert_allclose(summary["members"]["chi_without_decay"], ec.chi(*last, "relu"), rtol=1e-5)
    np.testing.assert_allclose(summary["members"]["j0_over_j_without_decay"], last[0] / last[1], rtol=1e-5)
    assert summary["measured"]["accuracy_without_decay"] == pytest.approx(
        history["test_accuracy"][free, -1].mean(), rel=1e-6
    )
    assert (workdir / "relu_adam.png").read_bytes().startswith(b"\x89PNG")


def test_decay_that_ends_at_chi_1_is_interpolated():
    """chi of relu at J0 = 0 is J^2 / 2: a made-up sweep that ends at J^2 = 2e-4 / lambda ends at 1 for 1e-4."""
    decay = np.array([5e-5, 2e-4, 8e-4])
    history = {
        "weight_decay": decay,
        "seed": np.zeros(3, int),
        "epochs": np.full(3, 1),
        "j_squared": np.tile((2e-4 / decay)[:, None], 2),
        "j0": np.zeros((3, 2)),
        "test_accuracy": np.tile(np.array([[0.8], [0.9], [0.7]]), 2),
        **dict.fromkeys(("test_loss", "calibrated_test_loss"), np.ones((3, 2))),
    }
    config = relu_adam.Config(activation="relu", map_num_neurons=2, map_num_iterations=20)
    found = relu_adam.compare(config, History(history, 60_000))
    assert found["weight_decay_at_edge"][0] == pytest.approx(1e-4, rel=1e-4)
    assert found["best_weight_decay"][0] == 2e-4


def test_diagram_is_that_of_relu(finished):
    """Differences vanish well above the edge and grow without bound well below it, at J0 = 0."""
    background = read_npz(finished[0] / "phase_map.npz")
    column = int(np.abs(background["j0_over_j"]).argmin())
    assert background["edge"][column] == pytest.approx(2**0.5, rel=1e-3)
    inverse = background["inverse_j"] * 2**0.5
    assert (background["distance"][inverse > 1.5, column] < 1e-4).all()
    assert (background["distance"][inverse < 0.6, column] > 1).all()
