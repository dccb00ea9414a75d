"""Frames of tangents: pushed through a map, and made orthonormal again as seldom as their growth so far allows.

A frame has its k tangents in rows. An exponent is the growth of ln |diag L| in Q_0 A_1 ... A_n = L_1 ... L_n Q_n, where
A are the transposed Jacobians and each L is lower triangular. This product is exact whatever frame a factorisation
Q A = L Q' leaves. A fast factorisation in between need therefore not be orthonormal to the last digit; only the first
frame and the last one must be.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

_LONGEST = 16  # iterations between two factorisations
_SAFE = 4.0  # times sqrt(eps): a triangle whose diagonal falls below it, of unit rows, is left to Householder


class Frame(NamedTuple):
    """k tangents as rows, the iterations since they were factorised, and after how many they will be next."""

    rows: Float[Array, "k N"]
    age: Int[Array, ""]
    due: Int[Array, ""]


class Growth(NamedTuple):
    """Logarithmic growth of the rows since they were last factorised; `span` iterations, 0 where not measured."""

    logarithms: Float[Array, "*iterations k"]
    span: Int[Array, "*iterations"]


def start_frame(rows: Float[Array, "k N"]) -> Frame:
    """An orthonormal frame that is factorised after the first iteration."""
    return Frame(orthonormalise(rows)[0], jnp.zeros((), int), jnp.ones((), int))


def push_frame(
    frame: Frame, push: Callable[[jax.Array], jax.Array], dtype: jnp.dtype, last: Bool[Array, ""]
) -> tuple[Frame, Growth]:
    """One iteration; factorised if it is due, or the last one.

    Args:
      frame: in at least float32.
      push: product of the map's Jacobian with a vector [N] of `dtype`.
      dtype: of the map.
      last: whether what follows needs all of the growth so far.
    """
    wide = frame.rows.dtype
    rows = jax.vmap(push)(frame.rows.astype(dtype)).astype(wide)
    age = frame.age + 1
    now = (age >= frame.due) | last
    zeros = jnp.zeros(len(rows), wide)
    rows, logarithms = jax.lax.cond(now, factorise, lambda rows: (rows, zeros), rows)
    due = jnp.where(now, _next_due(logarithms / age, age), frame.due)
    return Frame(rows, jnp.where(now, 0, age), due), Growth(logarithms, jnp.where(now, age, 0))


def _next_due(rates: Float[Array, "k"], age: Int[Array, ""]) -> Int[Array, ""]:
    """Iterations until the rows are as alike as eps^(-1/4) allows, at these rates; at most twice as many as before.

    Rows turn towards the fastest as the gap of the rates says; and their squares must not overflow.
    """
    eps = jnp.finfo(rates.dtype).eps
    gap = jnp.maximum(rates.max() - rates.min(), jnp.abs(rates).max() / 4)
    allowed = -jnp.log(eps) / 4 / jnp.where(gap > 0, gap, 1e-6)
    # a row that vanished has an infinite rate, which allows 0, or NaN
    allowed = jnp.where(jnp.isfinite(allowed), allowed, 1)
    return jnp.clip(allowed, 1, jnp.minimum(2 * age, _LONGEST)).astype(age.dtype)


def complete(growth: Growth, frame: Frame) -> Growth:
    """The growth of all iterations, with what the last frame lacks to be orthonormal put into the last one."""
    return growth._replace(logarithms=growth.logarithms.at[-1].add(orthonormalise(frame.rows)[1]))


def spread(growth: Growth) -> Float[Array, "iterations k"]:
    """Growth of each iteration: what was measured over several of them is shared out equally."""
    count = len(growth.span)
    measured = jnp.where(growth.span > 0, jnp.arange(count), count - 1)
    following = jax.lax.cummin(measured, reverse=True)
    return growth.logarithms[following] / growth.span[following][:, None]


def orthonormalise(rows: Float[Array, "k N"]) -> tuple[Float[Array, "k N"], Float[Array, "k"]]:
    """Q and ln |diag L| with rows = L Q, by Householder's reflections, which any rows allow.

    >>> _, logarithms = orthonormalise(jnp.array([[2.0, 0.0, 0.0], [1.0, 3.0, 0.0]]))
    >>> print(jnp.exp(logarithms))
    [2. 3.]
    """
    unit, sizes = _unit(rows)
    frame, logarithms = _householder(unit)
    return frame, logarithms + sizes


def factorise(rows: Float[Array, "k N"]) -> tuple[Float[Array, "k N"], Float[Array, "k"]]:
    """Q' and ln |diag L| with rows = L Q', by Cholesky, or by Householder where the rows are too alike.

    Q' is orthonormal up to eps times the squared condition number of the rows.

    Source: Yamamoto et al. (2015), Electron. Trans. Numer. Anal. 44, 306, for the error of one such factorisation.
    """
    unit, sizes = _unit(rows)
    triangle = _triangle(unit @ unit.T)
    safe = (jnp.diagonal(triangle) > _SAFE * jnp.finfo(triangle.dtype).eps ** 0.5).all()  # NaN is not
    # under vmap both ways are computed, and a gradient must not see the NaN of a failed one
    guarded = jnp.where(safe, triangle, jnp.eye(len(triangle), dtype=triangle.dtype))
    frame, logarithms = jax.lax.cond(safe, _solve, lambda unit, _: _householder(unit), unit, guarded)
    return frame, logarithms + sizes


def _unit(rows: Float[Array, "k N"]) -> tuple[Float[Array, "k N"], Float[Array, "k"]]:
    """The rows divided by their norms, and the logarithms of these; no square overflows or underflows."""
    largest = jnp.abs(rows).max(1, keepdims=True)
    scaled = rows / jnp.where(largest > 0, largest, 1)
    size = jnp.linalg.norm(jnp.where(largest > 0, scaled, 1), axis=1, keepdims=True)
    return scaled / size, (jnp.log(largest) + jnp.log(size))[:, 0]


@jax.custom_jvp
def _triangle(gram: Float[Array, "k k"]) -> Float[Array, "k k"]:
    """Lower triangle of a Gram matrix by Cholesky; NaN where the rows are too alike."""
    return jnp.linalg.cholesky(gram, symmetrize_input=False)


@_triangle.defjvp
def _change_of_triangle(gram: tuple[jax.Array], change: tuple[jax.Array]) -> tuple[jax.Array, jax.Array]:
    """The triangle and its derivative, which is finite also where there is none, so that 0 times it is 0."""
    triangle = _triangle(*gram)
    sound = jnp.where(jnp.isfinite(triangle).all(), triangle, jnp.eye(len(triangle), dtype=triangle.dtype))
    half = jax.scipy.linalg.solve_triangular(sound, change[0], lower=True)
    whole = jax.scipy.linalg.solve_triangular(sound, half.T, lower=True)
    return triangle, sound @ (jnp.tril(whole) - jnp.diag(jnp.diagonal(whole)) / 2)


def _solve(unit: Float[Array, "k N"], triangle: Float[Array, "k k"]) -> tuple[Float[Array, "k N"], Float[Array, "k"]]:
    """The frame that a triangle of the Gram matrix leaves."""
    return jax.scipy.linalg.solve_triangular(triangle, unit, lower=True), jnp.log(jnp.diagonal(triangle))


def _householder(unit: Float[Array, "k N"]) -> tuple[Float[Array, "k N"], Float[Array, "k"]]:
    """Reflections."""
    frame, triangle = jnp.linalg.qr(unit.T)
    return frame.T, jnp.log(jnp.abs(jnp.diagonal(triangle)))
