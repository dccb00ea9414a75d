"""Which kernels are measured and decayed by hold_at_edge."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import edgechaos as ec
from edgechaos.training.held import find_state
from tests.problems import two_layers


def removed(optimizer, params, num_steps=50):
    """Share of each leaf that steps without a gradient have removed."""
    state, start = optimizer.init(params), params
    update = jax.jit(optimizer.update)
    for _ in range(num_steps):
        updates, state = update(jax.tree.map(jnp.zeros_like, params), state, params)
        params = optax.apply_updates(params, updates)
    return jax.tree.map(lambda old, new: float((1 - new / old).mean()), start, params), find_state(state)


def test_each_measured_kernel_has_its_own_decay_and_the_others_the_mean():
    shares, state = removed(ec.hold_at_edge(), two_layers())
    assert state.decay.shape == (2,)
    assert 0 < shares["first"]["kernel"] < shares["second"]["kernel"]
    # what is left after decays whose mean is taken step by step is the geometric mean of what they leave alone
    between = 1 - ((1 - shares["first"]["kernel"]) * (1 - shares["second"]["kernel"])) ** 0.5
    assert shares["last"]["kernel"] == pytest.approx(between, rel=0.01)
    assert shares["first"]["bias"] == shares["second"]["scale"] == 0


def test_decays_of_a_run_are_told_as_lambda():
    """delta (1 - alpha) / (2 eta) of the last decay, of the mean, and of the standard deviation by the mean square."""
    delta, mean, deviation = np.array([0.1, 0.3]), np.array([0.2, 0.25]), np.array([0.05, 0.0])
    state = ec.hold_at_edge().init(two_layers())
    numbers = {"decay": delta, "mean_decay": mean, "mean_square_decay": mean**2 + deviation**2}
    state = state._replace(**{name: jnp.asarray(values, jnp.float32) for name, values in numbers.items()})
    held = ec.held_weight_decay(state, 0.04, 0.5)
    np.testing.assert_allclose(held.weight_decay, delta * 0.5 / 0.08, rtol=1e-5)
    np.testing.assert_allclose(held.mean, mean * 0.5 / 0.08, rtol=1e-5)
    np.testing.assert_allclose(held.spread, deviation * 0.5 / 0.08, rtol=1e-4, atol=1e-3)


def test_shared_is_one_decay_for_all():
    shares, state = removed(ec.hold_at_edge(shared=True), two_layers())
    assert state.decay.shape == (1,)
    assert shares["first"]["kernel"] == pytest.approx(shares["second"]["kernel"], rel=1e-3)
    assert shares["last"]["kernel"] == pytest.approx(shares["second"]["kernel"], rel=1e-3)


def test_select_says_what_is_measured_and_decayed():
    def second(path):
        return path == "second/kernel"

    shares, state = removed(ec.hold_at_edge(select=second), two_layers())
    assert state.decay.shape == (1,)
    assert shares["second"]["kernel"] > 0
    assert shares["first"]["kernel"] == shares["last"]["kernel"] == 0
    shares, _ = removed(ec.hold_at_edge(select=(second, lambda path: path.startswith("last"))), two_layers())
    assert shares["last"]["kernel"] > 0
    assert shares["second"]["kernel"] == 0


def test_convolutions_are_measured_by_their_fan_in():
    kernel = jax.random.normal(jax.random.key(0), (3, 3, 8, 16))
    optimizer = ec.hold_at_edge(select=lambda path: True)
    _, state = optimizer.update({"conv": 0 * kernel}, optimizer.init({"conv": kernel}), {"conv": kernel})
    assert state.j_squared[0] == pytest.approx(72 * float(kernel.var()), rel=1e-5)


def test_inside_multi_transform_and_multi_steps():
    params = two_layers()
    labels = {"first": "held", "second": "free", "last": "free"}
    optimizer = optax.multi_transform({"held": ec.hold_at_edge(), "free": optax.identity()}, labels)
    shares, state = removed(optimizer, params)
    assert shares["first"]["kernel"] > 0
    assert shares["second"]["kernel"] == shares["last"]["kernel"] == 0
    assert state.decay.shape == (1,)
    every = optax.MultiSteps(optax.chain(optax.sgd(0.1), ec.hold_at_edge()), 5)
    shares, state = removed(every, params)
    assert shares["first"]["kernel"] > 0
    assert state.num_measurements == 10  # at each inner step, as the kernels are far above the target
    below = jax.tree.map(lambda leaf: 0.1 * leaf, params)
    _, state = removed(every, below, 500)
    assert state.num_measurements == 8  # of 100 inner steps: 0, 2, 6, 14, 30, 50, 70, 90, as nothing grows


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ec.hold_at_edge(0.0), "target = 0.0: must be > 0"),
        (lambda: ec.hold_at_edge(-1.0), "target = -1.0: must be > 0"),
        (lambda: ec.hold_at_edge(float("nan")), "target = nan: must be > 0"),
        (lambda: ec.hold_at_edge().init({"a": {"kernel": jnp.ones((3, 4))}}), r"'a/kernel' \(3, 4\)"),
        (lambda: ec.hold_at_edge().init({"bias": jnp.ones(3)}), "no square kernel to measure; .*: none"),
        (lambda: ec.hold_at_edge().init({}), "no square kernel to measure"),
        (
            lambda: ec.hold_at_edge(select=lambda path: path == "x").init(two_layers()),
            r"select matches no kernel; .*'first/kernel' \(20, 20\), 'last/kernel' \(20, 3\)",
        ),
        (lambda: ec.hold_at_edge().init({"k": jnp.ones((3, 3), int)}), r"'k' \(3, 3\) int32: must be real numbers"),
        (lambda: ec.hold_at_edge().init({"k": jnp.ones((0, 0))}), r"'k' \(0, 0\) float32: must be real numbers"),
        (
            lambda: ec.hold_at_edge().update({}, ec.hold_at_edge().init(two_layers()), None),
            "needs the parameters",
        ),
        (lambda: ec.held_weight_decay(optax.sgd(0.1).init(two_layers()), 0.1), "there are 0"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
