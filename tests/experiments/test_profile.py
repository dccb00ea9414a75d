import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import edgechaos as ec
from configs import profile as configs
from edgechaos.errors import UserError
from edgechaos.files import read_npz
from edgechaos.runs.fields import fields_of
from experiments import profile
from experiments.shared import blocks
from tests import processes

SHORT = ("--config.epochs=1", "--config.num_seeds=2", "--config.width=16", "--config.depth=2")
KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("profile")
    result = processes.run("profile", workdir, *SHORT)
    assert result.returncode == 0, result.stderr
    return workdir, result


def test_what_is_written(finished):
    workdir, _ = finished
    summary, arrays = json.loads((workdir / "summary.json").read_text()), read_npz(workdir / "profile.npz")
    assert summary["predicted"].keys() == summary["measured"].keys() == summary["meaning"].keys()
    assert {name: array.shape for name, array in arrays.items()} == {
        "chi": (4, 2, 2, 2),
        "chi_error": (4, 2, 2, 2),
        "weights_chi": (4, 2, 2, 2),
        "test_accuracy": (4, 2, 2),
    }
    assert (arrays["chi"] > 0).all()
    assert (arrays["chi_error"] < arrays["chi"]).all()
    for name in ("profile.png", "profile.pdf"):
        assert (workdir / name).stat().st_size > 10_000
    assert summary["measured"]["ViT, accuracy"] == pytest.approx(arrays["test_accuracy"][3, :, -1].mean())


def test_the_same_command_keeps_finished_runs(finished):
    workdir, first = finished
    kept = {path: path.stat().st_mtime_ns for path in (workdir / "runs").iterdir()}
    again = processes.run("profile", workdir, *SHORT)
    assert again.stdout == first.stdout
    assert kept == {path: path.stat().st_mtime_ns for path in (workdir / "runs").iterdir()}


def spec(kind, width):
    return blocks.Spec(kind, 10, 4, width, 1e-3, 32, 1, 64)


@pytest.mark.parametrize("kind", blocks.KINDS)
def test_profile_before_training(kind):
    """ReLU begins at chi = 1, tanh below it; a residual block adds its branch to 1, whatever the weights say."""
    images = jax.random.uniform(KEY, (64, 64))
    params = blocks.Network(spec(kind, 128)).init(KEY, images)["params"]
    found, weights = blocks.profile(params, images, KEY, spec(kind, 128)), blocks.weights_chi(params, spec(kind, 128))
    assert found.names == ("embed", "block_0", "block_1", "block_2", "block_3")
    # a kernel's J^2 and a layer's squared gain scatter by sqrt(2) / N and by sqrt(3 / N)
    if kind == "ReLU MLP":
        np.testing.assert_allclose(found.chi, 1, atol=4 * np.sqrt(3 / 128))
    elif kind == "tanh MLP":
        assert (found.chi < 1 + 4 * np.sqrt(2 / 128)).all()
    else:
        assert (found.chi > 1 - 4 * np.sqrt(3 / 128)).all()
    if kind == "tanh MLP":
        np.testing.assert_allclose(weights, 1, atol=0.1)


def test_weights_alone_are_the_product_of_their_layers():
    images = jax.random.uniform(KEY, (2, 64))
    params = blocks.Network(spec("ViT", 16)).init(KEY, images)["params"]
    block = params["block_1"]
    places = [ec.order_parameters(block[name]["kernel"]) for name in ("up", "down")]
    expected = np.prod([float(ec.chi(one.j0, jnp.sqrt(one.j_squared), "relu")) for one in places])
    assert float(blocks.weights_chi(params, spec("ViT", 16))[1]) == pytest.approx(expected, rel=1e-4)


def test_patches_are_squares_of_the_image():
    images = jnp.arange(64.0)[None]
    cut = np.asarray(blocks.patches(images))
    assert cut.shape == (1, 16, 4)
    np.testing.assert_array_equal(cut[0, 0], [0, 1, 8, 9])
    np.testing.assert_array_equal(cut[0, 5], [18, 19, 26, 27])


def test_variants_and_their_fields():
    for variant in (None, *configs.VARIANTS):
        assert set(configs.get_config(variant).keys()) == fields_of(profile.Config).keys()
    assert configs.get_config() == configs.get_config("full")
    with pytest.raises(UserError, match="variant = 'paper': must be one of full, quick, digits"):
        configs.get_config("paper")


def test_width_that_the_heads_do_not_divide_is_refused(tmp_path):
    result = processes.run("profile", tmp_path, "--config.width=18")
    assert result.returncode == 2
    assert "width = 18: must be a multiple of 4" in result.stderr
