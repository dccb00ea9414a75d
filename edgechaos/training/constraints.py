"""Other ways to keep a kernel's norm, as optax transforms, to compare hold_at_edge with.

Each acts on the square kernels and is chained after an optimizer, so that its updates are the last word.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from edgechaos.training.hold import hold_at_edge
from edgechaos.training.kernels import is_square

Shrink = Callable[[Float[Array, "N N"], Float[Array, "N N"]], Float[Array, "N N"]]


def _after_update(change: Shrink) -> optax.GradientTransformation:
    """A transform without memory: update -> change(update, kernel) for square kernels."""

    def update_fn(updates: optax.Updates, state: optax.OptState, params: optax.Params | None = None):
        changed = jax.tree.map(lambda u, w: change(u, w) if is_square(w) else u, updates, params)
        return changed, state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update_fn)


def hard_sphere(j: float = 1.0) -> optax.GradientTransformation:
    """Projects W after every step to ||W||_F = J sqrt(N), where J0 near 0 puts J at `j`."""

    def project(update: Float[Array, "N N"], kernel: Float[Array, "N N"]) -> Float[Array, "N N"]:
        return optax.projections.projection_l2_sphere(kernel + update, j * kernel.shape[0] ** 0.5) - kernel

    return _after_update(project)


def norm_control(strength: float | Array, j: float = 1.0) -> optax.GradientTransformation:
    """w <- w - strength (1 - r / ||w||) w with r = J sqrt(N): decay towards a norm (AdamWN, arXiv 2311.11446).

    Args:
      strength: per step; there the learning rate times a weight decay.
      j: target J.
    """

    def shrink(update: Float[Array, "N N"], kernel: Float[Array, "N N"]) -> Float[Array, "N N"]:
        radius = j * kernel.shape[0] ** 0.5
        return update - strength * (1 - radius / jnp.linalg.norm(kernel)) * kernel

    return _after_update(shrink)


class CprState(NamedTuple):
    """Lagrange multiplier of each leaf; that of a leaf that is no square kernel stays 0."""

    multiplier: optax.Params


def constrained_parameters(j: float = 1.0, rate: float = 1.0) -> optax.GradientTransformation:
    """Bounds the standard deviation of W by kappa = J / sqrt(N) with a multiplier (CPR, arXiv 2311.09058).

    l <- max(0, l + rate (std(W) - kappa)), w <- w - l grad std(W) = w - l (w - mean(W)) / (N^2 std(W)).

    Args:
      j: bound of J.
      rate: of the multiplier; 1 is the default there.
    """

    def init_fn(params: optax.Params) -> CprState:
        return CprState(jax.tree.map(lambda leaf: jnp.zeros(()), params))

    def update_fn(updates: optax.Updates, state: CprState, params: optax.Params | None = None):
        def next_multiplier(multiplier: jax.Array, kernel: jax.Array) -> jax.Array:
            if not is_square(kernel):
                return multiplier
            return jnp.maximum(0, multiplier + rate * (kernel.std() - j / kernel.shape[0] ** 0.5))

        def shrink(update: jax.Array, multiplier: jax.Array, kernel: jax.Array) -> jax.Array:
            if not is_square(kernel):
                return update
            return update - multiplier * (kernel - kernel.mean()) / (kernel.size * kernel.std())

        multiplier = jax.tree.map(next_multiplier, state.multiplier, params)
        return jax.tree.map(shrink, updates, multiplier, params), CprState(multiplier)

    return optax.GradientTransformation(init_fn, update_fn)


# name -> transform, given eta / (1 - alpha)
CONSTRAINTS: dict[str, Callable[[Any], optax.GradientTransformation]] = {
    "none": lambda rate: optax.identity(),
    "hold_at_edge": lambda rate: hold_at_edge(),
    "hard_sphere": lambda rate: hard_sphere(),
    "norm_control": lambda rate: norm_control(0.01 * rate),  # AdamW's default decay times the learning rate
    "constrained_parameters": lambda rate: constrained_parameters(),
}
