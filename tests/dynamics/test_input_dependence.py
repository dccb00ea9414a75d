import jax
import jax.numpy as jnp
import numpy as np
import pytest

import edgechaos as ec
from edgechaos.dynamics import input_dependence

KEY = jax.random.key(5)


@pytest.mark.usefixtures("double")
def test_distance_is_that_of_two_copies():
    kernel = ec.init_kernel(KEY, 60, j=1.5, dtype=jnp.float64)
    x = jax.random.normal(jax.random.key(1), (4, 60), jnp.float64)
    distance = input_dependence.asymptotic_distance(kernel, x, KEY, 12, 1e-3)
    copies = x, x + 1e-3 * jax.random.normal(KEY, x.shape, x.dtype)
    for _ in range(12):
        copies = tuple(np.tanh(np.asarray(copy) @ np.asarray(kernel)) for copy in copies)
    np.testing.assert_allclose(distance, np.linalg.norm(copies[0] - copies[1], axis=-1), rtol=1e-6)


def test_distance_is_resolved_far_below_rounding():
    """x <- x W with W = 0.3: the difference falls by 0.3 per iteration, for as long as one likes."""
    distance = input_dependence.asymptotic_distance(0.3 * jnp.eye(20), 1e-3 * jnp.ones(20), KEY, 60)
    start = np.linalg.norm(1e-4 * jax.random.normal(KEY, (20,)))
    # tanh'(x) = 1 - x^2 for the first few x = 1e-3, 3e-4, ...
    assert float(distance) == pytest.approx(start * 0.3**60, rel=1e-4)


def test_variance_finds_the_components_it_was_made_of():
    rng = np.random.default_rng(0)
    logarithm = 0.3 * rng.normal(size=(2000, 1)) + 0.2 * rng.normal(size=(2000, 12))
    found = input_dependence.variance_of(np.exp(logarithm))
    # 2,000 draws tell a standard deviation to 1.6 %
    assert float(found.over_inputs) == pytest.approx(0.3, rel=0.06)
    assert float(found.over_perturbations) == pytest.approx(0.2, rel=0.02)
    assert float(found.input_share) == pytest.approx(0.09 / 0.13, rel=0.06)


def test_variance_of_inputs_that_make_no_difference():
    rng = np.random.default_rng(1)
    found = input_dependence.variance_of(np.exp(rng.normal(size=(500, 16))))
    # F of 499 and 7,500 degrees of freedom: 1 +- 0.065
    assert float(found.f_ratio) == pytest.approx(1, abs=4 * 0.065)
    assert float(found.input_share) < 0.02


def test_shuffling_keeps_the_order_parameters():
    kernel = ec.init_kernel(KEY, 50, 1.0, 2.0)
    mixed = input_dependence.shuffled(jax.random.key(1), kernel)
    np.testing.assert_array_equal(np.sort(np.asarray(mixed).ravel()), np.sort(np.asarray(kernel).ravel()))
    before, after = ec.order_parameters(kernel), ec.order_parameters(mixed)
    np.testing.assert_allclose([after.j0, after.j_squared], [before.j0, before.j_squared], rtol=1e-5)
    assert not np.array_equal(mixed, kernel)


def test_mean_state_is_the_fixed_point_in_order_and_small_in_chaos():
    ordered = ec.init_kernel(KEY, 300, 3.0, 1.0)
    fixed = input_dependence.mean_state(ordered, jnp.ones(300), 10, 200)
    np.testing.assert_allclose(fixed, ec.hidden_map(ordered, fixed), atol=1e-5)
    chaotic = ec.init_kernel(KEY, 300, j=3.0)
    mean = input_dependence.mean_state(chaotic, jax.random.normal(KEY, (300,)), 2000, 100)
    assert float(jnp.square(mean).mean()) < 0.02 * float(ec.fixed_point(0.0, 3.0).q0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((jnp.ones(4), KEY, 0), "num_iterations = 0: must be >= 1"),
        ((jnp.ones(4), KEY, 5, -1.0), "perturbation_std = -1.0: must be > 0"),
        ((jnp.full(4, jnp.nan), KEY), "x0 = nan: must be finite"),
    ],
)
def test_bad_input_is_one_clear_error(arguments, message):
    with pytest.raises(ValueError, match=message):
        input_dependence.asymptotic_distance(jnp.eye(4), *arguments)
