"""hold_at_edge: weight decay without a search, as an optax transform that keeps J^2 of chosen kernels at the edge."""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int

from edgechaos.errors import require
from edgechaos.training.kernels import Axes, path_name, with_paths
from edgechaos.training.measured import measure_if, sample_j_squared, varying_like
from edgechaos.training.selection import Select, Selection, is_placeholder, require_measurable, select_kernels

Scalar = Float[Array, ""] | float

_BAND = 0.03  # of the target: what J^2 changes by in one time constant; decay sets in this far below it
_LIMIT = 0.01  # of the target: what is above goes within one step
_LONGEST = 20_000  # steps, the longest time constant, for weights that hardly grow
_MEASURE_EVERY = 0.006  # of the target: change between two measurements
_MOST_STEPS = 20  # between two measurements, at most
_MOVED = 0.002  # of the target: change of a sample of the kernel after which the whole is measured
_SMOOTHING = 2  # of the growth, per time constant
_RELEASE = 4  # time constants, in which the size of changes is forgotten
_MOST_SURPRISE = 0.015  # of the target: growth per step that is believed at once; more, when it comes again
_MEMORY = 16  # time constants, of the mean decay
_MOST_DECAY = 0.1  # per step
_MOST_J_SQUARED = 1e30
_LEAST = 1e-12


