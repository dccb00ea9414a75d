"""Why are trained kernels less chaotic than their (J0, J) says? Surrogates that keep one property at a time.

Draws (a) the Lyapunov exponent of each surrogate of the last kernel, (b) the trained exponent of all kernels against J
beside three theories, (c) what is left without the largest singular values, (d) where trained kernels settle. Each
kernel is kept when it is finished; the same command again resumes an unfinished run and redraws a finished one, or
takes in the members by which the Fig. 2 run has grown.
"""

import dataclasses
import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

import edgechaos as ec
from edgechaos import files, plotting, runs
from edgechaos.analysis import surrogates as analysis
from edgechaos.diagnosis.effective import effective_size
from edgechaos.dynamics import surrogates
from edgechaos.errors import UserError
from edgechaos.runs.config import TrainingConfig, spec_of
from edgechaos.runs.fields import declared, folder, integer, words_tuple
from edgechaos.runs.history import ARRAYS
from edgechaos.runs.members import sweep_members
from edgechaos.runs.resumable import all_once
from edgechaos.runs.workdir import finished_kernels
from edgechaos.training.epochs import init_state
from experiments.shared import cli, sweep

Known = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(TrainingConfig):
    """A training run, and what is measured on its kernels."""

    fig2_workdir: str = declared(folder("a folder, '' for none", "whose kernels are taken if it exists"))
    surrogates: tuple[str, ...] = declared(
        words_tuple(tuple(surrogates.SURROGATES), "of each kernel, 'trained' among them")
    )
    num_draws: int = declared(integer(1, "of each surrogate that is random"))
    num_states: int = declared(integer(2, "from which each is iterated"))
    lyapunov_iterations: int = declared(integer(64, "that an exponent is averaged over, after as many before"))


def check(config: Config) -> None:
    """Raises a UserError unless there is a kernel and the kernel itself is among the surrogates."""
    if not config.keep_kernels_at and not config.fig2_workdir:
        raise UserError("keep_kernels_at = (): must name an epoch where fig2_workdir is ''")
    if "trained" not in config.surrogates:
        raise UserError(f"surrogates = {config.surrogates}: 'trained' must be among them")


def prepare(config: Config, directory: Path) -> Known:
    """The kernels before and after, and what the theories say of them."""
    source, members, found = _kernels(config, directory)
    labels = sorted((name for name in found if ":" not in name), key=lambda name: float(found[f"{name}:epoch"].mean()))
    kernels = np.stack([found[name] for name in labels])
    seeds, size = sweep_members(source)["seed"][members], kernels.shape[-1]
    initial = [_initial_kernel(source, int(seed), size) for seed in seeds]
    known = {"label": np.array(labels), "epoch": np.stack([found[f"{name}:epoch"] for name in labels])}
    known |= {"kernel": kernels, "initial": np.stack(initial), "member": members}
    known["surrogate"] = np.array(config.surrogates)
    return known | _theory(known, config)


def _kernels(config: Config, directory: Path) -> tuple[TrainingConfig, np.ndarray, Known]:
    """The config behind the kernels, their members, and the kernels by name, from a Fig. 2 run or trained here."""
    elsewhere = files.expanded(config.fig2_workdir, "fig2_workdir") if config.fig2_workdir else None
    if elsewhere is None or not (elsewhere / "config.json").exists():
        found = runs.find_kernels(directory, config, sweep.load_for(config, config.batch_size))
        named = {name: one["kernel"] for name, one in found.items()}
        named |= {f"{name}:epoch": one["epoch"] for name, one in found.items()}
        return config, np.arange(len(next(iter(named.values())))), named
    source, members, named = finished_kernels(elsewhere)
    for name in ("dataset", "activation"):
        if getattr(source, name) != getattr(config, name):
            given, there = getattr(config, name), getattr(source, name)
            raise UserError(f"{name} = '{given}': '{elsewhere}' holds kernels of '{there}'; give {name} as it is there")
    return source, members, named


