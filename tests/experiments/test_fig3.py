import functools
import json
import signal
import subprocess

import numpy as np
import pytest

from configs import fig3 as configs
from edgechaos.files import read_npz
from edgechaos.runs.history import METRICS
from tests import processes
from tests.processes import ROOT, wait_for

command, run = functools.partial(processes.command, "fig3"), functools.partial(processes.run, "fig3")
# two to three values along each axis, beside the run of (a)
RUNS = {
    "learning_rate": (0.02, 0.005, 0.01, 0.02, 0.01, 0.01, 0.01, 0.01, 0.01),
    "momentum": (0.5, 0.0, 0.0, 0.0, 0.5, 0.9, 0.0, 0.0, 0.0),
    "batch_size": (32, 32, 32, 32, 32, 32, 16, 64, 128),
}
SMALL = ("--config.epochs=6", "--config.num_seeds=2", *(f"--config.sweep.{name}={RUNS[name]}" for name in RUNS))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("finished")
    result = run(workdir, *SMALL)
    assert result.returncode == 0, result.stderr
    return workdir, result


def test_paper_has_28_distinct_runs_beside_that_of_a():
    sweep = configs.get_config().sweep
    runs = set(zip(sweep.learning_rate, sweep.momentum, sweep.batch_size, strict=True))
    assert len(runs) == len(sweep.learning_rate) == 29
    assert {eta for eta, alpha, size in runs if (alpha, size) == (0, 32)} == set(configs.LEARNING_RATES)
    assert {alpha for eta, alpha, size in runs if (eta, size) == (0.01, 32)} == {0, *configs.MOMENTA}
    assert {size for eta, alpha, size in runs if (eta, alpha) == (0.01, 0)} == {32, *configs.BATCH_SIZES}


def test_work_directory_explains_itself(finished):
    workdir, result = finished
    described = {"config.json", "provenance.json", "prediction.json", ".lock", "summary.json"}
    assert {path.name for path in workdir.iterdir()} == described | {"fig3.png", "fig3.pdf", "history.npz"}
    arrays = read_npz(workdir / "history.npz")
    assert arrays["j_squared"].shape == (18, 7)
    assert json.loads((workdir / "provenance.json").read_text())["arrays"].keys() == arrays.keys()
    assert not arrays["diverged"].any()
    np.testing.assert_array_equal(arrays["epochs_done"], 6)
    summary = json.loads((workdir / "summary.json").read_text())
    assert summary["predicted"].keys() == summary["measured"].keys() == summary["meaning"].keys()
    assert len(summary["runs"]) == 9
    assert {row["verdict"] for row in summary["runs"]} <= {"follows", "deviates"}
    assert result.stdout.count("deviation") >= 9


def test_member_alone_is_the_member_of_the_sweep(finished, tmp_path):
    """Vectorized with others on this narrow network: equal up to float32's rounding over six epochs."""
    arrays = read_npz(finished[0] / "history.npz")
    config = tmp_path / "one.py"
    config.write_text(
        "from configs.fig3 import get_config as base\n"
        "def get_config(variant=None):\n"
        "    config = base('digits')\n"
        "    config.sweep = {}\n"
        "    config.update(learning_rate=0.005, momentum=0.0, epochs=6, seed=1)\n"
        "    return config\n"
    )
    alone = run(tmp_path / "run", config=str(config))
    assert alone.returncode == 0, alone.stderr
    values = {"learning_rate": 0.005, "momentum": 0, "batch_size": 32, "seed": 1}
    (member,) = np.flatnonzero(np.all([arrays[name] == value for name, value in values.items()], axis=0))
    one = read_npz(tmp_path / "run" / "history.npz")
    for name in METRICS:
        np.testing.assert_allclose(one[name][0], arrays[name][member], rtol=1e-3, atol=1e-5, err_msg=name)


def under_way(workdir):
    """Finished groups, once another has a checkpoint, and not only one of them still its own."""
    finished = {path.stem for path in workdir.glob("pieces/*.npz")}
    begun = [path for path in workdir.glob("checkpoint-*") if path.name.removeprefix("checkpoint-") not in finished]
    return len(finished) if any(processes.steps(path) for path in begun) else 0


def test_killed_sweep_resumes_with_the_same_bits(finished, tmp_path):
    whole, broken = finished[0], tmp_path / "broken"
    process = subprocess.Popen(
        command(broken, *SMALL, "--config.checkpoint_seconds=0"),
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    # some way into the third group, with two finished ones; a checkpoint after each epoch takes a tenth of a second
    wait_for(lambda: process.poll() is not None or under_way(broken) >= 2)
    assert process.poll() is None, process.communicate()[1]
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert len(list((broken / "pieces").glob("*.npz"))) >= 2
    assert read_npz(broken / "history.npz")["epochs_done"].min() < 6
    result = run(broken, *SMALL)
    assert result.returncode == 0, result.stderr
    assert f"resuming '{broken}' after epoch" in result.stderr
    one, other = read_npz(whole / "history.npz"), read_npz(broken / "history.npz")
    for name in METRICS:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)
    assert not list(broken.glob("checkpoint*"))
    assert not (broken / "pieces").exists()


def test_diverged_member_is_marked_and_the_others_go_on(tmp_path):
    config = tmp_path / "one.py"
    config.write_text(
        "from configs.fig3 import get_config as base\n"
        "def get_config(variant=None):\n"
        "    config = base('digits')\n"
        "    config.sweep = dict(learning_rate=(0.02, 1e30), momentum=(0.0, 0.0), batch_size=(32, 32))\n"
        "    config.epochs = 4\n"
        "    return config\n"
    )
    result = run(tmp_path / "run", config=str(config))
    assert result.returncode == 0, result.stderr
    assert "diverged in epoch 1: loss or weights are not finite (learning_rate 1e+30" in result.stderr
    arrays = read_npz(tmp_path / "run" / "history.npz")
    np.testing.assert_array_equal(arrays["diverged"], [False, True])
    assert np.isfinite(arrays["j_squared"][0]).all()
    assert np.isnan(arrays["j_squared"][1, 1:]).all()
