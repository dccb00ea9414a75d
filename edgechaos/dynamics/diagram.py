"""The order-chaos phase diagram by simulation (Fig. 1b and the background of Fig. 2a)."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.sharding import Mesh, PartitionSpec
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from edgechaos import errors
from edgechaos.theory.activations import Activation, activation_function, difference

GIB = 2**30
_MOST_SLOTS = {"cpu": 64}  # by platform: a wider product is no faster there (benchmarks/phase_diagram.py)
_MOST_SLOTS_ELSEWHERE = 1024
_ARRAYS_PER_SLOT = 12  # of N entries: x and the difference, their fields, products and temporaries
_MATRICES = 4  # of N x N entries while the couplings are drawn
_ZERO = 1e-5  # of the distance at the start
_LOOKS = 20  # at the cells, while the iterations go on
_AVERAGED = _LOOKS // 5  # looks that the last fifth spans
_STEADY_LOOKS, _STEADY = 3, 0.03  # within which relative range a distance must stay for how many looks
_APART = 0.5  # of |x|^2 + |x'|^2, which is the squared distance of unrelated states of mean 0
_LINEAR = 1e-4  # of the same: a squared distance below it may still grow
_ESCAPED = 1e9
# of perturbation_std; beyond them 1e-5 of it underflows in float32, or exceeds the distance of any two states
PERTURBATIONS = 1e-12, 1.0


@struct.dataclass
class Disorder:
    """What all cells of a diagram share: Z / sqrt(N), the start x, and the perturbation x' - x."""

    couplings: Float[Array, "N N"]
    start: Float[Array, "N"]
    perturbation: Float[Array, "N"]


@struct.dataclass
class Settled:
    """Outcome of the simulation in each cell.

    Attributes:
      distance: mean |x - x'| over the last fifth of the iterations, or over the last three twentieths before the cell
        left; 0 if it fell below 1e-5 of the distance at the start, infinite if the state grew beyond 1e9.
      iterations: after which the cell left, at most num_iterations.
      settled: whether it fell to 0, escaped, or was steady at the end at a distance that only chaos keeps up.
    """

    distance: Float[Array, "*cells"]
    iterations: Int[Array, "*cells"]
    settled: Bool[Array, "*cells"]


@struct.dataclass
class Queue:
    """A batch of slots through which cells pass: one that is done makes room for the next.

    Attributes:
      x: states [N, slots].
      difference: x' - x [N, slots].
      cell: which cell a slot holds; the number of cells if none.
      iterations: of the cell in each slot.
      recent: mean distance in the last looks, the latest last; infinite at first.
      waiting: the first cell that has not begun.
      outcome: of all cells; iterations are 0 for those that have not left.
    """

    x: Float[Array, "N slots"]
    difference: Float[Array, "N slots"]
    cell: Int[Array, "slots"]
    iterations: Int[Array, "slots"]
    recent: Float[Array, "looks slots"]
    waiting: Int[Array, ""]
    outcome: Settled


def draw_disorder(
    key: PRNGKeyArray,
    num_neurons: int,
    perturbation_std: Float[Array, ""] | float = 1e-4,
    dtype: DTypeLike = jnp.float32,
) -> Disorder:
    """Draws Z, x ~ N(0, 1) and x' - x ~ N(0, perturbation_std^2)."""
    matrix_key, start_key, twin_key = jax.random.split(key, 3)
    return Disorder(
        jax.random.normal(matrix_key, (num_neurons, num_neurons), dtype) / num_neurons**0.5,
        jax.random.normal(start_key, (num_neurons,), dtype),
        perturbation_std * jax.random.normal(twin_key, (num_neurons,), dtype),
    )


def start_queue(disorder: Disorder, num_cells: int, num_slots: int) -> Queue:
    """A queue in which the first `num_slots` of `num_cells` cells are about to begin."""
    dtype = disorder.couplings.dtype
    x, apart = (
        jnp.broadcast_to(vector[:, None], (len(vector), num_slots))
        for vector in (disorder.start, disorder.perturbation)
    )
    outcome = Settled(jnp.zeros(num_cells, dtype), jnp.zeros(num_cells, int), jnp.zeros(num_cells, bool))
    return Queue(
        x=x,
        difference=apart,
        cell=jnp.minimum(jnp.arange(num_slots), num_cells),
        iterations=jnp.zeros(num_slots, int),
        recent=jnp.full((_AVERAGED, num_slots), jnp.inf, dtype),
        waiting=jnp.array(min(num_slots, num_cells)),
        outcome=outcome,
    )


