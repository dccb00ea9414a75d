"""Sharpness, the largest eigenvalue of the Hessian of a loss, and the one beyond which gradient descent is unstable."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PRNGKeyArray

from edgechaos.data.dataset import AnyArray
from edgechaos.errors import require, require_count, require_positive

Vector = Float[Array, "parameters"]


class Sharpness(NamedTuple):
    """The largest eigenvalue of a Hessian, not the largest in modulus.

    Attributes:
      value: the eigenvalue h.
      residual: |H v - h v| of its unit vector v; the Hessian has an eigenvalue within it of `value`.
    """

    value: Float[Array, ""]
    residual: Float[Array, ""]


def stable_sharpness(
    learning_rate: Float[AnyArray, "*rates"] | float, momentum: Float[AnyArray, "*rates"] | float = 0.0
) -> Float[Array, "*rates"]:
    """2 (1 + alpha) / eta: the sharpness up to which gradient descent with momentum is stable on a quadratic loss.

    Along an eigenvector w <- (1 + alpha - eta h) w - alpha w_before, whose roots have the product alpha < 1; so the
    first to leave the unit circle is -1, where 1 + (1 + alpha - eta h) + alpha = 0.

    Args:
      learning_rate: eta > 0.
      momentum: alpha in [0, 1).

    Raises:
      ValueError: a number out of range.

    Source: Cohen et al. (2021), arXiv 2103.00065, Appendix A.

    >>> print(stable_sharpness(0.02, 0.5).round(3))
    150.0
    """
    require_positive("learning_rate", learning_rate)
    require("momentum", momentum, lambda entries: (entries >= 0) & (entries < 1), "in [0, 1)")
    return 2 * (1 + jnp.asarray(momentum)) / jnp.asarray(learning_rate)


def sharpness(
    loss: Callable[[optax.Params], Float[Array, ""]],
    params: optax.Params,
    key: PRNGKeyArray,
    num_iterations: int = 20,
) -> Sharpness:
    """The largest eigenvalue of the Hessian of `loss` at `params`, by Lanczos with Hessian-vector products.

    The loss is linearised once; each iteration then costs about one gradient, and one more vector like `params` is
    kept. Eigenvalues that stand apart from the others, as those of trained networks do, need few iterations.

    Args:
      loss: params -> number, twice differentiable, such as the mean loss of a fixed set of images.
      params: a pytree of real arrays.
      key: PRNG key of the first vector.
      num_iterations: >= 1; at most as many as there are parameters are made.

    Raises:
      ValueError: num_iterations out of range.

    Source: Lanczos (1950), J. Res. Natl. Bur. Stand. 45, 255; Golub & Van Loan, Matrix Computations, chapter 10.

    >>> curvature = jnp.array([-9.0, 1.0, 4.0])
    >>> found = sharpness(lambda w: (curvature * w**2).sum() / 2, jnp.ones(3), jax.random.key(0))
    >>> print(found.value.round(3))
    4.0
    """
    require_count("num_iterations", num_iterations, 1)
    flat, unravel = ravel_pytree(params)
    _, product = jax.linearize(jax.grad(lambda flat: loss(unravel(flat))), flat)
    start = jax.random.normal(key, flat.shape, flat.dtype)
    basis, tridiagonal = _lanczos(product, start / jnp.linalg.norm(start), min(num_iterations, len(flat)))
    values, vectors = jnp.linalg.eigh(tridiagonal)
    vector = _times(vectors[:, -1], basis)
    return Sharpness(values[-1], jnp.linalg.norm(product(vector) - values[-1] * vector))


def _times(one: Array, other: Array) -> Array:
    """A product in the full precision of its type, also on devices that multiply in less by default."""
    return jnp.matmul(one, other, precision="highest")


def _lanczos(
    product: Callable[[Vector], Vector], start: Vector, num_vectors: int
) -> tuple[Float[Array, "vectors parameters"], Float[Array, "vectors vectors"]]:
    """An orthonormal basis of the vectors H^k `start`, and H in it, which is tridiagonal.

    Where the vectors span less than asked for, the others are 0.
    """

    def extend(carry: tuple[Array, Vector], number: Array) -> tuple[tuple[Array, Vector], tuple[Array, Array]]:
        basis, vector = carry
        basis = basis.at[number].set(vector)
        image = product(vector)
        rest = image
        for _ in range(2):  # once leaves rounding errors, which grow to copies of the largest eigenvalues
            rest = rest - _times(_times(basis, rest), basis)
        size = jnp.linalg.norm(rest)
        has_more = ~(size <= 10 * jnp.finfo(rest.dtype).eps * jnp.linalg.norm(image))  # a NaN goes on
        following = jnp.where(has_more, rest / jnp.where(has_more, size, 1), 0)
        return (basis, following), (_times(vector, image), jnp.where(has_more, size, 0))

    empty = jnp.zeros((num_vectors, len(start)), start.dtype)
    (basis, _), (diagonal, beside) = jax.lax.scan(extend, (empty, start), jnp.arange(num_vectors))
    # 0 would be an eigenvalue above negative ones; the first entry lies between the others
    is_there = jnp.concatenate([jnp.ones(1, bool), beside[:-1] != 0])
    diagonal = jnp.where(is_there, diagonal, diagonal[0])
    return basis, jnp.diag(diagonal) + jnp.diag(beside[:-1], 1) + jnp.diag(beside[:-1], -1)
