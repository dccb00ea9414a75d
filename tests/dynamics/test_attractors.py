import jax
import jax.numpy as jnp
import numpy as np
import pytest

from edgechaos.dynamics.attractors import KINDS, attractor

KEY = jax.random.key(0)


def rotation(angle):
    """A turn of the plane, squeezed onto the unit circle."""
    turn = jnp.array([[jnp.cos(angle), -jnp.sin(angle)], [jnp.sin(angle), jnp.cos(angle)]])
    return lambda x: turn @ x / jnp.linalg.norm(x)


@pytest.mark.parametrize(
    ("step", "kind"),
    [
        (lambda x: jnp.tanh(x / 2), "fixed"),
        (lambda x: jnp.tanh(2 * x), "fixed"),
        (rotation(2 * jnp.pi / 7), "cycle"),
        (rotation(1.0), "torus"),
        (lambda x: 4 * x * (1 - x), "chaos"),
    ],
)
def test_kinds_are_told_apart(step, kind):
    x0 = jax.random.uniform(KEY, (3, 2), minval=0.1, maxval=0.9)
    found = attractor(step, x0, KEY, 640, 640)
    assert [KINDS[index] for index in found.kind] == 3 * [kind]


def test_exponent_is_that_of_the_map():
    found = attractor(lambda x: 4 * x * (1 - x), jnp.full((1, 1), 0.3), KEY, 20_000, 0)
    np.testing.assert_allclose(found.exponent, np.log(2), atol=0.02)
