import jax
import jax.numpy as jnp
import numpy as np
import pytest

import edgechaos as ec
from edgechaos.dynamics import surrogates

KEY = jax.random.key(5)
SIZE = 60


@pytest.fixture(scope="module")
def kernel():
    """Norms of rows and columns that differ, and two large singular values."""
    keys = jax.random.split(KEY, 4)
    rows, columns = (jnp.exp(jax.random.normal(key, (SIZE,)) / 2) for key in keys[:2])
    structure = jax.random.normal(keys[2], (SIZE, 2)) @ jax.random.normal(keys[3], (2, SIZE)) / 10
    return rows[:, None] * ec.init_kernel(KEY, SIZE, 0.3, 1.5) * columns + structure


def made(name, kernel, key=KEY):
    return np.asarray(surrogates.SURROGATES[name].make(key, kernel, kernel / 3), np.float64)


def singular(kernel):
    return np.linalg.svd(np.asarray(kernel, np.float64), compute_uv=False)


# what each surrogate keeps, as a number of a kernel, exactly
KEPT = {
    "shuffled": lambda w: np.sort(w.ravel()),
    "within_outputs": lambda w: np.sort(w, axis=0),
    "within_inputs": lambda w: np.sort(w, axis=1),
    "bases": singular,
    "left_rotated": lambda w: w.T @ w,
    "right_rotated": lambda w: w @ w.T,
    "permuted": lambda w: w.T @ w,
}


@pytest.mark.parametrize("name", KEPT)
def test_what_is_kept_is_kept_and_the_rest_is_not(name, kernel):
    surrogate, given = made(name, kernel), np.asarray(kernel, np.float64)
    np.testing.assert_allclose(KEPT[name](surrogate), KEPT[name](given), atol=2e-4)
    assert np.abs(surrogate - given).max() > 0.05
    assert np.abs(made(name, kernel, jax.random.key(6)) - surrogate).max() > 0.05


def test_sizes_of_entries_are_kept_and_their_signs_are_drawn(kernel):
    given = np.asarray(kernel, np.float64)
    signs = (made("signs", kernel) - given.mean()) / (given - given.mean())
    np.testing.assert_allclose(np.abs(signs), 1, atol=1e-3)
    assert abs(signs.mean()) < 5 / SIZE


def test_norms_are_kept_on_average(kernel):
    apart = np.asarray(kernel) - np.asarray(kernel).mean()
    drawn = [made("norms", kernel, key) for key in jax.random.split(KEY, 40)]
    for axis in (0, 1):
        found = np.mean([(one - one.mean()) ** 2 for one in drawn], axis=0).sum(axis)
        np.testing.assert_allclose(found, (apart**2).sum(axis), rtol=0.2)


def test_symmetry_is_kept():
    normal = jax.random.normal(KEY, (200, 200))
    kernel = (normal + 0.5 * normal.T) / 200**0.5
    apart = made("symmetry", kernel) - float(kernel.mean())
    tau = (apart * apart.T).mean() / apart.var()
    assert tau == pytest.approx(2 * 0.5 / (1 + 0.5**2), abs=0.03)


def test_largest_singular_values_are_removed(kernel):
    np.testing.assert_allclose(singular(made("without_4", kernel))[: SIZE - 4], singular(kernel)[4:], atol=1e-4)


def test_learned_part_is_the_difference(kernel):
    np.testing.assert_allclose(made("learned", kernel), np.asarray(kernel) * 2 / 3, atol=1e-6)


def test_measured_numbers_are_those_of_the_map():
    kernel = ec.init_kernel(KEY, SIZE, j=0.5)
    found = surrogates.measure(kernel, KEY, 3, 128)
    assert float(found["exponent"]) == pytest.approx(
        np.log(surrogates.largest_eigenvalue(np.asarray(kernel))), abs=0.02
    )
    assert float(found["chi"]) == pytest.approx(float((kernel**2).sum()) / SIZE, rel=1e-4)  # at rest the slope is 1
    assert float(found["share_fixed"]) == 1
    chaotic = surrogates.measure(ec.init_kernel(KEY, SIZE, j=5.0), KEY, 3, 128)
    assert float(chaotic["share_chaos"]) == 1
    assert float(chaotic["distance"]) > 0.5
