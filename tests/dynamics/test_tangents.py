import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import edgechaos as ec
from edgechaos import data, training
from edgechaos.dynamics.tangents import push, random_tangent

KEY = jax.random.key(1)


def length(tangent):
    return float(jnp.sqrt(sum((leaf**2).sum() for leaf in jax.tree.leaves(tangent))))


def test_a_pytree_is_pushed_like_the_vector_of_its_leaves():
    kernel = ec.init_kernel(KEY, 6, j=2.0)
    x = jax.random.normal(KEY, (6,))
    tangent = random_tangent(KEY, x)
    whole = push(lambda x: jnp.tanh(x @ kernel), x, tangent)

    def split(vector):
        return {"a": vector[:2], "b": (vector[2:].reshape(2, 2),)}

    def joined(tree):
        return jnp.concatenate([tree["a"], tree["b"][0].ravel()])

    parts = push(lambda tree: split(jnp.tanh(joined(tree) @ kernel)), split(x), split(tangent))
    np.testing.assert_allclose(joined(parts.state), whole.state, rtol=1e-6)
    np.testing.assert_allclose(joined(parts.tangent), whole.tangent, rtol=1e-5)
    assert float(parts.growth) == pytest.approx(float(whole.growth), rel=1e-5)


def test_growth_is_that_of_a_matrix():
    matrix = np.random.default_rng(0).normal(size=(5, 5)).astype(np.float32)
    tangent = random_tangent(KEY, jnp.ones(5))
    pushed = push(lambda x: matrix @ x, jnp.ones(5), tangent)
    moved = matrix @ np.asarray(tangent)
    assert float(pushed.growth) == pytest.approx(np.log(np.linalg.norm(moved)), rel=1e-5)
    np.testing.assert_allclose(pushed.tangent, moved / np.linalg.norm(moved), rtol=1e-5)
    np.testing.assert_allclose(pushed.state, matrix.sum(1), rtol=1e-5)


@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_no_square_overflows(size):
    pushed = push(lambda x: size * x, jnp.ones(3), random_tangent(KEY, jnp.ones(3)))
    assert float(pushed.growth) == pytest.approx(np.log(size), rel=1e-5)
    assert length(pushed.tangent) == pytest.approx(1)


def test_a_tangent_that_vanishes():
    pushed = push(lambda x: 0 * x, jnp.ones(3), random_tangent(KEY, jnp.ones(3)))
    assert float(pushed.growth) == -np.inf
    assert length(pushed.tangent) == 0


def test_a_random_tangent_has_length_1_and_no_preferred_leaf():
    state = {"kernel": jnp.zeros((30, 30)), "bias": jnp.zeros(100)}
    tangent = random_tangent(KEY, state)
    assert length(tangent) == pytest.approx(1)
    # a tenth of the entries hold about a tenth of the squares
    assert length(tangent["bias"]) ** 2 == pytest.approx(0.1, abs=0.06)
    assert jax.tree.map(jnp.shape, tangent) == jax.tree.map(jnp.shape, state)


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("eta", [0.05, 0.16])
def test_twin_runs_on_the_digits_grow_apart_like_the_tangent(eta):
    """Twins that see the same minibatches and start 1e-4 apart, relative to the weights and velocities."""
    dataset, spec = jax.device_put(data.load("digits")), training.Spec(10, 32)
    numbers = training.Hyperparameters(eta, 0.5)
    state = training.init_state(KEY, spec, 64)
    wide = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), (state.params, state.optimizer_state))
    state = dataclasses.replace(state, params=wide[0], optimizer_state=wide[1])
    tangent = random_tangent(jax.random.key(5), wide)
    size = 1e-4 * length(wide)
    one, other = wide, jax.tree.map(lambda leaf, change: leaf + size * change, wide, tangent)
    total, apart = [0.0], [size]
    for epoch in range(6):
        advance = training.epoch_map(jnp.asarray(epoch), KEY, numbers, dataset, spec)
        pushed = push(advance, one, tangent)
        one, tangent, other = pushed.state, pushed.tangent, advance(other)
        total.append(total[-1] + float(pushed.growth))
        apart.append(length(jax.tree.map(jnp.subtract, other, one)))
    np.testing.assert_allclose(np.log(np.array(apart) / size), total, atol=0.005)
    assert np.ptp(total) > 0.2  # there is growth to agree on


def test_the_map_of_an_epoch_is_that_epoch(small_dataset):
    spec, numbers = training.Spec(3, 16), training.Hyperparameters(0.1, 0.5)
    state = training.init_state(KEY, spec, 12)
    for epoch in range(2):
        advance = training.epoch_map(jnp.asarray(epoch), KEY, numbers, small_dataset, spec)
        params, optimizer_state = advance((state.params, state.optimizer_state))
        state, _ = training.train_epoch(state, KEY, numbers, small_dataset, spec)
        jax.tree.map(np.testing.assert_array_equal, params, state.params)
        jax.tree.map(np.testing.assert_array_equal, optimizer_state, state.optimizer_state)
