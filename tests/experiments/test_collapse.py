import functools
import json

import numpy as np
import pytest

from configs import fig4, fig5
from edgechaos import analysis
from edgechaos.analysis import History
from edgechaos.files import read_npz
from tests import processes


def history(scales, lengths, trajectories):
    """A sweep over the learning rate whose trajectories are given as functions of the rescaled epoch."""
    learning_rate = 0.02 * np.array(scales)
    j_squared = np.full((len(scales), max(lengths) + 1), np.nan)
    for run, (scale, length, trajectory) in enumerate(zip(scales, lengths, trajectories, strict=True)):
        j_squared[run, : length + 1] = trajectory(scale * np.arange(length + 1))
    size = len(scales)
    columns = {"momentum": np.full(size, 0.5), "batch_size": np.full(size, 32), "seed": np.zeros(size, int)}
    return History({"learning_rate": learning_rate, "j_squared": j_squared, **columns}, 60_000)


def line(time):
    return 0.25 + 0.0137 * time


def test_one_course_collapses():
    ranges = analysis.collapse_ranges(history([1, 2, 4], [100, 50, 25], [line] * 3))
    np.testing.assert_allclose(ranges["range_in_ordered_phase"], 0, atol=1e-12)
    np.testing.assert_allclose(ranges["range_beyond"], 0, atol=1e-12)
    assert np.isnan(ranges["epoch_apart"]).all()


def test_spread_and_where_it_begins():
    def bent(time):  # leaves the line at J^2 = 1 with half the slope
        edge = 0.75 / 0.0137
        return np.where(time < edge, line(time), 1 + 0.5 * 0.0137 * (time - edge))

    ranges = analysis.collapse_ranges(history([1, 1], [120, 120], [line, bent]))
    assert ranges["range_in_ordered_phase"] == pytest.approx(0, abs=0.01)
    gap = 0.5 * 0.0137 * (120 - 0.75 / 0.0137)
    expected = gap / (line(120) - gap / 2)
    assert ranges["last_range"] == pytest.approx(expected, rel=1e-6)
    # gap / mean = 0.1 where 0.00685 t = 0.1 (1 + 0.0137 t - 0.003425 t), t the time since the edge
    since = 0.1 / (0.00685 - 0.1 * (0.0137 - 0.003425))
    assert ranges["epoch_apart"] == pytest.approx(np.ceil(0.75 / 0.0137 + since), abs=1)


def test_papers_runs():
    four, five = fig4.get_config(), fig5.get_config()
    np.testing.assert_allclose(np.array(four.sweep.learning_rate) / four.sweep.batch_size, 0.02 / 32)
    assert four.sweep.batch_size == (8, 16, 32, 64, 128)
    scales = np.array(five.sweep.learning_rate) / (1 - np.array(five.sweep.momentum)) / 32 / 0.00125
    np.testing.assert_allclose(scales, [1 / 16, 1 / 8, 1 / 4, 1 / 2, 1])
    np.testing.assert_allclose((np.array(five.sweep.epochs) - 1) * scales, 500)


@pytest.mark.parametrize("variant", ["scaled", "quick"])
@pytest.mark.parametrize("module", [fig4, fig5])
def test_variants_move_along_the_law(module, variant):
    """Runs of Fig. 4 share a scale factor; those of Fig. 5 share scale factor times epochs, within an epoch."""
    config = module.get_config(variant)
    momentum = np.array(config.sweep.get("momentum", config.momentum))
    size = np.array(config.sweep.get("batch_size", config.batch_size))
    scales = np.array(config.sweep.learning_rate) / (1 - momentum) / size
    if module is fig4:
        np.testing.assert_allclose(scales, scales[0])
    else:
        lengths = np.array(config.sweep.epochs) * scales
        assert np.abs(lengths - lengths.min()).max() <= scales.max()


@pytest.mark.parametrize("name", ["fig4", "fig5"])
def test_experiment_on_the_digits(tmp_path, name):
    config = tmp_path / "short.py"
    shorter = "epochs = 12" if name == "fig4" else "sweep.epochs = (24, 12, 6, 3, 2)"
    config.write_text(
        f"from configs.{name} import get_config as base\n"
        "def get_config(variant=None):\n"
        f"    config = base('digits')\n    config.{shorter}\n    config.num_seeds = 2\n    return config\n"
    )
    run = functools.partial(processes.run, name)
    result = run(tmp_path / "run", config=str(config))
    assert result.returncode == 0, result.stderr
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["predicted"].keys() == summary["measured"].keys() == summary["meaning"].keys()
    assert len(summary["members"]["constant_d"]) == 2
    arrays = read_npz(tmp_path / "run" / "history.npz")
    np.testing.assert_array_equal(arrays["epochs_done"], arrays["epochs"])
    assert np.isnan(arrays["j_squared"][arrays["epochs"].argmin(), arrays["epochs"].min() + 1 :]).all()
    assert (tmp_path / "run" / f"{name}.png").exists()
