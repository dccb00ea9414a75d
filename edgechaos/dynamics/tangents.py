"""Tangents: small differences of two states of a map, to first order. States are arrays, or pytrees of them."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PRNGKeyArray

State = Any  # a pytree of real arrays


class Pushed(NamedTuple):
    """A state and its tangent after one iteration.

    Attributes:
      state: after it.
      tangent: after it, rescaled to length 1; 0 if it has vanished.
      growth: logarithm of its length before it was rescaled; -inf if it has vanished.
    """

    state: State
    tangent: State
    growth: Float[Array, ""]


def random_tangent(key: PRNGKeyArray, state: State) -> State:
    """A tangent of length 1 in a random direction, shaped like `state`.

    >>> random_tangent(jax.random.key(0), {"w": jnp.zeros(1)})["w"].round(3) ** 2
    Array([1.], dtype=float32)
    """
    flat, unravel = ravel_pytree(state)
    tangent = jax.random.normal(key, flat.shape, flat.dtype)
    return unravel(tangent / jnp.linalg.norm(tangent))


def push(step: Callable[[State], State], state: State, tangent: State) -> Pushed:
    """One iteration of a state with a tangent of length 1, by the exact derivative (`jax.jvp`).

    The mean of `growth` over many iterations is the largest Lyapunov exponent, once the tangent has turned into the
    direction that grows most.

    Args:
      step: state -> state of the same structure, differentiable.
      state: a pytree of real arrays.
      tangent: likewise.

    Source: Benettin et al. (1980), Meccanica 15, 9.

    >>> pushed = push(lambda x: 3 * x, jnp.ones(2), jnp.array([0.6, 0.8]))
    >>> print(pushed.tangent, pushed.growth.round(4))  # ln 3
    [0.6 0.8] 1.0986
    """
    state, tangent = jax.jvp(step, (state,), (tangent,))
    leaves = jax.tree.leaves(tangent)
    # the sum of squares of a tangent below 1e-19 would underflow
    largest = jnp.stack([jnp.abs(leaf).max(initial=0) for leaf in leaves]).max()
    scaled = jax.tree.map(lambda leaf: leaf / jnp.where(largest > 0, largest, 1), tangent)
    size = jnp.sqrt(sum((leaf**2).sum() for leaf in jax.tree.leaves(scaled)))
    unit = jax.tree.map(lambda leaf: leaf / jnp.where(size > 0, size, 1), scaled)
    return Pushed(state, unit, jnp.log(largest) + jnp.log(size))
