import dataclasses
import json
from collections import Counter

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure

from configs import optimum as configs
from edgechaos import files
from edgechaos.analysis import QUANTITIES, History
from edgechaos.errors import UserError
from edgechaos.runs.config import from_record
from edgechaos.runs.members import compare_members
from experiments import optimum
from tests import processes

EPOCHS, SEEDS = {0.08: 90, 0.02: 180}, 3
PLACES = {"loss": 0.71, "calibrated_loss": 2.0, "error_rate": 1.0}
PLACES_AT_LOW_RATE = {"loss": 0.5, "calibrated_loss": 1.0, "error_rate": 2.0}
# by how much the place is larger among networks that are kept at a J^2 in another way
FACTORS = {"hard_sphere": 2.0, "hyperball": 2**0.5}


def made_up(noise=1e-3):
    """The full sweep; quantities are least at places of their own, which depend on learning rate and constraint."""
    rng = np.random.default_rng(0)
    sweep = configs.get_config().sweep.to_dict()
    columns = {name: np.repeat(np.array(values), SEEDS) for name, values in sweep.items()}
    number, is_low = len(columns["target"]), columns["learning_rate"] == 0.02
    columns["epochs"] = np.where(is_low, EPOCHS[0.02], EPOCHS[0.08])
    kept = np.isin(columns["constraint"], list(optimum.KEPT))
    free = columns["constraint"] == "none"
    end = np.where(free, 4 / (1 + columns["weight_decay"] / 1e-4), columns["target"])
    clock = np.arange(EPOCHS[0.02] + 1) / columns["epochs"][:, None]
    clock[clock > 1] = np.nan
    grown = 0.25 + (end[:, None] - 0.25) * np.minimum(1, 1.2 * clock)
    j_squared = np.where(kept[:, None], end[:, None] + 0 * clock, grown)
    factor = np.array([FACTORS.get(str(name), 1.0) for name in columns["constraint"]])
    least = {}
    for name, place in PLACES.items():
        best = factor * np.where(is_low, PLACES_AT_LOW_RATE[name], place)
        least[name] = 0.3 + 0.1 * np.log(j_squared / best[:, None]) ** 2 + noise * rng.standard_normal((number, 1))
    arrays = {
        **columns,
        "j_squared": j_squared,
        "test_loss": least["loss"],
        "calibrated_test_loss": least["calibrated_loss"],
        "test_accuracy": 1 - least["error_rate"],
        "seed": np.tile(np.arange(SEEDS), number // SEEDS),
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
    assert found.keys() == optimum.expect(config).keys()
    for schedule in optimum.SCHEDULES:
        for quantity, place in PLACES.items():
            numbers = {name: found[f"{schedule}_{quantity}_{name}"][0] for name in optimum.PER_QUANTITY}
            assert numbers["along_run"] == pytest.approx(place, abs=0.08)
            assert numbers["along_run_least"] < place < numbers["along_run_largest"]
            assert numbers["best_held"] == place
            for name, factor in (("sphere", 2.0), ("hyperball", 2**0.5)):
                assert numbers[f"best_{name}"] == pytest.approx(factor * place, rel=0.01)
                assert numbers[f"best_{name}_least"] <= numbers[f"best_{name}"] <= numbers[f"best_{name}_largest"]
            assert (numbers["edge_behind_held"] < 3) == (place == 1)
            # a decay of 3e-4 ends at 1, and a thousandth more or less of it elsewhere
            assert (numbers["default_behind_decays"] > 3) == (place != 1)


def test_each_learning_rate_has_numbers_of_its_own(config):
    """Those of the config's own rate have the names that they have without another; what is not run has none."""
    found = optimum.compare(config, made_up())
    for schedule in optimum.SCHEDULES:
        for quantity, place in PLACES_AT_LOW_RATE.items():
            assert found[f"{schedule}_{quantity}_along_run_at_0.02"][0] == pytest.approx(place, abs=0.12)
            assert found[f"{schedule}_{quantity}_best_held_at_0.02"][0] == place
            assert np.isnan(found[f"{schedule}_{quantity}_best_sphere_at_0.02"][0])
    of_one_rate = optimum.Config(**{**vars(config), "sweep": configs.get_config("mnist").sweep.to_dict()})
    assert optimum.expect(of_one_rate).keys() == optimum.NUMBERS.keys()
    history = made_up()
    alone = optimum.compare(of_one_rate, history.some(history["learning_rate"] == 0.08))
    for name, value in alone.items():
        np.testing.assert_array_equal(value, found[name], err_msg=name)
    assert optimum.expect(config)["cosine_loss_best_hyperball_at_0.02"] == 1


def test_rows_have_what_each_run_ends_with(config):
    history = made_up()
    rows = optimum.rows(config, history)
    counted = Counter(row["kind"] for row in rows)
    assert counted[optimum.HELD] == 2 * (len(configs.TARGETS) + len(configs.FEW_TARGETS))
    assert counted[optimum.SPHERE] == counted[optimum.HYPERBALL] == 2 * len(configs.TARGETS)
    for row in rows:
        if row["kind"] == optimum.HELD:
            best = 1 if row["learning_rate"] == 0.08 else 2
            assert row["j_squared"] == pytest.approx(row["target"])
            assert row["error_rate"] == pytest.approx(0.3 + 0.1 * np.log(row["target"] / best) ** 2, abs=0.003)
        assert f"{row['loss']:.4f}" in optimum.describe(row)


def test_runs_of_other_experiments(config, tmp_path):
    history = made_up()
    files.write_npz(tmp_path / "history.npz", dict(history.arrays))
    config = optimum.Config(**{**vars(config), "histories": (str(tmp_path),)})
    optimum.check(config)
    (elsewhere,) = optimum.recorded(config, tmp_path).values()
    assert json.loads((tmp_path / "recorded.json").read_text())["runs"][0]["from"] == str(tmp_path)
    # free runs alone, under both schedules, whatever else has no fixed decay
    assert [row["learning_rate"] for row in elsewhere] == [0.08, 0.08, 0.02, 0.02]
    for row, places in zip(elsewhere, [PLACES, PLACES, PLACES_AT_LOW_RATE, PLACES_AT_LOW_RATE], strict=True):
        assert row["scale_factor"] == pytest.approx(row["learning_rate"] / 16)
        for quantity in QUANTITIES:
            assert row[quantity]["j_squared"] == pytest.approx(places[quantity], abs=0.12)
    figure = Figure()
    optimum.draw(figure, config, history, elsewhere)
    assert len(figure.axes) == (2 * 2 + 1) * 3  # learning rates, schedules, and the runs elsewhere
    assert "0.08" in figure.axes[0].get_title()
    assert "0.02" in figure.axes[6].get_title()
    (bars,) = (one for one in figure.axes[-1].collections if isinstance(one, LineCollection))
    assert len(bars.get_segments()) == len(elsewhere)


def test_each_kind_has_a_marker_of_its_own(config):
    figure = Figure()
    optimum.draw(figure, config, made_up(), [])
    drawn = [one.lines[0] for one in figure.axes[0].containers if isinstance(one, ErrorbarContainer)]
    labels = [one.get_label() for one in figure.axes[0].containers]
    assert {optimum.HELD, optimum.SPHERE, optimum.HYPERBALL, optimum.DECAYED, optimum.DEFAULT} == set(labels)
    assert len({line.get_marker() for line in drawn}) == len({line.get_color() for line in drawn}) == 5
    assert all(np.size(line.get_xdata()) for line in drawn)


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
    other = optimum.Config(**{**vars(config), "sweep": {"momentum": (0.1,)}})
    with pytest.raises(UserError, match=r"sweep\.momentum: the runs differ in"):
        optimum.check(other)
    lengths = optimum.Config(**{**vars(config), "sweep": {"learning_rate": (0.1, 0.1), "epochs": (3, 5)}})
    with pytest.raises(UserError, match=r"runs of learning_rate 0\.1 must have one length, but have \[3, 5\]"):
        optimum.check(lengths)


CONFIG = """
from configs.optimum import get_config as base
def get_config(variant=None):
    config = base("digits")
    config.sweep = {sweep}
    config.update(num_seeds=2, epochs=60)
    return config
"""
FEW = {
    "schedule": ("constant", "cosine") * 2,
    "constraint": ("hold_two_sided", "hold_two_sided", "none", "none"),
    "target": (1.0,) * 4,
    "weight_decay": (0.0,) * 4,
}
MANY = {
    "learning_rate": (0.08,) * 6 + (0.02,) * 2,
    "epochs": (60,) * 6 + (90,) * 2,
    "schedule": FEW["schedule"] + ("constant", "cosine") * 2,
    "constraint": (*FEW["constraint"], "hard_sphere", "hyperball", "none", "hold_two_sided"),
    "target": (1.0,) * 8,
    "weight_decay": (0.0,) * 8,
}


def test_a_sweep_without_the_axes_of_today_grows_into_one_with_them(tmp_path):
    """Members from before learning rate and length were axes keep their bits."""
    paths = {name: tmp_path / f"{name}.py" for name in ("few", "many")}
    for (name, path), sweep in zip(paths.items(), (FEW, MANY), strict=True):
        path.write_text(CONFIG.format(sweep=sweep))
        result = processes.run("optimum", tmp_path / "run", config=str(path))
        assert result.returncode == 0, result.stderr
        if name == "few":
            before, first = files.read_npz(tmp_path / "run" / "history.npz"), summary_of(tmp_path / "run")
    assert "holds 8 members; adding 8" in result.stderr
    after = files.read_npz(tmp_path / "run" / "history.npz")
    assert after["learning_rate"].tolist() == [0.08] * 12 + [0.02] * 4
    for name, values in before.items():
        kept = after[name][: len(values)]
        np.testing.assert_array_equal(kept[:, : values.shape[1]] if values.ndim == 2 else kept, values, err_msg=name)
    assert np.isnan(after["j_squared"][:8, 61:]).all()
    assert np.isfinite(after["j_squared"][12:]).all()
    found = summary_of(tmp_path / "run")
    for name, value in first["measured"].items():
        assert found["measured"][name] == value or "sphere" in name or "hyperball" in name, name
    for way in ("sphere", "hyperball"):
        assert found["measured"][f"{'constant' if way == 'sphere' else 'cosine'}_loss_best_{way}"] == 1
    assert found["predicted"].keys() == found["measured"].keys() == found["meaning"].keys()
    assert found["measured"]["cosine_loss_best_held_at_0.02"] == 1


def summary_of(workdir):
    return json.loads((workdir / "summary.json").read_text())


@pytest.mark.parametrize(("variant", "factor"), [("full", 1), ("digits", 10)])
def test_the_sweep_has_the_members_that_it_had_before(variant, factor):
    """34 runs at 0.08 alone, as configs/optimum.py had them when it had four axes."""
    runs = [("hold_two_sided", target, 0.0) for target in configs.TARGETS]
    runs += [("hold_at_edge", 1.0, 0.0)] + [("none", 1.0, factor * decay) for decay in configs.WEIGHT_DECAYS]
    rows = [(schedule, *run) for schedule in configs.SCHEDULES for run in runs]
    former = dict(zip(("schedule", "constraint", "target", "weight_decay"), zip(*rows, strict=True), strict=True))
    config = from_record(configs.get_config(variant).to_dict())
    added = compare_members(dataclasses.replace(config, sweep=former), config)
    assert (added.kept, added.missing) == (102, "")
    assert added.new == 3 * 2 * (2 * len(configs.TARGETS) + len(configs.FEW_TARGETS) + 1 + len(configs.FEW_DECAYS))


@pytest.mark.parametrize("variant", configs.VARIANTS)
def test_every_variant_has_both_schedules_and_a_run_without_decay(variant):
    record = configs.get_config(variant).to_dict()
    sweep = from_record(record).sweep
    rows = set(zip(*(sweep[name] for name in ("schedule", "constraint", "target", "weight_decay")), strict=True))
    for schedule in optimum.SCHEDULES:
        for constraint in ("none", "hold_at_edge", "hold_two_sided"):
            assert (schedule, constraint, 1.0, 0.0) in rows
