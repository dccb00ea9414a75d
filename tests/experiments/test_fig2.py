"""The experiment as a user meets it: real processes on the digits data."""

import functools
import json
import os
import re
import shutil
import signal
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest

import edgechaos as ec
from edgechaos import runs
from edgechaos.runs.config import from_record
from edgechaos.runs.history import METRICS
from tests import processes
from tests.processes import ROOT, wait_for

SMALL = ("--config.epochs=40", "--config.map_num_neurons=50", "--config.map_num_rows=8", "--config.map_num_columns=5")
ALONE = (*SMALL, "--config.seed=1")

command, run = functools.partial(processes.command, "fig2"), functools.partial(processes.run, "fig2")


def history(workdir):
    with np.load(workdir / "history.npz", allow_pickle=False) as file:
        return dict(file.items())


def assert_same_course(one, other):
    for name in METRICS:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A short run with two seeds, undisturbed."""
    workdir = tmp_path_factory.mktemp("finished")
    result = run(workdir, *SMALL, "--config.num_seeds=2")
    assert result.returncode == 0, result.stderr
    return workdir, result


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The history of a run with one seed, whose command was refused first."""
    workdir = tmp_path_factory.mktemp("undisturbed")
    assert run(workdir, *ALONE, "--config.batch_size=5000").returncode == 2
    result = run(workdir, *ALONE)
    assert result.returncode == 0, result.stderr
    return history(workdir)


def test_work_directory_explains_itself(finished):
    workdir, result = finished
    results = {"history.npz", "summary.json", "fig2.png", "fig2.pdf", "phase_map.npz", "kernels"}
    described = {"config.json", "provenance.json", "prediction.json", ".lock"}
    assert {path.name for path in workdir.iterdir()} == results | described
    arrays = history(workdir)
    assert all(arrays[name].shape == (2, 41) and np.isfinite(arrays[name]).all() for name in METRICS)
    np.testing.assert_array_equal(arrays["seed"], [0, 1])
    np.testing.assert_allclose(arrays["learning_rate"], 0.02)
    assert json.loads((workdir / "provenance.json").read_text())["arrays"].keys() == arrays.keys()
    assert json.loads((workdir / "config.json").read_text())["epochs"] == 40
    assert (workdir / "fig2.png").read_bytes().startswith(b"\x89PNG")
    assert (workdir / "fig2.pdf").read_bytes().startswith(b"%PDF")
    assert "predicted    measured" in result.stdout
    assert result.stdout.rstrip().endswith("fig2.png")


def test_kept_kernels_are_those_of_their_epochs(finished):
    workdir, _ = finished
    j_squared = history(workdir)["j_squared"]
    config = json.loads((workdir / "config.json").read_text())
    kernels = runs.read_kernels(workdir, runs.sequence(workdir, from_record(config)))
    nearest = np.abs(j_squared - 1).argmin(1)
    for name, epochs in (("epoch-1", [1, 1]), ("epoch-10", [10, 10]), ("edge", nearest)):
        np.testing.assert_array_equal(kernels[name]["epoch"], epochs)
        for member, epoch in enumerate(epochs):
            measured = ec.order_parameters(jnp.asarray(kernels[name]["kernel"][member])).j_squared
            np.testing.assert_allclose(measured, j_squared[member, epoch], rtol=1e-6)
    assert kernels.keys() == {"epoch-1", "epoch-10", "edge"}  # 200 lies beyond this run's end


def test_summary_has_prediction_and_measurement_under_the_same_names(finished):
    summary = json.loads((finished[0] / "summary.json").read_text())
    assert summary["predicted"].keys() == summary["measured"].keys() == summary["meaning"].keys()
    assert summary["measured"]["final_test_accuracy"] > 0.9
    assert summary["measured"]["constant_d"] > 0
    assert len(summary["members"]["slope_a"]) == 2
    assert summary["standard_deviation_over_seeds"]["slope_a"] > 0