def advance_queue(
    queue: Queue,
    disorder: Disorder,
    j0: Float[Array, "cells"],
    j: Float[Array, "cells"],
    num_iterations: int,
    activation: Activation = "tanh",
) -> Queue:
    """A twentieth of `num_iterations` for the cells in the slots; those that are done make room for waiting ones.

    The difference x' - x is carried beside x instead of a second copy, so that it is resolved down to 1e-19 in float32.
    An iteration is one product of Z with both. A cell is done when it has fallen to 0, has escaped, is steady with x
    and x' unrelated, or has had its iterations.

    Args:
      queue: as `start_queue` or this function returned it.
      disorder: Z, x and x' - x.
      j0: J0 of all cells.
      j: J > 0 of all cells.
      num_iterations: at least 20, rounded down to a multiple of 20.
      activation: phi.
    """
    phi, length = activation_function(activation), num_iterations // _LOOKS
    num_slots = len(queue.cell)
    # a slot without a cell repeats the last one, and nothing is kept of it
    gain, shift = (values.at[queue.cell].get(mode="clip") for values in (j, j0))

    def iterate(states: tuple[jax.Array, jax.Array], _: None) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
        both = jnp.concatenate(states, axis=1)
        fields = jnp.tile(gain, 2) * (disorder.couplings @ both) + jnp.tile(shift, 2) * both.mean(0)
        h, dh = fields[:, :num_slots], fields[:, num_slots:]
        new = difference(phi, h, dh)
        return (phi(h), new), jnp.linalg.norm(new, axis=0)

    (x, apart), distances = jax.lax.scan(iterate, (queue.x, queue.difference), length=length)
    iterations, recent = queue.iterations + length, jnp.concatenate([queue.recent[1:], distances.mean(0)[None]])
    size, latest = jnp.linalg.norm(x, axis=0), recent[-_STEADY_LOOKS:]
    fraction = recent[-1] ** 2 / (size**2 + jnp.linalg.norm(x + apart, axis=0) ** 2)
    zero = distances[-1] < _ZERO * jnp.linalg.norm(disorder.perturbation)
    escaped = ~(size < _ESCAPED) | ~jnp.isfinite(recent[-1])
    steady = latest.max(0) - latest.min(0) <= _STEADY * latest.min(0)
    finished = iterations >= _LOOKS * length
    done = zero | escaped | steady & (fraction > _APART) | finished

    outcome = Settled(
        jnp.where(escaped, jnp.inf, jnp.where(zero, 0.0, jnp.where(finished, recent.mean(0), latest.mean(0)))),
        iterations,
        zero | escaped | steady & (fraction > _LINEAR),
    )
    leaving = jnp.where(done, queue.cell, len(j))
    return Queue(
        x=jnp.where(done, disorder.start[:, None], x),
        difference=jnp.where(done, disorder.perturbation[:, None], apart),
        cell=jnp.where(done, jnp.minimum(queue.waiting + jnp.cumsum(done) - 1, len(j)), queue.cell),
        iterations=jnp.where(done, 0, iterations),
        recent=jnp.where(done, jnp.inf, recent),
        waiting=jnp.minimum(queue.waiting + done.sum(), len(j)),
        outcome=jax.tree.map(lambda all_, new: all_.at[leaving].set(new, mode="drop"), queue.outcome, outcome),
    )


def is_unfinished(queue: Queue) -> Bool[Array, ""]:
    """Whether any slot holds a cell."""
    return (queue.cell < len(queue.outcome.distance)).any()


def settle(
    disorder: Disorder,
    j0: Float[Array, "cells"],
    j: Float[Array, "cells"],
    num_iterations: int,
    activation: Activation = "tanh",
    num_slots: int = 64,
) -> Settled:
    """Iterates x <- phi(J Z x / sqrt(N) + J0 mean(x)) and x' - x until every cell is done, see `advance_queue`."""
    return jax.lax.while_loop(
        is_unfinished,
        lambda queue: advance_queue(queue, disorder, j0, j, num_iterations, activation),
        start_queue(disorder, len(j), min(num_slots, len(j))),
    ).outcome


@functools.partial(jax.jit, static_argnames=("num_iterations", "activation", "mesh"), donate_argnames="queues")
def advance_queues(
    queues: Queue,
    disorder: Disorder,
    j0: Float[Array, "devices cells"],
    j: Float[Array, "devices cells"],
    num_iterations: int,
    activation: Activation,
    mesh: Mesh,
) -> Queue:
    """`advance_queue` on every device of a mesh with one axis; all but the disorder has a leading axis of devices."""
    split, everywhere = PartitionSpec(*mesh.axis_names), PartitionSpec()

    def local(queues: Queue, disorder: Disorder, j0: jax.Array, j: jax.Array) -> Queue:
        queue = jax.tree.map(lambda leaf: leaf[0], queues)
        queue = advance_queue(queue, disorder, j0[0], j[0], num_iterations, activation)
        return jax.tree.map(lambda leaf: leaf[None], queue)

    specs = (split, everywhere, split, split)
    return jax.shard_map(local, mesh=mesh, in_specs=specs, out_specs=split)(queues, disorder, j0, j)


