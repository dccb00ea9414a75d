"""The simulated phase diagram with progress, resume and all devices, for Fig. 1 and the background of Fig. 2."""

import functools
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tqdm
from jax.sharding import Mesh

from edgechaos.dynamics.diagram import (
    GIB,
    Settled,
    advance_queues,
    cells_of,
    draw_disorder,
    is_unfinished,
    slots_at_once,
    start_queue,
)
from edgechaos.errors import UserError
from edgechaos.runs import checkpoints
from edgechaos.runs.fields import digest
from edgechaos.runs.interruption import Interrupted
from edgechaos.runs.machine import require_memory
from edgechaos.runs.resumable import Chore, advance_until, once, shown
from edgechaos.theory.meanfield import edge_of_chaos

logger = logging.getLogger("edgechaos.diagram")

_BYTES_OF_A_CELL = 500  # of its state, its outcome and its place in a figure, some of them in several copies


def require_cells(num_columns: int, num_rows: int) -> None:
    """Refuses a diagram whose cells would not fit into memory.

    Raises:
      UserError: names columns and rows.
    """
    what = f"{num_columns} x {num_rows} cells of a phase diagram"
    require_memory(what, _BYTES_OF_A_CELL * num_columns * num_rows, "take fewer columns or rows")


def simulate_diagram(
    directory: Path,
    j0_over_j: np.ndarray,
    inverse_j: np.ndarray,
    seed: int,
    num_neurons: int,
    num_iterations: int,
    activation: str = "tanh",
    perturbation_std: float = 1e-4,
    memory_gib: float = 4.0,
    checkpoint_seconds: float = 30.0,
) -> Settled:
    """What `ec.phase_diagram` computes, [rows, columns], a twentieth of the iterations at a time.

    It saves its state in `directory` / "diagram-SEED" at most `checkpoint_seconds` apart, and goes on from there.

    Raises:
      UserError: N is too large for the memory budget, there are too many cells, or a checkpoint cannot be written.
      Interrupted: by Ctrl-C or SIGTERM, after the state was saved.
    """
    require_cells(len(j0_over_j), len(inverse_j))
    at_once = cells_at_once(num_neurons, memory_gib)
    mesh = Mesh(np.array(jax.devices()), ("devices",))
    disorder = jax.jit(draw_disorder, static_argnums=1)(jax.random.key(seed), num_neurons, perturbation_std)
    j0, j = _over_devices(mesh, *cells_of(jnp.asarray(j0_over_j), jnp.asarray(inverse_j)))
    slots = min(at_once, j.shape[1])
    folder = directory / f"diagram-{seed}"
    arguments = {"axes": [j0_over_j.tolist(), inverse_j.tolist()], "seed": seed, "std": perturbation_std}
    arguments |= {"N": num_neurons, "iterations": num_iterations, "phi": activation, "slots": slots, "split": j.shape}
    identity = digest(arguments)

    def start() -> Any:
        return jax.vmap(lambda _: start_queue(disorder, j.shape[1], slots))(jnp.arange(len(j)))

    saved = checkpoints.restore(folder, {"queues": jax.eval_shape(start), "step": np.zeros((), int)}, identity)
    queues, step = (start(), 0) if saved is None else (jax.device_put(saved["queues"]), int(saved["step"]))
    if saved is not None:
        logger.info("resuming '%s' after step %d", folder, step)
    bar = tqdm.tqdm(total=j.size, desc=f"phase diagram, seed {seed}", unit="cell", mininterval=1.0, dynamic_ncols=True)

    def advance() -> None:
        nonlocal queues, step
        queues = advance_queues(queues, disorder, j0, j, num_iterations, activation, mesh)
        step += 1
        bar.update(_finished(queues) - bar.n)

    def save() -> None:
        checkpoints.save(folder, step, {"queues": queues, "step": np.array(step)}, identity)

    def is_done() -> bool:
        return not jax.vmap(is_unfinished)(queues).any()

    with shown(bar, "twentieth of the iterations") as stop:
        bar.update(_finished(queues))
        advance_until(is_done, stop.is_set, advance, [Chore(save, lambda took: checkpoint_seconds)])
        if stop.is_set():
            save()
            raise Interrupted(f"interrupted after {bar.n} of {bar.total} cells; the same command continues from there")
    checkpoints.remove(folder)
    return jax.tree.map(functools.partial(_on_grid, (len(inverse_j), len(j0_over_j))), queues.outcome)


def cells_at_once(num_neurons: int, memory_gib: float) -> int:
    """How many cells of N neurons are computed at once.

    Raises:
      UserError: the memory budget holds none.
    """
    try:
        return slots_at_once(num_neurons, int(memory_gib * GIB))
    except ValueError as error:
        raise UserError(f"{error}; raise memory_gib = {memory_gib:g}") from error


def _on_grid(shape: tuple[int, int], values: jax.Array) -> np.ndarray:
    """Cells [devices, cells] back in rows and columns, without padding."""
    return np.asarray(values).T.ravel()[: shape[0] * shape[1]].reshape(shape)


def _over_devices(mesh: Mesh, *cells: jax.Array) -> tuple[jax.Array, ...]:
    """Cells dealt to the devices in turn, [devices, cells], so that all have equal work; the last cell pads."""
    size = mesh.devices.size
    return tuple(jnp.pad(values, (0, -len(values) % size), mode="edge").reshape(-1, size).T for values in cells)


def _finished(queues: Any) -> int:
    """How many cells have left."""
    return int((queues.outcome.iterations > 0).sum())


def diagram_background(
    directory: Path,
    j0_over_j: np.ndarray,
    inverse_j: np.ndarray,
    seed: int,
    num_neurons: int,
    num_iterations: int,
    activation: str = "tanh",
) -> dict[str, np.ndarray]:
    """What `plotting.phase_map` draws, computed once for a work directory: axes, distance, edge of Eq. 3."""

    def compute() -> dict[str, np.ndarray]:
        settled = simulate_diagram(directory, j0_over_j, inverse_j, seed, num_neurons, num_iterations, activation)
        axes, edge = {"j0_over_j": j0_over_j, "inverse_j": inverse_j}, edge_of_chaos(j0_over_j, activation)
        return {**axes, "distance": np.asarray(settled.distance), "edge": np.asarray(edge)}

    return once(directory / "phase_map.npz", compute)


def simulate_seeds(
    directory: Path, j0_over_j: np.ndarray, inverse_j: np.ndarray, seeds: Iterable[int], **settings: Any
) -> dict[str, np.ndarray]:
    """`Settled` of several seeds as arrays [seed, row, column]; each is kept in diagram-SEED.npz when it is finished.

    Args:
      directory: the work directory.
      j0_over_j: columns.
      inverse_j: rows.
      seeds: of the disorder.
      **settings: of `simulate_diagram`.
    """

    def outcome(seed: int) -> dict[str, np.ndarray]:
        settled = simulate_diagram(directory, j0_over_j, inverse_j, seed, **settings)
        return {name: np.asarray(getattr(settled, name)) for name in ("distance", "iterations", "settled")}

    of_seeds = [once(directory / f"diagram-{seed}.npz", functools.partial(outcome, seed)) for seed in seeds]
    return {name: np.stack([one[name] for one in of_seeds]) for name in of_seeds[0]}
