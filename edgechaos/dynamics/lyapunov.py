"""Lyapunov exponents of any map x -> step(x), and whether it is ordered or chaotic.

A state is a vector [N]; further leading axes of x0 are a batch. `step` takes one state and is mapped over the batch.
A driven map step(x, u) also takes the input of the iteration.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float, PRNGKeyArray, Shaped

from edgechaos import errors
from edgechaos.dynamics import frames
from edgechaos.dynamics.tangents import push, random_tangent
from edgechaos.dynamics.twins import Step, check, norm, over_batch, twin_trajectories

_BATCHES = 32  # of the batch-means standard error
_FURTHEST = 16  # iterations after which the growth of a frame is taken


@struct.dataclass
class Lyapunov:
    """One exponent [*batch], or several [*batch, k], per iteration, with their standard errors.

    Attributes:
      exponent: mean logarithmic growth per iteration.
      standard_error: by batch means; 0 where growth is constant, and NaN for fewer than 64 iterations.
      history: the estimate after 1 ... num_iterations iterations, along axis -1 (one exponent) or -2 (several).
    """

    exponent: Float[Array, "*batch"]
    standard_error: Float[Array, "*batch"]
    history: Float[Array, "..."]


class Verdict(NamedTuple):
    """The result of `order_or_chaos`, and the exponent behind it."""

    state: str
    exponent: float
    standard_error: float


def _transient(step: Step, x: jax.Array, num_transient: int) -> jax.Array:
    """The state after `num_transient` iterations."""
    return jax.lax.fori_loop(0, num_transient, lambda _, x: step(x), x)


def summarise(growth: Float[Array, "iterations *exponents"]) -> Lyapunov:
    """Mean, batch-means standard error and running mean of logarithmic growths."""
    num_iterations = len(growth)
    counts = jnp.arange(1, num_iterations + 1, dtype=growth.dtype).reshape(-1, *[1] * (growth.ndim - 1))
    size = num_iterations // _BATCHES
    means = growth[num_iterations - _BATCHES * size :].reshape(_BATCHES, size, *growth.shape[1:]).mean(1)
    error = jnp.std(means, axis=0, ddof=1) / _BATCHES**0.5
    return Lyapunov(
        growth.mean(0), error if size > 1 else jnp.full_like(growth[0], jnp.nan), jnp.cumsum(growth, axis=0) / counts
    )


def _driven(step: Step, u: jax.Array | None) -> Callable[[jax.Array], jax.Array]:
    """The map of one iteration."""
    return step if u is None else lambda x: step(x, u)


def _parts(inputs: jax.Array | None, num_transient: int) -> tuple[jax.Array | None, jax.Array | None]:
    """Inputs of the transient and of what is averaged over."""
    return (None, None) if inputs is None else (inputs[:num_transient], inputs[num_transient:])


def lyapunov_exponent(
    step: Step,
    x0: Float[Array, "*batch N"],
    key: PRNGKeyArray,
    num_iterations: int,
    num_transient: int = 0,
    inputs: Shaped[Array, "iterations ..."] | None = None,
) -> Lyapunov:
    """Largest Lyapunov exponent: mean logarithmic growth of a tangent vector, rescaled after each iteration.

    The tangent is computed exactly (`jax.jvp`). A rescaled twin would cost as much, and its distance would have to be
    chosen between rounding and curvature. The exponent can be differentiated with respect to anything that `step`
    depends on (gradient flossing: Engelken, arXiv 2312.17306). Use short trajectories, because the gradient of a
    chaotic one grows exponentially with its length: in tanh networks of 32 units at J = 3, 20 steps divide exponents
    of 10 iterations by ten for the 16 starts of the loss, but that of long trajectories falls by a tenth only.

    Args:
      step: x [N] -> x [N], differentiable; with inputs (x [N], u) -> x [N].
      x0: one state, or a batch; each state has its own tangent.
      key: PRNG key of the first tangent.
      num_iterations: >= 1 that are averaged over.
      num_transient: >= 0 before them, in which state and tangent settle.
      inputs: one u for each iteration, those of the transient first, the same for all states of a batch. The exponent
        is then the conditional one of a driven map, such as a recurrent network, given its input.

    Returns:
      Exponent per iteration, its standard error by 32 batch means, and the running estimate. -inf where a tangent
      vanishes.

    Raises:
      ValueError: NaN in x0, a step that changes the shape, a number out of range.

    Source: Benettin et al. (1980), Meccanica 15, 9.

    >>> logistic = lambda x: 4 * x * (1 - x)
    >>> result = lyapunov_exponent(logistic, jnp.array([0.3]), jax.random.key(0), 20_000)
    >>> print(result.exponent.round(2), result.standard_error < 0.01)  # ln 2
    0.69 True
    """
    x0 = jnp.asarray(x0)
    check(step, x0, num_iterations, num_transient, inputs)
    before, averaged = _parts(inputs, num_transient)

    def exponent(x: jax.Array, key: PRNGKeyArray) -> Lyapunov:
        def iterate(
            pair: tuple[jax.Array, jax.Array], u: jax.Array | None
        ) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
            pushed = push(_driven(step, u), *pair)
            return (pushed.state, pushed.tangent), pushed.growth

        start, _ = jax.lax.scan(iterate, (x, random_tangent(key, x)), before, length=num_transient)
        return summarise(jax.lax.scan(iterate, start, averaged, length=num_iterations)[1])

    return over_batch(exponent, x0, key)


def lyapunov_spectrum(
    step: Step,
    x0: Float[Array, "*batch N"],
    num_exponents: int,
    num_iterations: int,
    num_transient: int = 0,
    key: PRNGKeyArray | None = None,
    inputs: Shaped[Array, "iterations ..."] | None = None,
) -> Lyapunov:
    """The largest `num_exponents` Lyapunov exponents, in falling order up to their errors, by a frame.

    The frame is factorised as rarely as its growth so far allows, every 1 to 16 iterations. Its growth is taken at the
    first factorisation after the end of each of the 32 batches, and at least about every 16 iterations; in between it
    is divided equally. In float32 the last few of a whole spectrum are known to about 0.2 %, and all others to 1e-4; in
    float64 to 1e-9. The exponents can be differentiated like `lyapunov_exponent`.

    Args:
      step: x [N] -> x [N], differentiable; with inputs (x [N], u) -> x [N].
      x0: one state, or a batch.
      num_exponents: k in [1, N]; an iteration costs one linearisation, k products with it, and sometimes an elimination
        in [N, k].
      num_iterations: >= 1 that are averaged over.
      num_transient: >= 0 before them, in which state and frame settle.
      key: PRNG key of the first frame; default: a fixed one.
      inputs: as in `lyapunov_exponent`.

    Returns:
      Exponents [*batch, k] with standard errors by 32 batch means, and the running estimate [*batch, iterations, k].

    Raises:
      ValueError: more exponents than dimensions, NaN in x0, a step that changes the shape, a number out of range.

    Source: Benettin et al. (1980), Meccanica 15, 9; Eckmann & Ruelle (1985), Rev. Mod. Phys. 57, 617.

    >>> result = lyapunov_spectrum(lambda x: jnp.array([0.5, 0.25]) * x, jnp.ones(2), 2, 100, 100)
    >>> print(result.exponent.round(3))  # logarithms of 1/2 and 1/4
    [-0.693 -1.386]
    """
    x0 = jnp.asarray(x0)
    check(step, x0, num_iterations, num_transient, inputs)
    errors.require("num_exponents", num_exponents, lambda k: (k >= 1) & (k <= x0.shape[-1]), f"in [1, {x0.shape[-1]}]")
    before, averaged = _parts(inputs, num_transient)

    def spectrum(x: jax.Array, key: PRNGKeyArray) -> Lyapunov:
        def iterate(
            carry: tuple[jax.Array, frames.Frame], row: tuple[Bool[Array, ""], jax.Array | None]
        ) -> tuple[tuple[jax.Array, frames.Frame], frames.Growth]:
            wanted, u = row
            new, derivative = jax.linearize(_driven(step, u), carry[0])
            frame, growth = frames.push_frame(carry[1], derivative, x.dtype, wanted)
            return (new, frame), growth

        wide = jnp.promote_types(x.dtype, jnp.float32)
        start = x, frames.start_frame(jax.random.normal(key, (len(x), num_exponents), wide).T)
        (x, frame), _ = jax.lax.scan(iterate, start, (jnp.zeros(num_transient, bool), before))
        start = x, frames.start_frame(frame.rows)
        (_, frame), growth = jax.lax.scan(iterate, start, (_ends(num_iterations), averaged))
        return summarise(frames.spread(frames.complete(growth, frame)))

    return over_batch(spectrum, x0, jax.random.key(0) if key is None else key)


def _ends(num_iterations: int) -> Bool[Array, "iterations"]:
    """True at the ends of the batches of `summarise`, and at least at every sixteenth iteration before them."""
    size = max(1, num_iterations // _BATCHES)
    left = jnp.arange(num_iterations)[::-1]
    return (left % size) % _FURTHEST == 0


def _twins_meet(step: Step, x: jax.Array, key: PRNGKeyArray, num_iterations: int) -> bool:
    """Whether twins a thousandth and a tenth of a state apart come together."""
    size = max(float(norm(x)) / len(x) ** 0.5, 1e-3)
    meet = [twin_trajectories(step, x, key, num_iterations, share * size)[jnp.array([0, -1])] for share in (1e-3, 0.1)]
    return all(bool(last <= 1e-3 * first) for first, last in meet)


def order_or_chaos(
    step: Step,
    x0: Float[Array, "N"],
    key: PRNGKeyArray | None = None,
    num_iterations: int = 1000,
    num_transient: int = 200,
) -> Verdict:
    """Says "ordered", "chaotic" or "edge", according to the sign of the largest Lyapunov exponent.

    "edge" means that the exponent is within three standard errors of 0, or within 1 / num_iterations of 0, where growth
    over the whole trajectory would not be visible. A periodic or quasi-periodic motion is "edge" in this sense.

    Args:
      step: x [N] -> x [N], differentiable.
      x0: one state.
      key: PRNG key of the first tangent; default: a fixed one.
      num_iterations: >= 64.
      num_transient: >= 0.

    Raises:
      ValueError: as `lyapunov_exponent`; num_iterations < 64, for which there is no standard error; a batch; a
        trajectory that leaves the finite numbers; or a derivative that vanishes, as that of `jnp.round` does, while
        twins do not meet. (If they meet, the state is ordered with an exponent of -inf and an error of NaN.)

    >>> print(order_or_chaos(lambda x: jnp.tanh(x / 2), jnp.ones(3)).state)
    ordered
    """
    errors.require_count("num_iterations", num_iterations, 2 * _BATCHES)
    x0, key = jnp.asarray(x0), jax.random.key(0) if key is None else key
    check(step, x0, num_iterations, num_transient)
    if x0.ndim != 1:
        raise ValueError(f"x0 = array {list(x0.shape)}: must be one state [N]; map over a batch yourself")
    num_steps = num_transient + num_iterations
    result, last = jax.jit(
        lambda x, key: (lyapunov_exponent(step, x, key, num_iterations, num_transient), _transient(step, x, num_steps))
    )(x0, key)
    exponent, error = float(result.exponent), float(result.standard_error)
    if exponent != exponent or exponent == float("inf") or not jnp.isfinite(last).all():
        raise ValueError(f"the trajectory from x0 is no longer finite within {num_steps} steps")
    if exponent == -float("inf") and not _twins_meet(step, last, key, num_iterations):
        raise ValueError(
            "the derivative of step is 0 on the trajectory, but the distance of "
            "twins does not vanish; use twin_trajectories"
        )
    resolution = max(3 * error, 1 / num_iterations)
    state = "edge" if abs(exponent) <= resolution else "chaotic" if exponent > 0 else "ordered"
    return Verdict(state, exponent, error)