def test_seeds_are_members_of_their_own(finished, undisturbed):
    alone, together = undisturbed, history(finished[0])
    # one member compiles to another program than two; float32 rounding then grows over 40 epochs
    np.testing.assert_allclose(alone["j_squared"][0], together["j_squared"][1], rtol=1e-3)
    assert not np.allclose(together["j_squared"][0], together["j_squared"][1], rtol=1e-3)


def test_second_call_redraws_and_keeps_the_numbers(finished):
    workdir, _ = finished
    before = (workdir / "history.npz").read_bytes()
    (workdir / "fig2.png").unlink()
    again = run(workdir, *SMALL, "--config.num_seeds=2")
    assert again.returncode == 0
    assert "holds the finished run" in again.stderr
    assert (workdir / "fig2.png").exists()
    assert (workdir / "history.npz").read_bytes() == before


def test_a_damaged_kernel_of_a_finished_run_is_noticed(finished, tmp_path):
    workdir = tmp_path / "copy"
    shutil.copytree(finished[0], workdir)
    (workdir / "kernels" / "epoch-10-1.npz").write_bytes(b"PK")
    again = run(workdir, *SMALL, "--config.num_seeds=2")
    assert again.returncode == 2
    assert "kernels/epoch-10-1.npz', kept from an earlier epoch, is damaged" in again.stderr


def steps(workdir):
    return processes.steps(workdir / "checkpoint-0-1")


