import json

import numpy as np
import pytest

from configs import independence as configs
from edgechaos.files import read_npz
from tests import processes


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("finished")
    result = processes.run("independence", workdir)
    assert result.returncode == 0, result.stderr
    return workdir, result


@pytest.mark.parametrize("variant", ["full", "scaled", "quick", "digits"])
def test_all_runs_have_equal_rescaled_length(variant):
    sweep = configs.get_config(variant).sweep
    scale = np.array(sweep.learning_rate) / ((1 - np.array(sweep.momentum)) * np.array(sweep.batch_size))
    rescaled = scale * np.array(sweep.epochs)
    np.testing.assert_allclose(rescaled, rescaled.mean(), rtol=0.01)


def test_decay_at_the_edge_is_interpolated_for_each_setting(finished):
    workdir, result = finished
    summary, history = json.loads((workdir / "summary.json").read_text()), read_npz(workdir / "history.npz")
    assert len(summary["runs"]) == 6
    assert result.stdout.count("ends at 1") == 6
    first = summary["runs"][0]
    chosen = np.all([history[name] == first[name] for name in ("learning_rate", "momentum", "batch_size")], axis=0)
    at_end = np.array([trajectory[np.isfinite(trajectory)][-15:].mean() for trajectory in history["j_squared"][chosen]])
    expected = np.exp(np.interp(0, -np.log(at_end), np.log(history["weight_decay"][chosen])))
    assert first["decay"] == pytest.approx(expected, rel=1e-3)


def test_decay_hardly_depends_on_the_setting_on_digits(finished):
    """Recorded: 3 % over a factor 4 in the scale factor; 10 % leaves room for another machine's rounding."""
    assert json.loads((finished[0] / "summary.json").read_text())["measured"]["range"] < 0.1
