import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import edgechaos as ec
from edgechaos import data, training
from edgechaos.runs.config import TRAINING_FIELDS
from edgechaos.training import constraints

PARAMS = {"hidden": {"kernel": ec.init_kernel(jax.random.key(0), 40, j=1.3)}, "output": {"kernel": jnp.ones((40, 3))}}


def after(optimizer, num_steps, growth=0.0):
    """Kernels after steps whose updates are noise that makes J^2 grow."""

    def step(carry, key):
        params, state = carry
        noise = jax.tree.map(lambda leaf: (growth / 40) ** 0.5 * jax.random.normal(key, leaf.shape), params)
        updates, state = optimizer.update(noise, state, params)
        return (optax.apply_updates(params, updates), state), ec.order_parameters(params["hidden"]["kernel"]).j_squared

    return jax.lax.scan(step, (PARAMS, optimizer.init(PARAMS)), jax.random.split(jax.random.key(1), num_steps))


def test_hard_sphere_keeps_the_norm():
    (params, _), _ = after(constraints.hard_sphere(), 20, growth=0.01)
    assert jnp.linalg.norm(params["hidden"]["kernel"]) == pytest.approx(40**0.5, rel=1e-5)


@pytest.mark.parametrize("name", ["hard_sphere", "norm_control", "constrained_parameters"])
def test_other_kernels_are_left_alone(name):
    optimizer = training.CONSTRAINTS[name](0.1)
    updates, _ = optimizer.update(jax.tree.map(jnp.zeros_like, PARAMS), optimizer.init(PARAMS), PARAMS)
    np.testing.assert_array_equal(updates["output"]["kernel"], 0)
    assert jnp.abs(updates["hidden"]["kernel"]).max() > 0


def test_norm_control_goes_to_the_norm_from_both_sides():
    for scale in (0.5, 2.0):
        kernel = scale * PARAMS["hidden"]["kernel"]
        optimizer = constraints.norm_control(0.05)
        for _ in range(300):
            update, _ = optimizer.update(0 * kernel, optimizer.init(kernel), kernel)
            kernel = kernel + update
        assert jnp.linalg.norm(kernel) == pytest.approx(40**0.5, rel=1e-4)


def test_one_step_of_constrained_parameters_is_that_of_its_formula():
    kernel = np.asarray(PARAMS["hidden"]["kernel"], np.float64)
    multiplier = 2.0 * (kernel.std() - 1 / 40**0.5)
    expected = -multiplier * (kernel - kernel.mean()) / (1600 * kernel.std())
    optimizer = constraints.constrained_parameters(rate=2.0)
    updates, state = optimizer.update(jax.tree.map(jnp.zeros_like, PARAMS), optimizer.init(PARAMS), PARAMS)
    np.testing.assert_allclose(updates["hidden"]["kernel"], expected, rtol=1e-4, atol=1e-9)
    assert state.multiplier["hidden"]["kernel"] == pytest.approx(multiplier, rel=1e-5)
    gradient = jax.grad(lambda w: w.std())(PARAMS["hidden"]["kernel"])
    np.testing.assert_allclose(updates["hidden"]["kernel"], -multiplier * gradient, rtol=1e-4, atol=1e-9)


def test_constrained_parameters_bound_growth():
    _, j_squared = after(constraints.constrained_parameters(), 20_000, growth=1e-3)
    assert j_squared[-5000:].mean() == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("constraint", training.CONSTRAINTS)
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_every_constraint_trains(constraint, optimizer):
    dataset = data.load("digits")
    spec = training.Spec(10, 32, init_j=1.0, optimizer=optimizer, constraint=constraint)
    numbers = training.Hyperparameters(0.002 if optimizer == "adam" else 0.08)
    _, history = jax.jit(training.make_train(dataset, spec, 6))(jax.random.key(0), numbers)
    assert history.test_accuracy[-1] > 0.85
    assert (history.decay[-1] > 0) == (constraint == "hold_at_edge")
    if constraint in {"hold_at_edge", "hard_sphere"}:
        np.testing.assert_allclose(history.j_squared[4:], 1, atol=0.02)  # J^2 of N = 64 starts 2 % off
    assert TRAINING_FIELDS["constraint"].allows(constraint)


@pytest.mark.parametrize("mode", ["coupled", "decoupled"])
def test_adam_with_decay_is_optax_adam_beside_it(mode):
    ours, decay = ec.adam(0.01, 0.1, mode), 2 * 0.1
    mask = jax.tree.map(lambda leaf: leaf.ndim == 2, PARAMS)
    theirs = (
        optax.chain(optax.add_decayed_weights(decay, mask), optax.adam(0.01))
        if mode == "coupled"
        else optax.adamw(0.01, weight_decay=decay, mask=mask)
    )
    gradient = jax.tree.map(jnp.cos, PARAMS)
    states = [ours.init(PARAMS), theirs.init(PARAMS)]
    for _ in range(3):
        (one, states[0]), (other, states[1]) = (
            optimizer.update(gradient, state, PARAMS) for optimizer, state in zip((ours, theirs), states, strict=True)
        )
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)


def test_unknown_mode_of_adam():
    with pytest.raises(ValueError, match="mode = 'l2': must be one of coupled, decoupled"):
        ec.adam(0.1, mode="l2")
