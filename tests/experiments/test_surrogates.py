import functools
import json

import numpy as np
import pytest

from edgechaos.files import read_npz
from tests import processes

run = functools.partial(processes.run, "surrogates")
SMALL = (
    *("--config.epochs=12", "--config.keep_kernels_at=(1,12)", "--config.lyapunov_iterations=64"),
    *("--config.num_draws=2", "--config.surrogates=('trained','shuffled','permuted','without_4')"),
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Two seeds, trained by the experiment itself."""
    workdir = tmp_path_factory.mktemp("finished")
    result = run(workdir, *SMALL, "--config.num_seeds=2", "--config.fig2_workdir=")
    assert result.returncode == 0, result.stderr
    return workdir, result


def test_arrays_are_those_of_the_kernels(finished):
    workdir, result = finished
    arrays = read_npz(workdir / "surrogates.npz")
    assert arrays["exponent"].shape == (len(arrays["label"]), 2, 4, 2)
    drawn = np.isfinite(arrays["exponent"])
    assert drawn[:, :, 1:3].all()
    assert drawn[:, :, [0, 3], 0].all()
    assert not drawn[:, :, [0, 3], 1].any()  # what is not random has one draw
    kernel = read_npz(workdir / "kernels" / "epoch-12-1.npz")["kernel"]
    last = arrays["label"].tolist().index("epoch-12")
    radius = np.abs(np.linalg.eigvals(kernel)).max()
    np.testing.assert_allclose(arrays["radius"][last, 1], radius, rtol=1e-5)
    if radius < 1:
        np.testing.assert_allclose(arrays["exponent"][last, 1, 0, 0], np.log(radius), atol=0.03)
    assert result.stdout.rstrip().endswith("surrogates.png")


def test_summary_has_target_and_measurement(finished):
    summary = json.loads((finished[0] / "summary.json").read_text())
    assert summary["predicted"].keys() == summary["measured"].keys() == summary["meaning"].keys()
    assert summary["predicted"]["within_effective"] == 1
    assert {row["surrogate"] for row in summary["surrogates"]} == {"trained", "shuffled", "permuted", "without_4"}


def test_kernels_of_an_unfinished_run_are_taken_as_they_come(finished, tmp_path):
    """One member is complete; when the other comes, the first is not computed again."""
    fig2, workdir = tmp_path / "fig2", tmp_path / "run"
    (fig2 / "kernels").mkdir(parents=True)
    (fig2 / "config.json").write_bytes((finished[0] / "config.json").read_bytes())
    names = sorted(path.name for path in (finished[0] / "kernels").iterdir())

    def take(chosen):
        for name in chosen:
            (fig2 / "kernels" / name).write_bytes((finished[0] / "kernels" / name).read_bytes())
        result = run(workdir, *SMALL, f"--config.fig2_workdir={fig2}")
        assert result.returncode == 0, result.stderr
        return read_npz(workdir / "surrogates.npz")

    first = take([name for name in names if name.endswith("-0.npz")] + ["epoch-1-1.npz"])
    assert first["exponent"].shape[1] == 1
    kept = (workdir / "runs" / "epoch-1-0.npz").stat().st_mtime_ns
    second = take(names)
    assert (workdir / "runs" / "epoch-1-0.npz").stat().st_mtime_ns == kept
    for arrays, members in ((first, 1), (second, 2)):
        whole = read_npz(finished[0] / "surrogates.npz")["exponent"]
        np.testing.assert_array_equal(arrays["exponent"], whole[:, :members])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config.surrogates=('shuffled',)"], "'trained' must be among them"),
        (["--config.surrogates=('trained','shufled')"], "must be a tuple of distinct words out of trained, gaussian"),
        (["--config.lyapunov_iterations=9"], "lyapunov_iterations = 9: must be an integer >= 64"),
    ],
)
def test_bad_command_line_is_one_clear_error(tmp_path, arguments, message):
    result = run(tmp_path / "run", *arguments)
    assert result.returncode == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr
