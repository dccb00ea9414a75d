import functools
import json

import numpy as np
import pytest

from edgechaos import analysis
from edgechaos.files import read_npz
from tests import processes

run = functools.partial(processes.run, "fig7")
SMALL = (
    "--config.epochs=12",
    "--config.keep_kernels_at=(1,5)",
    "--config.lyapunov_iterations=64",
    "--config.num_perturbations=3",
    "--config.late_iterations=80",
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Two seeds, trained by the experiment itself."""
    workdir = tmp_path_factory.mktemp("finished")
    result = run(workdir, *SMALL, "--config.num_seeds=2", "--config.fig2_workdir=")
    assert result.returncode == 0, result.stderr
    return workdir, result


def test_work_directory_explains_itself(finished):
    workdir, result = finished
    described = {"config.json", "provenance.json", "prediction.json", ".lock", "summary.json", "history.npz", "kernels"}
    assert {path.name for path in workdir.iterdir()} == described | {"fig7.png", "fig7.pdf", "fig7.npz"}
    arrays = read_npz(workdir / "fig7.npz")
    assert arrays.keys() == analysis.trained.ARRAYS.keys()
    assert arrays["distance"].shape == (len(arrays["label"]), 2, 2, 360)
    assert (arrays["distance"] > 0).all()
    assert result.stdout.rstrip().endswith("fig7.png")


def test_summary_compares_trained_and_shuffled_with_theory(finished):
    summary = json.loads((finished[0] / "summary.json").read_text())
    assert summary["predicted"].keys() == summary["measured"].keys() == summary["meaning"].keys()
    assert summary["predicted"] == json.loads((finished[0] / "prediction.json").read_text())
    measured, predicted = summary["measured"], summary["predicted"]
    # one epoch hardly moves the weights: both kernels are as the theory says, up to finite N = 64
    for name in ("exponent", "shuffled_exponent"):
        assert measured[f"{name}_at_epoch-1"] == pytest.approx(predicted[f"{name}_at_epoch-1"], abs=0.15)
    assert measured["jacobian_norm_at_epoch-1"] == pytest.approx(predicted["jacobian_norm_at_epoch-1"], rel=0.02)
    assert measured["distance_at_epoch-1"] < 1e-8
    # at rest the slope of tanh is 1, so that the exponent is that of the kernel itself
    kernels = [read_npz(finished[0] / "kernels" / f"epoch-1-{seed}.npz")["kernel"] for seed in range(2)]
    exact = [np.log(np.abs(np.linalg.eigvals(kernel)).max()) for kernel in kernels]
    np.testing.assert_allclose(summary["members"]["exponent_at_epoch-1"], exact, atol=0.02)


def test_kernels_of_a_fig2_run_are_taken(finished, tmp_path):
    fig2 = tmp_path / "fig2"
    map_size = ("--config.map_num_neurons=50", "--config.map_num_rows=8", "--config.map_num_columns=5")
    arguments = ("--config.epochs=20", "--config.keep_kernels_at=(1,5)", "--config.num_seeds=2", *map_size)
    assert processes.run("fig2", fig2, *arguments).returncode == 0
    result = run(tmp_path / "fig7", *SMALL, "--config.num_seeds=2", f"--config.fig2_workdir={fig2}")
    assert result.returncode == 0, result.stderr
    assert f"kernels from '{fig2}'" in result.stderr
    assert not (tmp_path / "fig7" / "history.npz").exists()
    taken, trained = read_npz(tmp_path / "fig7" / "fig7.npz"), read_npz(finished[0] / "fig7.npz")
    for name in ("j", "distance"):
        np.testing.assert_array_equal(taken[name][:2], trained[name][:2])


def test_kernels_of_another_training_are_not_taken(tmp_path):
    fig2 = tmp_path / "fig2"
    (fig2 / "kernels").mkdir(parents=True)
    (fig2 / "config.json").write_text(json.dumps({"learning_rate": 0.5}))
    result = run(tmp_path / "fig7", *SMALL, f"--config.fig2_workdir={fig2}")
    assert result.returncode == 0, result.stderr
    assert "training here" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config.keep_kernels_at=()"], "keep_kernels_at = (): must name an epoch"),
        (["--config.keep_kernels_at=(1,500)"], "keep_kernels_at = (1, 500): must be epochs up to epochs = 200"),
        (["--config.keep_kernels_at=(1,-5)"], "keep_kernels_at = (1, -5): must be a tuple of distinct integers >= 0"),
        (["--config.num_iterations=0"], "num_iterations = 0: must be an integer >= 1"),
    ],
)
def test_bad_command_line_is_one_clear_error(tmp_path, arguments, message):
    result = run(tmp_path / "run", *arguments)
    assert result.returncode == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr
