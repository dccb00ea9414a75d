"""Several processes and several devices on one machine, as a user starts them."""

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys

import numpy as np
import pytest

from edgechaos.files import read_npz
from edgechaos.runs.history import METRICS
from tests import hits, processes
from tests.processes import ROOT, wait_for

# 10 members, two of which at a batch size of their own
SWEEP = """
from configs.fig3 import get_config as base
def get_config(variant=None):
    config = base("digits")
    config.sweep = dict(learning_rate=(0.01, 0.02, 0.04, 0.08, 0.04), batch_size=(32, 32, 32, 32, 64))
    config.update(momentum=0.5, num_seeds=2, epochs=60)
    return config
"""
ONE_BY_ONE = """
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import Mesh
from edgechaos import training
from tests.problems import make_dataset
assert jax.device_count() == 4
dataset, spec = make_dataset(num_neurons=300), training.Spec(3, 16)
keys = jax.random.split(jax.random.key(0), 8)
numbers = training.Hyperparameters(jnp.linspace(0.01, 0.08, 8), jnp.full(8, 0.5), jnp.full(8, 1e-4))
def trajectory(mesh):
    state, _ = training.start_members(keys, numbers, dataset, spec, mesh=mesh)
    for _ in range(5):
        state, metrics = training.advance_members(state, keys, numbers, dataset, spec, mesh=mesh)
    return np.asarray(state.params["hidden"]["kernel"]), np.asarray(metrics.test_loss)
for one, four in zip(trajectory(None), trajectory(Mesh(np.array(jax.devices()), ("members",))), strict=True):
    np.testing.assert_array_equal(one, four)
"""
FIRST_PORT = 2**16 - 2**12
FOUR_DEVICES = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=4"}


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    path = tmp_path_factory.mktemp("config") / "sweep.py"
    path.write_text(SWEEP)
    return str(path)


@pytest.fixture(scope="module")
def alone(tmp_path_factory, config):
    """One process, one device."""
    workdir = tmp_path_factory.mktemp("alone")
    result = processes.run("fig3", workdir, config=config)
    assert result.returncode == 0, result.stderr
    return read_npz(workdir / "history.npz")


def free_port():
    """A port that is free now, where JAX has those of Slurm's jobs.

    The system gives ports below it to whoever asks for any, so that nobody but another test may take it before its use.
    """
    while True:
        port = random.SystemRandom().randrange(FIRST_PORT, 2**16)
        with socket.socket() as one, contextlib.suppress(OSError):
            one.bind(("localhost", port))
            return port


def slurm(index, number, port):
    """What Slurm tells the tasks of a job on one machine; the job's number picks the port, modulo 4,096."""
    job = {"SLURM_JOB_ID": str(port - FIRST_PORT), "SLURM_STEP_NODELIST": "localhost", "SLURM_STEP_NUM_NODES": "1"}
    return {**job, "SLURM_NTASKS": str(number), "SLURM_PROCID": str(index), "SLURM_LOCALID": str(index)}


def start(workdir, config, *arguments, number=2, under_slurm=False):
    """Processes that share a run; their output goes to files, so that none waits for a reader."""
    port, started = free_port(), []
    for index in range(number):
        flags = (f"--coordinator=localhost:{port}", f"--num_processes={number}", f"--process_index={index}")
        told, environment = ((), slurm(index, number, port)) if under_slurm else (flags, {})
        line = processes.command("fig3", workdir, "--distributed", *told, *arguments, config=config)
        with open(f"{workdir}-{index}.log", "w") as output:
            environment = {**os.environ, **environment}
            started.append(
                subprocess.Popen(line, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, text=True, env=environment)
            )
    return started


def log(workdir, index):
    with open(f"{workdir}-{index}.log") as file:
        return file.read()


def assert_same(history, expected):
    """Batches of another size compile to other programs; float32's rounding then grows over 60 epochs."""
    for name in METRICS:
        # two of 360 test samples may change sides; J0 is of the order of 0.03
        rtol, atol = (0, 6e-3) if "accuracy" in name else (2e-3, 1e-4)
        np.testing.assert_allclose(history[name], expected[name], rtol, atol, err_msg=name)
    for name in ("learning_rate", "seed", "epochs_done", "diverged"):
        np.testing.assert_array_equal(history[name], expected[name])


