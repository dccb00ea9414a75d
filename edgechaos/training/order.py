"""Order parameters: where a kernel stands in the order-chaos phase diagram."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.typing import ArrayLike
from jaxtyping import Array, Float


@struct.dataclass
class OrderParameters:
    """(J0, J^2) of a kernel, or their standard errors."""

    j0: Float[Array, "*members"]
    j_squared: Float[Array, "*members"]


def order_parameters(kernel: ArrayLike | list[Any]) -> OrderParameters:
    """J0 = n_in mean(W), J^2 = n_in var(W): the weights have mean J0 / N and variance J^2 / N.

    No permutation of the entries changes them. bfloat16 and float16 kernels are summed in float32.

    Args:
      kernel: [..., n_out] with at least two axes. n_in is the product of all axes but the last, as in a convolution
        [height, width, channels, n_out], and as in `phase_report` and `hold_at_edge`. Lists and integers are accepted.

    Raises:
      ValueError: fewer axes than two, no entries, or complex entries.

    Source: the text above Eq. 3.

    >>> order_parameters(jnp.array([[1.0, 3.0], [1.0, 3.0]]))
    OrderParameters(j0=Array(4., dtype=float32), j_squared=Array(2., dtype=float32))
    """
    kernel = jnp.asarray(kernel)
    if kernel.ndim < 2 or kernel.size == 0 or jnp.iscomplexobj(kernel):
        raise ValueError(f"kernel = array of {kernel.dtype}{list(kernel.shape)}: must be real [..., n_out], not empty")
    kernel = kernel.astype(jnp.promote_types(kernel.dtype, jnp.float32))
    num_inputs = int(np.prod(kernel.shape[:-1]))
    return OrderParameters(num_inputs * jnp.mean(kernel), num_inputs * jnp.var(kernel))


def order_parameter_errors(
    j_squared: Float[Array, "*members"] | float, num_inputs: int, num_outputs: int
) -> OrderParameters:
    """Standard errors of J0 and J^2 measured on one kernel of independent normal entries.

    se(J0) = J / sqrt(n_out) and se(J^2) = J^2 sqrt(2 / (n_in n_out)); for a square kernel sqrt(2) J^2 / N.
    The entries of trained kernels are not independent; for them this is the resolution that N allows.
    """
    j_squared = jnp.asarray(j_squared)
    return OrderParameters(jnp.sqrt(j_squared / num_outputs), j_squared * (2.0 / (num_inputs * num_outputs)) ** 0.5)
