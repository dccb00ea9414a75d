import json

import jax
import numpy as np
import pytest

from configs import deep as configs
from edgechaos import data
from edgechaos.files import read_npz
from edgechaos.training import deep as networks
from experiments import deep
from tests import processes

DIGITS = data.load("digits")
SHORT = ("--config.epochs=12", "--config.num_trials=2", "--config.num_seeds=2", "--config.width=32")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("deep")
    result = processes.run("deep", workdir, *SHORT)
    assert result.returncode == 0, result.stderr
    return workdir, result


def test_rows_have_the_numbers_of_the_arrays(finished):
    workdir, result = finished
    summary, arrays = json.loads((workdir / "summary.json").read_text()), read_npz(workdir / "deep.npz")
    assert summary["predicted"].keys() == summary["measured"].keys() == summary["meaning"].keys()
    assert arrays["j_squared"].shape == (2, 4, 2, 13, 4)
    for number, row in enumerate(summary["rows"]):
        one, other = divmod(number, len(deep.WAYS))
        assert row["accuracy"] == pytest.approx(arrays["test_accuracy"][one, other, :, -1].mean(), rel=1e-6)
        np.testing.assert_allclose(row["j_squared"], arrays["j_squared"][one, other, :, -1].mean(0), rtol=1e-5)
        assert row["way"] in result.stdout
    costs = {row["way"]: row["cost"] for row in summary["rows"]}
    assert costs["hold at edge"] == 12
    assert costs["AdamW by Optuna"] == pytest.approx(12 + 2 * 12 * 5 / 6)


def test_the_search_takes_its_best_trial(finished):
    workdir, _ = finished
    summary = json.loads((workdir / "summary.json").read_text())
    for activation in networks.EDGES:
        made = read_npz(workdir / f"trials-{activation}.npz")
        best = made["weight_decay"][made["accuracy"].argmax()]
        assert summary["measured"][f"{activation}_searched_decay"] == pytest.approx(best)


def test_the_same_command_keeps_finished_runs(finished):
    workdir, first = finished
    kept = {path: path.stat().st_mtime_ns for path in (workdir / "runs").iterdir()}
    (workdir / "runs" / "relu-3-1.npz").unlink()
    again = processes.run("deep", workdir, *SHORT)
    assert again.stdout == first.stdout
    later = {path: path.stat().st_mtime_ns for path in (workdir / "runs").iterdir()}
    assert {path for path in kept if kept[path] != later[path]} == {workdir / "runs" / "relu-3-1.npz"}


@pytest.mark.parametrize("activation", networks.EDGES)
def test_each_layer_is_held_at_its_edge(activation):
    spec = networks.Spec(10, 3, 48, activation, 2e-3, 16, 60, held=True)
    held = networks.train(jax.random.key(0), 0.0, DIGITS, spec)
    np.testing.assert_allclose(held.j_squared[-10:] / networks.EDGES[activation], 1, atol=0.03)
    free = networks.train(jax.random.key(0), 0.0, DIGITS, spec._replace(held=False))
    assert (np.asarray(free.j_squared[-1]) > 1.1 * np.asarray(held.j_squared[-1])).all()


@pytest.mark.parametrize("activation", networks.EDGES)
def test_layers_begin_where_a_small_difference_keeps_its_size(activation):
    """chi_1 = 1, measured by the Jacobian of one wide layer at its own kind of input: |dx'| / |dx| on average."""
    spec = networks.Spec(10, 1, 3000, activation, 1e-3, 16, 1, held=False)
    x = 1e-3 * jax.random.normal(jax.random.key(1), (3000,))
    params = networks.Network(spec).init(jax.random.key(0), x[None])["params"]
    (kernel,) = networks.hidden_kernels(params, 1)
    dx = jax.random.normal(jax.random.key(2), (3000,))
    _, change = jax.jvp(
        lambda x: jax.nn.relu(x @ kernel) if activation == "relu" else jax.numpy.tanh(x @ kernel), (x,), (dx,)
    )
    assert float((change**2).sum() / (dx**2).sum()) == pytest.approx(1, abs=0.08)


def test_decay_shrinks_weights():
    spec = networks.Spec(10, 2, 32, "tanh", 1e-3, 16, 20, held=False)
    free = networks.train(jax.random.key(0), 0.0, DIGITS, spec).j_squared[-1]
    decayed = networks.train(jax.random.key(0), 0.1, DIGITS, spec).j_squared[-1]
    assert (np.asarray(decayed) < np.asarray(free)).all()


def test_scaled_has_half_the_trials_and_nothing_else():
    paper, scaled = (configs.get_config(variant).to_dict() for variant in ("full", "scaled"))
    assert {name for name in paper if paper[name] != scaled[name]} == {"num_trials"}
    assert (paper["depth"], paper["width"]) == (4, 256)


def test_an_unfinished_run_is_not_mixed_with_another_config(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(configs.get_config("digits").to_dict()))
    np.savez(tmp_path / "trials-tanh.npz", weight_decay=np.ones(1), accuracy=np.ones(1))
    result = processes.run("deep", tmp_path, "--config.learning_rate=0.002")
    assert result.returncode == 2
    assert "holds a run of another config (learning_rate 0.001 -> 0.002)" in result.stderr


def test_a_batch_must_fit_the_split_that_trials_train_on(tmp_path):
    result = processes.run("deep", tmp_path, "--config.batch_size=1300")
    assert result.returncode == 2
    assert "batch_size = 1300: must be in [1, 1197]" in result.stderr