def start(workdir):
    """A run with a checkpoint, which takes a tenth of a second, after each of its 40 epochs: time to be met."""
    process = subprocess.Popen(
        command(workdir, *ALONE, "--config.checkpoint_seconds=0"),
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(lambda: process.poll() is not None or steps(workdir))
    assert process.poll() is None, process.communicate()[1]
    return process


def test_interrupted_run_resumes_with_the_same_bits(undisturbed, tmp_path):
    process = start(tmp_path)
    process.send_signal(signal.SIGINT)
    _, messages = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted after epoch" in messages
    assert "Traceback" not in messages
    done = int(history(tmp_path)["epochs_done"][0])
    assert 0 < done < 40
    again = run(tmp_path, *ALONE)
    assert again.returncode == 0
    assert f"resuming '{tmp_path}' after epoch {done}" in again.stderr
    assert_same_course(history(tmp_path), undisturbed)
    assert not list(tmp_path.glob("checkpoint*"))


@pytest.mark.parametrize("torn", [False, True])
def test_killed_run_resumes_with_the_same_bits(undisturbed, tmp_path, torn):
    process = start(tmp_path)
    wait_for(lambda: len(steps(tmp_path)) == 2)
    process.kill()
    process.communicate()
    before, newest = sorted(steps(tmp_path))[-2:]
    if torn:  # the one before must do
        path = tmp_path / "checkpoint-0-1" / f"{newest}.npz"
        path.write_bytes(path.read_bytes()[:100])
    again = run(tmp_path, *ALONE)
    assert again.returncode == 0, again.stderr
    assert f"resuming '{tmp_path}' after epoch {before if torn else newest}" in again.stderr
    assert (f"the checkpoint of epoch {newest} is damaged" in again.stderr) == torn
    assert (tmp_path / f"damaged-checkpoint-{newest}.npz").exists() == torn
    assert_same_course(history(tmp_path), undisturbed)


def test_two_runs_on_one_directory(tmp_path):
    process = start(tmp_path)
    second = run(tmp_path, *ALONE)
    process.kill()
    process.communicate()
    assert second.returncode == 2
    assert f"is in use by another run (process {process.pid})" in second.stderr


def test_full_disk_is_said_and_the_run_goes_on_later(undisturbed, tmp_path):
    """A limit of 20 kB on the size of files stands for the full disk: every write beyond it fails the same way."""
    limited = [
        "bash",
        "-c",
        'ulimit -f 20; exec "$@"',
        "-",
        *command(tmp_path, *ALONE, "--config.checkpoint_seconds=0.0"),
    ]
    environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": ""}
    failed = subprocess.run(limited, cwd=ROOT, capture_output=True, text=True, timeout=300, env=environment)
    assert failed.returncode == 2
    assert re.search(r"error: .*could not be (saved|written).*File too large", failed.stderr)
    assert "Traceback" not in failed.stderr
    again = run(tmp_path, *ALONE)
    assert again.returncode == 0, again.stderr
    assert_same_course(history(tmp_path), undisturbed)


def test_diverging_run_keeps_its_course_and_names_its_numbers(tmp_path):
    result = run(tmp_path, *SMALL, "--config.learning_rate=1e30")
    assert result.returncode == 2
    assert "diverged in epoch 1: loss or weights are not finite (learning_rate 1e+30, momentum 0.5" in result.stderr
    assert "choose a smaller learning_rate" in result.stderr
    assert "Traceback" not in result.stderr
    arrays = history(tmp_path)
    assert np.isfinite(arrays["j_squared"][0, 0])
    assert np.isnan(arrays["train_loss"][0, 1:]).all()


@pytest.mark.parametrize(
    ("arguments", "config", "message"),
    [
        (
            ["--config.learning_rat=0.1"],
            "configs/fig2.py:digits",
            "'learning_rat' does not exist; did you mean 'learning_rate'?",
        ),
        (["--config.epochs=many"], "configs/fig2.py:digits", "epochs = 'many': must be an integer >= 1"),
        (["--config.learning_rate=fast"], "configs/fig2.py:digits", "learning_rate = 'fast': must be > 0"),
        (["--config.momentum=1.0"], "configs/fig2.py:digits", "momentum = 1.0: must be in [0, 1)"),
        (["--config.batch_size=5000"], "configs/fig2.py:digits", "batch_size = 5000: must be in [1, 1437]"),
        (["--workdri=x"], "configs/fig2.py:digits", "workdri"),
        (["stray"], "configs/fig2.py:digits", "unexpected argument 'stray'"),
        ([], "configs/fig2.py:digit", "variant = 'digit': must be one of paper, scaled, quick, digits; did you mean"),
        ([], "configs/fig9.py", "config = 'configs/fig9.py': there is no such file"),
        (["--workdir="], "configs/fig2.py:digits", "workdir = '': must name a directory"),
    ],
)
def test_bad_command_line_is_one_clear_error(tmp_path, arguments, config, message):
    result = run(tmp_path / "run", *arguments, config=config)
    assert result.returncode == 2
    assert message in result.stderr
    assert "\nerror: " in "\n" + result.stderr
    assert "Traceback" not in result.stderr
    assert not any(tmp_path.rglob("*.npz"))


def test_command_that_was_refused_may_be_corrected(undisturbed):
    assert (undisturbed["epochs_done"] == 40).all()


def test_run_that_diverges_in_its_last_epoch_stays_diverged(tmp_path):
    for _ in range(2):
        result = run(tmp_path, *SMALL, "--config.epochs=1", "--config.learning_rate=1e30")
        assert result.returncode == 2
        assert "every member diverged by epoch 1" in result.stderr


def test_start_that_is_not_finite_is_said(tmp_path):
    result = run(tmp_path, *SMALL, "--config.init_j=1e30")
    assert result.returncode == 2
    assert "every member diverged by epoch 0" in result.stderr
    assert "Traceback" not in result.stderr


def test_workdir_of_another_config(finished):
    workdir, _ = finished
    result = run(workdir, *SMALL, "--config.num_seeds=2", "--config.learning_rate=0.05")
    assert result.returncode == 2
    assert "(learning_rate 0.02 -> 0.05); name another workdir" in result.stderr


def test_help_lists_the_fields():
    result = subprocess.run(
        [sys.executable, "-m", "experiments.fig2", "--help"], cwd=ROOT, capture_output=True, text=True
    )
    for word in ("weight_decay", "lambda of Eq. 6", "paper, scaled, quick, digits", "--workdir"):
        assert word in result.stdout
