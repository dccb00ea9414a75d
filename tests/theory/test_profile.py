import jax
import jax.numpy as jnp
import numpy as np
import pytest

import edgechaos as ec
from edgechaos.theory.profile import profile_state


@pytest.mark.parametrize("j", [0.8, 1.3, 3.0])
def test_equal_norms_are_the_plain_theory(j):
    state, plain = profile_state(jnp.full(5, j**2), jnp.full(5, j**2)), ec.fixed_point(0.0, j)
    np.testing.assert_allclose(
        [state.gain, state.q0, state.chi], [j**2, plain.q0, ec.chi(0.0, j)], rtol=1e-4, atol=1e-6
    )


def test_state_and_growth_are_those_of_a_large_network(double):
    """A quenched network of 1,500 units in chaos, by a float64 loop: <x^2> over time, and growth of many tangents."""
    size, rng = 1500, np.random.default_rng(0)
    inputs, outputs = np.exp(np.array([[0.3], [1.3]]) * rng.standard_normal((2, size)))
    inputs, outputs = (3.0 * one / one.mean() for one in (inputs, outputs))
    kernel = np.sqrt(np.outer(inputs, outputs) / inputs.sum()) * rng.standard_normal((size, size))
    x, tangents = rng.standard_normal((2, 4, size))
    squares, growth = [], []
    for step in range(140):
        x, tangents = np.tanh(x @ kernel), tangents @ kernel
        tangents = (1 - x**2) * tangents
        norms = np.linalg.norm(tangents, axis=1, keepdims=True)
        tangents = tangents / norms
        if step >= 60:
            squares.append((x**2).mean())
            growth.append(np.log(norms).mean())
    state = profile_state(jnp.asarray(inputs), jnp.asarray(outputs))
    assert float(state.q0) == pytest.approx(np.mean(squares), rel=0.03)
    assert float(jnp.log(state.chi)) / 2 == pytest.approx(np.mean(growth), abs=0.012)
    plain = ec.fixed_point(0.0, 3.0**0.5)
    assert float(state.q0) < 0.6 * float(plain.q0)  # what the norms take
    assert float(state.chi) < float(ec.chi(0.0, 3.0**0.5)) - 0.01


def test_gain_alone_tells_the_edge():
    norms = jnp.array([0.5, 1.0, 4.0])
    norms = norms * norms.sum() / (norms**2).sum()  # gain 1
    assert float(profile_state(0.98 * norms, 0.98 * norms).q0) == 0
    above = profile_state(1.05 * norms, 1.05 * norms)
    assert float(above.q0) > 0
    np.testing.assert_allclose(above.gain, 1.05, rtol=1e-6)


def test_several_profiles_at_once():
    norms = jnp.stack([jnp.full(4, 2.0), jnp.full(4, 3.0)])
    np.testing.assert_allclose(jax.vmap(profile_state)(norms, norms).chi, ec.chi(0.0, norms[:, 0] ** 0.5), rtol=1e-4)
