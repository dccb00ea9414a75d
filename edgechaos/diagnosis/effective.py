"""Effective order parameters: where a kernel whose entries are not independent stands in the phase diagram."""

import jax
import jax.numpy as jnp
from flax import struct
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PRNGKeyArray

from edgechaos import errors
from edgechaos.theory.activations import Activation
from edgechaos.theory.finite_size import critical_j, finite_size_factor
from edgechaos.theory.profile import profile_state
from edgechaos.training.order import order_parameters

_SEED = 8191  # of the probes: not one that somebody draws a kernel with, whose signs would be the probes


@struct.dataclass
class EffectiveOrderParameters:
    """What norms of rows and columns and the effective size make of (J0, J).

    Attributes:
      j0: J0, as `order_parameters` has it.
      j_squared: J^2 weighted by the norms of inputs and outputs: a small state grows by it.
      num_neurons: N of the network of independent weights whose W^T W has as many directions.
      critical_j: J at which half of such networks are chaotic.
      chi: of the mean-field theory with the kernel's norms, for N to infinity.
      exponent: Lyapunov exponent, ln(chi) / 2 less what is lost at this effective size.
    """

    j0: Float[Array, "*batch"]
    j_squared: Float[Array, "*batch"]
    num_neurons: Float[Array, "*batch"]
    critical_j: Float[Array, "*batch"]
    chi: Float[Array, "*batch"]
    exponent: Float[Array, "*batch"]


def effective_size(
    kernel: Float[Array, "N N"], num_probes: int = 128, key: PRNGKeyArray | None = None
) -> Float[Array, ""]:
    """N of independent entries whose W^T W is spread over as many directions: 2 (tr G)^2 / tr(G^2), G = W^T W.

    tr(G^2) = E |W^T W v|^2 for random signs v, so that nothing but products with W is needed. With m probes the
    relative standard error is at most sqrt(2 / m) and near sqrt(4 / (N m)) for a spectrum without outliers.
    """
    key = jax.random.key(_SEED) if key is None else key
    signs = jax.random.rademacher(key, (num_probes, kernel.shape[1]), kernel.dtype)
    images = signs @ kernel.T @ kernel
    return 2 * (kernel**2).sum() ** 2 / ((images**2).sum() / num_probes)


def effective_order_parameters(
    kernel: ArrayLike, activation: Activation = "tanh", num_probes: int = 128, key: PRNGKeyArray | None = None
) -> EffectiveOrderParameters:
    """Order parameters of a trained kernel: norms of its inputs and outputs, and its effective size.

    Two things that (J0, J) do not see make a trained kernel less chaotic. Units with large incoming weights saturate.
    And its norm lies in few directions, so that it behaves as a network of fewer units: chaos begins at
    J_c = 1 + 4.7 / sqrt(N_eff), and single kernels scatter about the mean as small networks do. It takes
    products of W with `num_probes` vectors and sums over rows and columns; nothing is decomposed.

    Args:
      kernel: [N, N], finite, not constant; |J0| <= J, since the mean of the state is taken to be 0.
      activation: an odd phi: "tanh", "erf" or a function.
      num_probes: >= 1.
      key: of the probes; default: a fixed one.

    Raises:
      ValueError: not square, NaN, constant, or num_probes < 1.

    Source: docs/THEORY.md, "Trained kernels".

    >>> kernel = 1.5 * jax.random.normal(jax.random.key(0), (400, 400)) / 20
    >>> found = effective_order_parameters(kernel)
    >>> print(round(float(found.j_squared), 1), round(float(found.num_neurons), -1), round(float(found.exponent), 2))
    2.2 410.0 0.05
    """
    errors.require_count("num_probes", num_probes, 1)
    kernel = jnp.asarray(kernel)
    if kernel.ndim != 2 or kernel.shape[0] != kernel.shape[1] or kernel.shape[0] < 2:
        raise ValueError(f"kernel = array {list(kernel.shape)}: must be square, [N, N] with N >= 2")
    errors.require_finite("kernel", kernel)
    plain = order_parameters(kernel)
    errors.require("kernel", plain.j_squared, lambda variance: variance > 0, "of entries that are not all the same")
    apart = kernel.astype(jnp.promote_types(kernel.dtype, jnp.float32))
    apart = apart - apart.mean()
    squares = apart**2
    state = profile_state(squares.sum(1), squares.sum(0), activation)
    size = effective_size(apart, num_probes, key)
    exponent = jnp.log(state.chi) / 2 * finite_size_factor(jnp.sqrt(state.gain), size)
    return EffectiveOrderParameters(
        j0=plain.j0,
        j_squared=state.gain,
        num_neurons=size,
        critical_j=critical_j(size),
        chi=state.chi,
        exponent=exponent,
    )
