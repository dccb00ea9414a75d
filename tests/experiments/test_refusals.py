"""What a command line, a config file or a machine can have wrong, each told in a sentence; without processes."""

import dataclasses
import gc
import io
import json
import os
import signal
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from absl import flags
from matplotlib.figure import Figure
from ml_collections import config_flags

from configs import fig1 as fig1_configs
from configs import fig2 as fig2_configs
from configs import fig7 as fig7_configs
from edgechaos import data, files, plotting, runs
from edgechaos.dynamics.diagram import PERTURBATIONS
from edgechaos.errors import UserError, use_any_encoding
from edgechaos.runs import fields, machine, run
from edgechaos.runs.config import TRAINING_FIELDS, TrainingConfig
from edgechaos.runs.workdir import CONTENT
from experiments import fig1, fig2, fig7
from experiments.shared import cli, refusals

KNOWN = fields.fields_of(fig2.Config)


def told(path, monkeypatch, *arguments):
    """What `explain` makes of what the flags library raises for a command line."""
    values = flags.FlagValues()
    config_flags.DEFINE_config_file("config", None, flag_values=values)
    line = ["fig2", f"--config={path}", *arguments]
    monkeypatch.setattr(sys, "argv", line)
    monkeypatch.delitem(sys.modules, "config_config", raising=False)  # of the config file before
    try:
        values(line)
    except Exception as error:
        return refusals.explain(error, KNOWN, str(path).partition(":")[0])
    return ""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\ndef get_config(:", "', line 2: the file cannot be used (SyntaxError: invalid syntax)"),
        (b"import nosuchmodule", "', line 1: the file cannot be used (ModuleNotFoundError: No module named"),
        (b"def get_config():\n  return {}['a']", "', line 2: the file cannot be used (KeyError: 'a')"),
        (b"def get_config():\n  return [1][3]", "', line 2: the file cannot be used (IndexError: list index"),
        (b"\x00\xff", "the file cannot be used (SyntaxError: "),
        (b"x = 1", "': it has no function get_config"),
    ],
)
def test_a_config_file_that_cannot_be_used_is_named_with_the_line(tmp_path, monkeypatch, content, message):
    path = tmp_path / "own.py"
    path.write_bytes(content)
    text = told(path, monkeypatch)
    assert text.startswith(f"config = '{path}'")
    assert message in text
    assert "\n" not in text


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--config.sweep.init_j=(1.0,)", "sweep.init_j: is not in 'configs/fig3.py', where a sweep is set"),
        ("--config.map_num_neurons=3", "config field 'map_num_neurons' does not exist in 'configs/fig3.py'"),
        ("--config.learning_rat=3", "'learning_rat' does not exist; did you mean 'learning_rate'?"),
    ],
)
def test_fields_that_are_not_there(monkeypatch, argument, message):
    assert message in told("configs/fig3.py:digits", monkeypatch, argument)


def test_two_config_files_are_one_too_many(monkeypatch, capsys):
    """The flags library would take the last, and what came between for fields of it."""
    line = ["fig2", "--config=configs/fig2.py:digits", "--config.epochs=3", "--config", "configs/fig3.py"]
    monkeypatch.setattr(sys, "argv", line)
    with pytest.raises(SystemExit) as ended:
        cli._parse("fig2", KNOWN, line)
    assert ended.value.code == 2
    assert capsys.readouterr().err == "error: config: is given 2 times; give one file\n"


def test_config_must_be_what_ml_collections_makes():
    with pytest.raises(UserError, match=r"must return an ml_collections.ConfigDict, not a dict"):
        refusals.as_dict({"epochs": 3}, "own.py")
    assert refusals.as_dict(fig2_configs.get_config("digits"), "fig2.py")["dataset"] == "digits"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--config"], ""),
        (["--config", "a.py"], "a.py"),
        (["--config=a.py", "-config=b.py"], "b.py"),
        ([], "configs/fig2.py"),
    ],
)
def test_what_was_given_as_config(monkeypatch, arguments, text):
    monkeypatch.setattr(sys, "argv", ["fig2", *arguments])
    assert cli._config_flag_text("fig2") == text


