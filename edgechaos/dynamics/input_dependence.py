"""Appendix B: is the asymptotic distance a property of the weights, whatever the input?"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float, PRNGKeyArray

from edgechaos import errors
from edgechaos.theory.activations import Activation, activation_function, difference


def asymptotic_distance(
    kernel: Float[Array, "N N"],
    x0: Float[Array, "*batch N"],
    key: PRNGKeyArray,
    num_iterations: int = 50,
    perturbation_std: Float[Array, ""] | float = 1e-4,
    activation: Activation = "tanh",
) -> Float[Array, "*batch"]:
    """|x - x'| after some iterations of f_W from x0 and from x0 + N(0, perturbation_std^2).

    The difference is carried beside x, so that it is resolved however small it becomes.

    Args:
      kernel: W.
      x0: one state, or a batch; each state gets a perturbation of its own.
      key: of the perturbations.
      num_iterations: >= 1.
      perturbation_std: for each component, > 0.
      activation: phi.

    Raises:
      ValueError: a number out of range, NaN in x0.

    Source: Appendix B and Fig. 7.

    >>> kernel = jnp.eye(4) / 2
    >>> distance = asymptotic_distance(kernel, jnp.zeros(4), jax.random.key(0), 10)
    >>> print(distance < 1e-6)
    True
    """
    errors.require_at_least("num_iterations", num_iterations, 1)
    errors.require_positive("perturbation_std", perturbation_std)
    errors.require_finite("x0", x0)
    phi = activation_function(activation)

    def iterate(_: jax.Array, pair: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        x, apart = pair
        h, dh = x @ kernel, apart @ kernel
        return phi(h), difference(phi, h, dh)

    apart = perturbation_std * jax.random.normal(key, x0.shape, x0.dtype)
    _, apart = jax.lax.fori_loop(0, num_iterations, iterate, (x0, apart))
    # squares of entries below 1e-19 would underflow
    largest = jnp.abs(apart).max(-1)
    scaled = apart / jnp.where(largest > 0, largest, 1)[..., None]
    return largest * jnp.linalg.norm(scaled, axis=-1)


@struct.dataclass
class Variance:
    """Analysis of variance of ln(distance) over inputs and perturbations.

    Attributes:
      over_inputs: standard deviation that the input accounts for.
      over_perturbations: standard deviation for one input over its perturbations.
      input_share: share of the variance that the input accounts for, in [0, 1]; 0 if the distance is a property of
        the weights alone.
      f_ratio: variance of the inputs' means over what perturbations alone would give them; about 1 if inputs make no
        difference.
    """

    over_inputs: Float[Array, "*members"]
    over_perturbations: Float[Array, "*members"]
    input_share: Float[Array, "*members"]
    f_ratio: Float[Array, "*members"]


def variance_of(distance: Float[Array | np.ndarray, "*members inputs perturbations"]) -> Variance:
    """Splits the variance of ln(distance) into what inputs and what perturbations account for (one-way ANOVA).

    Args:
      distance: > 0, of each input under each of its perturbations, at least two of both.

    >>> print(variance_of(jnp.array([[1.0, 1.1], [2.0, 2.2]])).input_share.round(1))
    1.0
    """
    logarithm = jnp.log(jnp.asarray(distance))
    num_perturbations = logarithm.shape[-1]
    within = jnp.var(logarithm, axis=-1, ddof=1).mean(-1)
    between = num_perturbations * jnp.var(logarithm.mean(-1), axis=-1, ddof=1)
    inputs = jnp.maximum(between - within, 0) / num_perturbations
    return Variance(jnp.sqrt(inputs), jnp.sqrt(within), inputs / (inputs + within), between / within)


def shuffled(key: PRNGKeyArray, kernel: Float[Array, "n_in n_out"]) -> Float[Array, "n_in n_out"]:
    """The same entries in random places: equal J0 and J, and no structure beside them."""
    return jax.random.permutation(key, kernel.ravel()).reshape(kernel.shape)


def mean_state(
    kernel: Float[Array, "N N"],
    x0: Float[Array, "*batch N"],
    num_iterations: int,
    num_transient: int,
    activation: Activation = "tanh",
) -> Float[Array, "*batch N"]:
    """x*, the mean of the asymptotic state, where Eq. 1 evaluates the Jacobian norm."""
    phi = activation_function(activation)
    x = jax.lax.fori_loop(0, num_transient, lambda _, x: phi(x @ kernel), x0)

    def add(carry: tuple[jax.Array, jax.Array], _: None) -> tuple[tuple[jax.Array, jax.Array], None]:
        x = phi(carry[0] @ kernel)
        return (x, carry[1] + x), None

    return jax.lax.scan(add, (x, jnp.zeros_like(x)), length=num_iterations)[0][1] / num_iterations