def slots_at_once(num_neurons: int, memory_budget: int = 4 * GIB, itemsize: int = 4) -> int:
    """How many slots a queue may have, so that couplings and states stay within `memory_budget` bytes.

    Raises:
      ValueError: the couplings alone need more.
    """
    matrix = _MATRICES * num_neurons**2 * itemsize
    slots = int((memory_budget - matrix) // (_ARRAYS_PER_SLOT * num_neurons * itemsize))
    if slots < 1:
        raise ValueError(
            f"num_neurons = {num_neurons}: the couplings need {matrix / GIB:.3g} GiB while they are drawn, but the "
            f"memory budget is {memory_budget / GIB:.3g} GiB"
        )
    return min(slots, _MOST_SLOTS.get(jax.default_backend(), _MOST_SLOTS_ELSEWHERE))


def cells_of(
    j0_over_j: Float[Array, "columns"], inverse_j: Float[Array, "rows"]
) -> tuple[Float[Array, "cells"], Float[Array, "cells"]]:
    """J0 and J of the cells of a grid, row after row."""
    j = jnp.repeat(1 / inverse_j, len(j0_over_j))
    return j * jnp.tile(j0_over_j, len(inverse_j)), j


def phase_diagram(
    key: PRNGKeyArray,
    j0_over_j: Float[Array | np.ndarray, "columns"],
    inverse_j: Float[Array | np.ndarray, "rows"],
    num_neurons: int,
    num_iterations: int,
    perturbation_std: Float[Array, ""] | float = 1e-4,
    activation: Activation = "tanh",
    independent: bool = False,
    memory_budget: int = 4 * GIB,
) -> Float[Array, "rows columns"]:
    """Asymptotic distance |x - x'| of two nearby starts under x <- phi(J Z x / sqrt(N) + J0 mean(x)).

    All cells share the matrix Z and both starts, so an iteration is one matrix-matrix product for all cells. Each cell
    is an exact sample of the Sherrington-Kirkpatrick couplings, but the cells are not independent of each other. Use
    vmap over several keys to get the spread over the disorder.

    Args:
      key: PRNG key for Z, for x ~ N(0, 1) and for the perturbation.
      j0_over_j: J0/J of the columns; its type, float32 or float64, is that of the simulation.
      inverse_j: 1/J in [0.001, infinity) of the rows.
      num_neurons: N >= 2.
      num_iterations: at least 20, and rounded down to a multiple of 20; the distance is averaged over the last fifth.
        For a cell that has settled earlier it is averaged over three twentieths.
      perturbation_std: standard deviation of each component of x' - x at the start; in [1e-12, 1].
      activation: phi.
      independent: draws a new Z for each cell. This is many times slower, because an iteration is then a product with a
        vector.
      memory_budget: largest memory, in bytes.

    Returns:
      The distance, between 0 (order; below 1e-5 of the distance at the start) and about sqrt(2 N).

    Raises:
      ValueError: an argument out of range, or N too large for the memory budget.

    Source: Fig. 1b and its caption.
    """
    errors.require_count("num_neurons", num_neurons, 2)
    errors.require_count("num_iterations", num_iterations, 20)
    errors.require_finite("j0_over_j", j0_over_j)
    errors.require("inverse_j", inverse_j, lambda entries: entries >= 1e-3, ">= 0.001")
    smallest, largest = PERTURBATIONS
    errors.require(
        "perturbation_std",
        perturbation_std,
        lambda entries: (entries > 0) & (smallest <= entries) & (entries <= largest),
        f"> 0, in [{smallest:g}, {largest:g}]",
    )
    activation_function(activation)
    axes = jnp.asarray(j0_over_j), jnp.asarray(inverse_j)
    ratios, inverse = (axis.astype(jnp.promote_types(axis.dtype, jnp.float32)) for axis in axes)
    for name, axis in (("j0_over_j", ratios), ("inverse_j", inverse)):
        if axis.ndim != 1 or axis.size == 0:
            raise ValueError(f"{name} = array {list(axis.shape)}: must be one axis of numbers with at least one entry")
    slots = slots_at_once(num_neurons, memory_budget, jnp.result_type(ratios, inverse).itemsize)
    return _diagram(key, ratios, inverse, perturbation_std, num_neurons, num_iterations, activation, independent, slots)


@functools.partial(jax.jit, static_argnums=(4, 5, 6, 7, 8))
def _diagram(
    key: PRNGKeyArray,
    ratios: Float[Array, "columns"],
    inverse: Float[Array, "rows"],
    perturbation_std: Float[Array, ""] | float,
    num_neurons: int,
    num_iterations: int,
    activation: Activation,
    independent: bool,
    num_slots: int,
) -> Float[Array, "rows columns"]:
    """`phase_diagram` of checked arguments."""
    j0, j = cells_of(ratios, inverse)
    shape, dtype = (len(inverse), len(ratios)), j.dtype
    if not independent:
        disorder = draw_disorder(key, num_neurons, perturbation_std, dtype)
        return settle(disorder, j0, j, num_iterations, activation, num_slots).distance.reshape(shape)

    def one(cell: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
        disorder = draw_disorder(jax.random.fold_in(key, cell[0]), num_neurons, perturbation_std, dtype)
        return settle(disorder, cell[1][None], cell[2][None], num_iterations, activation).distance[0]

    return jax.lax.map(one, (jnp.arange(len(j)), j0, j)).reshape(shape)
