"""A sweep that grows: more seeds and more values, in the work directory of what is there."""

import dataclasses
import json
import shutil
import signal
import subprocess

import numpy as np
import pytest

from edgechaos import runs
from edgechaos.errors import UserError
from edgechaos.files import read_npz
from edgechaos.runs.config import TrainingConfig
from edgechaos.runs.history import METRICS
from edgechaos.runs.members import AXES, Group, groups_of, lanes_of, member_keys, sequence_of, sweep_members
from tests import processes
from tests.processes import ROOT, wait_for

CONFIG = """
from configs.fig3 import get_config as base
def get_config(variant=None):
    config = base("digits")
    config.sweep = dict(learning_rate={rates}, batch_size={sizes})
    config.update(sweep_mode="product", momentum=0.5, num_seeds={seeds}, epochs={epochs})
    return config
"""
FEW = {"rates": (0.01, 0.04), "sizes": (32,), "seeds": 1, "epochs": 60}
MANY = {"rates": (0.02, 0.01, 0.04), "sizes": (64, 32), "seeds": 3, "epochs": 60}


def config_file(folder, **changes):
    path = folder / f"{abs(hash(str(changes)))}.py"
    path.write_text(CONFIG.format(**changes))
    return str(path)


def run(workdir, *arguments, **changes):
    result = processes.run("fig3", workdir, *arguments, config=config_file(workdir.parent, **changes))
    assert result.returncode == 0, result.stderr
    return read_npz(workdir / "history.npz"), result


def by_key(history):
    """The columns and rows of each member under what names it."""
    columns = {name: history[name] for name in (*AXES, "seed")}
    return {key: {name: values[i] for name, values in history.items()} for i, key in enumerate(member_keys(columns))}


def assert_kept(before, after):
    """Every member of `before`, with its bits and seconds, among those of `after`."""
    there = by_key(after)
    for key, member in by_key(before).items():
        for name, value in member.items():
            np.testing.assert_array_equal(value, there[key][name], err_msg=f"{name} of {key}")


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    folder = tmp_path_factory.mktemp("few")
    history, _ = run(folder / "run", **FEW)
    return folder / "run", history


def test_finished_sweep_takes_more_seeds_and_values_and_keeps_its_members(few, tmp_path):
    shutil.copytree(few[0], tmp_path / "run")
    grown, result = run(tmp_path / "run", **MANY)
    assert "holds 2 members; adding 16" in result.stderr
    assert len(grown["seed"]) == 18
    assert_kept(few[1], grown)
    # in the order of the new config, the seed running fastest
    np.testing.assert_array_equal(grown["seed"], np.tile([0, 1, 2], 6))
    np.testing.assert_array_equal(grown["learning_rate"], np.tile(np.repeat([0.02, 0.01, 0.04], 3), 2))
    np.testing.assert_array_equal(grown["epochs_done"], 60)
    again, result = run(tmp_path / "run", **MANY)
    assert "holds the finished run" in result.stderr
    assert_kept(grown, again)


def test_grown_sweep_grows_again(few, tmp_path):
    shutil.copytree(few[0], tmp_path / "run")
    middle, _ = run(tmp_path / "run", **{**FEW, "seeds": 2})
    grown, _ = run(tmp_path / "run", **MANY)
    assert_kept(few[1], middle)
    assert_kept(middle, grown)


def test_what_results_keep_is_enough_to_grow_from(few, tmp_path):
    """Without lock, provenance and figures, as a copy of a recorded result."""
    (tmp_path / "run").mkdir()
    for name in ("config.json", "history.npz", "summary.json"):
        shutil.copy(few[0] / name, tmp_path / "run" / name)
    grown, _ = run(tmp_path / "run", **{**FEW, "seeds": 2})
    assert_kept(few[1], grown)


def test_history_from_before_a_measurement_and_a_field_existed(few, tmp_path):
    shutil.copytree(few[0], tmp_path / "run")
    old = {name: value for name, value in few[1].items() if name not in ("logit_rms", "schedule", "loss")}
    np.savez(tmp_path / "run" / "history.npz", **old)
    earlier = json.loads((tmp_path / "run" / "config.json").read_text())
    runs.write_json(
        tmp_path / "run" / "config.json",
        {name: value for name, value in earlier.items() if name not in ("schedule", "loss")},
    )
    grown, _ = run(tmp_path / "run", **{**FEW, "seeds": 2})
    assert_kept({name: few[1][name] for name in few[1] if name != "logit_rms"}, grown)
    assert np.isnan(grown["logit_rms"][::2]).all()  # the members of seed 0
    assert np.isfinite(grown["logit_rms"][1::2]).all()


def interrupted(workdir, changes):
    """A run that was interrupted when it had a checkpoint."""
    line = processes.command(
        "fig3", workdir, "--config.checkpoint_seconds=0", config=config_file(workdir.parent, **changes)
    )
    process = subprocess.Popen(line, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: process.poll() is not None or any(processes.steps(one) for one in workdir.glob("checkpoint-*")))
    process.send_signal(signal.SIGINT)
    _, messages = process.communicate(timeout=60)
    assert process.returncode == 130, messages
    return read_npz(workdir / "history.npz")


