"""Weight decay without a search: a probe of about 30 epochs finds the decay that holds a network at the edge of chaos.

Prints D, the decay of Eq. 9 and that of the steady state, each with its error, and combinations of learning rate,
momentum and batch size that have the same effect, with the time that they take on this machine. Draws the growth in the
probe and the relaxation of the decay that holds the edge. With --verify it trains with the recommended decay and prints
the measured numbers beside the predicted ones.
"""

import dataclasses
from pathlib import Path

import numpy as np
from absl import flags
from matplotlib.figure import Figure

from edgechaos import analysis, files, plotting, training
from edgechaos.data.dataset import Dataset
from edgechaos.diagnosis import guideline
from edgechaos.errors import UserError
from edgechaos.runs.config import TRAINING_FIELDS, RunConfig
from edgechaos.runs.fields import declared
from experiments.shared import cli, sweep

_VERIFY = flags.DEFINE_bool("verify", False, "train with the recommended decay, and print predicted against measured")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(RunConfig):
    """A data set, and the setting of the probe."""

    dataset: str = declared(TRAINING_FIELDS["dataset"])
    data_dir: str = declared(TRAINING_FIELDS["data_dir"])
    learning_rate: float = declared(TRAINING_FIELDS["learning_rate"])
    momentum: float = declared(TRAINING_FIELDS["momentum"])
    batch_size: int = declared(TRAINING_FIELDS["batch_size"])


ARRAYS = {
    "clock": "[seed, epoch] s, sum of the decay per step, in the middle of each held epoch",
    "held": "[seed, epoch] mean lambda of each held epoch",
    "j_squared": "[seed, entry] J^2 of the probe in the ordered phase",
}
NUMBERS = {
    "constant_d": "D of Eq. 5",
    "open_loop": "lambda of Eq. 9 with that D: what holds the edge at first",
    "weight_decay": "lambda that holds the edge in the steady state",
    "weight_decay_error": "its error",
    "is_upper_bound": "1 if the decay was still falling, so that a longer run needs less",
    "largest_learning_rate": "largest stable eta at the momentum and batch size of the probe",
    "num_epochs": "spent",
    "verified_j_squared": "J^2 at the end of a run with weight_decay; predicted: 1",
}
SETTING = "eta {learning_rate:<7.4g} alpha {momentum:<4g} B {batch_size:<4g} {seconds_per_epoch:.3g} s per epoch"
Outcome = tuple[list[guideline.Recommendation], np.ndarray]  # of each seed, and J^2 of its verification


def main(config: Config, directory: Path) -> None:
    """Probe, verdict, and what to use."""
    (found, _), measured = sweep.run_measurement(FIGURE, config, directory)
    print(f"J^2 settles in about {found[0].relaxation_epochs} epochs of these")
    decay = analysis.mean(measured)
    print(f"use weight decay lambda = {decay['weight_decay']:.2g} (+- {decay['weight_decay_error']:.1g})")
    if decay["is_upper_bound"] > 0:
        print("the decay was still falling at the end of the probe: use this as an upper bound, or use hold_at_edge")


def probe(config: Config, dataset: Dataset, directory: Path) -> Outcome:
    """The probe of each seed, and on demand a run with what it recommends."""
    seeds = range(config.seed, config.seed + config.num_seeds)
    found = [recommend(config, dataset, seed) for seed in seeds]
    files.write_npz(directory / "guideline.npz", {name: stacked(found, name) for name in ARRAYS})
    ends = [verify(config, dataset, seed, one) for seed, one in zip(seeds, found, strict=True)] if _VERIFY.value else []
    return found, np.array(ends or [np.nan] * len(seeds))


def stacked(found: list[guideline.Recommendation], name: str) -> np.ndarray:
    """What all seeds found, [seed, ...]."""
    return np.stack([np.asarray(getattr(one, name)) for one in found])


def compare(outcome: Outcome) -> dict[str, np.ndarray]:
    """The numbers of `NUMBERS` for each seed."""
    found, ends = outcome
    names = [name for name in NUMBERS if name != "verified_j_squared"]
    return {**{name: stacked(found, name).astype(float) for name in names}, "verified_j_squared": ends}


def recommend(config: Config, dataset: Dataset, seed: int) -> guideline.Recommendation:
    """The probe of one seed.

    Raises:
      UserError: it diverges, or leaves the ordered phase at once.
    """
    print(f"seed {seed}", flush=True)
    try:
        setting = config.learning_rate, config.momentum, config.batch_size
        return guideline.recommend(dataset, seed, *setting, report=lambda text: print(f"  {text}", flush=True))
    except ValueError as error:
        raise UserError(str(error)) from error


def verify(config: Config, dataset: Dataset, seed: int, found: guideline.Recommendation) -> float:
    """J^2 at the end of a run with the recommended decay, over four relaxation times of the weights."""
    num_epochs = found.relaxation_epochs
    spec = training.Spec(dataset.num_classes, config.batch_size)
    numbers = training.Hyperparameters(config.learning_rate, config.momentum, found.weight_decay)
    history = training.train_one(dataset, spec, seed, numbers, num_epochs)
    return float(analysis.last_mean(np.asarray(history.j_squared)))


def title(config: Config) -> str:
    """What was run, in one line."""
    return f"{Path(config.dataset).name}: probe at {cli.setting(config)}, {cli.seeds(config)}"


def draw(figure: Figure, found: list[guideline.Recommendation]) -> None:
    """The growth in the ordered phase, and the relaxation of the decay that holds the edge."""
    growth, relaxation = figure.subplots(1, 2)
    plotting.trajectory(growth, stacked(found, "j_squared"), plotting.TRAIN, "measured")
    plotting.edge_line(growth)
    growth.set(title="(a) ordered phase", ylabel="$J^2$", ylim=(0, 1.1))
    growth.legend()
    fits = [guideline.fit_relaxation(one.clock, one.held) for one in found]
    lines = [(fit.weight_decay, fit.amplitude) if fit.amplitude < 0 else (np.nan, 0.0) for fit in fits]
    clock, held = stacked(found, "clock"), stacked(found, "held")
    plotting.relaxation(relaxation, clock, held, lines, [one.weight_decay for one in found])
    open_loop = float(np.mean([one.open_loop for one in found]))
    relaxation.axhline(open_loop, color=plotting.PREDICTION, linewidth=1, linestyle="--", label="Eq. 9")
    relaxation.set(title="(b) held at the edge", ylim=(0, None))
    relaxation.legend()


FIGURE = sweep.Measurement(
    name="guideline",
    size=(8, 3.5),
    title=title,
    numbers=NUMBERS,
    arrays=ARRAYS,
    prepare=lambda config, directory: sweep.load_for(config, config.batch_size),
    predict=lambda config, dataset: {"verified_j_squared": 1.0},
    measure=probe,
    compare=lambda config, outcome: compare(outcome),
    draw=lambda figure, config, outcome: draw(figure, outcome[0]),
    rows=lambda config, outcome: outcome[0][0].settings,
    rows_name="settings",
    describe=SETTING.format_map,
)

if __name__ == "__main__":
    cli.run(FIGURE.name, main, Config, ARRAYS)