def test_two_processes_share_a_sweep(tmp_path, config, alone):
    workdir = tmp_path / "run"
    started = start(workdir, config, under_slurm=True)
    assert [process.wait(200) for process in started] == [0, 0], log(workdir, 0) + log(workdir, 1)
    assert_same(read_npz(workdir / "history.npz"), alone)
    left = {path.name for path in workdir.iterdir()}
    assert left == {
        ".lock",
        *(["config.json", "provenance.json", "prediction.json", "summary.json", "history.npz", "fig3.png", "fig3.pdf"]),
    }
    assert "figure:" in log(workdir, 0)
    assert "figure:" not in log(workdir, 1)
    for index in range(2):
        assert f"process {index} of 2: digits" in log(workdir, index)


@pytest.mark.parametrize("victim", [0, 1])
def test_lost_process_ends_the_other_and_the_run_goes_on_alone(tmp_path, config, alone, victim):
    workdir = tmp_path / "run"
    started = start(workdir, config, "--config.checkpoint_seconds=0")
    wait_for(lambda: started[0].poll() is not None or any(workdir.glob("pieces/*.npz")))
    assert [process.poll() for process in started] == [None, None], log(workdir, 0) + log(workdir, 1)
    started[victim].send_signal(signal.SIGKILL)
    assert started[1 - victim].wait(200) not in (0, None)
    assert started[victim].wait(200) == -signal.SIGKILL
    if victim == 0:
        result = processes.run("fig3", workdir, config=config)
        assert result.returncode == 0, result.stderr
        assert_same(read_npz(workdir / "history.npz"), alone)


def test_one_interrupted_process_stops_both_and_three_go_on(tmp_path, config, alone):
    workdir = tmp_path / "run"
    started = start(workdir, config, "--config.checkpoint_seconds=0")
    wait_for(lambda: started[0].poll() is not None or any(workdir.glob("pieces/*.npz")))
    started[1].send_signal(signal.SIGINT)
    assert [process.wait(200) for process in started] == [130, 130], log(workdir, 0) + log(workdir, 1)
    assert "process 1 of 2 was interrupted" in log(workdir, 0)
    saved = hits.saved_in(workdir)
    pieces = {f"checkpoint-{path.stem}" for path in workdir.glob("pieces/*.npz")}
    assert pieces & {folder.name for folder in saved.newest}, "process 1 has a checkpoint of its own"
    more = start(workdir, config, number=3)
    assert [process.wait(200) for process in more] == [0, 0, 0], log(workdir, 0)
    messages = "".join(log(workdir, index) for index in range(3))
    assert hits.what_followed(saved, messages) == ""
    assert "damaged" not in messages
    assert_same(read_npz(workdir / "history.npz"), alone)


def test_failure_of_one_is_told_to_the_other(tmp_path, config):
    workdir = tmp_path / "run"
    workdir.mkdir()
    (workdir / "config.json").write_text("{}")
    np.savez(workdir / "history.npz", a=1)
    started = start(workdir, config)
    assert [process.wait(100) for process in started] == [2, 2]
    assert "holds a run of another config" in log(workdir, 0)
    assert "process 0 could not open it" in log(workdir, 1)


def test_four_devices_have_the_result_of_one(tmp_path, config, alone):
    line = processes.command("fig3", tmp_path / "run", config=config)
    result = subprocess.run(line, cwd=ROOT, env=FOUR_DEVICES, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert_same(read_npz(tmp_path / "run" / "history.npz"), alone)


def test_one_after_the_other_four_devices_have_the_bits_of_one():
    result = subprocess.run(
        [sys.executable, "-c", ONE_BY_ONE], cwd=ROOT, env=FOUR_DEVICES, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--config.devices=9",), "devices = 9: must be in [0, "),
        (("--config.devices=-1",), "devices = -1: must be an integer >= 0"),
        (("--coordinator=localhost:1",), "can be used only with --distributed"),
        (("--distributed", "--num_processes=2"), "must be given together"),
        (
            ("--distributed", "--coordinator=here", "--num_processes=2", "--process_index=0"),
            "coordinator = 'here': must be HOST:PORT",
        ),
        (
            ("--distributed", "--coordinator=localhost:1", "--num_processes=2", "--process_index=2"),
            "process_index = 2: must be in [0, num_processes = 2)",
        ),
        (("--distributed",), "the processes did not find each other"),
    ],
)
def test_bad_flags_are_refused(tmp_path, config, arguments, message):
    result = processes.run("fig3", tmp_path / "run", *arguments, config=config)
    assert result.returncode == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr
