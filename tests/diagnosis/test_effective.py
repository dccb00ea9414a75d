import jax
import jax.numpy as jnp
import numpy as np
import pytest

import edgechaos as ec
from edgechaos.diagnosis.effective import effective_size
from edgechaos.dynamics.surrogates import effective_rank

KEY = jax.random.key(4)


def of_few_directions(size, rank, j):
    """A kernel that is a product of two random ones, of J."""
    left, right = jax.random.split(KEY)
    product = jax.random.normal(left, (size, rank)) @ jax.random.normal(right, (rank, size))
    return j * product / (rank * size) ** 0.5


@pytest.mark.parametrize("rank", [20, 80])
def test_size_is_that_of_its_definition(rank):
    """tr(G^2) with random signs against the singular values themselves."""
    kernel = of_few_directions(300, rank, 1.5)
    exact = 2 * effective_rank(np.asarray(kernel))
    assert float(effective_size(kernel)) == pytest.approx(exact, rel=0.1)


def test_independent_entries_have_their_own_size():
    found = ec.effective_order_parameters(ec.init_kernel(KEY, 500, j=1.5))
    assert float(found.num_neurons) == pytest.approx(500, rel=0.05)
    assert float(found.j_squared) == pytest.approx(2.25, rel=0.02)
    left = 1 - 4.7**2 / (500 * (1.5 - 1) ** 2)  # of the exponent, at N = 500
    assert float(found.exponent) == pytest.approx(left * float(ec.predicted_exponent(0.0, 1.5)), abs=0.004)


def test_kernel_of_few_directions_is_not_chaotic_where_its_shuffled_entries_are():
    """J = 1.5 and N = 300, but 15 directions: the effective theory says so, and so does the exponent."""
    kernel = of_few_directions(300, 15, 1.5)
    found = ec.effective_order_parameters(kernel)
    assert float(found.exponent) == 0
    assert float(found.critical_j) > 1.5
    states = jax.random.normal(KEY, (8, 300))

    def exponent(kernel):
        return float(ec.lyapunov_exponent(lambda x: jnp.tanh(x @ kernel), states, KEY, 400, 400).exponent.mean())

    shuffled = jax.random.permutation(KEY, kernel.ravel()).reshape(kernel.shape)
    assert exponent(kernel) < 0.02
    assert exponent(shuffled) > 0.04


def test_norms_weigh_the_order_parameter():
    """Units with large weights in and out raise the gain: sum a b / sum a by hand."""
    factors = jnp.linspace(0.5, 2.0, 200)
    kernel = factors[:, None] * ec.init_kernel(KEY, 200, j=1.0) * factors
    squares = np.asarray(kernel - kernel.mean(), np.float64) ** 2
    by_hand = (squares.sum(1) * squares.sum(0)).sum() / squares.sum()
    found = ec.effective_order_parameters(kernel)
    np.testing.assert_allclose(found.j_squared, by_hand, rtol=1e-4)
    assert by_hand > 1.2 * float(ec.order_parameters(kernel).j_squared)


@pytest.mark.parametrize(
    ("kernel", "message"),
    [
        (jnp.ones((3, 4)), "must be square"),
        (jnp.ones((3, 3)), "not all the same"),
        (jnp.full((3, 3), jnp.nan), "kernel = nan: must be finite"),
    ],
)
def test_bad_kernels_are_refused(kernel, message):
    with pytest.raises(ValueError, match=message):
        ec.effective_order_parameters(kernel)
