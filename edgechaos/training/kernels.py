"""Kernels in a pytree of parameters: their paths as text, and their shapes as matrices."""

import jax
import optax
from jaxtyping import Array, Float


def as_matrix(kernel: Array) -> Float[Array, "n_in n_out"]:
    """A kernel with its fan-in as rows: dense, or convolutional [..., n_in, n_out]."""
    return kernel.reshape(-1, kernel.shape[-1])


def is_square(leaf: Array) -> bool:
    """Whether a leaf is a matrix with as many rows as columns, which maps a layer onto one like it."""
    return leaf.ndim == 2 and leaf.shape[0] == leaf.shape[1]


def path_name(path: tuple) -> str:
    """A path of a pytree as text."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


def with_paths(params: optax.Params) -> list[tuple[str, Array]]:
    """The leaves with their paths as text."""
    return [(path_name(path), leaf) for path, leaf in jax.tree_util.tree_flatten_with_path(params)[0]]
