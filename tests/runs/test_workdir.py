import dataclasses
import json
import os
import subprocess

import numpy as np
import pytest

from edgechaos import runs
from edgechaos.errors import UserError
from edgechaos.runs.config import FORMER, TrainingConfig, as_record
from edgechaos.runs.workdir import CONTENT, keep_kernels, read_kernels_of, write_json
from tests.processes import ROOT

CONFIG = {"learning_rate": 0.1, "epochs": 3, "data_dir": "", "checkpoint_seconds": 30.0}


def test_same_config_again_and_incidental_changes_are_fine(tmp_path):
    for config in (CONFIG, CONFIG, {**CONFIG, "data_dir": "/elsewhere", "checkpoint_seconds": 1.0}):
        with runs.work_directory(tmp_path / "run", config) as directory:
            assert json.loads((directory / "config.json").read_text()) == config


def test_other_config_is_refused_with_the_differing_fields(tmp_path):
    with runs.work_directory(tmp_path, CONFIG) as directory:
        np.savez(directory / "history.npz", a=1)
    refused = pytest.raises(UserError, match=r"\(learning_rate 0.1 -> 0.2, epochs 3 -> 4\); name another workdir")
    with refused, runs.work_directory(tmp_path, {**CONFIG, "learning_rate": 0.2, "epochs": 4}):
        pass
    assert json.loads((tmp_path / "config.json").read_text()) == CONFIG


def test_command_that_failed_before_any_result_may_be_corrected(tmp_path):
    for rate in (0.1, 0.2):
        with runs.work_directory(tmp_path, {**CONFIG, "learning_rate": rate}) as directory:
            assert json.loads((directory / "config.json").read_text())["learning_rate"] == rate
            runs.record_provenance(directory, "experiments.fig2", [f"--config.learning_rate={rate}"], {})
    (process,) = json.loads((tmp_path / "provenance.json").read_text())["processes"]
    assert process["command"].endswith("=0.2")


def test_second_run_on_a_directory_in_use_is_refused(tmp_path):
    refused = pytest.raises(UserError, match="in use by another run")
    with runs.work_directory(tmp_path, CONFIG), refused, runs.work_directory(tmp_path, CONFIG):
        pass


@pytest.mark.parametrize("content", ["{", "[]", "3", ""])
def test_damaged_config_is_named(tmp_path, content):
    (tmp_path / "config.json").write_text(content)
    np.savez(tmp_path / "history.npz", a=1)
    with pytest.raises(UserError, match=r"config.json' is damaged"), runs.work_directory(tmp_path, CONFIG):
        pass


@pytest.mark.parametrize("content", ["[" * 100_000, '{"a": ' * 100_000], ids=["lists", "objects"])
def test_config_of_a_stranger_may_be_nested_deeply(tmp_path, content):
    test_damaged_config_is_named(tmp_path, content)


def test_config_that_is_no_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "config.json")
    np.savez(tmp_path / "history.npz", a=1)
    with pytest.raises(UserError, match=r"config.json' is damaged"), runs.work_directory(tmp_path, CONFIG):
        pass


def test_names_in_a_config_of_a_stranger_are_shown_harmlessly(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({**CONFIG, "\x1b[2J\n": "\x1b[2J"}))
    np.savez(tmp_path / "history.npz", a=1)
    with pytest.raises(UserError, match="holds a run of another config") as caught:
        runs.work_directory(tmp_path, CONFIG).__enter__()
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("number", [10**12, "many", -3.5])
def test_a_record_of_absurdly_many_members_is_damaged(tmp_path, number):
    config = as_record(TrainingConfig())
    (tmp_path / "config.json").write_text(json.dumps({**config, "num_seeds": number}))
    np.savez(tmp_path / "history.npz", a=1)
    with pytest.raises(UserError, match=r"config.json' is damaged"):
        runs.work_directory(tmp_path, config, grows=True).__enter__()


@pytest.mark.parametrize("left", ["kernels/edge-0.npz", "diagram-0/3/meta", "runs/0-1.npz", "chosen/0.1/history.npz"])
def test_what_an_aborted_run_of_another_config_left_is_not_taken_over(tmp_path, left):
    with runs.work_directory(tmp_path, CONFIG):
        (tmp_path / left).parent.mkdir(parents=True)
        np.savez(tmp_path / "one.npz", kernel=np.ones((2, 2)))
        (tmp_path / "one.npz").rename(tmp_path / left)
    with pytest.raises(UserError, match=r"another config \(epochs 3 -> 4\)"):
        runs.work_directory(tmp_path, {**CONFIG, "epochs": 4}).__enter__()
    with runs.work_directory(tmp_path, CONFIG):
        pass


def test_arrays_of_the_user_are_not_looked_at(tmp_path):
    """The work directory may be a folder in which the user keeps other things."""
    np.savez(tmp_path / "mine.npz", a=np.array([{}], object))
    (tmp_path / "deeper").mkdir()
    (tmp_path / "deeper" / "broken.npz").write_bytes(b"PK")
    for _ in range(2):
        with runs.work_directory(tmp_path, CONFIG):
            np.savez(tmp_path / "history.npz", a=1)
    (tmp_path / "history.npz").write_bytes(b"PK")
    with pytest.raises(UserError, match=r"history.npz' is damaged"), runs.work_directory(tmp_path, CONFIG):
        pass


@pytest.mark.parametrize("name", ["checkpoint-0-1", "diagram-0", "kernels", "parts"])
def test_folders_that_lead_elsewhere_are_refused(tmp_path, name):
    """Checkpoints would remove numbered folders of the user as old ones."""
    (tmp_path / "documents" / "2024").mkdir(parents=True)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / name).symlink_to(tmp_path / "documents")
    refused = pytest.raises(UserError, match=f"'{tmp_path}/run/{name}' is a link")
    with refused, runs.work_directory(tmp_path / "run", CONFIG):
        pass


def test_data_are_known_by_their_content(tmp_path):
    """A record from before the content was kept goes on, and is known from then on."""
    config = {**CONFIG, "dataset": "own.npz"}
    with runs.work_directory(tmp_path, config):
        np.savez(tmp_path / "history.npz", a=1)
    for _ in range(2):
        with runs.work_directory(tmp_path, {**config, CONTENT: "aa"}):
            pass
    refused = pytest.raises(UserError, match=r"dataset = 'own.npz': the content of this file has changed since")
    with refused, runs.work_directory(tmp_path, {**config, CONTENT: "bb"}):
        pass
    with pytest.raises(UserError, match=r"epochs 3 -> 4"), runs.work_directory(tmp_path, {**config, "epochs": 4}):
        pass


def test_json_is_strict(tmp_path):
    content = {"a": np.float32(np.nan), "b": [np.inf, 1.5], "c": np.array([1, 2]), "d": {"e": "text"}}
    runs.write_json(tmp_path / "x.json", content)
    assert json.loads((tmp_path / "x.json").read_text()) == {
        "a": None,
        "b": [None, 1.5],
        "c": [1, 2],
        "d": {"e": "text"},
    }


def test_provenance_adds_up_over_processes(tmp_path):
    for _ in range(2):
        runs.record_provenance(tmp_path, "experiments.fig2", ["--config.epochs=3"], {"j0": "[member] J0"})
    provenance = json.loads((tmp_path / "provenance.json").read_text())
    assert provenance["arrays"] == {"j0": "[member] J0"}
    assert [process["command"] for process in provenance["processes"]] == [
        "python -m experiments.fig2 --config.epochs=3"
    ] * 2
    assert {"revision", "versions", "device", "started", "python"} <= provenance["processes"][0].keys()


@pytest.mark.parametrize("content", ["[", "[]", "3", "[" * 100_000, '{"processes": 3}', '{"processes": {}}'])
def test_provenance_of_another_shape_begins_anew(tmp_path, content, caplog):
    (tmp_path / "provenance.json").write_text(content)
    runs.record_provenance(tmp_path, "experiments.fig2", [], {})
    assert "provenance.json' is damaged" in caplog.text
    assert len(json.loads((tmp_path / "provenance.json").read_text())["processes"]) == 1


def test_config_from_before_a_field_existed_is_the_same_run(tmp_path):
    with runs.work_directory(tmp_path, {"epochs": 3}):
        np.savez(tmp_path / "history.npz", a=1)
    with runs.work_directory(tmp_path, {"epochs": 3, "constraint": "none"}):
        pass
    with pytest.raises(UserError, match="constraint 'none' -> 'hard_sphere'"):
        runs.work_directory(tmp_path, {"epochs": 3, "constraint": "hard_sphere"}).__enter__()


def test_revision_is_that_of_the_clone():
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert runs.revision().removesuffix("+") == head.strip()


def test_kernels_are_taken_from_the_same_training_alone(tmp_path):
    """Also if they are older than some fields, or of another experiment, another length, another machine."""
    config = TrainingConfig(keep_kernels_at=(1,), epochs=5)
    recorded = {name: value for name, value in as_record(config).items() if name not in FORMER}
    recorded |= {"map_num_neurons": 50, "epochs": 20, "data_dir": "elsewhere", "keep_kernels_at": [1, 9]}
    keep_kernels(tmp_path, "epoch-1", np.ones((1, 3, 3), np.float32), 1, np.array([0]))
    write_json(tmp_path / "config.json", recorded)
    assert read_kernels_of(tmp_path, config)["epoch-1"]["kernel"].shape == (1, 3, 3)
    for other in ({"learning_rate": 0.3}, {"constraint": "hold_at_edge"}, {"num_seeds": 2}):
        assert read_kernels_of(tmp_path, dataclasses.replace(config, **other)) == {}
