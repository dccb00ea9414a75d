import jax
import jax.numpy as jnp
import numpy as np

import edgechaos as ec
from edgechaos.dynamics.diagram import draw_disorder
from edgechaos.dynamics.finite_size import measure_draw, measure_draws

KEYS = jax.random.split(jax.random.key(2), 3)
J = jnp.array([0.6, 1.0, 4.0])


def test_ordered_exponent_is_that_of_the_spectrum():
    """At rest the exponent is ln J plus the logarithm of the spectral radius."""
    found = measure_draws(KEYS, J, 40, 600, 300)
    radius = [np.abs(np.linalg.eigvals(np.asarray(draw_disorder(key, 40).couplings))).max() for key in KEYS]
    np.testing.assert_allclose(found.exponent[:, 0], np.log(0.6 * np.array(radius)), atol=0.02)


def test_each_draw_and_place_is_what_it_is_alone():
    together, alone = measure_draws(KEYS, J, 40, 200, 100), measure_draw(KEYS[1], J[2:], 40, 200, 100)
    np.testing.assert_allclose(together.early_distance[1, 2:], alone.early_distance, rtol=0.3)
    np.testing.assert_allclose(together.exponent[1, 2:], alone.exponent, atol=0.05)
    assert float(together.exponent[0, 2]) != float(together.exponent[1, 2])


def test_distances_agree_with_the_diagram():
    """Chaos far from the edge: the distance of theory; order: nothing is left."""
    found = measure_draw(KEYS[0], J, 300, 300, 100)
    np.testing.assert_allclose(found.distance[2], ec.predicted_distance(0.0, 4.0), rtol=0.1)
    assert found.distance[0] < 1e-6
    assert found.early_distance[0] < 1e-3
    assert found.early_distance[2] > 1e3