class HoldState(NamedTuple):
    """The state of hold_at_edge for each measured kernel, or for their mean if they share a decay.

    Attributes:
      j_squared: J^2 at the last measurement; 0 before the first one.
      growth: estimated growth of J^2 per step without decay.
      decay: delta, the share of a weight that is removed per step.
      mean_decay: its mean over the last 16 time constants, since the decay started.
      mean_square_decay: the same for its square.
      total_decay: its sum over all steps, from which the mean over any part of them follows.
      total_error: what rounding has added to this sum so far.
      age: steps since the decay started.
      interval: steps from the last measurement to the next.
      steps_left: how many of these steps are left.
      num_measurements: number of measurements so far.
      scale: the largest recent change of J^2 per step without decay.
      sample: J^2 of a sample of the kernel at the last measurement.
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
    scale: Float[Array, "controllers"]
    sample: Float[Array, "controllers"]


def hold_at_edge(
    target: Scalar = 1.0,
    select: Select | tuple[Select, Select] | None = None,
    shared: bool = False,
    two_sided: bool = False,
    axes: Axes | None = None,
) -> optax.GradientTransformation:
    """Holds J^2 = n_in var(W) at `target` by a multiplicative decay, w <- (1 - delta) w, after any optimizer.

    J^2 is measured every few steps, and at once when J^2 of a sample of the kernel changes. Let g be the growth per
    step without decay (the change of J^2 plus what the decay has removed), and tau the time in which J^2 changes by 3 %
    of the target. Then

        2 delta J^2 = max(0, g + min(J^2 - target, limit) / tau + max(0, J^2 - target - limit)).

    This is 0 up to 3 % below the target, balances the growth at the target, makes differences vanish as exp(-t / tau),
    and removes within one step what is more than limit = 1 % above the target (docs/THEORY.md). No constant is a number
    of steps or epochs.

    Args:
      target: finite and > 0; 1 is the edge of a tanh network with J0 near 0 (Eq. 3). It may be traced.
      select: a glob pattern such as "hidden/*", or a predicate on paths, for the kernels that are measured and decayed,
        each with its own decay; or a pair of them, for the measured and for the decayed kernels. By default square
        kernels are measured and all kernels are decayed; those that are not measured get the mean decay. Each layer of
        a stack is a kernel; biases, scales and embeddings are not.
      shared: one decay for all kernels, which holds their mean J^2 (the paper's single lambda).
      two_sided: also enlarge weights where J^2 is below the target.
      axes: path or glob pattern -> `KernelAxes` of kernels whose axes do not follow from name and shape (None for an
        array that is not a kernel); or a function of path and shape that returns one of these or "default".

    Returns:
      A transform to be chained last, after an optimizer without weight decay; `check_hold` checks this.

    Raises:
      ValueError: target out of range; on init: no parameters, no kernel to measure (the paths are listed), or a chosen
        kernel whose axes are not known, that consists of integers, has no entries, or has a J^2 that is not a number.
        Without `select`, a UserWarning names arrays that may be kernels but are not held because their axes are not
        known.

    >>> optimizer = optax.chain(optax.sgd(0.1), hold_at_edge())
    >>> params = {"kernel": 2 * jax.random.normal(jax.random.key(0), (100, 100)) / 10}
    >>> state, update = optimizer.init(params), jax.jit(optimizer.update)
    >>> for _ in range(50):
    ...     updates, state = update(jax.tree.map(jnp.zeros_like, params), state, params)
    ...     params = optax.apply_updates(params, updates)
    >>> print(state[-1].j_squared.round(2))
    [1.01]
    """
    require("target", target, lambda entries: (entries > 0) & np.isfinite(entries), "> 0 and finite")

    def init_fn(params: optax.Params) -> HoldState:
        if is_placeholder(params):  # of optax.tree_map_params, which wants to see the fields only
            return _initial(1)
        chosen = select_kernels(params, select, axes, warns=True)
        require_measurable(params, chosen)
        return varying_like(params, _initial(1 if shared else chosen.num_controllers))

    def update_fn(updates: optax.Updates, state: HoldState, params: optax.Params | None = None):
        if params is None:
            raise ValueError("hold_at_edge needs the parameters: optimizer.update(gradient, state, params)")
        chosen = select_kernels(params, select, axes)
        state = _next_state(state, params, chosen, jnp.asarray(target, jnp.float32), shared, two_sided)
        return _shrunk(updates, params, chosen.decays(state.decay, ~jnp.isnan(state.j_squared), shared)), state

    return optax.GradientTransformation(init_fn, update_fn)


def _next_state(
    state: HoldState, params: optax.Params, chosen: Selection, target: Float[Array, ""], shared: bool, two_sided: bool
) -> HoldState:
    """One step later, with a measurement if it is due."""
    leaves = dict(with_paths(params))
    measured = [leaves[kernel.path] for kernel in chosen.measured]
    sample = _pooled(sample_j_squared(measured, chosen.measured), shared)
    due = (state.steps_left <= 0) | _has_moved(state, sample, target)
    j_squared = _pooled(measure_if(due, measured, chosen.measured)[1], shared)
    later = _control(state, j_squared, target, two_sided)._replace(sample=sample)
    return _counted(jax.tree.map(lambda new, old: jnp.where(due, new, old), later, state))


def _shrunk(updates: optax.Updates, params: optax.Params, decays: Mapping[str, Array]) -> optax.Updates:
    """The updates less what each decayed leaf, named by its path, is to lose."""

    def shrink(path: tuple, update: Array, leaf: Array) -> Array:
        name = path_name(path)
        if name not in decays:
            return update
        wide = jnp.promote_types(leaf.dtype, jnp.float32)
        return (update - decays[name].astype(wide) * leaf.astype(wide)).astype(update.dtype)

    return jax.tree_util.tree_map_with_path(shrink, updates, params)


def _initial(number: int) -> HoldState:
    """The state before the first step; each field has memory of its own, so that it can be donated."""
    values = {name: jnp.zeros(number, jnp.float32) for name in HoldState._fields}
    counts = {name: jnp.zeros((), jnp.int32) for name in ("steps_left", "num_measurements")}
    return HoldState(**{**values, **counts, "interval": jnp.ones((), jnp.int32)})


def _pooled(j_squared: Float[Array, "kernels"], shared: bool) -> Float[Array, "controllers"]:
    """One number for each controller: the mean of what are numbers, if they share one."""
    if not shared:
        return j_squared
    return jnp.mean(j_squared, where=~jnp.isnan(j_squared), keepdims=True)


def _counted(state: HoldState) -> HoldState:
    """One step later: the sum of many small decays in float32, with its rounding carried along (Kahan)."""
    missing = state.decay - state.total_error
    total = state.total_decay + missing
    error = (total - state.total_decay) - missing
    return state._replace(steps_left=state.steps_left - 1, total_decay=total, total_error=error)


def _has_moved(state: HoldState, sample: Float[Array, "controllers"], target: Scalar) -> Bool[Array, ""]:
    """Whether any sample, if it is a number, is no longer near what it was at the last measurement."""
    is_near = jnp.abs(sample - state.sample) <= _MOVED * jnp.maximum(target, state.sample)
    return (state.num_measurements > 0) & (jnp.isfinite(sample) & ~is_near).any()


def _control(state: HoldState, j_squared: Float[Array, "controllers"], target: Scalar, two_sided: bool) -> HoldState:
    """The control law, at a measurement; a controller whose J^2 is NaN rests, and starts anew with the next number."""
    seen = ~jnp.isnan(j_squared)
    steps = jnp.maximum(state.interval - state.steps_left, 1).astype(jnp.float32)
    now = jnp.where(seen, jnp.minimum(j_squared, _MOST_J_SQUARED), target)
    free = _free_growth(state, now, seen, steps)
    scale, growth, latest = _estimate(state, free, steps, target)
    constant = _time_constant(scale, target)
    decay, is_limited = _decay(now, growth, latest, constant, target, two_sided)
    decay, is_limited = jnp.where(seen, decay, 0.0), is_limited & seen
    age = jnp.where((decay != 0) | (state.age > 0), state.age + steps, 0.0)
    share = jnp.where(age > 0, jnp.maximum(steps / jnp.maximum(age, 1), -jnp.expm1(-steps / (_MEMORY * constant))), 0.0)
    interval = jnp.minimum(_MEASURE_EVERY * target / jnp.maximum(scale.max(), _LEAST), 2 * steps)
    interval = jnp.where(is_limited.any(), 1, jnp.clip(interval, 1, _MOST_STEPS)).astype(jnp.int32)
    return state._replace(
        j_squared=j_squared,
        growth=growth,
        decay=decay,
        mean_decay=state.mean_decay + share * (decay - state.mean_decay),
        mean_square_decay=state.mean_square_decay + share * (decay**2 - state.mean_square_decay),
        age=age,
        interval=interval,
        steps_left=interval,
        num_measurements=state.num_measurements + 1,
        scale=scale,
    )


def _free_growth(
    state: HoldState, now: Float[Array, "controllers"], seen: Bool[Array, "controllers"], steps: Float[Array, ""]
) -> Float[Array, "controllers"]:
    """What J^2 grew per step since the last measurement, and what the decay took of it; 0 where either is not known."""
    is_known = seen & jnp.isfinite(state.j_squared) & (state.num_measurements > 0)
    before = jnp.where(is_known, jnp.minimum(state.j_squared, _MOST_J_SQUARED), now)
    kept = jnp.exp(2 * steps * jnp.log1p(-state.decay))
    return jnp.where(is_known, (now - kept * before) / steps, 0.0)


def _estimate(
    state: HoldState, free: Float[Array, "controllers"], steps: Float[Array, ""], target: Scalar
) -> tuple[Float[Array, "controllers"], Float[Array, "controllers"], Float[Array, "controllers"]]:
    """The size of changes, which rises at once and falls slowly; the mean growth over its time; the latest change."""
    forgotten = -jnp.expm1(-steps / (_RELEASE * _time_constant(state.scale, target)))
    scale = jnp.maximum(jnp.abs(free), state.scale + forgotten * (jnp.abs(free) - state.scale))
    most = jnp.maximum(2 * state.scale, _MOST_SURPRISE * target)  # one jump of J^2 is no growth
    weight = -jnp.expm1(-_SMOOTHING * steps / _time_constant(scale, target))
    growth = state.growth + weight * (jnp.clip(free, -most, most) - state.growth)
    was_beyond = state.j_squared > (1 + _LIMIT) * target  # so that it comes again
    return scale, growth, jnp.where(was_beyond, steps * free, jnp.clip(steps * free, -most, most))


def _decay(
    now: Float[Array, "controllers"],
    growth: Float[Array, "controllers"],
    latest: Float[Array, "controllers"],
    constant: Float[Array, "controllers"],
    target: Scalar,
    two_sided: bool,
) -> tuple[Float[Array, "controllers"], Bool[Array, "controllers"]]:
    """Decay per step for J^2 = `now`, and where it removes what is beyond the limit within one step."""
    error, limit = now - target, _LIMIT * target
    beyond = jnp.maximum(error - limit, 0)
    if two_sided:
        beyond += jnp.minimum(error + limit, 0)
    # beyond the limit the next step is taken to grow like all since the last measurement, which may be one step's
    growth = jnp.where(beyond > 0, jnp.maximum(growth, latest), growth)
    wanted = growth + jnp.minimum(error, limit) / constant + beyond
    most = 1 - (1 - _MOST_DECAY) ** 2
    least = 1 - (1 + _MOST_DECAY) ** 2 if two_sided else 0.0
    share = jnp.clip(wanted / jnp.maximum(now, 0.01 * target), least, most)
    decay = -jnp.expm1(0.5 * jnp.log1p(-share))  # 1 - sqrt(1 - share), also where that is tiny
    return jnp.clip(decay, -_MOST_DECAY, _MOST_DECAY), beyond != 0


def _time_constant(scale: Float[Array, "controllers"], target: Scalar) -> Float[Array, "controllers"]:
    """tau: steps in which changes of that size cover the band."""
    return jnp.clip(_BAND * target / jnp.maximum(scale, _LEAST), 4.0, _LONGEST)
