"""Where is the edge of a finite network? Gaussian networks of N units about J = 1, many draws, each its own matrix.

Draws (a) the share of chaotic draws, (b) the exponent, times N, against (J - 1) sqrt(N), where curves of all N collapse
onto one, (c) the edge J_c(N), and the boundary that Fig. 1's iterations see, beside theory, (d) the distance. Draws are
kept as they are finished; the same command again resumes an unfinished run and redraws a finished one, and more `sizes`
extend it.
"""

import dataclasses
import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

import edgechaos as ec
from edgechaos import files, plotting
from edgechaos.analysis import finite_size as analysis
from edgechaos.dynamics.finite_size import measure_draws
from edgechaos.errors import UserError
from edgechaos.runs.config import RunConfig
from edgechaos.runs.fields import declared, integer, numbers_tuple, real
from edgechaos.runs.machine import require_memory
from edgechaos.runs.resumable import all_once
from edgechaos.theory import finite_size as theory
from experiments.shared import cli, sweep

Known = dict[str, np.ndarray]
_TOGETHER = 512 * 512 * 16  # entries of matrices that are iterated at once
_COPIES = 4  # of a matrix while it is drawn
_FEWEST = 8


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(RunConfig):
    """Sizes, draws and places."""

    sizes: tuple[int, ...] = declared(dataclasses.replace(numbers_tuple(16, "N"), role="incidental"))
    num_draws: int = declared(integer(2, "of each N up to 1,024; beyond it fewer as 1 / N, but 8 at least"))
    scaled_j_from: float = declared(real(lambda value: value >= -4, ">= -4", "first (J - 1) sqrt(N)"))
    scaled_j_to: float = declared(real(lambda value: value > 0, "> 0", "last (J - 1) sqrt(N)"))
    num_places: int = declared(integer(3, "from the first to the last"))
    lyapunov_iterations: int = declared(
        integer(64, "that an exponent is averaged over, after as many before; N where that is more, up to 4,096")
    )
    watched_iterations: int = declared(
        integer(20, "after which it is seen whether a difference has grown, as in Fig. 1")
    )


def check(config: Config) -> None:
    """Raises a UserError unless all J are positive, the watched iterations are made, and memory suffices."""
    if config.scaled_j_to <= config.scaled_j_from:
        raise UserError(f"scaled_j_to = {config.scaled_j_to}: must be above scaled_j_from = {config.scaled_j_from}")
    least = 1 + config.scaled_j_from / config.sizes[0] ** 0.5
    if least <= 0:
        raise UserError(
            f"scaled_j_from = {config.scaled_j_from}: must be above {-(config.sizes[0] ** 0.5):g}, so that J > 0 at "
            f"N = {config.sizes[0]}"
        )
    if config.watched_iterations > 2 * config.lyapunov_iterations:
        most = 2 * config.lyapunov_iterations
        raise UserError(f"watched_iterations = {config.watched_iterations}: must be at most {most}")
    largest = config.sizes[-1]
    require_memory(f"a matrix of N = {largest}", 4 * _COPIES * largest**2, "take smaller sizes")


def iterations(config: Config, size: int) -> int:
    """That the exponents of a size are averaged over: growth near the edge slows down with N."""
    return max(config.lyapunov_iterations, min(size, 4096))


