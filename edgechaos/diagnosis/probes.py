"""Probes: tangents of random signs pushed through blocks, or through a whole model, and what is measured of them."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from edgechaos.diagnosis.taps import Taps

Block = Callable[[jax.Array], jax.Array]


class Rows(NamedTuple):
    """What is measured in each row: of the tangents, of the numbers themselves, and what would make it meaningless."""

    log_squares: Float[Array, "rows probes samples"]
    angles: Float[Array, "rows pairs"]
    finite: Bool[Array, "rows"]
    mixes: Bool[Array, "rows"]


def name_of(index: int, block: Block) -> str:
    """A block's number, with its name if it has one of its own."""
    name = getattr(block, "__name__", type(block).__name__)
    return f"{index}" if name == "<lambda>" else f"{index} {name}"


@functools.partial(jax.jit, static_argnames="num_axes")
def _mean_square(tangents: Float[Array, "..."], num_axes: int) -> tuple[Array, Array]:
    """Tangents of mean square 1 over all but the leading axes, and the logarithm of the mean square that they had."""
    axes = tuple(range(num_axes, tangents.ndim))
    largest = jnp.abs(tangents).max(axes, keepdims=True)
    scaled = tangents / jnp.where(largest > 0, largest, 1)
    wide = jnp.promote_types(tangents.dtype, jnp.float32)
    square = (scaled.astype(wide) ** 2).mean(axes, keepdims=True)
    unit = scaled / jnp.sqrt(jnp.where(square > 0, square, 1)).astype(tangents.dtype)
    logarithm = 2 * jnp.log(largest.astype(wide)) + jnp.log(square)
    return unit, logarithm.reshape(tangents.shape[:num_axes])


@jax.jit
def _angles(h: Float[Array, "samples *shape"]) -> Float[Array, "pairs"]:
    """Angles between neighbours of the batch, the last one's being the first; one pair if there are two samples."""
    unit = _mean_square(h.reshape(len(h), -1).astype(jnp.promote_types(h.dtype, jnp.float32)), 1)[0]
    pairs = len(h) if len(h) > 2 else len(h) - 1
    one, other = unit[:pairs], jnp.roll(unit, -1, 0)[:pairs]
    # the arc cosine would lose angles below the root of the rounding error
    return 2 * jnp.arctan2(jnp.linalg.norm(one - other, axis=1), jnp.linalg.norm(one + other, axis=1))


@functools.partial(jax.jit, static_argnames="num_samples")
def _half(key: PRNGKeyArray, num_samples: int) -> Bool[Array, "samples"]:
    """A random half of the samples, whose change must not reach the others."""
    return jax.random.permutation(key, jnp.arange(num_samples) < num_samples / 2)


@functools.partial(jax.jit, static_argnames="num_probes")
def _signs(key: PRNGKeyArray, num_probes: int, h: jax.Array, moved: Bool[Array, "samples"]) -> jax.Array:
    """Random signs in the shape of h, `num_probes` times, and once more for the moved samples alone."""
    signs = jax.random.rademacher(key, (num_probes + 1, *h.shape), h.dtype)
    return signs.at[-1].multiply(moved.reshape(-1, *[1] * (h.ndim - 1)).astype(h.dtype))


def _checked(h: Any, num_samples: int, label: str) -> jax.Array:
    """What a block returned, if it is one array of as many samples."""
    if not isinstance(h, jax.Array) or not jnp.issubdtype(h.dtype, jnp.floating):
        raise ValueError(f"blocks: '{label}' must give an array of real numbers")
    if h.ndim == 0 or h.shape[0] != num_samples or h.size == 0:
        raise ValueError(f"blocks: '{label}' turns {num_samples} samples into an array of shape {list(h.shape)}")
    return h


def through_blocks(blocks: Sequence[Block], x: jax.Array, key: PRNGKeyArray, num_probes: int) -> Rows:
    """Pushes the probes through block after block."""
    keys = jax.random.split(key, (len(blocks) + 1, 2))
    everyone = jnp.ones(len(x), bool)
    tangents = _signs(keys[-1, 0], num_probes, x, everyone)[:-1]
    wide = jnp.promote_types(x.dtype, jnp.float32)
    logarithms, none = jnp.zeros((num_probes, len(x)), wide), jnp.zeros((), bool)
    h, rows = x, [(logarithms, _angles(x), ~none, none)]
    for index, block in enumerate(blocks):
        moved = _half(keys[index, 0], len(x))
        witness = _signs(keys[index, 1], 0, h, moved)
        new, push = jax.linearize(block, h)
        h = _checked(new, len(x), name_of(index, block))
        tangents, growth = _mean_square(jax.vmap(push)(jnp.concatenate([tangents, witness])), 2)
        logarithms = logarithms + growth[:-1]
        finite = jnp.isfinite(h).all() & (growth[:-1] < jnp.inf).all()
        rows.append((logarithms, _angles(h), finite, _reached(growth[-1], moved)))
        tangents = tangents[:-1]
    return Rows(*map(jnp.stack, zip(*rows, strict=True)))


@jax.jit
def _reached(log_squares: Float[Array, "samples"], moved: Bool[Array, "samples"]) -> Bool[Array, ""]:
    """Whether the change of some samples reached another."""
    return (jnp.where(moved, -jnp.inf, log_squares) > -jnp.inf).any()


def through_model(taps: Taps, x: jax.Array, key: PRNGKeyArray, num_probes: int) -> tuple[list[str], Rows, list[bool]]:
    """Pushes the probes through a whole model, from the tensor at which the taps start."""
    keys = jax.random.split(key, 2)
    points = taps.points(x)
    start = _checked(jnp.zeros(points.shape, points.dtype), len(x), points.names[0])
    moved = _half(keys[0], len(x))
    tensors, push = jax.linearize(lambda nudge: taps.tensors(x, nudge), start)
    for tensor, name in zip(tensors, points.names, strict=True):
        _checked(tensor, len(x), name)

    def log_squares(tangent: jax.Array) -> list[jax.Array]:
        return [_mean_square(one, 1)[1] for one in push(tangent)]

    found = jax.vmap(log_squares)(_signs(keys[1], num_probes, start, moved))
    rows = [
        (one[:-1], _angles(h), jnp.isfinite(h).all() & (one < jnp.inf).all(), _reached(one[-1], moved))
        for one, h in zip(found, tensors, strict=True)
    ]
    return points.names, Rows(*map(jnp.stack, zip(*rows, strict=True))), points.stream
