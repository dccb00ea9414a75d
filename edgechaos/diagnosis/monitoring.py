"""monitor: records the order parameters of every kernel during any training loop, in bounded memory."""

import zlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct
from jaxtyping import Array, Float, Int, UInt32

from edgechaos.training.kernels import Axes, Kernel, read_kernels, with_paths
from edgechaos.training.measured import measure_if, only_state, varying_like
from edgechaos.training.selection import is_placeholder


class MonitorState(NamedTuple):
    """Entries recorded so far, at equal distances.

    Attributes:
      j0: of each kernel, NaN in entries that are still free.
      j_squared: likewise.
      step: steps behind.
      stride: steps between two entries; doubles when the memory is full.
      marks: checksum of the name of each kernel, by which `monitored` finds it again.
    """

    j0: Float[Array, "capacity kernels"]
    j_squared: Float[Array, "capacity kernels"]
    step: Int[Array, ""]
    stride: Int[Array, ""]
    marks: UInt32[Array, "kernels"]


@struct.dataclass
class Course:
    """What was recorded.

    Attributes:
      step: of each entry, counted from 0, before the update of that step.
      j0: n_in mean(W) of each kernel.
      j_squared: n_in var(W).
      names: paths of the kernels.
    """

    step: Int[np.ndarray, "entries"]
    j0: Float[np.ndarray, "entries kernels"]
    j_squared: Float[np.ndarray, "entries kernels"]
    names: tuple[str, ...] = struct.field(pytree_node=False)

    def plot(self, axes: Any) -> None:
        """Draws J^2 of each kernel against the step on axes of matplotlib."""
        from edgechaos import plotting  # matplotlib takes a second to import

        plotting.kernels_against_step(axes, self.step, self.j_squared, self.names)


def _names(kernels: list[Kernel]) -> list[str]:
    """Of the columns: the layers of a stack are columns of their own."""
    return [name for kernel in kernels for name in kernel.names]


def _marks(names: list[str]) -> UInt32[np.ndarray, "kernels"]:
    """Names as numbers, which a state can hold."""
    return np.array([zlib.crc32(name.encode()) for name in names], np.uint32)


def monitor(every: int = 100, capacity: int = 512, axes: Axes | None = None) -> optax.GradientTransformation:
    """Records (J0, J^2) of every kernel every `every` steps. It changes no update and may be anywhere in a chain.

    When there are `capacity` entries, every second one is dropped and the distance between entries doubles. So memory
    is bounded, and the entries always cover the whole training.

    Args:
      every: steps between the first entries, >= 1.
      capacity: largest number of entries, an even number >= 2.
      axes: axes of kernels whose inputs and outputs do not follow from name and shape; without them these kernels are
        left out. See `hold_at_edge`.

    Raises:
      ValueError: an argument out of range; on init: no kernel.

    >>> optimizer = optax.chain(optax.sgd(0.1), monitor(every=2, capacity=4))
    >>> params = {"kernel": jnp.eye(3)}
    >>> state = optimizer.init(params)
    >>> for _ in range(10):
    ...     updates, state = optimizer.update({"kernel": jnp.zeros((3, 3))}, state, params)
    >>> print(monitored(state, params).step)
    [0 4 8]
    """
    if every < 1:
        raise ValueError(f"every = {every}: must be >= 1")
    if capacity < 2 or capacity % 2:
        raise ValueError(f"capacity = {capacity}: must be an even number >= 2")

    def init_fn(params: optax.Params) -> MonitorState:
        names = _names(list(read_kernels(params, axes)[0].values()))
        if not names and not is_placeholder(params):
            raise ValueError("monitor: there is no kernel in the parameters")
        j0, j_squared = (jnp.full((capacity, len(names)), jnp.nan, jnp.float32) for _ in range(2))
        step, stride = jnp.zeros((), jnp.int32), jnp.array(every, jnp.int32)
        return varying_like(
            params, MonitorState(j0=j0, j_squared=j_squared, step=step, stride=stride, marks=jnp.asarray(_marks(names)))
        )

    def update_fn(updates: optax.Updates, state: MonitorState, params: optax.Params | None = None):
        if params is None:
            raise ValueError("monitor needs the parameters: optimizer.update(gradient, state, params)")
        leaves, kernels = dict(with_paths(params)), read_kernels(params, axes)[0]
        due = state.step % state.stride == 0
        places = measure_if(due, [leaves[path] for path in kernels], list(kernels.values()))
        state = jax.tree.map(lambda new, old: jnp.where(due, new, old), _record(state, places), state)
        return updates, state._replace(step=state.step + 1)

    return optax.GradientTransformation(init_fn, update_fn)


def _record(state: MonitorState, places: tuple[Float[Array, "kernels"], Float[Array, "kernels"]]) -> MonitorState:
    """Writes an entry, making room first if there is none."""
    capacity = len(state.j0)
    is_full = state.step // state.stride >= capacity

    def thinned(values: Array) -> Array:
        kept = jnp.concatenate([values[::2], jnp.full_like(values[::2], jnp.nan)])
        return jnp.where(is_full, kept, values)

    stride = jnp.where(is_full, 2 * state.stride, state.stride)
    entry = state.step // stride
    j0 = thinned(state.j0).at[entry].set(places[0])
    j_squared = thinned(state.j_squared).at[entry].set(places[1])
    return MonitorState(j0=j0, j_squared=j_squared, step=state.step, stride=stride, marks=state.marks)


def monitored(state: Any, params: optax.Params, axes: Axes | None = None, group: str | None = None) -> Course:
    """What a monitor in the state of an optimizer has recorded.

    Args:
      state: state of the chain.
      params: parameters, for the names of the kernels.
      axes: the `axes` of the monitor.
      group: if there are several monitors, a part of the path to the state of one, such as a label of optax.partition.

    Raises:
      ValueError: there is no state of a monitor, or more than one; or the parameters are not those that it recorded.
    """
    kept = only_state(state, MonitorState, "monitor", group)
    entries = -(-int(kept.step) // int(kept.stride))
    step = int(kept.stride) * np.arange(entries)
    names = _names(list(read_kernels(params, axes)[0].values()))
    of = dict(zip(_marks(names).tolist(), names, strict=True))
    marks = np.asarray(kept.marks).tolist()
    if not of.keys() >= set(marks):
        raise ValueError(f"params: the monitor saw {len(marks)} kernels, not all of which are among {', '.join(names)}")
    columns = tuple(of[mark] for mark in marks)
    return Course(step, np.asarray(kept.j0)[:entries], np.asarray(kept.j_squared)[:entries], columns)
