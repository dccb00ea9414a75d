import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import brentq, fsolve

import edgechaos as ec


def average(function, mean, width):
    """int Dz f(mean + width z) by adaptive quadrature."""
    weight = lambda z: np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)  # noqa: E731
    centre = np.clip(-mean / max(width, 1e-12), -8, 8)
    return quad(lambda z: weight(z) * function(mean + width * z), -9, 9, points=[centre], limit=400, epsabs=1e-13)[0]


def reference_state(j0, j):
    """The largest solution by SciPy, from the saturated side."""

    def residual(state):
        mu, q0 = state
        width = j * np.sqrt(max(q0, 0))
        return average(np.tanh, j0 * mu, width) - mu, average(lambda h: np.tanh(h) ** 2, j0 * mu, width) - q0

    if j0 <= 0:
        return 0.0, brentq(lambda q0: residual((0.0, q0))[1], 1e-6, 1.0, xtol=1e-13) if j > 1 else 0.0
    return tuple(fsolve(residual, (0.99, 0.99), xtol=1e-12))


def reference_chi(j0, j, state):
    mu, q0 = state
    return j**2 * average(lambda h: np.cosh(h) ** -4.0, j0 * mu, j * np.sqrt(q0))


CELLS = [(-1.5, 1.5), (0.0, 1.3), (0.0, 4.0), (0.8, 2.0), (1.5, 0.5), (2.0, 1.4), (3.0, 2.0), (-0.5, 0.5)]


@pytest.mark.parametrize(("j0", "j"), CELLS)
def test_fixed_point_and_chi_against_scipy(j0, j):
    expected = reference_state(j0, j)
    with jax.enable_x64(True):
        state, left_hand_side = ec.fixed_point(j0, j), ec.chi(j0, j)
    assert bool(state.converged)
    np.testing.assert_allclose([state.mu, state.q0], expected, atol=1e-8)
    np.testing.assert_allclose(left_hand_side, reference_chi(j0, j, expected), rtol=1e-7)
    single = ec.fixed_point(j0, j)
    # float32 rounds each of 2,001 terms: sqrt(2001) eps = 3e-6, times up to 1 / (1 - slope) of the map, about 10 here
    np.testing.assert_allclose([single.mu, single.q0], expected, atol=3e-5)


def test_trivial_state_in_the_ordered_phase():
    j = jnp.array([0.05, 0.5, 0.9])
    state = ec.fixed_point(-0.3, j)
    assert state.converged.all()
    np.testing.assert_allclose(state.q0, 0, atol=1e-6)
    np.testing.assert_allclose(ec.chi(jnp.zeros(3), j), j**2, rtol=1e-5)


def test_edge_is_one_up_to_equal_j0_and_j():
    np.testing.assert_array_equal(ec.edge_of_chaos(jnp.linspace(-1, 1, 7)), np.ones(7))


@pytest.mark.parametrize("ratio", [1.05, 1.3, 1.7, 2.0])
def test_edge_bends_as_scipy_finds(ratio):
    def excess(j):
        return reference_chi(ratio * j, j, reference_state(ratio * j, j)) - 1

    expected = brentq(excess, 1.0 + 1e-3, 30.0, xtol=1e-9)
    with jax.enable_x64(True):
        np.testing.assert_allclose(ec.edge_of_chaos(ratio), expected, atol=1e-6)


def test_edge_of_another_activation_is_refused():
    with pytest.raises(ValueError, match="activation = 'relu': the edge is known for 'tanh' so far"):
        ec.edge_of_chaos(0.0, "relu")