def _initial_kernel(config: TrainingConfig, seed: int, num_neurons: int) -> np.ndarray:
    """The hidden kernel before training."""
    state = init_state(jax.random.key(seed), spec_of(config, num_classes=2), num_neurons)
    return np.asarray(state.params["hidden"]["kernel"])


def _theory(known: Known, config: Config) -> Known:
    """Order parameters, plain and effective, and the exponents that follow, [kernel, member]."""
    shape = known["kernel"].shape[:2]
    rows: dict[str, list[float]] = {}
    for kernel, initial in zip(known["kernel"].reshape(-1, *known["kernel"].shape[2:]), _repeated(known), strict=True):
        plain = ec.order_parameters(kernel)
        effective = ec.effective_order_parameters(kernel, config.activation)
        j = float(plain.j_squared) ** 0.5
        row = {"j0": plain.j0, "j": j, "gain": effective.j_squared, "size": effective.num_neurons}
        row |= {"theory_plain": ec.predicted_exponent(plain.j0, j, config.activation)}
        row |= {"theory_norms": jnp.log(effective.chi) / 2, "theory_effective": effective.exponent}
        row |= {"rank": surrogates.effective_rank(kernel - initial)}
        row |= {"radius": surrogates.largest_eigenvalue(kernel)}
        for name, value in row.items():
            rows.setdefault(name, []).append(float(value))
    return {name: np.array(values).reshape(shape) for name, values in rows.items()}


def _repeated(known: Known) -> np.ndarray:
    """The initial kernel of each kernel."""
    initial = known["initial"]
    return np.broadcast_to(initial, (len(known["label"]), *initial.shape)).reshape(-1, *initial.shape[1:])


def measure(config: Config, known: Known, directory: Path) -> Known:
    """All surrogates of all kernels, [kernel, member, surrogate, draw]; NaN for draws of what is not random."""
    labels, members = known["label"], known["member"]
    tasks = {
        f"{label}-{member}": functools.partial(
            _measure_kernel, config, known["kernel"][kernel, place], known["initial"][place], int(member)
        )
        for kernel, label in enumerate(labels)
        for place, member in enumerate(members)
    }
    found = list(all_once(directory / "runs", tasks, "kernel").values())
    shape = len(labels), len(members)
    measured = {name: np.stack([one[name] for one in found]) for name in found[0]}
    arrays = {name: values.reshape(*shape, *values.shape[1:]) for name, values in measured.items()}
    arrays |= {name: values for name, values in known.items() if name in analysis.ARRAYS}
    files.write_npz(directory / "surrogates.npz", arrays)
    return arrays


def _measure_kernel(config: Config, kernel: np.ndarray, initial: np.ndarray, member: int) -> Known:
    """All surrogates of one kernel, [surrogate, draw]."""
    one = jax.jit(surrogates.measure, static_argnums=(2, 3, 4))
    empty = np.full((len(config.surrogates), config.num_draws), np.nan)
    found = {name: empty.copy() for name in analysis.MEASURED}
    for row, name in enumerate(config.surrogates):
        recipe = surrogates.SURROGATES[name]
        for draw in range(config.num_draws if recipe.is_random else 1):
            key = jax.random.fold_in(jax.random.fold_in(jax.random.key(config.seed), member), draw)
            make_key, run_key = jax.random.split(jax.random.fold_in(key, row))
            surrogate = recipe.make(make_key, jnp.asarray(kernel), jnp.asarray(initial))
            numbers = dict(one(surrogate, run_key, config.num_states, config.lyapunov_iterations, config.activation))
            place = ec.order_parameters(surrogate)
            numbers |= {
                "surrogate_j": place.j_squared**0.5,
                "surrogate_size": effective_size(surrogate - surrogate.mean()),
            }
            for measured, value in numbers.items():
                found[measured][row, draw] = float(value)
    return found


