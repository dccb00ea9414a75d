import json

import pytest

from configs import fig6
from edgechaos.files import read_npz
from tests import processes


def test_papers_runs():
    config = fig6.get_config()
    assert config.sweep.weight_decay == (0.0, 1e-5, 5e-5, 9e-5, 1.5e-4, 3e-4, 5e-4, 1e-3)
    assert (config.num_seeds, config.epochs, config.learning_rate, config.batch_size) == (10, 501, 0.02, 32)


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
