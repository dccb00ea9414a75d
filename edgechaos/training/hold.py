"""hold_at_edge: weight decay without a search, as an optax transform that keeps J^2 of chosen kernels at the edge."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from edgechaos.training.kernels import as_matrix, is_square, path_name, with_paths
from edgechaos.training.measured import measure_if

Predicate = Callable[[str], bool]

_BAND = 0.03  # of the target: decay sets in this far below it; also the free growth during one time constant
_LONGEST = 20_000  # steps, the longest time constant, for weights that hardly grow
_MEASURE_EVERY = 0.006  # of the target: free growth between two measurements, and
_MOST_STEPS = 20  # the most steps between them
_MEMORY = 16  # time constants, of the mean decay
_MOST_DECAY = 0.1  # per step


class HoldState(NamedTuple):
    """What hold_at_edge knows of each measured kernel, or of their mean if they share a decay.

    Attributes:
      j_squared: J^2 at the last measurement, before any 0.
      growth: of J^2 per step, had there been no decay.
      decay: share of a weight removed per step, delta.
      mean_decay: over the last 16 time constants, since decay set in.
      mean_square_decay: the same of its square.
      total_decay: over all steps, to give the mean over any stretch of them.
      total_error: what rounding has added to it so far.
      age: steps since decay set in.
      interval: steps from the last measurement to the next.
      steps_left: of them.
      num_measurements: so far.
    """

    j_squared: Float[Array, "controllers"]
    growth: Float[Array, "controllers"]
    decay: Float[Array, "controllers"]
    mean_decay: Float[Array, "controllers"]
    mean_square_decay: Float[Array, "controllers"]
    total_decay: Float[Array, "controllers"]
    total_error: Float[Array, "controllers"]
    age: Float[Array, "controllers"]
    interval: Int[Array, ""]
    steps_left: Int[Array, ""]
    num_measurements: Int[Array, ""]


def hold_at_edge(
    target: float = 1.0,
    select: Predicate | tuple[Predicate, Predicate] | None = None,
    shared: bool = False,
    two_sided: bool = False,
) -> optax.GradientTransformation:
    """Holds J^2 = n_in var(W) at `target` by a multiplicative decay, w <- (1 - delta) w, after any optimizer.

    Every few steps J^2 is measured, and the growth g that it would have had without decay is what it grew plus what
    the decay took. With smoothed g and tau = 0.03 target / |g|, the time in which free growth covers 3 % of the target,

        delta = max(0, g + (J^2 - target) / tau) / (2 J^2),

    which is 0 up to 3 % below the target, balances growth at the target, and lets a difference die out as exp(-t/tau).
    Nothing has a unit of time of its own, so that the same numbers serve slow SGD and Adam.

    Args:
      target: > 0; 1 is the edge of a tanh network with J0 near 0 (Eq. 3).
      select: a predicate on paths such as "hidden/kernel" that says which kernels are measured and decayed, each by
        its own; or a pair of them, for measured and decayed ones. By default square kernels are measured and all
        kernels decayed: by their own decay if measured, else by the mean.
      shared: one decay for all, which holds the mean J^2 (the paper's single lambda).
      two_sided: also grow weights where J^2 is below the target.

    Returns:
      A transform to be chained after an optimizer without weight decay: its updates are the last word. `check_hold`
      says whether a chain is as it should be.

    Raises:
      ValueError: target out of range; and on init: no kernel to measure (the paths are listed), one of integers or
        without entries.

    >>> optimizer = optax.chain(optax.sgd(0.1), hold_at_edge())
    >>> params = {"kernel": 2 * jax.random.normal(jax.random.key(0), (100, 100)) / 10}
    >>> gradient = jax.tree.map(jnp.zeros_like, params)
    >>> update = jax.jit(optimizer.update)
    >>> state = optimizer.init(params)
    >>> for _ in range(50):
    ...     updates, state = update(gradient, state, params)
    ...     params = optax.apply_updates(params, updates)
    >>> print(state[-1].j_squared > 1, state[-1].decay > 0)
    [ True] [ True]
    """
    if not target > 0:
        raise ValueError(f"target = {target}: must be > 0")

    def init_fn(params: optax.Params) -> HoldState:
        measured, _ = _selected(params, select)
        number = 1 if shared else len(measured)
        zeros, one = jnp.zeros(number), jnp.ones((), jnp.int32)
        return HoldState(zeros, zeros, zeros, zeros, zeros, zeros, zeros, zeros, one, 0 * one, 0 * one)

    def update_fn(updates: optax.Updates, state: HoldState, params: optax.Params | None = None):
        if params is None:
            raise ValueError("hold_at_edge needs the parameters: optimizer.update(gradient, state, params)")
        measured, decayed = _selected(params, select)
        leaves = dict(with_paths(params))
        due = state.steps_left == 0
        _, j_squared = measure_if(due, [as_matrix(leaves[path]) for path in measured])
        j_squared = j_squared.mean(keepdims=True) if shared else j_squared
        later = _control(state, j_squared, target, two_sided)
        state = jax.tree.map(lambda new, old: jnp.where(due, new, old), later, state)
        # a sum of many small numbers in float32, with its rounding carried along (Kahan)
        missing = state.decay - state.total_error
        total = state.total_decay + missing
        state = state._replace(
            steps_left=state.steps_left - 1, total_decay=total, total_error=(total - state.total_decay) - missing
        )
        own = {} if shared else dict(zip(measured, state.decay, strict=True))

        def shrink(path: tuple, update: Array, leaf: Array) -> Array:
            name = path_name(path)
            if name not in decayed:
                return update
            decay = own.get(name, state.decay.mean())
            return (update - decay * leaf.astype(jnp.float32)).astype(update.dtype)

        return jax.tree_util.tree_map_with_path(shrink, updates, params), state

    return optax.GradientTransformation(init_fn, update_fn)


def _control(state: HoldState, j_squared: Float[Array, "controllers"], target: float, two_sided: bool) -> HoldState:
    """The control law, at a measurement."""
    steps = state.interval.astype(jnp.float32)
    kept = jnp.exp(2 * steps * jnp.log1p(-state.decay))
    free = (j_squared - kept * state.j_squared) / steps
    weight = -jnp.expm1(-2 * steps / _time_constant(state.growth, target))
    growth = jnp.where(state.num_measurements > 1, state.growth + weight * (free - state.growth), free)
    growth = jnp.where(state.num_measurements > 0, growth, 0.0)
    constant = _time_constant(growth, target)
    wanted = (growth + (j_squared - target) / constant) / (2 * jnp.maximum(j_squared, 0.01 * target))
    decay = jnp.clip(wanted, -_MOST_DECAY if two_sided else 0.0, _MOST_DECAY)
    age = jnp.where((decay != 0) | (state.age > 0), state.age + steps, 0.0)
    share = jnp.where(age > 0, jnp.maximum(steps / jnp.maximum(age, 1), -jnp.expm1(-steps / (_MEMORY * constant))), 0.0)
    next_interval = _MEASURE_EVERY * target / jnp.maximum(jnp.abs(growth).max(), 1e-12)
    next_interval = jnp.clip(next_interval, 1, _MOST_STEPS).astype(jnp.int32)
    return HoldState(
        j_squared,
        growth,
        decay,
        state.mean_decay + share * (decay - state.mean_decay),
        state.mean_square_decay + share * (decay**2 - state.mean_square_decay),
        state.total_decay,
        state.total_error,
        age,
        jnp.where(state.num_measurements > 0, next_interval, 1),
        jnp.where(state.num_measurements > 0, next_interval, 1),
        state.num_measurements + 1,
    )


def _time_constant(growth: Float[Array, "controllers"], target: float) -> Float[Array, "controllers"]:
    """tau: steps in which free growth covers the band."""
    return jnp.clip(_BAND * target / jnp.maximum(jnp.abs(growth), 1e-12), 4.0, _LONGEST)


def _selected(
    params: optax.Params, select: Predicate | tuple[Predicate, Predicate] | None
) -> tuple[list[str], set[str]]:
    """Paths of the measured and of the decayed kernels.

    Raises:
      ValueError: no kernel is measured, or one of integers or without entries is.
    """
    kernels = {path: leaf for path, leaf in with_paths(params) if jnp.ndim(leaf) >= 2}
    if select is None:
        measured = [path for path, leaf in kernels.items() if is_square(leaf)]
        decayed = set(kernels)
    else:
        measures, decays = select if isinstance(select, tuple) else (select, select)
        measured, decayed = [path for path in kernels if measures(path)], {path for path in kernels if decays(path)}
    if not measured:
        listed = ", ".join(f"'{path}' {tuple(leaf.shape)}" for path, leaf in kernels.items()) or "none"
        what = "there is no square kernel to measure" if select is None else "select matches no kernel"
        raise ValueError(f"hold_at_edge: {what}; give select, a predicate on these paths: {listed}")
    for path in (*measured, *decayed):
        if not jnp.issubdtype(kernels[path].dtype, jnp.floating) or not kernels[path].size:
            raise ValueError(
                f"hold_at_edge: '{path}' {kernels[path].shape} {kernels[path].dtype}: must be real numbers"
            )
    return measured, decayed
