"""Ways to keep a kernel's norm, as optax transforms, with the radius given as a place in the phase diagram.

`keep_norm` has three of them in one interface: the soft hold_at_edge, the hard sphere, and hyperball. The others are
there for comparison. Each acts on the square kernels, and on each layer of a stack separately. It is chained after an
optimizer, so nothing changes its updates afterwards.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from edgechaos.errors import require, require_positive
from edgechaos.theory.activations import Activation
from edgechaos.theory.meanfield import LARGEST_J, chi
from edgechaos.training.hold import hold_at_edge
from edgechaos.training.kernels import Axes, Kernel, path_name
from edgechaos.training.selection import Select, is_placeholder, select_kernels

Change = Callable[[Array, Array, Kernel], Array]

NORMS = ("soft", "hard", "hyperball")
MEASURES = ("j_squared", "chi")
_HALVINGS = 40


def keep_norm(
    target: float = 1.0,
    how: str = "soft",
    measure: str = "j_squared",
    activation: Activation = "tanh",
    step: float | Array | None = None,
    select: Select | None = None,
    axes: Axes | None = None,
) -> optax.GradientTransformation:
    """Keeps the norm of kernels at the value of the theory: ||W||_F = sqrt(n_out J^2) for J0 near 0.

    Args:
      target: > 0; J^2, or chi, which is 1 at the edge of every activation.
      how: "soft": hold_at_edge; "hard": projection after every step; "hyperball": the same, with updates of a fixed
        norm.
      measure: what `target` means, "j_squared" or "chi".
      activation: the activation for chi.
      step: for hyperball, the norm of an update divided by that of the kernel.
      select: a glob pattern or a predicate on paths; square kernels by default.
      axes: axes of kernels whose inputs and outputs do not follow from name and shape; see `hold_at_edge`.

    Raises:
      ValueError: an argument out of range, or a hyperball without a step; on init as `hold_at_edge`.

    >>> params = {"kernel": jax.random.normal(jax.random.key(0), (50, 50))}
    >>> optimizer = keep_norm(how="hard", measure="chi", activation="relu")
    >>> updates, _ = optimizer.update(params, optimizer.init(params), params)
    >>> print((jnp.linalg.norm(params["kernel"] + updates["kernel"]) ** 2 / 50).round(3))
    2.0
    """
    if how not in NORMS:
        raise ValueError(f"how = '{how}': must be one of {', '.join(NORMS)}")
    if measure not in MEASURES:
        raise ValueError(f"measure = '{measure}': must be one of {', '.join(MEASURES)}")
    j_squared = target if measure == "j_squared" else j_squared_at_chi(target, activation)
    if how == "soft":
        return hold_at_edge(j_squared, select, axes=axes)
    require_positive("target", target)
    if how == "hard":
        return hard_sphere(j_squared**0.5, select, axes)
    if step is None:
        raise ValueError("step: hyperball needs the norm of an update over that of the kernel")
    return hyperball(step, j_squared**0.5, select, axes)


def j_squared_at_chi(target: float, activation: Activation = "tanh") -> float:
    """J^2 at which chi (Eq. 3, J0 = 0) has a value, by bisection; at the edge, where chi = 1, 1 for tanh, 2 for relu.

    Args:
      target: > 0.
      activation: by name or a function.

    Raises:
      ValueError: target out of range, or not reached by any J up to 1000.

    >>> print(round(j_squared_at_chi(0.5), 3), round(j_squared_at_chi(1.0, "relu"), 3))
    0.5 2.0
    """
    require_positive("target", target)
    low, high = np.log(1e-3), np.log(LARGEST_J)
    if not float(chi(0.0, np.exp(high), activation)) >= target:
        raise ValueError(f"target = {target}: chi does not reach it for any J up to {LARGEST_J:g}")
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        is_below = float(chi(0.0, float(np.exp(middle)), activation)) < target
        low, high = (middle, high) if is_below else (low, middle)
    return float(np.exp(low + high))


def _after_update(change: Change, select: Select | None, axes: Axes | None) -> optax.GradientTransformation:
    """A transform without memory: update -> change(update, kernel, its axes) for what is selected."""

    def init_fn(params: optax.Params) -> optax.EmptyState:
        if not is_placeholder(params):
            select_kernels(params, select, axes, warns=True)
        return optax.EmptyState()

    def update_fn(updates: optax.Updates, state: optax.OptState, params: optax.Params | None = None):
        kernels = {kernel.path: kernel for kernel in select_kernels(params, select, axes).measured}

        def changed(path: tuple, update: Array, leaf: Array) -> Array:
            name = path_name(path)
            return change(update, leaf, kernels[name]).astype(update.dtype) if name in kernels else update

        return jax.tree_util.tree_map_with_path(changed, updates, params), state

    return optax.GradientTransformation(init_fn, update_fn)


def _norm(values: Array, kernel: Kernel) -> Array:
    """Frobenius norm of each layer, in a shape that broadcasts to them."""
    return jnp.sqrt((values**2).sum((*kernel.reduction, *kernel.output), keepdims=True))


def _radius(j: float | Array, kernel: Kernel) -> float | Array:
    """||W||_F at J0 = 0."""
    return j * kernel.num_outputs**0.5


def _projected(values: Array, j: float | Array, kernel: Kernel) -> Array:
    """Each layer on the sphere of its radius; zeros stay."""
    norm = _norm(values, kernel)
    return values * jnp.where(norm > 0, _radius(j, kernel) / jnp.where(norm > 0, norm, 1), 0)


def hard_sphere(
    j: float | Array = 1.0, select: Select | None = None, axes: Axes | None = None
) -> optax.GradientTransformation:
    """Projects W after every step to ||W||_F = J sqrt(n_out), where J0 near 0 puts J at `j`."""

    def project(update: Array, leaf: Array, kernel: Kernel) -> Array:
        return _projected(leaf + update, j, kernel) - leaf

    return _after_update(project, select, axes)


def hyperball(
    step: float | Array, j: float | Array = 1.0, select: Select | None = None, axes: Axes | None = None
) -> optax.GradientTransformation:
    """Fixes the norms of both weight and update: W <- R (W + step R u / ||u||) / ||...|| (arXiv 2606.16899).

    Args:
      step: >= 0, the norm of an update over that of the kernel, whatever the optimizer made it.
      j: target J, R = J sqrt(n_out).
      select: a glob pattern or a predicate on paths; square kernels by default.
      axes: of kernels whose inputs and outputs cannot be told.
    """
    require("step", step, lambda entries: (entries >= 0) & np.isfinite(entries), ">= 0 and finite")

    def turn(update: Array, leaf: Array, kernel: Kernel) -> Array:
        direction = _projected(update, j, kernel)
        return _projected(_projected(leaf, j, kernel) + step * direction, j, kernel) - leaf

    return _after_update(turn, select, axes)


def norm_control(strength: float | Array, j: float | Array = 1.0) -> optax.GradientTransformation:
    """w <- w - strength (1 - r / ||w||) w with r = J sqrt(N): decay towards a norm (AdamWN, arXiv 2311.11446).

    Args:
      strength: per step; there the learning rate times a weight decay.
      j: target J.
    """

    def shrink(update: Array, leaf: Array, kernel: Kernel) -> Array:
        return update - strength * (1 - _radius(j, kernel) / _norm(leaf, kernel)) * leaf

    return _after_update(shrink, None, None)


class CprState(NamedTuple):
    """Lagrange multiplier of each leaf, [layers] of a stack; that of a leaf that is no square kernel stays 0."""

    multiplier: optax.Params


def constrained_parameters(j: float | Array = 1.0, rate: float = 1.0) -> optax.GradientTransformation:
    """Bounds the standard deviation of W by kappa = J / sqrt(n_in) with a multiplier (CPR, arXiv 2311.09058).

    l <- max(0, l + rate (std(W) - kappa)), w <- w - l grad std(W) = w - l (w - mean(W)) / (size std(W)).

    Args:
      j: bound of J.
      rate: of the multiplier; 1 is the default there.
    """

    def kernels_of(params: optax.Params) -> dict[str, Kernel]:
        return {kernel.path: kernel for kernel in select_kernels(params, None, None).measured}

    def init_fn(params: optax.Params) -> CprState:
        kernels = kernels_of(params)

        def zero(path: tuple, leaf: Array) -> Float[Array, "..."]:
            kernel = kernels.get(path_name(path))
            return jnp.zeros([leaf.shape[axis] for axis in kernel.stack] if kernel else ())

        return CprState(jax.tree_util.tree_map_with_path(zero, params))

    def update_fn(updates: optax.Updates, state: CprState, params: optax.Params | None = None):
        kernels = kernels_of(params)

        def next_multiplier(path: tuple, multiplier: Array, leaf: Array) -> Array:
            kernel = kernels.get(path_name(path))
            if kernel is None:
                return multiplier
            deviation = leaf.std((*kernel.reduction, *kernel.output))
            return jnp.maximum(0, multiplier + rate * (deviation - j / kernel.num_inputs**0.5))

        def shrink(path: tuple, update: Array, multiplier: Array, leaf: Array) -> Array:
            kernel = kernels.get(path_name(path))
            if kernel is None:
                return update
            axes = (*kernel.reduction, *kernel.output)
            size = kernel.num_inputs * kernel.num_outputs
            gradient = (leaf - leaf.mean(axes, keepdims=True)) / (size * leaf.std(axes, keepdims=True))
            return update - jnp.expand_dims(multiplier, axes) * gradient

        multiplier = jax.tree_util.tree_map_with_path(next_multiplier, state.multiplier, params)
        return jax.tree_util.tree_map_with_path(shrink, updates, multiplier, params), CprState(multiplier)

    return optax.GradientTransformation(init_fn, update_fn)


# name -> transform, given eta / (1 - alpha) and the J^2 to be kept
CONSTRAINTS: dict[str, Callable[[Any, Any], optax.GradientTransformation]] = {
    "none": lambda rate, target: optax.identity(),
    "hold_at_edge": lambda rate, target: hold_at_edge(target),
    "hold_two_sided": lambda rate, target: hold_at_edge(target, two_sided=True),
    "hard_sphere": lambda rate, target: hard_sphere(target**0.5),
    "hyperball": lambda rate, target: hyperball(0.1 * rate, target**0.5),
    # AdamW's default decay times the learning rate
    "norm_control": lambda rate, target: norm_control(0.01 * rate, target**0.5),
    "constrained_parameters": lambda rate, target: constrained_parameters(target**0.5),
}
HOLDS = ("hold_at_edge", "hold_two_sided")
