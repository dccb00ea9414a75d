import jax
import jax.numpy as jnp
import optax
import pytest

import edgechaos as ec
from tests.problems import two_layers

WARM_UP = optax.warmup_cosine_decay_schedule(0.0, 1e-3, 1000, 10_000)
NOISY = optax.add_noise(0.1, 0.5, jax.random.key(0))


@pytest.mark.parametrize(
    "optimizer",
    [
        optax.chain(optax.sgd(0.1, momentum=0.9), ec.hold_at_edge()),
        optax.chain(optax.adam(1e-3), ec.hold_at_edge(shared=True)),
        optax.chain(optax.adamw(1e-3, weight_decay=0.0), ec.hold_at_edge(2.0)),
    ],
)
def test_a_chain_in_order_passes(optimizer):
    ec.check_hold(optimizer, two_layers())
    ec.check_hold(optimizer, two_layers(jnp.bfloat16))


@pytest.mark.parametrize(
    "optimizer",
    [
        optax.chain(optax.sgd(0.1), ec.hold_at_edge(two_sided=True)),
        optax.chain(optax.sgd(0.1), ec.hold_at_edge(1e-8)),
        optax.chain(optax.sgd(0.1), optax.add_noise(0.1, 0.5, jax.random.key(0)), ec.hold_at_edge()),
        optax.MultiSteps(optax.chain(optax.adam(1e-3), ec.hold_at_edge()), 16),
        optax.apply_if_finite(optax.chain(optax.adam(1e-3), ec.hold_at_edge()), 5),
        optax.chain(optax.sgd(optax.linear_schedule(0, 0.1, 1000)), ec.hold_at_edge()),
    ],
    ids=["two-sided", "small target", "noise", "MultiSteps", "apply_if_finite", "warm-up"],
)
def test_what_is_no_decay_passes(optimizer):
    ec.check_hold(optimizer, two_layers())


def test_leaves_of_integers_and_without_entries_pass():
    params = {**two_layers(), "count": jnp.zeros((2, 2), jnp.int32), "none": jnp.zeros((0, 3))}
    ec.check_hold(optax.chain(optax.sgd(0.1), ec.hold_at_edge(select="*/kernel")), params)


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        (optax.chain(optax.adamw(1e-3), ec.hold_at_edge()), "weight decay of its own"),
        (optax.chain(ec.hold_at_edge(), optax.adamw(1e-3, weight_decay=0.1)), "weight decay of its own"),
        (optax.chain(ec.hold_at_edge(), optax.sgd(0.1)), "must come last"),
        (optax.chain(ec.hold_at_edge(), optax.adam(1e-3)), "must come last"),
        (optax.chain(optax.adamw(WARM_UP, weight_decay=0.1), ec.hold_at_edge()), "weight decay of its own"),
        (optax.chain(optax.adamw(1e-3), ec.hold_at_edge(two_sided=True)), "weight decay of its own"),
        (optax.MultiSteps(optax.chain(optax.adamw(1e-3), ec.hold_at_edge()), 5), "weight decay of its own"),
        (optax.chain(NOISY, optax.add_decayed_weights(-1e-3), ec.hold_at_edge()), "weight decay of its own"),
        (
            optax.MultiSteps(optax.chain(optax.sgd(0.1), ec.hold_at_edge()), 100),
            "not changed the weights within 64 steps",
        ),
        (optax.sgd(0.1), "there are 0"),
    ],
)
def test_a_chain_out_of_order_is_told(optimizer, message):
    with pytest.raises(ValueError, match=message):
        ec.check_hold(optimizer, two_layers())
