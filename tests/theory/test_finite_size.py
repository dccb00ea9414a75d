import jax.numpy as jnp
import numpy as np
import pytest

import edgechaos as ec
from edgechaos.theory import finite_size as theory


def test_growth_of_an_infinite_network_settles_at_the_exponent():
    longer, shorter = (theory.logarithmic_growth(1.5, jnp.inf, steps) for steps in (300, 200))
    assert float(longer - shorter) / 100 == pytest.approx(float(ec.predicted_exponent(0.0, 1.5)), rel=1e-3)


def test_first_iterations_are_those_of_a_large_network():
    """A float64 loop of 2,000 units at J = 1.1: the difference shrinks at first, by as much as the theory says."""
    rng, size = np.random.default_rng(1), 2000
    couplings = 1.1 * rng.standard_normal((size, size)) / size**0.5
    x, apart = rng.standard_normal((2, size))
    start = np.linalg.norm(apart)
    for _ in range(12):
        h = couplings @ x
        x, apart = np.tanh(h), (1 - np.tanh(h) ** 2) * (couplings @ apart)
    measured = np.log(np.linalg.norm(apart) / start)
    assert float(theory.logarithmic_growth(1.1, jnp.inf, 12)) == pytest.approx(measured, abs=0.1)
    assert measured < -0.5


def test_watched_boundary_has_the_two_causes_as_limits():
    long, wide = float(theory.watched_j(100, 4000)), float(theory.watched_j(jnp.inf, 500))
    assert long == pytest.approx(float(theory.critical_j(100)), abs=0.02)
    assert 1.0 < wide < float(theory.watched_j(1000, 500))
    assert float(theory.watched_j(jnp.inf, 2000)) < wide


def test_factor_is_zero_at_the_edge_and_one_far_beyond():
    edge = theory.critical_j(400)
    np.testing.assert_allclose(theory.finite_size_factor(jnp.array([0.5, 1.1, 1e3]), 400), [1, 0, 1], atol=1e-3)
    assert float(theory.finite_size_factor(edge, 400)) == pytest.approx(0, abs=1e-5)
    assert float(theory.finite_size_factor(1 + 2 * (edge - 1), 400)) == pytest.approx(0.75, abs=1e-3)


def test_band_closes_as_the_network_grows():
    bands = [theory.band(size) for size in (100, 10_000, 10**8)]
    assert all(low <= 1 < high for low, high in bands)
    assert bands[0][1] - bands[0][0] > bands[1][1] - bands[1][0] > bands[2][1] - bands[2][0]
    assert theory.band(10_000, 500)[1] > theory.band(10_000)[1]


def test_radius_is_that_of_random_matrices():
    radii = [np.abs(np.linalg.eigvals(np.random.default_rng(s).standard_normal((300, 300)))).max() for s in range(8)]
    assert float(theory.spectral_radius(300)) == pytest.approx(np.mean(radii) / 300**0.5, abs=0.03)
