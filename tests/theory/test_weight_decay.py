"""The translator between weight-decay conventions, checked by running the real optimizers without a gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import edgechaos as ec

ETA, ALPHA, LAMBDA = 0.05, 0.8, 1e-3
SETTING = ec.Setting(ETA, ALPHA, 32)
ADAM = ec.Setting(0.01, 0.9, 64)  # a momentum that the decay does not pass through
STEPS = 300


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


def by_torch(gradient, weight, decay):
    """torch.optim.SGD as its documentation has it: the decay joins the gradient before the buffer."""
    buffer = 0.0
    for step in range(STEPS):
        buffer = ALPHA * buffer + gradient(weight, step) + decay * weight
        weight = weight - ETA * buffer
    return weight


def by_keras(gradient, weight, decay):
    """keras.optimizers.SGD with kernel_regularizer l2, whose loss has l2 sum(w^2) more."""
    velocity = 0.0
    for step in range(STEPS):
        velocity = ALPHA * velocity - ETA * (gradient(weight, step) + 2 * decay * weight)
        weight = weight + velocity
    return weight


def by_adamw(gradient, weight, decay):
    """torch.optim.AdamW without its gradient's part, which is the same with and without decay."""
    del gradient
    for _ in range(STEPS // 2):
        weight = weight * (1 - ADAM.learning_rate * decay)
    return weight


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize(("convention", "written_out"), [("torch_sgd", by_torch), ("keras_l2", by_keras)])
def test_other_frameworks_written_out_train_as_eq_6_does(convention, written_out):
    """With a gradient that pulls towards 0.3 and shakes; the same weight after every number of steps."""
    gradient = lambda weight, step: 0.2 * (weight - 0.3) + 0.1 * np.sin(step)  # noqa: E731
    optimizer, params = ec.sgd(ETA, ALPHA, LAMBDA), {"kernel": jnp.ones((1, 1))}
    state = optimizer.init(params)
    for step in range(STEPS):
        updates, state = optimizer.update(jax.tree.map(lambda w: gradient(w, step), params), state, params)  # noqa: B023
        params = optax.apply_updates(params, updates)
    decay = float(ec.convert_weight_decay(LAMBDA, "paper", convention, SETTING))
    assert written_out(gradient, 1.0, decay) == pytest.approx(float(params["kernel"][0, 0]), rel=1e-9)


def test_adamw_written_out_leaves_as_much_as_the_papers_decay():
    """To second order in delta; half as many steps, at twice the batch size."""
    decay = float(ec.convert_weight_decay(LAMBDA, "paper", "adamw", SETTING, ADAM))
    expected = np.exp(-STEPS * 2 * ETA * LAMBDA / (1 - ALPHA))
    assert by_adamw(None, 1.0, decay) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("target", ["paper", "keras_l2", "torch_sgd", "optax_decayed_weights", "adamw"])
@pytest.mark.parametrize("source", ["paper", "torch_sgd", "adamw"])
def test_there_and_back(source, target):
    there = ec.convert_weight_decay(LAMBDA, source, target, SETTING, ADAM)
    assert ec.convert_weight_decay(there, target, source, ADAM, SETTING) == pytest.approx(LAMBDA)


def test_unknown_convention():
    with pytest.raises(ValueError, match=r"convention = 'adam': must be one of paper, keras_l2, torch_sgd"):
        ec.convert_weight_decay(LAMBDA, "paper", "adam", SETTING)
