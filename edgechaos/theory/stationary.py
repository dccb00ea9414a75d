"""The state in which iteration of the mean-field map settles, found in few steps and only where iteration goes.

Everything happens in x = (mu / sqrt(q0), ln q0): a fall to 0 and a growth without bound are straight lines there, and
no number loses digits. An iteration adds the displacement r(x). Its way is followed by pseudo-transient
continuation (Kelley & Keyes 1998, SIAM J. Numer. Anal. 35, 508): implicit Euler steps of dx/dt = r(x), which become
Newton's where the state is near, and are kept short where r is not yet linear or pushes away from a root.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Bool, Float

from edgechaos.theory.activations import Phi
from edgechaos.theory.quadrature import gaussian_average, graded_rule_error

Pair = Float[Array, "2"]

SMALL, LARGE = 1e-6, 1e6  # sqrt(q0) at which a state that has collapsed to 0, or grows, is looked at
_LOWEST, _HIGHEST = 2 * np.log(1e-5), 2 * np.log(1e6)  # ln q0 beyond which it is taken to do so
_PLAIN_STEPS = 30
_MOST_STEPS = 200
_LONGEST = 0.5  # step; a Gaussian average hardly bends over half a unit of ln q0
_SHORTEST_TIME = 0.5  # of a step, for which it is taken as it is: plain iteration that is damped
_NONLINEAR = 0.35  # of the step: how far r may be from its prediction; Newton's step to a triple root is 0.3 off
_SLOW = 1e-5  # growth per iteration at 0 of a state that is not distinguished from 0
_NEAR = 1e-3  # from an end of the way, where plain iteration need not come nearer
_DECISIVE, _ELSEWHERE = 1e-3, 0.1  # logarithmic growth or decay, and distance, that tell another state
_UNRESOLVED = 0.02  # relative error of the averages beyond which nothing is said


@struct.dataclass
class Cell:
    """What the theory knows of one cell.

    Attributes:
      mu: of the state; infinite where it grows without bound.
      q0: likewise.
      field_mean: of the local field J0 mu + J sqrt(q0) z. A state that has collapsed to 0, or grows without bound, has
        the field of its last direction at sqrt(q0) = 1e-6 or 1e6: slopes that have a kink at 0 depend on the direction.
      field_width: likewise.
      mode: factor by which the leading small change of (mu, q0) grows per iteration; that of the size, and not of its
        square, where the state is 0 or grows.
      converged: whether the state is a stable fixed point to which iteration goes.
      grows: whether iteration goes beyond all bounds.
      known: whether field and mode are those of one state or one direction.
    """

    mu: Float[Array, "*cells"]
    q0: Float[Array, "*cells"]
    field_mean: Float[Array, "*cells"]
    field_width: Float[Array, "*cells"]
    mode: Float[Array, "*cells"]
    converged: Bool[Array, "*cells"]
    grows: Bool[Array, "*cells"]
    known: Bool[Array, "*cells"]


@struct.dataclass
class Direction:
    """mu / sqrt(q0) to which a state held at one size turns, its growth per iteration, and the turn's own slope."""

    ratio: Float[Array, ""]
    growth: Float[Array, ""]
    slope: Float[Array, ""]


def slope_of(phi: Phi) -> Phi:
    """phi' for an array of any shape."""
    return jnp.vectorize(jax.grad(lambda h: phi(h).sum()))