@pytest.mark.parametrize("error", [AssertionError(), RuntimeError("Unable to initialize backend 'cuda'\nmore")])
def test_a_device_that_is_not_there_is_said(monkeypatch, error):
    def fail():
        raise error

    monkeypatch.setattr(jax, "devices", fail)
    monkeypatch.setenv("JAX_PLATFORMS", "cuda")
    with pytest.raises(UserError, match="JAX_PLATFORMS = 'cuda': JAX finds no such device on this machine") as caught:
        refusals.require_devices()
    assert "\n" not in str(caught.value)


def test_names_beyond_the_terminals_letters_are_escaped(monkeypatch):
    content = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(content, encoding="ascii"))
    use_any_encoding()
    print("figure: grüße/fig2.png", flush=True)
    assert content.getvalue() == b"figure: gr\\xfc\\xdfe/fig2.png\n"


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"epochs": 10**10}, "1 histories of 10000000000 epochs"),
        ({"num_seeds": 2**31}, "2147483648 histories of 501 epochs"),
        ({"sweep": {"epochs": (3, 10**10)}}, "2 histories of 10000000000 epochs"),
    ],
)
def test_absurd_sizes_are_refused_before_a_folder_is_made(tmp_path, changes, named):
    config = TrainingConfig(**changes)
    with pytest.raises(UserError, match=named), cli._opened("fig2", str(tmp_path / "run"), config, {}, True):
        pass
    assert not list(tmp_path.iterdir())


def test_diagrams_of_absurdly_many_cells_are_refused(monkeypatch):
    monkeypatch.setattr(machine, "free_memory", lambda: 2**30)
    config = {**fig2_configs.get_config("digits").to_dict(), "map_num_columns": 10**6}
    with pytest.raises(UserError, match=r"1000000 x .* cells of a phase diagram need"):
        fig2.FIGURE.check(fields.validate(config, fig2.Config))
    config = {**fig1_configs.get_config("digits").to_dict(), "num_columns": 10**6}
    with pytest.raises(UserError, match=r"1000000 x .* cells of a phase diagram need"):
        fig1.check(fields.validate(config, fig1.Config))


@pytest.mark.parametrize("value", [1e-13, 1.5, 1e10])
def test_fig1_takes_the_perturbations_that_the_library_takes(value):
    config = {**fig1_configs.get_config("digits").to_dict(), "perturbation_std": value}
    with pytest.raises(UserError, match=r"perturbation_std = .*: must be in \[1e-12, 1\]"):
        fields.validate(config, fig1.Config)
    for end in PERTURBATIONS:
        assert fields.validate({**config, "perturbation_std": end}, fig1.Config).perturbation_std == end


def test_the_content_of_own_data_is_part_of_the_run(tmp_path):
    def write(seed):
        x, y = np.random.default_rng(seed).random((6, 4)), np.arange(6) % 3
        np.savez(tmp_path / "own.npz", x_train=x, y_train=y, x_test=x, y_test=y)

    config = TrainingConfig(dataset=str(tmp_path / "own.npz"))
    opened: tuple = str(tmp_path / "run"), config, {}, True
    write(0)
    for _ in range(2):
        with cli._opened("fig2", *opened) as directory:
            np.savez(directory / "history.npz", a=1)
    assert CONTENT in json.loads((directory / "config.json").read_text())
    write(1)
    with pytest.raises(UserError, match="the content of this file has changed"), cli._opened("fig2", *opened):
        pass


def test_a_path_that_is_nowhere_in_the_diagram_is_not_drawn():
    """J = 0 for ever: equal weights, or numbers that float32 cannot tell apart."""
    axes = Figure().subplots()
    plotting.path(axes, np.ones((2, 3)), np.array([[0.0, 0.0, 0.0], [0.25, 0.5, np.nan]]), np.array([1.0, 1.0]))
    (line, *_) = axes.lines
    np.testing.assert_allclose(np.asarray(line.get_ydata()), np.array([2, 2**0.5, np.nan]))


@pytest.fixture
def fig7_config(tmp_path):
    own = {"fig2_workdir": str(tmp_path / "fig2"), "keep_kernels_at": (1, 5), "num_seeds": 2, "epochs": 12}
    return fields.validate({**fig7_configs.get_config("digits").to_dict(), **own}, fig7.Config)


def fig2_directory(config, epochs=20, without=(), edge_epoch=7):
    """A work directory of a finished Fig. 2 run, as far as its kernels go."""
    folder = files.writable_directory(config.fig2_workdir, "workdir")
    record = {name: value for name, value in dataclasses.asdict(config).items() if name in TRAINING_FIELDS}
    runs.write_json(folder / "config.json", {**record, "epochs": epochs})
    for name, epoch in (("epoch-1", 1), ("epoch-5", 5), ("edge", edge_epoch)):
        places = np.array([place for place in (0, 1) if f"{name}-{place}" not in without])
        runs.keep_kernels(folder, name, np.full((len(places), 3, 3), float(epoch), np.float32), epoch, places)
    return folder


def found(config, directory, monkeypatch):
    """The kernels, and whether they were trained for."""
    trained = []

    def train(directory, *_):
        trained.append(True)
        for name, epoch in (("epoch-1", 1), ("epoch-5", 5)):
            runs.keep_kernels(directory, name, np.ones((2, 3, 3), np.float32), epoch, np.arange(2))

    monkeypatch.setattr(run, "run_sweep", train)
    directory.mkdir()
    return run.find_kernels(directory, config, data.load("digits"), Path(config.fig2_workdir)).keys(), bool(trained)


@pytest.mark.parametrize(
    ("state", "names", "is_trained"),
    [
        ({}, {"epoch-1", "epoch-5", "edge"}, False),
        ({"edge_epoch": 15}, {"epoch-1", "epoch-5"}, False),  # beyond the end of the run that is asked for
        ({"without": ("edge-1",)}, {"epoch-1", "epoch-5"}, False),
        ({"without": ("epoch-5-1",)}, {"epoch-1", "epoch-5"}, True),  # the second seed is still to come, or diverged
        ({"epochs": 6}, {"epoch-1", "epoch-5"}, True),
    ],
)
def test_half_a_fig2_directory_is_not_measured(fig7_config, tmp_path, monkeypatch, state, names, is_trained):
    fig2_directory(fig7_config, **state)
    assert found(fig7_config, tmp_path / "run", monkeypatch) == (names, is_trained)


def test_an_unfinished_fig2_directory_is_not_measured(fig7_config, tmp_path, monkeypatch):
    (fig2_directory(fig7_config) / "checkpoint-1-1").mkdir()
    assert found(fig7_config, tmp_path / "run", monkeypatch)[1]


@pytest.mark.parametrize("content", ["", "[]", "{", "[" * 100_000])
def test_a_damaged_fig2_directory_is_named(fig7_config, tmp_path, monkeypatch, content):
    (fig2_directory(fig7_config) / "config.json").write_text(content)
    with pytest.raises(UserError, match=r"fig2/config.json' is damaged .*; name another work directory, or none"):
        found(fig7_config, tmp_path / "run", monkeypatch)


def test_a_kernel_that_a_seed_of_our_own_lacks_is_named(fig7_config, tmp_path, monkeypatch):
    config = dataclasses.replace(fig7_config, fig2_workdir="", keep_kernels_at=(1, 6))
    with pytest.raises(UserError, match="has no kernel epoch-6 of each seed"):
        found(config, tmp_path / "run", monkeypatch)


def test_an_interruption_that_python_cannot_raise_ends_the_program(monkeypatch, capsys):
    """What is raised in a callback of the garbage collector is printed as a traceback and forgotten otherwise."""
    statuses: list[int] = []

    def interrupt(phase, info):
        gc.callbacks.remove(interrupt)
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "_exit", statuses.append)
    former = sys.unraisablehook
    with cli._errors_in_a_line():
        gc.callbacks.append(interrupt)
        gc.collect()
    assert statuses == [130]
    assert capsys.readouterr().err == "interrupted; the same command continues from the last checkpoint\n"
    assert sys.unraisablehook is former


def test_an_interruption_while_the_program_ends_is_left_to_the_system(capsys):
    former = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises(SystemExit) as ended, cli._errors_in_a_line():
            raise KeyboardInterrupt("interrupted after epoch 3")
        assert signal.getsignal(signal.SIGINT) == signal.SIG_DFL
    finally:
        signal.signal(signal.SIGINT, former)
    assert ended.value.code == 130
    assert capsys.readouterr().err == "interrupted after epoch 3\n"