def rows(config: Config, arrays: Known) -> list[sweep.Row]:
    """One row for each surrogate of each kernel: means over members and draws, with standard deviations."""
    del config
    found: list[sweep.Row] = []
    for kernel, label in enumerate(arrays["label"]):
        for index, name in enumerate(arrays["surrogate"]):
            row: sweep.Row = {
                "kernel": str(label),
                "surrogate": str(name),
                "keeps": surrogates.SURROGATES[str(name)].keeps,
            }
            for number in analysis.MEASURED:
                values = arrays[number][kernel, :, index]
                known = values[np.isfinite(values)]
                row[number] = float(known.mean()) if len(known) else np.nan
                row[f"{number}_deviation"] = float(known.std(ddof=1)) if len(known) > 1 else np.nan
            found.append(row)
    return found


def describe(row: sweep.Row) -> str:
    """A row in a line."""
    numbers = "J {surrogate_j:.3f}  N_eff {surrogate_size:4.0f}  exponent {exponent:.4f}  chi {chi:.3f}"
    spread = f"  (deviation {row['exponent_deviation']:.4f})" if np.isfinite(row["exponent_deviation"]) else ""
    return f"{row['kernel']:10} {row['surrogate']:15} " + numbers.format(**row) + spread


def title(config: Config) -> str:
    """What was run, in one line."""
    draws = f"{config.num_draws} draw{'s' if config.num_draws > 1 else ''} of each random surrogate"
    source = f"kernels of a Fig. 2 run, or {cli.seeds(config)}"
    return f"{config.dataset}, {config.activation}: {source}, {draws}, {config.lyapunov_iterations} iterations"


def draw(figure: Figure, config: Config, arrays: Known) -> None:
    """Draws the four panels from arrays."""
    del config
    (by_surrogate, against_j), (without, settled) = figure.subplots(2, 2)
    names = [str(name) for name in arrays["surrogate"]]
    last, exponent = str(arrays["label"][-1]), arrays["exponent"]
    shown = [index for index, name in enumerate(names) if not name.startswith("without")]
    theories = {name: float(arrays[f"theory_{name}"][-1].mean()) for name in analysis.THEORIES}
    values = [exponent[-1, :, index].ravel() for index in shown]
    plotting.ranked(by_surrogate, [names[index].replace("_", " ") for index in shown], values, theories)
    by_surrogate.set(title=f"(a) surrogates of {last}", xlabel="exponent per iteration")

    measured = {name: np.nanmean(exponent[:, :, index], axis=-1) for index, name in enumerate(names)}
    measured = {name: values for name, values in measured.items() if name in ("trained", "shuffled")}
    theory = {name: arrays[f"theory_{name}"] for name in analysis.THEORIES}
    plotting.exponents_against_j(against_j, arrays["j"], measured, theory)
    against_j.set(title="(b) all kernels")

    numbers = np.array([0, *(number for number in surrogates.OUTLIERS if f"without_{number}" in names)])
    places = [names.index("trained"), *(names.index(f"without_{number}") for number in numbers[1:])]
    for kernel in np.flatnonzero(arrays["j"].mean(1) > 1)[-3:]:
        found = np.nanmean(exponent[kernel][:, places], axis=-1).T
        plotting.points(without, numbers, found, int(kernel), str(arrays["label"][kernel]))
    plotting.edge_line(without, 0, label=None)
    without.set(title="(c) largest singular values removed", xlabel="how many", ylabel="exponent per iteration")
    if without.get_legend_handles_labels()[0]:
        without.legend()

    kinds = {kind: arrays[f"share_{kind}"][:, :, names.index("trained"), 0] for kind in surrogates.KINDS}
    plotting.shares(settled, arrays["j"] ** 2, kinds)
    settled.set(title="(d) where trained kernels settle", xlabel="$J^2$")


FIGURE = sweep.Measurement(
    name="surrogates",
    size=(10, 8),
    title=title,
    numbers=analysis.NUMBERS,
    arrays=analysis.ARRAYS | ARRAYS,
    check=check,
    prepare=prepare,
    predict=lambda config, known: analysis.expect(known, known["kernel"].shape[-1]),
    measure=measure,
    compare=lambda config, arrays: analysis.compare(arrays),
    draw=draw,
    rows=rows,
    describe=describe,
    rows_name="surrogates",
)

if __name__ == "__main__":
    sweep.main(FIGURE, Config)
