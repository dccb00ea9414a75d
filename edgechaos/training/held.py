"""The fixed weight decay that has the effect of a hold, and a check of the chain that contains it."""

from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jaxtyping import Array, Float

from edgechaos.errors import require, require_positive
from edgechaos.theory.weight_decay import weight_decay_of
from edgechaos.training.hold import HoldState
from edgechaos.training.measured import only_state

Optimizer: TypeAlias = optax.GradientTransformation | optax.MultiSteps

_STEPS = 64
_SMALL = (1e-3, 1e-5, 1e-7, 1e-9, 1e-12)  # J far below the target, whatever that is


@struct.dataclass
class HeldDecay:
    """The fixed weight decay with the same effect as a held run's, in the paper's convention (lambda of Eq. 6).

    Attributes:
      weight_decay: its value at the last measurement.
      mean: its mean over the last 16 time constants of the controller.
      spread: its standard deviation over the same time.
    """

    weight_decay: Float[Array, "*controllers"]
    mean: Float[Array, "*controllers"]
    spread: Float[Array, "*controllers"]


def held_weight_decay(
    state: optax.OptState,
    learning_rate: float | Array | Callable,
    momentum: float | Array = 0.0,
    group: str | None = None,
) -> HeldDecay:
    """lambda = delta (1 - alpha) / (2 eta) of a held run, for each of its controllers.

    Args:
      state: state of hold_at_edge, or of a chain that contains it once; also one that was read from a checkpoint.
      learning_rate: eta > 0 of the optimizer; for a schedule, its present value.
      momentum: alpha in [0, 1); 0 for Adam and other optimizers whose decay does not pass through a momentum.
      group: if a chain has several holds, a part of the path to the one that is meant, such as its label in
        optax.partition.

    Raises:
      ValueError: there is no state of hold_at_edge, or more than one; or a number out of range.
    """
    if callable(learning_rate):
        raise ValueError(
            "learning_rate: must be a number; for a schedule give its present value, such as schedule(step)"
        )
    require_positive("learning_rate", learning_rate)
    require("momentum", momentum, lambda entries: (entries >= 0) & (entries < 1), "in [0, 1)")
    held = find_state(state, group)
    variance = jnp.maximum(held.mean_square_decay - held.mean_decay**2, 0)
    deltas = held.decay, held.mean_decay, jnp.sqrt(variance)
    # flax.nnx wraps the arrays of a state
    return HeldDecay(*(jnp.asarray(weight_decay_of(jnp.asarray(delta), learning_rate, momentum)) for delta in deltas))


def find_state(state: optax.OptState, group: str | None = None) -> HoldState:
    """The state of hold_at_edge within that of a chain.

    Args:
      state: of the chain.
      group: a part of the path to it, if there are several.

    Raises:
      ValueError: there is none, or more than one.
    """
    return only_state(state, HoldState, "hold_at_edge", group)


def check_hold(optimizer: Optimizer, params: optax.Params, group: str | None = None) -> None:
    """Checks that an optimizer does not decay weights beside hold_at_edge, nor change the updates of hold_at_edge.

    It runs 64 steps without a gradient on artificial weights of the same shapes, far below and far above the target.
    This is enough to see a decay whose learning rate warms up from 0, and to pass the mini-steps of optax.MultiSteps.
    Changes that do not depend on the weights, such as noise, do not count as decay.

    Args:
      optimizer: a chain that contains hold_at_edge.
      params: parameters of the network, of which only shapes and types are used.
      group: if there are several holds, a part of the path to the state of the one that is meant.

    Raises:
      ValueError: there is no hold_at_edge, the optimizer has a weight decay of its own, hold_at_edge is not the last,
        or it does nothing within 64 steps.

    >>> import edgechaos as ec
    >>> params = {"kernel": jnp.ones((3, 3))}
    >>> check_hold(optax.chain(optax.sgd(0.1), ec.hold_at_edge()), params)
    >>> check_hold(optax.chain(ec.hold_at_edge(), optax.sgd(0.1)), params)
    Traceback (most recent call last):
    ValueError: hold_at_edge: must come last in the chain, but its updates are changed after it
    """
    shares = _resting(optimizer, params, group)
    if any(share != 0 for share in shares):
        raise ValueError("hold_at_edge: the optimizer has a weight decay of its own; turn it off (weight_decay=0)")
    shares, state = _removed(optimizer, params, group, 1e3)
    decided = float(state.total_decay.max())
    if not decided > 0:
        raise ValueError(f"hold_at_edge: it has not changed the weights within {_STEPS} steps")
    if abs(max(shares, default=0.0) / decided - 1) > 0.02:  # bfloat16 has three digits
        raise ValueError("hold_at_edge: must come last in the chain, but its updates are changed after it")


def _resting(optimizer: Optimizer, params: optax.Params, group: str | None) -> list[float]:
    """What is removed while the hold rests: far below its target, or if it grows weights there, where J^2 is NaN."""
    for j in _SMALL:
        shares, state = _removed(optimizer, params, group, j)
        if not jnp.any(state.total_decay > 0):
            break
    if jnp.any(state.total_decay < 0):
        shares, _ = _removed(optimizer, params, group, j, with_nan=True)
    return shares


def _removed(
    optimizer: Optimizer, params: optax.Params, group: str | None, j: float, with_nan: bool = False
) -> tuple[list[float], HoldState]:
    """Largest share of each leaf that steps without a gradient remove: the part of the updates that is odd in it."""
    gradient = jax.tree.map(jnp.zeros_like, params)
    update = jax.jit(optimizer.update)

    def total(sign: int) -> tuple[optax.Updates, HoldState]:
        weights = jax.tree.map(lambda leaf: _checkerboard(leaf, sign * j, with_nan), params)
        state, sums = optimizer.init(params), jax.tree.map(lambda leaf: 0.0, params)
        for _ in range(_STEPS):
            updates, state = update(gradient, state, weights)
            sums = jax.tree.map(lambda one, more: one + more.astype(jnp.float32), sums, updates)
        return sums, find_state(state, group)

    (plus, state), (minus, _) = total(1), total(-1)
    shares = []
    for leaf, one, other in zip(*map(jax.tree.leaves, (params, plus, minus)), strict=True):
        if leaf.size and jnp.issubdtype(leaf.dtype, jnp.floating):
            odd, size = (one - other) / 2, jnp.abs(one) + jnp.abs(other)
            odd = jnp.where(jnp.abs(odd) > _STEPS * jnp.finfo(leaf.dtype).eps * size / 2, odd, 0)  # rounding of noise
            share = -odd / _checkerboard(leaf, j).astype(jnp.float32)
            shares.append(float(jnp.max(jnp.abs(share), where=jnp.isfinite(share), initial=0.0)))
    return shares, state


def _checkerboard(leaf: Array, j: float, with_nan: bool = False) -> Array:
    """Weights like `leaf` of alternating sign, at J0 near 0 and the given J, the first NaN on demand."""
    if not leaf.size or not jnp.issubdtype(leaf.dtype, jnp.floating):
        return jnp.zeros_like(leaf)
    signs = 1 - 2 * (jnp.indices(leaf.shape).sum(0) % 2) if leaf.ndim else jnp.ones(())
    fan_in = leaf.size // leaf.shape[-1] if leaf.ndim else 1
    weights = (signs * j / fan_in**0.5).astype(leaf.dtype)
    return weights.at[(0,) * leaf.ndim].set(jnp.nan) if with_nan else weights