def test_unfinished_members_go_on_from_their_checkpoints_with_the_same_bits(few, tmp_path):
    """A checkpoint, which takes a tenth of a second, after each of 60 epochs: time to be met."""
    begun = interrupted(tmp_path / "run", FEW)
    assert 0 < begun["epochs_done"].min() < 60
    grown, result = run(tmp_path / "run", **{**FEW, "seeds": 2})
    assert f"after epoch {begun['epochs_done'].max()}" in result.stderr
    there = by_key(grown)
    for key, member in by_key(few[1]).items():
        for name in METRICS:
            np.testing.assert_array_equal(member[name], there[key][name], err_msg=name)
        assert there[key]["seconds"] > 0


def test_several_processes_extend_together(few, tmp_path):
    from tests.runs.test_processes import log, start

    workdir = tmp_path / "run"
    shutil.copytree(few[0], workdir)
    started = start(workdir, config_file(tmp_path, **MANY))
    assert [process.wait(200) for process in started] == [0, 0], log(workdir, 0) + log(workdir, 1)
    grown = read_npz(workdir / "history.npz")
    assert len(grown["seed"]) == 18
    assert_kept(few[1], grown)
    assert (grown["epochs_done"] == 60).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rates": (0.01, 0.05)}, "an extension must keep the members of '{}', but it drops learning_rate 0.04"),
        ({"rates": (0.01,)}, "an extension must keep the members of '{}', but it drops learning_rate 0.04"),
        ({"epochs": 30}, "workdir = '{}' holds a run of another config (epochs 60 -> 30); name another workdir"),
    ],
)
def test_extension_that_drops_or_changes_a_member_is_refused(few, tmp_path, changes, message):
    result = processes.run("fig3", few[0], config=config_file(tmp_path, **{**FEW, **changes}))
    assert result.returncode == 2
    assert message.format(few[0]) in result.stderr
    assert "Traceback" not in result.stderr
    assert (read_npz(few[0] / "history.npz")["learning_rate"] == few[1]["learning_rate"]).all()


def test_fewer_seeds_than_there_are(few, tmp_path):
    shutil.copytree(few[0], tmp_path / "run")
    run(tmp_path / "run", **{**FEW, "seeds": 3})
    result = processes.run("fig3", tmp_path / "run", config=config_file(tmp_path, **{**FEW, "seeds": 2}))
    assert result.returncode == 2
    assert f"num_seeds = 2: '{tmp_path / 'run'}' holds 3 seeds; give at least as many" in result.stderr


def test_other_fields_are_refused_as_before(few, tmp_path):
    more = config_file(tmp_path, **{**FEW, "seeds": 2})
    result = processes.run("fig3", few[0], "--config.weight_decay_mode=decoupled", config=more)
    assert result.returncode == 2
    assert "weight_decay_mode 'coupled' -> 'decoupled'" in result.stderr


@pytest.mark.parametrize("content", ["{", "[]", '{"former": [3]}', '{"former": [{}]}'])
def test_damaged_sequence_is_named(few, tmp_path, content):
    shutil.copytree(few[0], tmp_path / "run")
    (tmp_path / "run" / "history.npz").unlink()
    (tmp_path / "run" / "pieces").mkdir()
    np.savez(tmp_path / "run" / "pieces" / "0-2.npz", a=1)
    (tmp_path / "run" / "sequence.json").write_text(content)
    result = processes.run("fig3", tmp_path / "run", config=config_file(tmp_path, **FEW))
    assert result.returncode == 2
    assert "sequence.json' is damaged" in result.stderr
    assert "Traceback" not in result.stderr


def columns_of(**changes):
    axes = {"learning_rate": (0.1, 0.2), "epochs": (9, 5)}
    return sweep_members(dataclasses.replace(TrainingConfig(batch_size=8, sweep=axes), **changes))


def test_former_members_keep_their_places():
    once = sequence_of(columns_of())
    former = [columns_of(), columns_of(num_seeds=2)]
    grown = sequence_of(columns_of(num_seeds=3), former)
    names = member_keys(columns_of(num_seeds=3))
    before = member_keys(columns_of())
    assert [names[member] for member in grown.members[:4]] == [before[member] for member in once.members]
    np.testing.assert_array_equal(grown.generation, np.repeat([0, 1, 2], 4))
    assert sorted(grown.members) == list(range(12))


def test_groups_do_not_mix_generations():
    columns = columns_of(num_seeds=2)
    places = sequence_of(columns, [columns_of()])
    done = np.zeros(8, bool)
    assert groups_of(columns, places, 100, done) == [Group(0, 4), Group(4, 4)]
    assert lanes_of(columns, places, 100, Group(4, 2)) == 4
    assert lanes_of(columns, places, 3, Group(0, 2)) == 2


def test_equal_members_are_told_apart_by_their_number():
    columns = columns_of(sweep={"learning_rate": (0.1, 0.1), "epochs": (9,)})
    assert len(set(member_keys(columns))) == 2


def test_a_work_directory_that_does_not_grow_refuses(tmp_path):
    config = {"num_seeds": 1, "seed": 0}
    with runs.work_directory(tmp_path, config) as directory:
        np.savez(directory / "history.npz", a=1)
    refused = pytest.raises(UserError, match="another config")
    with refused, runs.work_directory(tmp_path, {**config, "num_seeds": 2}):
        pass
