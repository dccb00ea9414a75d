import dataclasses
import functools
import json

import numpy as np
import pytest

from edgechaos import data, runs
from edgechaos.files import read_npz
from edgechaos.runs import group
from edgechaos.runs.config import TrainingConfig
from edgechaos.runs.history import empty_record
from edgechaos.runs.members import sweep_members
from edgechaos.runs.workdir import sequence
from experiments.shared import cli, sweep
from tests import processes

run = functools.partial(processes.run, "fig6")
SHORT = ("--config.epochs=10", "--config.num_seeds=1", "--config.sweep.weight_decay=(0.0,1e-3)")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("noise")
    result = run(workdir, *SHORT, "--config.label_noise=0.5")
    assert result.returncode == 0, result.stderr
    return workdir


def test_training_labels_are_wrong_and_test_labels_right(finished):
    """No network knows which half is wrong, so that it is right on about half of the training set, and more of the
    test set."""
    history = read_npz(finished / "history.npz")
    assert (history["train_accuracy"][:, -1] < 0.55).all()
    assert (history["test_accuracy"][:, -1] > 0.65).all()


def test_another_noise_is_another_run(finished):
    for other in ("0.4", "0.0"):
        result = run(finished, *SHORT, f"--config.label_noise={other}")
        assert result.returncode == 2
        assert f"holds a run of another config (label_noise 0.5 -> {other})" in result.stderr


def test_more_seeds_learn_the_same_wrong_labels(finished, tmp_path):
    """A member of an extension is that of a run that had it from the beginning."""
    for workdir in (finished, tmp_path / "whole"):
        more = [argument.replace("num_seeds=1", "num_seeds=2") for argument in SHORT]
        result = run(workdir, *more, "--config.label_noise=0.5", "--config.seed=0")
        assert result.returncode == 0, result.stderr
    grown, whole = (read_npz(folder / "history.npz") for folder in (finished, tmp_path / "whole"))
    np.testing.assert_allclose(grown["train_loss"], whole["train_loss"], rtol=1e-4)
    assert (np.abs(grown["train_loss"][0] / grown["train_loss"][1] - 1) > 1e-4).any()


def test_a_work_directory_from_before_the_field_has_right_labels(tmp_path):
    result = run(tmp_path, *SHORT)
    assert result.returncode == 0, result.stderr
    earlier = json.loads((tmp_path / "config.json").read_text())
    assert earlier.pop("label_noise") == 0
    runs.write_json(tmp_path / "config.json", earlier)
    assert run(tmp_path, *SHORT).returncode == 0
    runs.write_json(tmp_path / "config.json", earlier)
    assert "label_noise 0.0 -> 0.1" in run(tmp_path, *SHORT, "--config.label_noise=0.1").stderr


def test_share_out_of_range_is_refused(tmp_path):
    result = run(tmp_path / "run", *SHORT, "--config.label_noise=1.0")
    assert result.returncode == 2
    assert "label_noise = 1.0: must be in [0, 1)" in result.stderr
    assert not (tmp_path / "run").exists()


def test_labels_are_drawn_with_the_seed_of_the_config():
    config = TrainingConfig(dataset="digits", label_noise=0.3, seed=5, num_seeds=4)
    loaded = sweep.load(config)
    expected = data.with_label_noise(data.load("digits"), 0.3, 5)
    np.testing.assert_array_equal(loaded.train_labels, expected.train_labels)
    assert (loaded.train_labels != data.load("digits").train_labels).any()
    assert "30% of the training labels wrong" in cli.other(config)


def identity(directory, config):
    """What a checkpoint of all members is told by."""
    whole, places = empty_record(sweep_members(config)), sequence(directory, config)
    names = {field.name: None for field in dataclasses.fields(group.Run)}
    shared = group.Run(**{**names, "config": config, "whole": whole, "sequence": places})
    return group._identity(shared, group.Group(0, len(whole.diverged)))


def test_a_checkpoint_of_other_labels_does_not_fit(tmp_path, monkeypatch):
    config = TrainingConfig(num_seeds=2)
    noisy = dataclasses.replace(config, label_noise=0.1)
    assert identity(tmp_path, config) != identity(tmp_path, noisy)
    # nor does the field change what is known of a checkpoint from before it existed
    before = identity(tmp_path, config)
    record = group.as_record
    monkeypatch.setattr(group, "as_record", lambda one: {k: v for k, v in record(one).items() if k != "label_noise"})
    assert identity(tmp_path, config) == before