def with_unit_tangents(phi: Phi) -> Phi:
    """phi whose derivative is phi'(h) times the tangent, and not what the chain rule makes of a tangent of 1e8.

    gelu has tanh(h^3) in it: carried through the chain rule in float32, the rounding of h^3 becomes the derivative.
    """
    slope = slope_of(phi)

    @jax.custom_jvp
    def wrapped(h: jax.Array) -> jax.Array:
        return phi(h)

    @wrapped.defjvp
    def _(primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> tuple[jax.Array, jax.Array]:
        return phi(primals[0]), slope(primals[0]) * tangents[0]

    return wrapped


def safe_sqrt(x: jax.Array) -> jax.Array:
    """sqrt(x), and 0 with a finite gradient where x <= 0."""
    return jnp.where(x > 0, jnp.sqrt(jnp.where(x > 0, x, 1)), 0)


def _moments(phi: Phi, j0: jax.Array, j: jax.Array, state: Pair) -> Pair:
    """(mu, q0) after one iteration: int Dz phi(J0 mu + J sqrt(q0) z) and the same of phi^2."""
    mu, q0 = state
    return gaussian_average(lambda h: jnp.stack([phi(h), phi(h) ** 2]), j0 * mu, j * jnp.sqrt(q0))


def _from_state(state: Pair) -> Pair:
    """x of (mu, q0)."""
    return jnp.stack([state[0] / jnp.sqrt(state[1]), jnp.log(state[1])])


def _to_state(x: Pair) -> Pair:
    """(mu, q0) of x."""
    return jnp.stack([x[0] * jnp.exp(x[1] / 2), jnp.exp(x[1])])


def _displacement(phi: Phi, j0: jax.Array, j: jax.Array, x: Pair) -> Pair:
    """r(x), what one iteration adds to x."""
    mu, q0 = _moments(phi, j0, j, _to_state(x))
    limits = jnp.finfo(j.dtype)
    q0 = jnp.where(q0 < limits.max / 4, jnp.maximum(q0, limits.tiny), limits.max / 4)  # also where it overflows
    return _from_state(jnp.stack([jnp.where(jnp.isfinite(mu), mu, 0), q0])) - x


def _is_within(x: Pair) -> Bool[Array, ""]:
    """Whether a state has neither collapsed nor grown beyond bounds."""
    return (x[1] > _LOWEST) & (x[1] < _HIGHEST)


def _iterate(displacement: Callable[[Pair], Pair], x: Pair) -> tuple[Pair, Pair]:
    """x after 30 and 60 plain iterations, or where it went out of bounds."""

    def iterate(x: Pair, _: None) -> tuple[Pair, Pair]:
        x = jnp.where(_is_within(x), x + displacement(x), x)
        return x, x

    _, way = jax.lax.scan(iterate, x, length=2 * _PLAIN_STEPS)
    return way[_PLAIN_STEPS - 1], way[-1]


def _eigenvalues(matrix: Float[Array, "2 2"]) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Largest real part and largest modulus of the eigenvalues of a 2 x 2 matrix."""
    (a, b), (c, d) = matrix
    half_trace, determinant = (a + d) / 2, a * d - b * c
    # not half_trace^2 - determinant, which leaves no digit of a small difference of large eigenvalues
    root = safe_sqrt(((a - d) / 2) ** 2 + b * c)
    is_real = ((a - d) / 2) ** 2 + b * c >= 0
    return half_trace + root, jnp.where(is_real, jnp.abs(half_trace) + root, safe_sqrt(determinant))


def _solve(matrix: Float[Array, "2 2"], right: Pair) -> Pair:
    """y of matrix y = right."""
    (a, b), (c, d) = matrix
    f, g = right
    return jnp.stack([d * f - b * g, a * g - c * f]) / (a * d - b * c)


@struct.dataclass
class _Way:
    """Where `_follow` stands: x, r and its slopes there, the time that the next step may span."""

    x: Pair
    r: Pair
    slopes: Float[Array, "2 2"]
    time: Float[Array, ""]
    is_at_end: Bool[Array, ""]
    count: jax.Array


def _follow(displacement: Callable[[Pair], Pair], start: Pair) -> Pair:
    """The end of the way from `start`: a root of r to which it leads, or the bound beyond which it leads.

    A step is taken if r after it is as its slopes before it predict, which it is not if roots were jumped over. Where r
    grows along the way, the time is shorter than that growth: implicit Euler would turn back to the root it leaves.
    """
    eps = jnp.finfo(start.dtype).eps

    def step(way: _Way) -> _Way:
        growth, _ = _eigenvalues(way.slopes)
        time, begins = jnp.minimum(way.time, 0.5 / jnp.maximum(growth, eps)), way.count == 0
        matrix = jnp.eye(2) / time - way.slopes
        whole = jnp.abs(_solve(matrix, way.r)).max()
        change = _solve(matrix, way.r) * (_LONGEST / jnp.maximum(whole, _LONGEST))
        x = way.x + change
        slopes, r = jax.jacfwd(lambda x: (displacement(x),) * 2, has_aux=True)(x)
        new = _Way(x=x, r=r, slopes=slopes, time=4 * time, is_at_end=jnp.array(False), count=way.count + 1)
        before, after = jnp.abs(way.r).max(), jnp.abs(new.r).max()
        # in units of the step that would mend it: r of a variable that is slaved to another counts for little
        surprise = jnp.abs(_solve(matrix, new.r - way.r - way.slopes @ change)).max()
        taken = (surprise < _NONLINEAR * whole) | (time <= _SHORTEST_TIME)
        # rounding is all that is left: exactly nothing, or nothing that a step makes smaller
        is_at_end = ~begins & ((before <= 2 * eps) | (before < 100 * eps) & ~(after < before / 2))
        kept = dataclasses.replace(way, time=jnp.maximum(time / 4, _SHORTEST_TIME), count=way.count + 1)
        new = jax.tree.map(lambda a, b: jnp.where(taken & ~(is_at_end & (after > before)), a, b), new, kept)
        return dataclasses.replace(new, is_at_end=is_at_end)

    def goes_on(way: _Way) -> jax.Array:
        return ~way.is_at_end & (way.count < _MOST_STEPS) & _is_within(way.x)

    # r = 0 makes a step of no length, which only evaluates r at the start
    nothing, time = jnp.zeros_like(start), jnp.asarray(_SHORTEST_TIME, start.dtype)
    slopes, never, none = jnp.zeros((2, 2), start.dtype), jnp.array(False), jnp.zeros((), int)
    first = _Way(x=start, r=nothing, slopes=slopes, time=time, is_at_end=never, count=none)
    return jax.lax.while_loop(goes_on, step, first).x


def _solve_linear(function: Callable[[Pair], Pair], right: Pair) -> Pair:
    """Solves function(y) = right for a linear function, for implicit differentiation."""
    return jnp.linalg.solve(jax.jacobian(function)(right), right)


def direction(phi: Phi, j0: jax.Array, j: jax.Array, size: jax.Array) -> Direction:
    """The direction of a state that is held at sqrt(q0) = size, from mu = sqrt(q0), or mu = 0 if J0 <= 0."""

    def turn(ratio: jax.Array) -> tuple[jax.Array, jax.Array]:
        mu, q0 = _moments(phi, j0, j, jnp.stack([ratio * size, size**2]))
        new = jnp.sqrt(jnp.maximum(q0, jnp.finfo(j.dtype).tiny))
        return mu / new, new / size

    def held(x: Pair) -> Pair:
        return jnp.stack([turn(x[0])[0] - x[0], jnp.zeros_like(x[0])])

    def find(_: Callable[..., Array], start: jax.Array) -> jax.Array:
        return _follow(held, jnp.stack([start, jnp.zeros_like(start)]))[0]

    ratio = jax.lax.custom_root(
        lambda ratio: turn(ratio)[0] - ratio,
        jnp.where(j0 > 0, 1.0, 0.0).astype(j.dtype),
        find,
        lambda function, y: y / function(jnp.ones_like(y)),
    )
    (_, growth), (slope, _) = jax.jvp(turn, (ratio,), (jnp.ones_like(ratio),))
    return Direction(ratio, growth, slope)


def _start(j0: jax.Array, dtype: jnp.dtype) -> Pair:
    """x of mu = q0 = 1, or of mu = 0 and q0 = 1 if J0 <= 0."""
    return jnp.stack([jnp.where(j0 > 0, 1.0, 0.0), jnp.zeros_like(j0)]).astype(dtype)


@struct.dataclass
class _End:
    """(mu, q0) at the end of the way, the factor by which a small change grows there, and what is known of it.

    Attributes:
      state: (mu, q0).
      mode: largest modulus of an eigenvalue of their map.
      solved: whether they are a solution.
      nearer: whether plain iteration comes nearer to them.
      fallen: whether plain iteration has fallen to 0.
    """

    state: Pair
    mode: Float[Array, ""]
    solved: Bool[Array, ""]
    nearer: Bool[Array, ""]
    fallen: Bool[Array, ""]


def _end_of_way(phi: Phi, j0: jax.Array, j: jax.Array) -> _End:
    """The end of the way from `_start`, against twice as many plain iterations."""

    def displacement(x: Pair) -> Pair:
        return _displacement(phi, j0, j, x)

    sooner, later = _iterate(displacement, _start(j0, j.dtype))
    state = jax.lax.custom_root(
        lambda state: _moments(phi, j0, j, state) - state,
        _to_state(sooner),
        lambda _, state: _to_state(_follow(displacement, _from_state(state))),
        _solve_linear,
    )
    x = _from_state(state)
    # out of bounds the direction goes its own way, and only the size has to come nearer
    weights = jnp.stack([jnp.where(_is_within(x), 1.0, 0.0), jnp.ones_like(x[1])])
    before, after = (jnp.abs(weights * (way - x)).max() for way in (sooner, later))
    nearer = after <= jnp.maximum(1.1 * before, _NEAR)
    slopes, r = jax.jacfwd(lambda x: (displacement(x),) * 2, has_aux=True)(x)
    _, mode = _eigenvalues(slopes + jnp.eye(2))
    solved = jnp.abs(r).max() < 100 * jnp.finfo(j.dtype).eps
    return _End(state=state, mode=mode, solved=solved, nearer=nearer, fallen=later[1] <= _LOWEST)


def _is_resolved(phi: Phi, mean: jax.Array, width: jax.Array) -> Bool[Array, ""]:
    """Whether the quadrature sees the structure of phi and its slope in a field."""
    slope, eps = slope_of(phi), jnp.finfo(mean.dtype).eps
    rounding = jnp.array([0.0, (10 * eps) ** 2], mean.dtype)  # a saturated unit has no slope, but 1 - tanh^2 has digits
    error = graded_rule_error(lambda h: jnp.stack([phi(h) ** 2, slope(h) ** 2]), mean, width, rounding)
    return (error < _UNRESOLVED).all()


def solve_cell(phi: Phi, j0: jax.Array, j: jax.Array) -> Cell:
    """Solves one cell from mu = q0 = 1, or from mu = 0 and q0 = 1 if J0 <= 0."""
    end = _end_of_way(phi, j0, j)
    state = end.state
    x, tolerance = _from_state(state), jnp.finfo(j.dtype).eps ** 0.5
    collapsed, endless = x[1] <= _LOWEST, x[1] >= _HIGHEST
    outside, size = collapsed | endless, jnp.where(collapsed, SMALL, LARGE).astype(j.dtype)
    limit = direction(phi, j0, j, size)
    turning = jnp.abs(limit.slope)
    mode = jnp.where(outside, limit.growth * jnp.maximum(1, turning), end.mode)

    grows = endless & end.nearer
    mean = j0 * jnp.where(outside, size * limit.ratio, state[0])
    width = j * jnp.where(outside, size, jnp.sqrt(state[1]))
    slope = slope_of(phi)
    kinked = jnp.abs(jnp.diff(slope(jnp.array([-SMALL, SMALL], j.dtype)))[0]) > 1e-3
    # what fell to 0 may end at up to 1e-10 above it; the direction of a relu may go to and fro while the size falls
    steady = (mode < 1 + jnp.where(collapsed, _SLOW, tolerance)) | collapsed & kinked & end.fallen
    converged = ~endless & (collapsed | end.solved) & end.nearer & steady
    one_direction = ~outside | (turning < 1 + tolerance) | collapsed & ~kinked
    resolved = _is_resolved(phi, mean, width)
    sign = jnp.sign(limit.ratio) * (jnp.abs(limit.ratio) > tolerance)
    return Cell(
        mu=jnp.where(grows, jnp.where(sign == 0, 0.0, sign * jnp.inf), jnp.where(collapsed, 0.0, state[0])),
        q0=jnp.where(grows, jnp.inf, jnp.where(collapsed, 0.0, state[1])),
        field_mean=mean,
        field_width=width,
        mode=mode,
        converged=converged & resolved,
        grows=grows,
        known=(converged | grows) & one_direction & resolved,
    )


def has_other_state(phi: Phi, j0: jax.Array, j: jax.Array, cell: Cell) -> Bool[Array, ""]:
    """Whether iteration from a very small or a very large state (mu >= 0) settles elsewhere than in `cell`."""

    def displacement(x: Pair) -> Pair:
        return _displacement(phi, j0, j, x)

    def clipped(x: Pair) -> Pair:
        return jnp.stack([jnp.where(_is_within(x), x[0], 0), jnp.clip(x[1], _LOWEST, _HIGHEST)])

    bounds = (SMALL**2, LARGE**2)
    here = clipped(_from_state(jnp.stack([jnp.where(jnp.isfinite(cell.mu), cell.mu, 0), jnp.clip(cell.q0, *bounds)])))

    def settles_elsewhere(size: jax.Array, bound: jax.Array) -> jax.Array:
        turned = direction(phi, j0, j, size)
        outwards = jnp.log(turned.growth) * jnp.sign(bound)
        stays = jnp.stack([turned.ratio, bound])
        known = _is_resolved(phi, j0 * turned.ratio * size, j * size)
        inside = jnp.stack([turned.ratio, 0.999 * bound])
        x = jnp.where(outwards > 0, stays, _follow(displacement, inside))
        _, mode = _eigenvalues(jax.jacfwd(displacement)(x) + jnp.eye(2))
        inwards = (outwards < -_DECISIVE) & _is_within(x) & (mode < 1 - _DECISIVE)
        stable = jnp.where(outwards > 0, outwards > _DECISIVE, inwards)
        state = _to_state(x)
        known &= _is_resolved(phi, j0 * state[0], j * jnp.sqrt(state[1]))
        return known & stable & (jnp.abs(clipped(x) - here).max() > _ELSEWHERE)

    ends = jnp.array([SMALL, LARGE], j.dtype), jnp.array([_LOWEST, _HIGHEST], j.dtype)
    return jax.vmap(settles_elsewhere)(*ends).any()
