import functools
import json

import jax
import numpy as np
import pytest
from matplotlib.figure import Figure

from configs import three_edges as configs
from edgechaos import data, training
from edgechaos.analysis import three_edges as analysis
from edgechaos.files import read_npz
from edgechaos.runs.fields import fields_of, validate
from experiments import three_edges
from tests import processes

run = functools.partial(processes.run, "three_edges")
SHORT = (
    *("--config.learning_rates=(0.08,0.16)", "--config.num_windows=3", "--config.num_seeds=2"),
    "--config.num_images=100",
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("three_edges")
    result = run(workdir, *SHORT)
    assert result.returncode == 0, result.stderr
    return workdir, result


def test_what_is_written(finished):
    workdir, result = finished
    summary, arrays = json.loads((workdir / "summary.json").read_text()), read_npz(workdir / "three_edges.npz")
    assert summary["predicted"].keys() == summary["measured"].keys() == summary["meaning"].keys()
    assert arrays.keys() == analysis.ARRAYS.keys()
    assert arrays["sharpness"].shape == arrays["j_squared"].shape == (2, 2, 4)
    assert arrays["exponent"].shape == (2, 2, 3)
    assert arrays["window_steps"].tolist() == [4 * 45, 2 * 45]
    np.testing.assert_allclose(arrays["time"], 2 * 8 * np.arange(4))  # 0.16 is 8 times the paper's 0.02
    np.testing.assert_allclose(arrays["stable_sharpness"], [3 / 0.08, 3 / 0.16])
    assert (arrays["sharpness_residual"] < 1e-3 * arrays["sharpness"]).all()
    assert summary["predicted"]["sharpness_j_squared_at_0.08"] == 1
    assert [row["learning_rate"] for row in summary["learning_rates"]] == [0.08, 0.16]
    assert result.stdout.count("of the stable one") == 2
    for name in ("three_edges.png", "three_edges.pdf"):
        assert (workdir / name).stat().st_size > 10_000


def test_a_run_is_that_of_the_training_loop(finished):
    """J^2 after each window, and the first sharpness by a dense Hessian-vector power iteration on its own."""
    arrays = read_npz(finished[0] / "three_edges.npz")
    dataset, spec = jax.device_put(data.load("digits")), training.Spec(10, 32)
    _, history = training.make_train(dataset, spec, 12)(jax.random.key(1), training.Hyperparameters(0.08, 0.5))
    np.testing.assert_allclose(arrays["j_squared"][0, 1], np.asarray(history.j_squared)[::4], rtol=1e-4)
    params = training.init_state(jax.random.key(1), spec, 64).params

    def loss(params):
        return training.evaluate(params, dataset.train_images[:100], dataset.train_labels[:100], spec)[0]

    vector = params
    for _ in range(200):
        _, vector = jax.jvp(jax.grad(loss), (params,), (vector,))
        size = float(np.sqrt(sum((leaf**2).sum() for leaf in jax.tree.leaves(vector))))
        vector = jax.tree.map(lambda leaf, size=size: leaf / size, vector)
    assert arrays["sharpness"][0, 1, 0] == pytest.approx(size, rel=1e-3)


def test_the_same_command_keeps_finished_runs(finished):
    workdir, first = finished
    kept = {path: path.stat().st_mtime_ns for path in (workdir / "runs").iterdir()}
    (workdir / "runs" / "0.16-1.npz").unlink()
    again = run(workdir, *SHORT)
    assert again.stdout == first.stdout
    later = {path: path.stat().st_mtime_ns for path in (workdir / "runs").iterdir()}
    assert {path for path in kept if kept[path] != later[path]} == {workdir / "runs" / "0.16-1.npz"}


def test_figure_marks_each_passage(finished):
    """With a made-up stable sharpness that is passed, and an exponent that changes its sign."""
    arrays = read_npz(finished[0] / "three_edges.npz")
    arrays["stable_sharpness"] = arrays["sharpness"][:, :, 1:3].mean((1, 2))
    arrays["exponent"] = np.broadcast_to([-1e-3, 1e-3, 2e-3], (2, 2, 3))
    figure = Figure(layout="constrained")
    three_edges.draw(figure, arrays)
    figure.canvas.draw()
    labels = [figure.axes[0].get_legend_handles_labels()[1]]
    assert set(labels[0]) >= {"edge of stability", "exponent 0"}
    assert len(figure.axes) == 3 * 2 + 1
    assert "beyond the law" in figure.axes[1].get_title()
    assert "beyond the law" not in figure.axes[0].get_title()


def test_a_run_that_diverges_has_no_numbers_from_there_on(tmp_path):
    result = run(tmp_path, *SHORT[1:], "--config.learning_rates=(1e30,2e30)")
    assert result.returncode == 0, result.stderr
    arrays = read_npz(tmp_path / "three_edges.npz")
    assert np.isfinite(arrays["sharpness"][..., 0]).all()
    assert np.isnan(arrays["sharpness"][..., -1]).all()
    assert (
        json.loads((tmp_path / "summary.json").read_text())["learning_rates"][0]["sharpness_verdict"] == "not measured"
    )


@pytest.mark.parametrize("variant", configs.VARIANTS)
def test_every_variant_is_whole(variant):
    record = configs.get_config(variant).to_dict()
    assert record.keys() == fields_of(three_edges.Config).keys()
    config = validate(record, three_edges.Config)
    three_edges.check(config)
    assert 12 <= config.num_windows <= 16 or variant == "quick"
    if variant != "digits":
        # Eq. 5 has J^2 = 1 half way
        assert three_edges.expect(config)["edge_epoch_at_0.16"] == pytest.approx(54.7, abs=0.1)
        assert three_edges.clocks(config, 60_000)["time"][-1] == pytest.approx(112)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config.learning_rates=(0.2,0.1)"], "learning_rates = (0.2, 0.1): must be a tuple of rising numbers > 0"),
        (["--config.learning_rates=(0.0,0.1)"], "learning_rates = (0.0, 0.1): must be a tuple of rising numbers > 0"),
        (["--config.learning_rates=(0.07,0.1)"], "are 2.85714 at 0.07, which must be a whole number"),
        (["--config.learning_rates=(1e3,2e30)"], "epochs at 2e+30 are 4e+27 at 1000, and at most 1000 are possible"),
        (["--config.num_images=5000"], "num_images = 5000: must be in [1, 1437]"),
        (["--config.momentum=1.0"], "momentum = 1.0: must be in [0, 1)"),
    ],
)
def test_bad_command_line_is_one_clear_error(tmp_path, arguments, message):
    result = run(tmp_path / "run", *arguments)
    assert result.returncode == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr
