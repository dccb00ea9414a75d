"""The hidden map of Eq. 2 and the classifier around it."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float, PRNGKeyArray

from edgechaos.theory.activations import Activation, activation_function


def init_kernel(
    key: PRNGKeyArray, num_neurons: int, j0: float = 0.0, j: float = 0.5, dtype: DTypeLike = jnp.float32
) -> Float[Array, "N N"]:
    """W_ij = J0 / N + J z_ij / sqrt(N) with z standard normal: a kernel at (J0, J) of the phase diagram.

    Args:
      key: PRNG key.
      num_neurons: N > 0.
      j0: J0, any real number (the paper starts at 0).
      j: J >= 0 (the paper starts at 0.5, in the ordered phase).
      dtype: type of the result.

    Source: the text above Eq. 3.

    >>> kernel = init_kernel(jax.random.key(0), 400, j=1.5)
    >>> round(400 * float(kernel.var()), 1)
    2.2
    """
    noise = jax.random.normal(key, (num_neurons, num_neurons), dtype)
    return (j0 / num_neurons + j * noise / num_neurons**0.5).astype(dtype)


def hidden_map(
    kernel: Float[Array, "n_in n_out"], x: Float[Array, "... n_in"], activation: Activation = "tanh"
) -> Float[Array, "... n_out"]:
    """f_W(x) = tanh(x W), Eq. 2, for one input or a batch; kernels are [n_in, n_out] as flax keeps them."""
    return activation_function(activation)(x @ kernel)


class Classifier(nn.Module):
    """x -> f_W(x) -> affine -> logits, with a hidden layer as wide as the input (Fig. 1a).

    The hidden kernel starts at (init_j0, init_j) without a bias; the output kernel is Glorot-uniform, its bias zero.

    Attributes:
      num_classes: number of logits.
      activation: activation of the hidden layer.
      init_j0: J0 of the initial hidden kernel.
      init_j: J of the initial hidden kernel.
    """

    num_classes: int
    activation: Activation = "tanh"
    init_j0: float = 0.0
    init_j: float = 0.5

    @nn.compact
    def __call__(self, x: Float[Array | np.ndarray, "... N"]) -> Float[Array, "... num_classes"]:
        """Returns the logits."""
        num_neurons = x.shape[-1]

        def hidden_init(key: PRNGKeyArray, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
            return init_kernel(key, shape[0], self.init_j0, self.init_j, dtype)

        x = nn.Dense(num_neurons, use_bias=False, kernel_init=hidden_init, name="hidden")(x)
        x = activation_function(self.activation)(x)
        return nn.Dense(self.num_classes, kernel_init=nn.initializers.glorot_uniform(), name="output")(x)
