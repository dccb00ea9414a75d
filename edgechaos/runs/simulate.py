"""The simulated phase diagram with progress, resume and all devices, for Fig. 1 and the background of Fig. 2."""

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tqdm
import tqdm.contrib.logging
from jax.sharding import Mesh

from edgechaos import files
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
from edgechaos.runs.interruption import Interrupted, stop_requests
from edgechaos.runs.machine import require_memory
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
    try:
        at_once = slots_at_once(num_neurons, int(memory_gib * GIB))
    except ValueError as error:
        raise UserError(f"{error}; raise memory_gib = {memory_gib:g}") from error
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
    num_cells = len(j0_over_j) * len(inverse_j)
    bar = tqdm.tqdm(total=j.size, desc=f"phase diagram, seed {seed}", unit="cell", mininterval=1.0, dynamic_ncols=True)
    saved_at = time.monotonic()
    redirected = tqdm.contrib.logging.logging_redirect_tqdm([logging.getLogger("edgechaos")])
    with bar, redirected, stop_requests("twentieth of the iterations") as stop:
        bar.update(_finished(queues))
        while jax.vmap(is_unfinished)(queues).any():
            queues = advance_queues(queues, disorder, j0, j, num_iterations, activation, mesh)
            step += 1
            bar.update(_finished(queues) - bar.n)
            if stop.is_set() or time.monotonic() - saved_at > checkpoint_seconds:
                checkpoints.save(folder, step, {"queues": queues, "step": np.array(step)}, identity)
                saved_at = time.monotonic()
            if stop.is_set():
                raise Interrupted(f"interrupted after {bar.n} of {bar.total} cells; the same command goes on")
    checkpoints.remove(folder)

    def grid(values: jax.Array) -> np.ndarray:
        return np.asarray(values).T.ravel()[:num_cells].reshape(len(inverse_j), len(j0_over_j))

    return jax.tree.map(grid, queues.outcome)


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
    """What `phase_plots.phase_map` draws, computed once for a work directory: axes, distance, edge of Eq. 3."""
    path = directory / "phase_map.npz"
    if path.exists():
        return files.read_npz(path)
    settled = simulate_diagram(directory, j0_over_j, inverse_j, seed, num_neurons, num_iterations, activation)
    edge = np.asarray(edge_of_chaos(j0_over_j, activation))
    arrays = {"j0_over_j": j0_over_j, "inverse_j": inverse_j, "distance": np.asarray(settled.distance), "edge": edge}
    files.write_npz(path, arrays)
    return arrays


def settled_arrays(settled: Settled) -> Mapping[str, np.ndarray]:
    """The outcome as arrays for an .npz."""
    return {name: np.asarray(getattr(settled, name)) for name in ("distance", "iterations", "settled")}
