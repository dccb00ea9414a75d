"""Frames of tangents: pushed through a map, and orthonormalised as seldom as their growth so far allows."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

_LONGEST = 16  # iterations between two orthonormalisations
_SAFE = 4.0  # times sqrt(eps): a triangle whose diagonal falls below it, of unit columns, is left to Householder


class Frame(NamedTuple):
    """k tangents as columns, the iterations since they were orthonormal, and after how many they will be next."""

    columns: Float[Array, "N k"]
    age: Int[Array, ""]
    due: Int[Array, ""]


class Growth(NamedTuple):
    """Logarithmic growth of the columns since they were last orthonormal; `span` iterations, 0 where not measured."""

    logarithms: Float[Array, "*iterations k"]
    span: Int[Array, "*iterations"]


def start_frame(columns: Float[Array, "N k"]) -> Frame:
    """A frame that is orthonormalised after the first iteration."""
    return Frame(orthonormalise(columns)[0], jnp.zeros((), int), jnp.ones((), int))


def push_frame(
    frame: Frame, push: Callable[[jax.Array], jax.Array], dtype: jnp.dtype, last: Bool[Array, ""]
) -> tuple[Frame, Growth]:
    """One iteration; orthonormalised if it is due, or the last one.

    Args:
      frame: in at least float32.
      push: product of the map's Jacobian with a vector [N] of `dtype`.
      dtype: of the map.
      last: whether what follows needs an orthonormal frame.
    """
    wide = frame.columns.dtype
    columns = jax.vmap(lambda column: push(column.astype(dtype)).astype(wide), in_axes=1, out_axes=1)(frame.columns)
    age = frame.age + 1
    now = (age >= frame.due) | last
    zeros = jnp.zeros(columns.shape[1], wide)
    columns, logarithms = jax.lax.cond(now, orthonormalise, lambda columns: (columns, zeros), columns)
    due = jnp.where(now, _next_due(logarithms / age, age), frame.due)
    return Frame(columns, jnp.where(now, 0, age), due), Growth(logarithms, jnp.where(now, age, 0))


def _next_due(rates: Float[Array, "k"], age: Int[Array, ""]) -> Int[Array, ""]:
    """Iterations until the columns are as alike as eps^(-1/4) allows, at these rates; at most twice as many as before.

    Columns turn towards the fastest as the gap of the rates says; and their squares must not overflow.
    """
    eps = jnp.finfo(rates.dtype).eps
    gap = jnp.maximum(rates.max() - rates.min(), jnp.abs(rates).max() / 4)
    allowed = -jnp.log(eps) / 4 / jnp.where(gap > 0, gap, 1e-6)
    # a column that vanished has an infinite rate, which allows 0, or NaN
    allowed = jnp.where(jnp.isfinite(allowed), allowed, 1)
    return jnp.clip(allowed, 1, jnp.minimum(2 * age, _LONGEST)).astype(age.dtype)


def spread(growth: Growth) -> Float[Array, "iterations k"]:
    """Growth of each iteration: what was measured over several of them is shared out equally."""
    count = len(growth.span)
    measured = jnp.where(growth.span > 0, jnp.arange(count), count - 1)
    following = jax.lax.cummin(measured, reverse=True)
    return growth.logarithms[following] / growth.span[following][:, None]


def orthonormalise(columns: Float[Array, "N k"]) -> tuple[Float[Array, "N k"], Float[Array, "k"]]:
    """Q and ln |diag R| of the QR decomposition: by Cholesky twice, or by Householder where columns are too alike.

    Source: Yamamoto et al. (2015), Electron. Trans. Numer. Anal. 44, 306: twice is as orthogonal as Householder up to a
    condition number of eps^(-1/2), and consists of products of matrices.

    >>> _, logarithms = orthonormalise(jnp.array([[2.0, 1.0], [0.0, 3.0], [0.0, 0.0]]))
    >>> print(jnp.exp(logarithms))
    [2. 3.]
    """
    largest = jnp.abs(columns).max(0)
    scaled = columns / jnp.where(largest > 0, largest, 1)
    size = jnp.linalg.norm(jnp.where(largest > 0, scaled, 1), axis=0)
    unit = scaled / size
    gram = unit.T @ unit
    diagonal = jnp.diagonal(_triangle(jax.lax.stop_gradient(gram)))
    safe = (diagonal > _SAFE * jnp.finfo(gram.dtype).eps ** 0.5).all()  # NaN is not
    frame, logarithms = jax.lax.cond(safe, _cholesky_twice, _householder, unit, gram, safe)
    return frame, logarithms + jnp.log(largest) + jnp.log(size)


def _triangle(gram: Float[Array, "k k"]) -> Float[Array, "k k"]:
    """Lower triangle of a Gram matrix."""
    return jnp.linalg.cholesky(gram)


def _cholesky_twice(
    unit: Float[Array, "N k"], gram: Float[Array, "k k"], safe: Bool[Array, ""]
) -> tuple[Float[Array, "N k"], Float[Array, "k"]]:
    """QR by the triangle of the Gram matrix, and again of what that gives."""
    # under vmap both ways are computed, and a gradient must not see the NaN of a failed one
    first = _triangle(jnp.where(safe, gram, jnp.eye(len(gram), dtype=gram.dtype)))
    half = jax.scipy.linalg.solve_triangular(first, unit.T, lower=True).T
    again = half.T @ half
    second = _triangle(jnp.where(safe, again, jnp.eye(len(gram), dtype=gram.dtype)))
    frame = jax.scipy.linalg.solve_triangular(second, half.T, lower=True).T
    return frame, jnp.log(jnp.diagonal(first)) + jnp.log(jnp.diagonal(second))


def _householder(
    unit: Float[Array, "N k"], gram: Float[Array, "k k"], safe: Bool[Array, ""]
) -> tuple[Float[Array, "N k"], Float[Array, "k"]]:
    """QR by reflections, which any columns allow."""
    del gram, safe
    frame, triangle = jnp.linalg.qr(unit)
    return frame, jnp.log(jnp.abs(jnp.diagonal(triangle)))
