"""What a map does to a small difference: twin trajectories, and the Jacobian norm of Eq. 1."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from edgechaos import errors

Step = Callable[..., jax.Array]


_EXACT_COLUMNS = 64  # of the Jacobian at once, which bounds the memory


def check(
    step: Step,
    x0: jax.Array,
    num_iterations: int,
    num_transient: int = 0,
    inputs: jax.Array | None = None,
    name: str = "x0",
) -> None:
    """Refuses what cannot be iterated, before anything is.

    Raises:
      ValueError: x0 is not finite or no vector, `step` changes shape or type, too few iterations, inputs that are not
        finite or not one for each iteration.
    """
    errors.require_count("num_iterations", num_iterations, 1)
    errors.require_count("num_transient", num_transient, 0)
    errors.require_finite(name, x0)
    if x0.ndim == 0 or x0.size == 0 or not jnp.issubdtype(x0.dtype, jnp.floating):
        given = f"{name} = array of {x0.dtype}{list(x0.shape)}"
        raise ValueError(f"{given}: must be real vectors [N] with N >= 1, or [..., N]")
    if inputs is not None:
        errors.require_finite("inputs", inputs)
        if inputs.ndim == 0 or len(inputs) != num_transient + num_iterations:
            raise ValueError(
                f"inputs = array of {inputs.dtype}{list(inputs.shape)}: must be one for each iteration, "
                f"[{num_transient} + {num_iterations}, ...]"
            )
    before = jax.ShapeDtypeStruct(x0.shape[-1:], x0.dtype)
    driven = () if inputs is None else (inputs[0],)
    try:
        after = jax.eval_shape(lambda x, *u: step(x, *u), before, *driven)  # a ufunc of NumPy itself crashes JAX
    except jax.errors.TracerArrayConversionError as error:
        raise ValueError("step must use jax.numpy, not NumPy") from error
    if not hasattr(after, "shape"):
        kind = type(after).__name__
        raise ValueError(f"step returns {kind}: must return one array {before.dtype}{list(before.shape)}")
    if (after.shape, after.dtype) != (before.shape, before.dtype):
        raise ValueError(
            f"step turns {before.dtype}{list(before.shape)} into {after.dtype}{list(after.shape)}: "
            "must keep shape and type"
        )


def over_batch(function: Callable[..., Any], x0: jax.Array, key: PRNGKeyArray) -> Any:
    """function(x, key) mapped over the leading axes of x0, each state with a key of its own."""
    for _ in x0.shape[:-1]:
        function = jax.vmap(function)
    keys = jax.random.split(key, x0.shape[:-1]) if x0.ndim > 1 else key
    return function(x0, keys)


def norm(x: Float[Array, "N"]) -> Float[Array, ""]:
    """|x| in float32 or better, where no square overflows or underflows."""
    x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    largest = jnp.abs(x).max()
    scale = jnp.where((largest > 0) & jnp.isfinite(largest), largest, 1)
    return scale * jnp.linalg.norm(x / scale)


def _check_perturbation(x0: jax.Array, perturbation_std: Float[Array, ""] | float) -> None:
    """Raises a ValueError for a perturbation that is 0, or that half of the entries of x0 round away."""
    errors.require_positive("perturbation_std", perturbation_std)
    if not any(isinstance(value, jax.core.Tracer) for value in (x0, perturbation_std)):
        spacing = float(jnp.finfo(x0.dtype).eps) * float(np.median(np.abs(np.asarray(x0, np.float64))))
        if float(perturbation_std) < spacing / 2:
            raise ValueError(
                f"perturbation_std = {float(perturbation_std):g}: {x0.dtype} resolves {spacing:.2g} of x0; take a "
                "larger one, or x0 of another type"
            )


def twin_trajectories(
    step: Step,
    x0: Float[Array, "*batch N"],
    key: PRNGKeyArray,
    num_iterations: int,
    perturbation_std: Float[Array, ""] | float = 1e-4,
) -> Float[Array, "*batch iterations"]:
    """Distances |x_t - x'_t| of trajectories from x0 and from x0 + N(0, perturbation_std^2), t = 0 ... num_iterations.

    In float32, distances below about 1e-7 |x| are rounding errors; `lyapunov_exponent` has no such limit. Distances of
    states in half precision are float32.

    Args:
      step: x [N] -> x [N].
      x0: one state, or a batch; each state has its own perturbation.
      key: PRNG key of the perturbation.
      num_iterations: >= 1.
      perturbation_std: standard deviation of each component, > 0.

    Raises:
      ValueError: NaN in x0, a step that changes the shape, a number out of range, a perturbation that the type of x0
        rounds away.

    Source: Fig. 1b and Appendix B.

    >>> distances = twin_trajectories(lambda x: x / 2, jnp.ones(4), jax.random.key(0), 2, 1.0)
    >>> print(distances[1:] / distances[:-1])
    [0.5 0.5]
    """
    x0 = jnp.asarray(x0)
    check(step, x0, num_iterations)
    _check_perturbation(x0, perturbation_std)

    def distances(x: jax.Array, key: PRNGKeyArray) -> jax.Array:
        twin = x + (perturbation_std * jax.random.normal(key, x.shape, x.dtype)).astype(x.dtype)

        def iterate(pair: tuple[jax.Array, jax.Array], _: None) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
            new = step(pair[0]), step(pair[1])
            return new, norm(new[0] - new[1])

        _, later = jax.lax.scan(iterate, (x, twin), length=num_iterations)
        return jnp.concatenate([norm(x - twin)[None], later])

    return over_batch(distances, x0, key)


def jacobian_norm(
    step: Step, x: Float[Array, "*batch N"], num_probes: int | None = None, key: PRNGKeyArray | None = None
) -> Float[Array, "*batch"]:
    """|J|_F / sqrt(N) of the Jacobian J of `step` at x, the left-hand side of Eq. 1 (which is 1 at the edge).

    Squares are summed in float32 or better, scaled so that none overflows.

    Args:
      step: x [N] -> x [N].
      x: one state, or a batch; Eq. 1 takes the mean of the asymptotic state.
      num_probes: None computes all N columns; a number >= 1 estimates from that many products J v with random signs v,
        E |J v|^2 = |J|_F^2. For a random N x N matrix the relative standard error is 1 / sqrt(2 N num_probes): 0.3 %
        at N = 784 with 64 probes. It is larger if a few singular values are large, as after training.
      key: PRNG key of the probes.

    Raises:
      ValueError: NaN in x, a step that changes the shape, num_probes < 1, probes without a key.

    >>> print(jacobian_norm(lambda x: 3 * x, jnp.ones(4)))
    3.0
    """
    x = jnp.asarray(x)
    check(step, x, 1, name="x")
    if num_probes is not None:
        errors.require_count("num_probes", num_probes, 1)
        if key is None:
            raise ValueError(f"key = None: num_probes = {num_probes} random probes need a key")

    def exact(x: jax.Array, _: PRNGKeyArray) -> jax.Array:
        columns = jax.lax.map(
            lambda v: norm(jax.jvp(step, (x,), (v,))[1]),
            jnp.eye(len(x), dtype=x.dtype),
            batch_size=_EXACT_COLUMNS,
        )
        return norm(columns) / len(x) ** 0.5

    def probed(x: jax.Array, key: PRNGKeyArray) -> jax.Array:
        signs = jax.random.rademacher(key, (num_probes or 0, len(x)), x.dtype)
        images = jax.vmap(jax.linearize(step, x)[1])(signs)
        return norm(images.ravel()) / images.size**0.5

    return over_batch(exact if num_probes is None else probed, x, jax.random.key(0) if key is None else key)
