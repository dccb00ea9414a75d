"""What a run held at the edge tells: the fixed weight decay that it amounts to, and whether its chain is in order."""

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jaxtyping import Array, Float

from edgechaos.theory.weight_decay import weight_decay_of
from edgechaos.training.hold import HoldState
from edgechaos.training.measured import only_state


@struct.dataclass
class HeldDecay:
    """The fixed weight decay that equals a held run's, in the paper's convention (lambda of Eq. 6).

    Attributes:
      weight_decay: at the last measurement.
      mean: over the last 16 time constants of the controller.
      spread: standard deviation over the same.
    """

    weight_decay: Float[Array, "*controllers"]
    mean: Float[Array, "*controllers"]
    spread: Float[Array, "*controllers"]


def held_weight_decay(state: optax.OptState, learning_rate: float | Array, momentum: float | Array = 0.0) -> HeldDecay:
    """lambda = delta (1 - alpha) / (2 eta) of a held run, for each of its controllers.

    Args:
      state: of hold_at_edge, or of a chain that contains it once.
      learning_rate: eta of the optimizer (now, if it has a schedule).
      momentum: alpha; 0 for Adam and others whose decay does not pass through a momentum.

    Raises:
      ValueError: there is no state of hold_at_edge, or more than one.
    """
    held = find_state(state)
    variance = jnp.maximum(held.mean_square_decay - held.mean_decay**2, 0)
    deltas = held.decay, held.mean_decay, jnp.sqrt(variance)
    return HeldDecay(*(jnp.asarray(weight_decay_of(delta, learning_rate, momentum)) for delta in deltas))


def find_state(state: optax.OptState) -> HoldState:
    """The state of hold_at_edge within that of a chain.

    Raises:
      ValueError: there is none, or more than one.
    """
    return only_state(state, HoldState, "hold_at_edge")


def check_hold(optimizer: optax.GradientTransformation, params: optax.Params) -> None:
    """Says if an optimizer decays weights beside hold_at_edge, or changes what hold_at_edge decides.

    Runs two steps without a gradient on made-up weights of the same shapes, far below the target and far above.

    Args:
      optimizer: a chain with hold_at_edge in it.
      params: of the network; only shapes and types are used.

    Raises:
      ValueError: no hold_at_edge, an optimizer with a weight decay of its own, or hold_at_edge not the last.

    >>> import edgechaos as ec
    >>> params = {"kernel": jnp.ones((3, 3))}
    >>> check_hold(optax.chain(optax.sgd(0.1), ec.hold_at_edge()), params)
    >>> check_hold(optax.chain(ec.hold_at_edge(), optax.sgd(0.1)), params)
    Traceback (most recent call last):
    ValueError: hold_at_edge: must come last in the chain, but what it decides is changed after it
    """
    zeros = jax.tree.map(jnp.zeros_like, params)

    def step(j: float) -> tuple[optax.Updates, HoldState]:
        weights = jax.tree.map(lambda leaf: _checkerboard(leaf, j), params)
        updates, state = optimizer.update(zeros, optimizer.init(params), weights)
        return jax.tree.map(lambda update, weight: -update / weight, updates, weights), find_state(state)

    removed, _ = step(1e-3)
    if any(jnp.any(leaf != 0) for leaf in jax.tree.leaves(removed)):
        raise ValueError("hold_at_edge: the optimizer has a weight decay of its own; turn it off (weight_decay=0)")
    removed, state = step(1e3)
    largest = max(float(jnp.max(leaf)) for leaf in jax.tree.leaves(removed))
    if abs(largest / float(state.decay.max()) - 1) > 0.02:  # bfloat16 has three digits
        raise ValueError("hold_at_edge: must come last in the chain, but what it decides is changed after it")


def _checkerboard(leaf: Array, j: float) -> Array:
    """Weights like `leaf` of alternating sign, at J0 near 0 and the given J."""
    signs = 1 - 2 * (jnp.indices(leaf.shape).sum(0) % 2) if leaf.ndim else jnp.ones(())
    fan_in = max(1, leaf.size // leaf.shape[-1]) if leaf.ndim else 1
    return (signs * j / fan_in**0.5).astype(leaf.dtype)