def draws(config: Config, size: int) -> int:
    """How many draws of a size."""
    return config.num_draws if size <= 1024 else max(_FEWEST, config.num_draws * 1024 // size)


def prepare(config: Config, directory: Path) -> Known:
    """The places, and what the theory says of them."""
    del directory
    scaled = np.linspace(config.scaled_j_from, config.scaled_j_to, config.num_places)
    size = np.array(config.sizes)
    j = 1 + scaled / size[:, None] ** 0.5
    with jax.enable_x64(True):
        predicted = {"predicted_exponent": np.asarray(ec.predicted_exponent(0.0, j))}
        predicted["predicted_distance"] = np.asarray(ec.predicted_distance(0.0, j))
    watched = [float(theory.watched_j(n, config.watched_iterations)) for n in config.sizes]
    known = {"size": size, "scaled_j": scaled, "j": j, **predicted, "theory_watched_j": np.array(watched)}
    known["theory_critical_j"] = np.asarray(theory.critical_j(size), float)
    return known | {"theory_unstable_j": 1 / np.asarray(theory.spectral_radius(size), float)}


def expect(known: Known) -> dict[str, float]:
    """The numbers of the theory."""
    names = ("critical_j", "unstable_j", "watched_j")
    return analysis.expect(known["size"], {name: known[f"theory_{name}"] for name in names})


def measure(config: Config, known: Known, directory: Path) -> Known:
    """All draws of all sizes, [size, draw, place], some at once."""
    tasks = {}
    for index, size in enumerate(config.sizes):
        at_once = max(1, _TOGETHER // size**2)
        for first in range(0, draws(config, size), at_once):
            some = np.arange(first, min(first + at_once, draws(config, size)))
            tasks[f"{size}-{first}"] = functools.partial(_measure_some, config, size, some, known["j"][index])
    found = all_once(directory / "runs", tasks, "group")
    shape = len(config.sizes), max(draws(config, size) for size in config.sizes), config.num_places
    arrays = {name: values for name, values in known.items() if name in analysis.ARRAYS}
    for name in ("exponent", "standard_error", "early_distance", "distance"):
        arrays[name] = np.full(shape, np.nan)
        for task, group in found.items():
            size, first = map(int, task.split("-"))
            values = group[name]
            arrays[name][config.sizes.index(size), first : first + len(values)] = values
    files.write_npz(directory / "finite_size.npz", arrays)
    return arrays


def _measure_some(config: Config, size: int, some: np.ndarray, j: np.ndarray) -> Known:
    """Some draws of a size, [draw, place]."""
    root = jax.random.fold_in(jax.random.key(config.seed), size)
    keys = jax.vmap(lambda draw: jax.random.fold_in(root, draw))(jnp.asarray(some))
    steps = iterations(config, size), config.watched_iterations
    found = measure_draws(keys, jnp.asarray(j, jnp.float32), size, *steps)
    return {field.name: np.asarray(getattr(found, field.name)) for field in dataclasses.fields(found)}


def compare(config: Config, arrays: Known) -> dict[str, np.ndarray]:
    """The numbers of the analysis."""
    steps = np.array([iterations(config, int(size)) for size in arrays["size"]])
    return analysis.compare(arrays, steps, theory.APPROACH)


def title(config: Config) -> str:
    """What was run, in one line."""
    sizes = f"N = {config.sizes[0]:,} to {config.sizes[-1]:,}"
    fewest = draws(config, config.sizes[-1])
    return f"tanh, J0 = 0, {sizes}, {config.num_draws} draws of each ({fewest} of the largest), {cli.seeds(config)}"


def draw(figure: Figure, config: Config, arrays: Known) -> None:
    """Draws the four panels from arrays."""
    (share, exponent), (edge, distance) = figure.subplots(2, 2)
    sizes, scaled = arrays["size"].tolist(), np.tile(arrays["scaled_j"], (len(arrays["size"]), 1))
    chaotic = [analysis.chaotic(arrays, index, iterations(config, size)) for index, size in enumerate(sizes)]
    shares = np.array([values.mean(0) for values in chaotic])
    counts = np.array([len(values) for values in chaotic])[:, None]
    plotting.collapse(share, sizes, scaled, shares, np.sqrt(shares * (1 - shares) / counts))
    share.set(title="(a) share of chaotic draws", ylabel="share")
    share.legend()

    n = arrays["size"][:, None]
    plotting.collapse(exponent, sizes, scaled, n * np.nanmean(arrays["exponent"], axis=1))
    limit = float(sizes[-1])
    j = 1 + arrays["scaled_j"] / limit**0.5
    mean_field = limit * arrays["predicted_exponent"][-1]
    factor = np.asarray(theory.finite_size_factor(j, limit))
    plotting.lines(exponent, arrays["scaled_j"], {"mean field": mean_field, "at finite N": mean_field * factor})
    low, high = np.nanmin(n * np.nanmean(arrays["exponent"], axis=1)[:, 1:]), float(np.nanmax(mean_field))
    exponent.set(title="(b) exponent", ylabel="$N$ times exponent", ylim=(low, 1.1 * high))
    exponent.legend()

    found = {name: values[0] for name, values in compare(config, arrays).items()}
    measured = {
        "chaos": [(found[f"critical_j_at_{size}"], found[f"critical_j_error_at_{size}"]) for size in sizes],
        "a difference has grown": [
            (found[f"watched_j_at_{size}"], found[f"watched_j_error_at_{size}"]) for size in sizes
        ],
        "0 unstable": [(found[f"unstable_j_at_{size}"], np.nan) for size in sizes],
    }
    known = prepare(config, Path())
    lines = [known[f"theory_{name}"] for name in ("critical_j", "watched_j", "unstable_j")]
    plotting.edges(edge, sizes, {name: np.array(values) for name, values in measured.items()}, lines)
    edge.set(title="(c) edge, and what is seen of it", ylabel="$J$")

    plotting.collapse(distance, sizes, scaled, np.nanmean(arrays["distance"], axis=1) * (n**0.25))
    distance.set(title="(d) distance", ylabel="$N^{1/4} |x - x'| / \\sqrt{N}$")
    for axes in (share, exponent, distance):
        axes.set_xlabel("$(J - 1) \\sqrt{N}$")


FIGURE = sweep.Measurement(
    name="finite_size",
    size=(10, 8),
    title=title,
    numbers=analysis.NUMBERS,
    arrays=analysis.ARRAYS,
    check=check,
    prepare=prepare,
    predict=lambda config, known: expect(known),
    measure=measure,
    compare=compare,
    draw=draw,
)

if __name__ == "__main__":
    sweep.main(FIGURE, Config)
