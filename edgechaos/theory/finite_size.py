"""Where chaos begins in a network of N units that is watched for T iterations (J0 = 0)."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from edgechaos.theory.meanfield import Scalar
from edgechaos.theory.quadrature import gaussian_average

# (J_c - 1) sqrt(N), as `python -m experiments.finite_size` measures it
APPROACH = 4.7


def critical_j(num_neurons: Scalar, approach: float = APPROACH) -> Array:
    """J_c(N) = 1 + approach / sqrt(N), at which half of the draws of a Gaussian kernel are chaotic (tanh, J0 = 0).

    Between 1 and J_c the state has left 0, but most draws come to rest in a fixed point, a cycle or a torus.

    Args:
      num_neurons: N > 0, not necessarily whole.
      approach: (J_c - 1) sqrt(N).

    >>> print(round(float(critical_j(100)), 2), round(float(critical_j(10_000)), 3))
    1.47 1.047
    """
    return 1 + approach / jnp.sqrt(jnp.asarray(num_neurons, jnp.result_type(float)))


def finite_size_factor(j: Scalar, num_neurons: Scalar, approach: float = APPROACH) -> Array:
    """Share of the mean-field exponent that is left at N: 1 - ((J_c - 1) / (J - 1))^2, and 0 for 1 < J < J_c.

    The exponent of the mean-field theory begins as (J - 1)^2; this is the same parabola with its zero at J_c(N). For
    J <= 1 the factor is 1.

    >>> print(finite_size_factor(1.4, jnp.array([50.0, 400.0, 1e6])).round(2))
    [0.   0.65 1.  ]
    """
    j = jnp.asarray(j, jnp.result_type(float))
    beyond = jnp.where(j > 1, j - 1, jnp.inf)
    return jnp.maximum(0, 1 - ((critical_j(num_neurons, approach) - 1) / beyond) ** 2)


def spectral_radius(num_neurons: Scalar) -> Array:
    """Typical radius of the spectrum of a real Gaussian matrix with entries of variance 1 / N.

    1 + sqrt(g / (4 N)), g = ln(N / (2 pi)) - 2 ln ln N, and 1 where g < 0. The state 0 loses its stability at
    J = 1 / radius: slightly below 1 for large N.

    Source: Rider (2003), J. Phys. A 36, 3401, for complex matrices; Rider & Sinclair (2014) for real ones.

    >>> print(round(float(spectral_radius(10_000)), 3))
    1.009
    """
    n = jnp.maximum(jnp.asarray(num_neurons, jnp.result_type(float)), 3)
    gap = jnp.maximum(0, jnp.log(n / (2 * np.pi)) - 2 * jnp.log(jnp.log(n)))
    return 1 + jnp.sqrt(gap / (4 * n))


def logarithmic_growth(j: Scalar, num_neurons: Scalar, num_iterations: int) -> Array:
    """ln of the factor by which a small difference grows in T iterations from x ~ N(0, 1), for tanh and J0 = 0.

    The sum of ln(chi_t) / 2 with q_{t+1} = <tanh^2> and chi_t of the moment: the first iterations shrink a difference,
    since the state is larger than it will be. A finite network loses the share 1 - `finite_size_factor` of the final
    rate in each iteration.

    >>> print(logarithmic_growth(jnp.array([1.0, 1.1, 1.2]), jnp.inf, 500).round(1))
    [-3.3  1.5  7.6]
    """
    j, n = jnp.broadcast_arrays(*(jnp.asarray(value, jnp.result_type(float)) for value in (j, num_neurons)))
    averages = jnp.vectorize(
        lambda width: gaussian_average(
            lambda h: jnp.stack([jnp.tanh(h) ** 2, (1 - jnp.tanh(h) ** 2) ** 2]), jnp.zeros_like(width), width
        ),
        signature="()->(k)",
    )

    def iterate(q0: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
        found = averages(j * jnp.sqrt(q0))
        return found[..., 0], jnp.log(j**2 * found[..., 1]) / 2

    _, rates = jax.lax.scan(iterate, jnp.ones_like(j), length=num_iterations)
    lost = (1 - finite_size_factor(j, n)) * jnp.maximum(rates[-1], 0)
    return rates.sum(0) - num_iterations * lost


@functools.partial(jax.jit, static_argnames="num_iterations")
def watched_j(num_neurons: Scalar, num_iterations: int) -> Array:
    """J beyond which a small difference has grown after T iterations, in a network of N units (tanh, J0 = 0).

    Fig. 1 averages the distance over the last fifth of T iterations, so that here `logarithmic_growth` after 0.9 T is
    0. The two limits are the two causes of a boundary beyond J = 1: `critical_j` as T grows, and as N grows what slow
    growth and the loss of the first iterations leave.

    Args:
      num_neurons: N, or infinity.
      num_iterations: T >= 20.

    >>> print([round(float(watched_j(n, 500)), 2) for n in (1000, 10_000, jnp.inf)])
    [1.16, 1.08, 1.07]
    """
    n = jnp.asarray(num_neurons, jnp.result_type(float))
    steps = round(0.9 * num_iterations)

    def halve(_: jax.Array, bounds: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        low, high = bounds
        middle = (low + high) / 2
        grows = logarithmic_growth(middle, n, steps) > 0
        return jnp.where(grows, low, middle), jnp.where(grows, middle, high)

    ends = jnp.ones_like(n), 2 * critical_j(n) + 2
    return jax.lax.fori_loop(0, 24, halve, ends)[1]


def band(num_neurons: float | int, num_iterations: int | None = None) -> tuple[float, float]:
    """(lowest, highest) J between which a network of N units may be neither at rest nor chaotic.

    From 1 / `spectral_radius` to `critical_j`, or to `watched_j` where the number of iterations is given.

    >>> print([round(bound, 2) for bound in band(784)])
    [0.98, 1.17]
    """
    highest = critical_j(num_neurons) if num_iterations is None else watched_j(num_neurons, num_iterations)
    return float(1 / spectral_radius(num_neurons)), float(highest)
