import json

import numpy as np
import pytest

from configs import rivals as configs
from edgechaos.files import read_npz
from edgechaos.training import CONSTRAINTS
from tests import processes


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("finished")
    result = processes.run("rivals", workdir, "--config.epochs=60")
    assert result.returncode == 0, result.stderr
    return workdir, result


def test_paper_has_the_grid_eq_9_and_every_constraint():
    sweep = configs.get_config().sweep
    assert sweep.weight_decay[:8] == configs.GRID
    assert set(sweep.constraint) == CONSTRAINTS.keys()


def test_rows_have_the_numbers_of_the_history(finished):
    workdir, result = finished
    summary, history = json.loads((workdir / "summary.json").read_text()), read_npz(workdir / "history.npz")
    assert summary["predicted"].keys() == summary["measured"].keys() == summary["meaning"].keys()
    assert len(summary["rows"]) == len(configs.get_config("digits").sweep.weight_decay)
    for row in summary["rows"]:
        assert row["name"] in result.stdout
    (held,) = [row for row in summary["rows"] if row["name"] == "hold at edge"]
    chosen = history["constraint"] == "hold_at_edge"
    last = history["test_accuracy"][chosen, -3:].mean(1)
    assert held["accuracy"] == pytest.approx(last.mean(), rel=1e-6)
    assert held["accuracy_deviation"] == pytest.approx(last.std(ddof=1), rel=1e-5)
    assert summary["measured"]["share_of_grid_cost"] == pytest.approx(1 / 9)


def test_what_holds_a_norm_ends_at_the_edge(finished):
    history = read_npz(finished[0] / "history.npz")
    for name, tolerance in (("hold_at_edge", 0.01), ("hard_sphere", 0.01), ("constrained_parameters", 0.1)):
        np.testing.assert_allclose(history["j_squared"][history["constraint"] == name, -5:], 1, atol=tolerance)
