"""Frames of tangents: pushed through a map, and made unlike again as seldom as their growth so far allows.

A frame has its k tangents in rows. An exponent is the growth of ln |diag L| in Q_0 A_1 ... A_n = L_1 ... L_n Q_n, where
A are the transposed Jacobians and each L is lower triangular. This product is exact whatever frame a factorisation
Q A = L Q' leaves. So Q' need not be orthonormal, and Gaussian elimination with row exchanges takes the place of QR: it
takes a fifth of the operations, and its frames are far from alike. Where the growth is to be known, the volumes of the
frame say what it lacks to be orthonormal.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

_LONGEST = 16  # iterations between two factorisations
_ALIKE = 1e4  # times that the fastest of the rows may outgrow the slowest in between
_MEMORY = 4  # factorisations over which their rates are averaged
_SAFE = 4.0  # times eps, or its square root for a Gram matrix: smaller diagonals are left to Householder


class Frame(NamedTuple):
    """k tangents as rows, and where they stand.

    Attributes:
      rows: the tangents.
      rates: logarithmic growth per iteration, a running mean; NaN before it is known.
      pending: logarithmic growth that has not been given out yet, less the volumes at its beginning.
      age: iterations since the rows were factorised.
      due: iterations after which they will be next.
      span: iterations since growth was given out.
      wanted: whether it is to be given out after the next factorisation.
    """

    rows: Float[Array, "k N"]
    rates: Float[Array, "k"]
    pending: Float[Array, "k"]
    age: Int[Array, ""]
    due: Int[Array, ""]
    span: Int[Array, ""]
    wanted: Bool[Array, ""]


class Growth(NamedTuple):
    """Logarithmic growth of an orthonormal frame over the last `span` iterations; 0 where it is not given out."""

    logarithms: Float[Array, "*iterations k"]
    span: Int[Array, "*iterations"]


def start_frame(rows: Float[Array, "k N"]) -> Frame:
    """An orthonormal frame that is factorised after the first iteration."""
    orthonormal, zero = orthonormalise(rows)[0], jnp.zeros((), int)
    pending, wanted = jnp.zeros(len(rows), rows.dtype), jnp.array(False)
    rates = jnp.full_like(pending, jnp.nan)
    return Frame(rows=orthonormal, rates=rates, pending=pending, age=zero, due=zero + 1, span=zero, wanted=wanted)


def push_frame(
    frame: Frame, push: Callable[[jax.Array], jax.Array], dtype: jnp.dtype, wanted: Bool[Array, ""]
) -> tuple[Frame, Growth]:
    """One iteration; factorised if it is due, and with the growth given out if that was wanted.

    Args:
      frame: in at least float32.
      push: product of the map's Jacobian with a vector [N] of `dtype`.
      dtype: of the map.
      wanted: whether the growth is to be given out, now or at the next factorisation.
    """
    wide = frame.rows.dtype
    rows = jax.vmap(push)(frame.rows.astype(dtype)).astype(wide)
    age, span, zeros = frame.age + 1, frame.span + 1, jnp.zeros(len(rows), wide)
    now, wanted = age >= frame.due, frame.wanted | wanted
    known = now & wanted
    rows, logarithms = jax.lax.cond(now, factorise, lambda rows: (rows, zeros), rows)
    pending = frame.pending + logarithms
    latest = logarithms / age
    rates = jnp.where(jnp.isnan(frame.rates), latest, frame.rates + (latest - frame.rates) / _MEMORY)
    lacking = jax.lax.cond(known, volumes, lambda rows: zeros, rows)
    new = Frame(
        rows=rows,
        rates=jnp.where(now, rates, frame.rates),
        pending=jnp.where(known, -lacking, pending),
        age=jnp.where(now, 0, age),
        due=jnp.where(now, _next_due(rates, age), frame.due),
        span=jnp.where(known, 0, span),
        wanted=wanted & ~known,
    )
    return new, Growth(jnp.where(known, pending + lacking, 0), jnp.where(known, span, 0))


def _next_due(rates: Float[Array, "k"], age: Int[Array, ""]) -> Int[Array, ""]:
    """Iterations until one row has grown _ALIKE times as much as another, at these rates; at most one more than before.

    Rounding, times the condition of a frame, is then below about 1 % of the slowest growth in float32, and 1e-9 of it
    in float64; faster growth loses less. Rows turn towards the fastest as the gap of the rates says; and they must not
    overflow.
    """
    gap = jnp.maximum(rates.max() - rates.min(), jnp.abs(rates).max() / 4)
    allowed = math.log(_ALIKE) / jnp.where(gap > 0, gap, 1e-6)
    # a row that vanished has an infinite rate, which allows 0, or NaN
    allowed = jnp.where(jnp.isfinite(allowed), allowed, 1)
    return jnp.clip(allowed, 1, jnp.minimum(age + 1, _LONGEST)).astype(age.dtype)


def complete(growth: Growth, frame: Frame) -> Growth:
    """The growth of all iterations, with what the last frame has not given out put into the last one."""
    rows, logarithms = factorise(frame.rows)
    left = frame.pending + logarithms + volumes(rows)
    return Growth(growth.logarithms.at[-1].add(left), growth.span.at[-1].add(frame.span))


def spread(growth: Growth) -> Float[Array, "iterations k"]:
    """Growth of each iteration: what was given out for several of them is divided equally."""
    count = len(growth.span)
    known = jnp.where(growth.span > 0, jnp.arange(count), count - 1)
    following = jax.lax.cummin(known, reverse=True)
    return growth.logarithms[following] / growth.span[following][:, None]


def orthonormalise(rows: Float[Array, "k N"]) -> tuple[Float[Array, "k N"], Float[Array, "k"]]:
    """Q and ln |diag L| with rows = L Q, by Householder's reflections, which any rows allow.

    >>> _, logarithms = orthonormalise(jnp.array([[2.0, 0.0, 0.0], [1.0, 3.0, 0.0]]))
    >>> print(jnp.exp(logarithms))
    [2. 3.]
    """
    return _householder(rows)


def factorise(rows: Float[Array, "k N"]) -> tuple[Float[Array, "k N"], Float[Array, "k"]]:
    """Q' and ln |diag L| with rows = L Q', by elimination, or by Householder where the rows are too alike.

    The largest entry of each row of Q' is 1, that of the j-th row in a column where all later rows are 0.

    >>> frame, logarithms = factorise(jnp.array([[2.0, 0.0, 1.0], [1.0, 3.0, 0.0]]))
    >>> print(frame, jnp.exp(logarithms))
    [[ 1.          0.          0.5       ]
     [ 0.          1.         -0.16666667]] [2. 3.]
    """
    upper = jax.lax.linalg.lu(rows.T)[0][: len(rows)]
    sizes = jnp.abs(jnp.diagonal(upper))
    safe = (sizes > _SAFE * jnp.finfo(upper.dtype).eps * sizes.max()).all()  # NaN is not
    # under vmap both ways are computed, and a gradient must not see the infinities of a failed one
    guarded = jnp.where(safe, upper, jnp.eye(len(upper), dtype=upper.dtype))
    return jax.lax.cond(safe, _eliminate, lambda rows, _: _householder(rows), rows, guarded)


def volumes(frame: Float[Array, "k N"]) -> Float[Array, "k"]:
    """ln |diag L| of a frame = L Q with Q orthonormal, by Cholesky, or by Householder where its rows are too alike.

    The sum of the first j is the logarithm of the volume of the first j rows, which have entries of the order of 1.
    """
    triangle = _triangle(frame @ frame.T)
    safe = (jnp.diagonal(triangle) > _SAFE * jnp.finfo(triangle.dtype).eps ** 0.5).all()
    guarded = jnp.where(safe, triangle, jnp.eye(len(triangle), dtype=triangle.dtype))
    return jax.lax.cond(
        safe,
        lambda _, triangle: jnp.log(jnp.diagonal(triangle)),
        lambda frame, _: _householder(frame)[1],
        frame,
        guarded,
    )


def _eliminate(rows: Float[Array, "k N"], upper: Float[Array, "k k"]) -> tuple[Float[Array, "k N"], Float[Array, "k"]]:
    """The frame that elimination leaves; a solution of triangles is faster than undoing its exchanges."""
    frame = jax.lax.linalg.triangular_solve(upper, rows, left_side=True, lower=False, transpose_a=True)
    return frame, jnp.log(jnp.abs(jnp.diagonal(upper)))


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


def _householder(rows: Float[Array, "k N"]) -> tuple[Float[Array, "k N"], Float[Array, "k"]]:
    """Reflections of the rows divided by their largest entries, so that no square overflows or underflows."""
    largest = jnp.abs(rows).max(1)
    frame, triangle = jnp.linalg.qr((rows / jnp.where(largest > 0, largest, 1)[:, None]).T)
    return frame.T, jnp.log(jnp.abs(jnp.diagonal(triangle))) + jnp.log(largest)
