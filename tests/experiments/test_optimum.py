import json

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from configs import optimum as configs
from edgechaos import files
from edgechaos.analysis import QUANTITIES, History
from edgechaos.errors import UserError
from edgechaos.runs.config import from_record
from experiments import optimum

EPOCHS, SEEDS = 90, 3
PLACES = {"loss": 0.71, "calibrated_loss": 2.0, "error_rate": 1.0}


def made_up(places=PLACES, noise=1e-3):
    """A sweep whose quantities are least at places of their own, whatever brought J^2 there."""
    rng = np.random.default_rng(0)
    sweep = configs._sweep(configs.TARGETS, configs.WEIGHT_DECAYS)
    columns = {name: np.repeat(np.array(values), SEEDS) for name, values in sweep.items()}
    number = len(columns["target"])
    end = np.where(columns["constraint"] == "none", 4 / (1 + columns["weight_decay"] / 1e-4), columns["target"])
    clock = np.arange(EPOCHS + 1) / EPOCHS
    held = columns["constraint"] == "hold_two_sided"
    j_squared = np.where(held[:, None], end[:, None], 0.25 + (end[:, None] - 0.25) * np.minimum(1, 1.2 * clock))
    least = {name: 0.3 + 0.1 * np.log(j_squared / place) ** 2 for name, place in places.items()}
    least = {name: values + noise * rng.standard_normal((number, 1)) for name, values in least.items()}
    arrays = {
        **columns,
        "j_squared": j_squared,
        "test_loss": least["loss"],
        "calibrated_test_loss": least["calibrated_loss"],
        "test_accuracy": 1 - least["error_rate"],
        "epochs": np.full(number, EPOCHS),
        "seed": np.tile(np.arange(SEEDS), number // SEEDS),
        "learning_rate": np.full(number, 0.08),
        "momentum": np.full(number, 0.5),
        "batch_size": np.full(number, 32),
    }
    return History(arrays, 60_000)


@pytest.fixture
def config():
    record = configs.get_config().to_dict()
    return optimum.Config(**{**record, "histories": ()})


def test_places_are_those_put_in(config):
    found = optimum.compare(config, made_up())
    assert found.keys() == optimum.NUMBERS.keys()
    for schedule in optimum.SCHEDULES:
        for quantity, place in PLACES.items():
            numbers = {name: found[f"{schedule}_{quantity}_{name}"][0] for name in optimum.PER_QUANTITY}
            assert numbers["along_run"] == pytest.approx(place, abs=0.08)
            assert numbers["along_run_least"] < place < numbers["along_run_largest"]
            assert numbers["best_held"] == place
            assert (numbers["edge_behind_held"] < 3) == (place == 1)
            # a decay of 3e-4 ends at 1, and a thousandth more or less of it elsewhere
            assert (numbers["default_behind_decays"] > 3) == (place != 1)


def test_rows_have_what_each_run_ends_with(config):
    history = made_up()
    rows = optimum.rows(config, history)
    assert [row["kind"] for row in rows].count(optimum.HELD) == 2 * len(configs.TARGETS)
    for row in rows:
        if row["kind"] == optimum.HELD:
            assert row["j_squared"] == pytest.approx(row["target"])
            assert row["error_rate"] == pytest.approx(0.3 + 0.1 * np.log(row["target"]) ** 2, abs=0.003)
        assert f"{row['loss']:.4f}" in optimum.describe(row)


def test_runs_of_other_experiments(config, tmp_path):
    history = made_up()
    files.write_npz(tmp_path / "history.npz", dict(history.arrays))
    config = optimum.Config(**{**vars(config), "histories": (str(tmp_path),)})
    optimum.check(config)
    (elsewhere,) = optimum.recorded(config, tmp_path).values()
    runs = [row for row in elsewhere if np.isfinite(row["loss"]["j_squared"])]
    assert json.loads((tmp_path / "recorded.json").read_text())["runs"][0]["from"] == str(tmp_path)
    assert {row["scale_factor"] for row in elsewhere} == {0.005}
    for row in runs[-2:]:
        for quantity in QUANTITIES:
            assert row[quantity]["j_squared"] == pytest.approx(PLACES[quantity], abs=0.08)
    figure = Figure()
    optimum.draw(figure, config, history, elsewhere)
    assert len(figure.axes) == 9
    (bars,) = (one for one in figure.axes[-1].collections if isinstance(one, LineCollection))
    assert len(bars.get_segments()) == len(elsewhere)


def test_figure_of_a_run_that_has_just_begun(config):
    history = made_up()
    arrays = {name: values * (np.nan if values.ndim == 2 else 1) if values.dtype.kind == "f" else values
              for name, values in history.arrays.items()}  # fmt: skip
    optimum.draw(Figure(), config, History(arrays, 60_000), [])
    assert all(np.isnan(values).all() for values in optimum.compare(config, History(arrays, 60_000)).values())


def test_what_cannot_be_compared_is_refused(config, tmp_path):
    missing = optimum.Config(**{**vars(config), "histories": (str(tmp_path / "none"),)})
    with pytest.raises(UserError, match="is not a finished work directory of a sweep"):
        optimum.check(missing)
    other = optimum.Config(**{**vars(config), "sweep": {"learning_rate": (0.1,)}})
    with pytest.raises(UserError, match=r"sweep\.learning_rate: the runs differ in"):
        optimum.check(other)


@pytest.mark.parametrize("variant", configs.VARIANTS)
def test_every_variant_has_both_schedules_and_a_run_without_decay(variant):
    record = configs.get_config(variant).to_dict()
    sweep = from_record(record).sweep
    rows = set(zip(*(sweep[name] for name in ("schedule", "constraint", "target", "weight_decay")), strict=True))
    for schedule in optimum.SCHEDULES:
        for constraint in ("none", "hold_at_edge", "hold_two_sided"):
            assert (schedule, constraint, 1.0, 0.0) in rows
