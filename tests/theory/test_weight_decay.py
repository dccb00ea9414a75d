"""The translator between weight-decay conventions, checked by running the real optimizers without a gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import edgechaos as ec

ETA, ALPHA, LAMBDA = 0.05, 0.8, 1e-3
SETTING = ec.Setting(ETA, ALPHA, 32)
ADAM = ec.Setting(0.01, batch_size=64)


def remaining(optimizer, num_steps):
    """What is left of a weight of 1 after steps with a zero gradient, in float64."""
    params = {"kernel": jnp.ones((1, 1))}
    zero = jax.tree.map(jnp.zeros_like, params)

    def step(_, carry):
        params, state = carry
        updates, state = optimizer.update(zero, state, params)
        return optax.apply_updates(params, updates), state

    return float(jax.lax.fori_loop(0, num_steps, step, (params, optimizer.init(params)))[0]["kernel"][0, 0])


def optimizer_of(convention):
    """The real optimizer with the converted decay, and how many of its steps make as many epochs as 4,000 at B = 32."""
    other = ADAM if convention == "adamw" else None
    value = float(ec.convert_weight_decay(LAMBDA, "paper", convention, SETTING, other))
    if convention == "adamw":
        return optax.adamw(ADAM.learning_rate, weight_decay=value), 2000
    if convention == "paper":
        return ec.sgd(ETA, ALPHA, value), 4000
    return optax.chain(optax.add_decayed_weights(value), optax.sgd(ETA, ALPHA)), 4000


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("convention", ["paper", "optax_decayed_weights", "torch_sgd", "adamw"])
def test_equal_epochs_leave_equal_weights(convention):
    optimizer, steps = optimizer_of(convention)
    # delta = 5e-4 per step: the exponent errs by delta / 2 to second order, and momentum needs 1 / (1 - alpha) steps
    assert remaining(optimizer, steps) == pytest.approx(np.exp(-4000 * 2 * ETA * LAMBDA / (1 - ALPHA)), rel=5e-3)


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("convention", ["paper", "adamw"])
def test_half_life_in_epochs(convention):
    optimizer, steps = optimizer_of(convention)
    epochs = ec.half_life(2 * ETA * LAMBDA / (1 - ALPHA), 32, 32 * 100)  # an epoch has 100 steps at B = 32
    per_epoch = steps / 40
    assert remaining(optimizer, round(epochs * per_epoch)) == pytest.approx(0.5, rel=5e-3)


def test_keras_has_the_papers_convention():
    assert ec.convert_weight_decay(LAMBDA, "paper", "keras_l2", SETTING) == pytest.approx(LAMBDA)


@pytest.mark.parametrize("target", ["paper", "keras_l2", "torch_sgd", "optax_decayed_weights", "adamw"])
@pytest.mark.parametrize("source", ["paper", "torch_sgd", "adamw"])
def test_there_and_back(source, target):
    there = ec.convert_weight_decay(LAMBDA, source, target, SETTING, ADAM)
    assert ec.convert_weight_decay(there, target, source, ADAM, SETTING) == pytest.approx(LAMBDA)


def test_unknown_convention():
    with pytest.raises(ValueError, match=r"convention = 'adam': must be one of paper, keras_l2, torch_sgd"):
        ec.convert_weight_decay(LAMBDA, "paper", "adam", SETTING)
