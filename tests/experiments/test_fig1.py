import functools
import json
import signal
import subprocess

import numpy as np
import pytest

from edgechaos.analysis import agreement
from edgechaos.errors import UserError
from edgechaos.files import read_npz
from edgechaos.runs.simulate import simulate_diagram
from tests import processes
from tests.processes import ROOT, wait_for

command, run = functools.partial(processes.command, "fig1"), functools.partial(processes.run, "fig1")
SMALL = (
    "--config.num_neurons=40",
    "--config.num_columns=13",
    "--config.num_rows=8",
    "--config.num_iterations=40",
    "--config.lyapunov_points=5",
    "--config.lyapunov_iterations=64",
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("finished")
    result = run(workdir, *SMALL)
    assert result.returncode == 0, result.stderr
    return workdir, result


def test_work_directory_explains_itself(finished):
    workdir, result = finished
    described = {"config.json", "provenance.json", "prediction.json", ".lock", "summary.json"}
    outcome = {"fig1.png", "fig1.pdf", "diagram.npz"}
    assert {path.name for path in workdir.iterdir()} == described | outcome
    arrays = read_npz(workdir / "diagram.npz")
    assert (
        arrays.keys()
        == agreement.ARRAYS.keys()
        == json.loads((workdir / "provenance.json").read_text())["arrays"].keys()
    )
    assert arrays["distance"].shape == (2, 8, 13)
    assert arrays["exponent"].shape == (2, 3, 5)
    assert (workdir / "fig1.png").read_bytes().startswith(b"\x89PNG")
    assert (workdir / "fig1.pdf").read_bytes().startswith(b"%PDF")
    assert result.stdout.rstrip().endswith("fig1.png")


def test_summary_compares_simulation_with_theory(finished):
    summary = json.loads((finished[0] / "summary.json").read_text())
    assert summary["predicted"].keys() == summary["measured"].keys() == summary["meaning"].keys()
    assert summary["predicted"] == json.loads((finished[0] / "prediction.json").read_text())
    # at N = 40: 0.96 +- 0.025 over six draws, of which this is the mean of two
    assert 0.9 < summary["measured"]["agreement_away_from_edge"] <= 1
    assert summary["measured"]["agreement_away_from_edge"] > summary["measured"]["agreement"]
    assert summary["predicted"]["boundary_j_at_0"] == pytest.approx(1)
    assert len(summary["members"]["agreement"]) == 2


def test_second_call_redraws(finished):
    workdir, _ = finished
    before = (workdir / "diagram.npz").read_bytes()
    (workdir / "fig1.png").unlink()
    assert run(workdir, *SMALL).returncode == 0
    assert (workdir / "fig1.png").exists()
    assert (workdir / "diagram.npz").read_bytes() == before


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_stopped_simulation_resumes_with_the_same_bits(finished, tmp_path, how):
    """A checkpoint, which takes a tenth of a second, after each twentieth of each of two seeds: time to be met."""
    whole, broken = finished[0], tmp_path / "broken"
    process = subprocess.Popen(
        command(broken, *SMALL, "--config.checkpoint_seconds=0.0"),
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(lambda: process.poll() is not None or processes.steps(broken / "diagram-0"))
    assert process.poll() is None, process.communicate()[1]
    process.send_signal(how)
    _, messages = process.communicate(timeout=60)
    if how == signal.SIGTERM:
        assert process.returncode == 130
        assert "the same command continues" in messages
        assert "Traceback" not in messages
    assert processes.steps(broken / "diagram-0")
    assert run(broken, *SMALL).returncode == 0
    one, other = read_npz(whole / "diagram.npz"), read_npz(broken / "diagram.npz")
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)
    assert not (broken / "diagram-0").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config.j0_over_j_to=-2.0"], "j0_over_j_to = -2.0: must be above j0_over_j_from = -1.0"),
        (["--config.num_iterations=5"], "num_iterations = 5: must be an integer >= 20"),
        (["--config.perturbation_std=0.0"], "perturbation_std = 0.0: must be in [1e-12, 1]"),
        (["--config.num_neuron=5"], "'num_neuron' does not exist; did you mean 'num_neurons'?"),
        (["--config.activation=tan"], "activation = 'tan': must be one of tanh, relu, erf; did you mean 'tanh'?"),
        (["--config.inverse_j_to=0.01"], "inverse_j_to = 0.01: must be at least num_rows / 1000"),
    ],
)
def test_bad_command_line_is_one_clear_error(tmp_path, arguments, message):
    result = run(tmp_path / "run", *arguments)
    assert result.returncode == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert not any(tmp_path.rglob("*.npz"))


def test_couplings_beyond_the_memory_budget_are_refused(tmp_path):
    with pytest.raises(UserError, match="raise memory_gib = 4"):
        simulate_diagram(tmp_path, np.zeros(1, np.float32), np.ones(1, np.float32), 0, 100_000, 20)
