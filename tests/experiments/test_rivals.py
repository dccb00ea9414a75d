import json

import numpy as np
import pytest

from configs import rivals as configs
from edgechaos.analysis import History
from edgechaos.errors import UserError
from edgechaos.files import read_npz
from edgechaos.training.epochs import CONSTRAINTS
from experiments import rivals
from tests import processes


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("finished")
    result = processes.run("rivals", workdir, "--config.epochs=60", "--config.trials=(2, 4)", "--config.num_seeds=2")
    assert result.returncode == 0, result.stderr
    return workdir, result


def test_full_has_the_grid_eq_9_and_every_constraint():
    sweep = configs.get_config().sweep
    assert sweep.weight_decay[:8] == configs.GRID
    assert set(sweep.constraint) == {"none", *configs.CONSTRAINTS} == CONSTRAINTS.keys() - {"hold_two_sided"}
    columns = {name: np.array(values) for name, values in sweep.items()}
    ways = rivals.ways_of(rivals.Config(trials=()), History(columns | {"seed": np.zeros(len(sweep.target))}, 60_000))
    assert [way.kind for way in ways] == ["grid"] * 8 + ["rule"] * 9
    assert ways[8].name.startswith(rivals.EQ_9)


def test_other_axes_and_several_processes_are_refused(monkeypatch):
    with pytest.raises(UserError, match=r"sweep\.epochs: the ways differ in weight_decay, constraint and target"):
        rivals.check(rivals.Config(sweep={"epochs": (1, 2)}, trials=()))
    monkeypatch.setattr("edgechaos.runs.processes.name", lambda: "process 0 of 2")
    with pytest.raises(UserError, match="distributed: this experiment needs one process"):
        rivals.check(rivals.Config(sweep={"weight_decay": (0.0,)}, trials=()))


def test_what_diverged_is_neither_best_nor_an_error():
    """Of three decays the first diverged; so did the hold, which chose nothing."""
    trajectory = np.array([np.nan, 0.8, 0.7, np.nan])[:, None] * np.ones((4, 3))
    history = {"test_accuracy": trajectory, "j_squared": trajectory, "epochs": np.full(4, 2), "seed": np.zeros(4, int)}
    ways = [rivals.Way(name, "grid", 2) for name in "abc"] + [rivals.Way(rivals.HOLD, "rule", 2)]
    found = rivals.compare(History(history, 60_000), ways)
    assert found["best_of_grid"][0] == 0.8
    assert np.isnan(found["final_accuracy"][0])
    assert np.isnan(found["fixed_j_squared"][0])


def test_rows_have_the_numbers_of_the_history(finished):
    workdir, result = finished
    summary, history = json.loads((workdir / "summary.json").read_text()), read_npz(workdir / "history.npz")
    assert summary["predicted"].keys() == summary["measured"].keys() == summary["meaning"].keys()
    digits = configs.get_config("digits")
    assert len(summary["rows"]) == len(digits.sweep.weight_decay) + 1 + 2
    for row in summary["rows"]:
        assert row["name"] in result.stdout
    (held,) = [row for row in summary["rows"] if row["name"] == "hold at edge"]
    chosen = (history["constraint"] == "hold_at_edge") & (history["target"] == 1)
    last = history["test_accuracy"][chosen, -3:].mean(1)
    assert held["accuracy"] == pytest.approx(last.mean(), rel=1e-6)
    assert held["accuracy_deviation"] == pytest.approx(last.std(ddof=1), rel=1e-5)
    assert summary["measured"]["share_of_grid_cost"] == pytest.approx(1 / 8)


def test_choices_are_those_of_the_first_seed(finished):
    """The decay of the hold's last eighth, and the best of the first 2 and of all 4 trials."""
    workdir, _ = finished
    history, rows = read_npz(workdir / "history.npz"), json.loads((workdir / "summary.json").read_text())["rows"]
    chosen = {row["name"].partition(", lambda = ")[0]: row for row in rows if row["kind"] == "chosen"}
    clock = history["clock"][
        (history["constraint"] == "hold_at_edge") & (history["target"] == 1) & (history["seed"] == 0)
    ][0]
    removed = (clock[-1] - clock[-8]) / (7 * 45)  # per step, of 45 an epoch
    expected = {"decay of the hold": (removed * 0.5 / (2 * 0.08), 120.0)}
    made = read_npz(workdir / "trials.npz")
    for number in (2, 4):
        best = made["weight_decay"][made["accuracy"][:number].argmax()]
        expected[f"Optuna, {number} trials"] = (best, 60 + number * 60 * (1437 - 240) / 1437)
    assert chosen.keys() == expected.keys()
    for name, (weight_decay, cost) in expected.items():
        rounded = float(f"{weight_decay:.3g}")
        assert rounded == pytest.approx(weight_decay, rel=0.005)
        assert chosen[name]["cost"] == pytest.approx(cost, abs=0.5)
        own = read_npz(workdir / "chosen" / f"{rounded:g}" / "history.npz")
        np.testing.assert_allclose(own["weight_decay"], rounded)
        assert chosen[name]["accuracy"] == pytest.approx(own["test_accuracy"][:, -3:].mean(), rel=1e-6)


def test_what_holds_a_norm_ends_at_the_edge(finished):
    history = read_npz(finished[0] / "history.npz")
    for target in (1.0, 0.25):
        for name, tolerance in (("hold_at_edge", 0.01), ("hard_sphere", 0.01), ("hyperball", 0.01)):
            chosen = (history["constraint"] == name) & (history["target"] == target)
            assert chosen.sum() == len(np.unique(history["seed"]))
            # the sphere fixes J^2 + J0^2 / N
            np.testing.assert_allclose(history["j_squared"][chosen, -5:], target, atol=tolerance)
    bounded = history["constraint"] == "constrained_parameters"
    np.testing.assert_allclose(history["j_squared"][bounded, -5:], 1, atol=0.1)
