"""What the law of hold_at_edge guarantees: 3 % from the first arrival on, 1 % once growth has settled."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import edgechaos as ec
from edgechaos import data, training
from edgechaos.training import epochs, hold
from edgechaos.training.held import find_state

SEEDS = jax.random.split(jax.random.key(0), 5)


@functools.cache
def digits():
    return jax.device_put(data.load("digits"))


def trained(base, num_steps, init_j=1.0, batch_size=32, lookahead=False):
    """J^2 after every step of training on the digits, five seeds [seeds, steps]."""
    optimizer = optax.chain(base, ec.hold_at_edge())
    if lookahead:
        optimizer = optax.lookahead(optimizer, 5, 0.5)
    spec = training.Spec(10, batch_size, init_j=init_j)
    images, labels = digits().train_images, digits().train_labels

    def fast(params):
        return params.fast if lookahead else params

    def loss(params, chosen):
        return epochs._batch_loss(params, images[chosen], labels[chosen], spec)[0]

    def step(carry, key):
        params, state = carry
        chosen = jax.random.randint(key, (batch_size,), 0, len(labels))
        updates, state = optimizer.update(jax.grad(loss)(fast(params), chosen), state, params)
        params = optax.apply_updates(params, updates)
        return (params, state), ec.order_parameters(fast(params)["hidden"]["kernel"]).j_squared

    def run(key):
        params = training.init_state(key, spec, 64).params
        params = optax.LookaheadParams.init_synced(params) if lookahead else params
        return jax.lax.scan(step, (params, optimizer.init(params)), jax.random.split(key, num_steps))[1]

    return np.asarray(jax.jit(jax.vmap(run))(SEEDS))


def off_target(j_squared, settled):
    """Largest |J^2 - 1| of each seed from its arrival on, and from the step `settled` on."""
    arrival = [int(np.argmax(one >= 1)) for one in j_squared]
    assert all(one[first] >= 1 for one, first in zip(j_squared, arrival, strict=True))
    after = [np.abs(one[first:] - 1).max() for one, first in zip(j_squared, arrival, strict=True)]
    return max(after), np.abs(j_squared[:, settled:] - 1).max()


def warm_up(rate, steps):
    return optax.linear_schedule(0.0, rate, steps)


def restarts(rate, period):
    return lambda count: rate * 0.5 * (1 + jnp.cos(jnp.pi * (count % period) / period))


def frozen(rate):
    return lambda count: jnp.where(count < 500, 0.0, rate)


def jump(rate):
    return lambda count: jnp.where(count < 1500, rate, 10 * rate)


# optimizer, and the step from which on growth has settled, at least 15 time constants after it last changed by orders
TRAINING = {
    "Adam": (optax.adam(1e-3), 600),
    "Adam, warm-up of 100": (optax.adam(warm_up(3e-3, 100)), 600),
    "Adam, warm-up of 1,000": (optax.adam(warm_up(3e-3, 1000)), 1500),
    "AdamW without decay, warm-up of 200": (optax.adamw(warm_up(3e-3, 200), weight_decay=0.0), 800),
    "SGD with momentum, warm-up of 100": (optax.sgd(warm_up(0.1, 100), momentum=0.9), 600),
    "SGD with momentum, warm-up of 1,000": (optax.sgd(warm_up(0.1, 1000), momentum=0.9), 1500),
    "SGD, cosine with restarts": (optax.sgd(restarts(0.05, 500), momentum=0.9), None),
    "fast SGD, cosine with restarts": (optax.sgd(restarts(0.2, 500), momentum=0.9), None),
    "Adam, cosine with restarts": (optax.adam(restarts(3e-3, 500)), None),
    "Adam, frozen": (optax.adam(frozen(3e-3)), 1000),
    "SGD, frozen": (optax.sgd(frozen(0.1), momentum=0.9), 1000),
    "Adam, jump": (optax.adam(jump(3e-4)), 2000),
    "Adam, jump to 0.01": (optax.adam(jump(1e-3)), 2000),
    "SGD, jump": (optax.sgd(jump(0.005), momentum=0.9), 2000),
    "single samples": (optax.sgd(0.02, momentum=0.5), 1000),
}


@pytest.mark.parametrize("name", TRAINING)
def test_training_that_starts_at_the_edge(name):
    base, settled = TRAINING[name]
    j_squared = trained(base, 2500, batch_size=1 if name == "single samples" else 32)
    after, late = off_target(j_squared, settled or -1)
    assert after <= 0.03
    assert late <= 0.01


@pytest.mark.parametrize("base", [optax.adam(1e-3), optax.adam(3e-3), optax.sgd(0.05, momentum=0.9)])
def test_lookahead(base):
    """It undoes half of five steps, the hold's part included."""
    after, late = off_target(trained(base, 2500, lookahead=True), 600)
    assert after <= 0.03
    assert late <= 0.01


def driven(growth, noise=0.0, width=64, optimizer=None):
    """J^2 after every step where an update along the weights makes it grow by given steps and their noise."""
    optimizer = optimizer or ec.hold_at_edge()

    def run(key):
        kernel = ec.init_kernel(key, width)
        kernel = (kernel - kernel.mean()) / kernel.std() / width**0.5  # J0 = 0, J = 1
        params = {"kernel": kernel}

        def step(carry, drive):
            params, state = carry
            now = ec.order_parameters(params["kernel"]).j_squared
            change = drive[0] + noise * jax.random.normal(drive[1])
            update = {"kernel": (jnp.sqrt(jnp.maximum(1 + change / now, 0)) - 1) * params["kernel"]}
            updates, state = optimizer.update(update, state, params)
            params = optax.apply_updates(params, updates)
            held = find_state(state)
            return (params, state), (ec.order_parameters(params["kernel"]).j_squared, held.num_measurements)

        drive = jnp.asarray(growth, jnp.float32), jax.random.split(key, len(growth))
        return jax.lax.scan(step, (params, optimizer.init(params)), drive)[1]

    return jax.tree.map(np.asarray, jax.jit(jax.vmap(run))(SEEDS))


STEP = np.arange(5000)
GROWTH = {
    "none, then some": np.where(STEP < 1, 0, 1e-2),
    "frozen, then much": np.where(STEP < 3000, 0, 2e-2),
    "jump by 10": np.where(STEP < 3000, 1e-3, 1e-2),
    "jump by 100": np.where(STEP < 3000, 1e-4, 1e-2),
    "fall by 100": np.where(STEP < 3000, 1e-2, 1e-4),
    "fall to nothing": np.where(STEP < 3000, 1e-3, 0),
    "the steepest start": 0.015 * np.clip(STEP - 3000, 0, 4),
    "much, then none": np.where(STEP < 3000, 2e-2, 0),
    "warm-up": 1e-3 * np.minimum(STEP / 100, 1),
    "square wave, period 50": 1e-4 + np.where(STEP // 25 % 2, -5e-4, 5e-4),
    "square wave, period 500": np.where(STEP // 250 % 2, 1e-4, 1e-3),
    "square wave, period 2,000": np.where(STEP // 1000 % 2, 1e-5, 5e-3),
}


@pytest.mark.parametrize("name", GROWTH)
def test_growth_that_changes_by_orders(name):
    """Within the bounds that docs/THEORY.md states."""
    j_squared, _ = driven(GROWTH[name])
    assert np.abs(j_squared - 1).max() <= 0.03
    if name != "much, then none":  # which leaves J^2 where it fell to
        assert np.abs(j_squared[:, -1] - 1).max() <= 0.011  # the square wave itself takes 1 % in a half period


@pytest.mark.parametrize(("growth", "noise"), [(1e-4, 5e-4), (1e-3, 2e-3), (1e-5, 1e-4), (1e-4, 2e-3), (1e-3, 6e-3)])
def test_noise_of_many_times_the_growth(growth, noise):
    """Above the target within 3 %. Below it nothing pushes but the growth: with s = noise^2 / (2 growth) J^2 is below
    by more than x at a share exp(-x / s) of all times, also under the best one-sided law; here x = 6 s.
    """
    j_squared, _ = driven(np.full(20_000, growth), noise)
    below = noise**2 / (2 * growth)
    assert j_squared.max() <= 1.03
    assert (j_squared < 1 - 6 * below - 0.01).mean() < 0.02
    assert np.median(j_squared) == pytest.approx(1 - np.log(2) * below, abs=0.006)  # no bias of the estimate


def test_noise_without_growth_moves_the_target_by_nothing_if_two_sided():
    j_squared, _ = driven(np.full(20_000, 1e-4), 1e-3, optimizer=ec.hold_at_edge(two_sided=True))
    assert np.abs(j_squared[:, 1000:] - 1).max() < 0.02
    assert j_squared[:, 1000:].mean() == pytest.approx(1, abs=0.002)


def test_one_jump_is_no_growth():
    """J^2 is 20 % up in one step, as after weights were loaded: it is brought down, and not beyond."""
    j_squared, _ = driven(np.where(STEP == 2000, 0.2, 1e-4))
    after = j_squared[:, 2001:]
    assert np.abs(after[:, 1:] - 1).max() <= 0.03
    assert np.abs(after[:, 1500:] - 1).max() <= 0.01


def test_steady_growth_is_measured_no_more_often_than_needed():
    for growth, most in ((0.0, 1 / 19), (1e-5, 1 / 19), (1e-4, 1 / 12), (1e-3, 1 / 5)):
        _, count = driven(np.full(5000, growth), width=200)
        assert (count[:, -1] - count[:, 2000]).max() <= 3000 * most + 1


def test_a_large_kernel_is_watched_by_a_sample():
    """Of 300 x 300 entries 60 x 64 are looked at in every step; growth from nothing is seen there."""
    j_squared, count = driven(np.where(STEP < 3000, 0, 1e-2), width=300)
    assert np.abs(j_squared - 1).max() <= 0.03
    assert (count[:, 2990] < 170).all()


def test_arrival_from_far_above_takes_a_few_steps_and_from_below_none_of_the_growth():
    params = {"kernel": ec.init_kernel(jax.random.key(0), 100, j=3.0)}
    optimizer = ec.hold_at_edge()
    state = optimizer.init(params)
    for _ in range(12):  # 9 x 0.81^11 < 1
        updates, state = jax.jit(optimizer.update)(jax.tree.map(jnp.zeros_like, params), state, params)
        params = optax.apply_updates(params, updates)
        assert float(find_state(state).decay[0]) <= 0.1 + 1e-6
    assert float(ec.order_parameters(params["kernel"]).j_squared) == pytest.approx(1, abs=hold._LIMIT + 1e-3)
