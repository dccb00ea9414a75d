"""Where is the best place for J^2? Along a run, kept at eight places in three ways, and with eight fixed decays.

python -m experiments.optimum                                           full: 252 runs: 7 hours on one core
python -m experiments.optimum --config=configs/optimum.py:squared       the squared error, 0.08 and the hold alone
python -m experiments.optimum --config=configs/optimum.py:mnist         MNIST, 0.08 and the hold alone
python -m experiments.optimum --config=configs/optimum.py:noise20       20 % of the training labels wrong: 60 runs of
                                                                        50 epochs, half an hour on two idle cores
python -m experiments.optimum --config=configs/optimum.py:noise40       the same with 40 %
python -m experiments.optimum --config=configs/optimum.py:quick         three places, one seed, too short to settle
python -m experiments.optimum --config=configs/optimum.py:digits        scikit-learn's digits: minutes

At 4 times Fig. 2's scale factor, under a constant and a cosine learning rate; and, with fewer places and decays, at the
paper's learning rate and scale factor for as many rescaled epochs. The paper's claim: the best J^2 is 1.
Wrong labels are what a network can only learn by overfitting, so that there J^2 should matter more.
"""

from collections.abc import Callable

import ml_collections

from configs.common import DIGITS, choose, training_fields, unchanged

TARGETS = (0.25, 0.5, 0.71, 1.0, 1.41, 2.0, 2.83, 4.0)
WEIGHT_DECAYS = (0.0, 1e-5, 5e-5, 9e-5, 1.5e-4, 3e-4, 5e-4, 1e-3)
FEW_TARGETS, FEW_DECAYS = (0.25, 0.5, 1.0, 2.0, 4.0), (0.0, 9e-5, 3e-4)
SCHEDULES = ("constant", "cosine")
NOISE_DECAYS = (0.0, 9e-5, 3e-4, 1e-3)
AXES = ("learning_rate", "epochs", "schedule", "constraint", "target", "weight_decay")
HOLD, SPHERES = ("hold_two_sided",), ("hard_sphere", "hyperball")


def _rows(
    rate: float,
    epochs: int,
    targets: tuple[float, ...] = TARGETS,
    decays: tuple[float, ...] = WEIGHT_DECAYS,
    ways: tuple[str, ...] = HOLD,
) -> list[tuple]:
    """For each schedule: J^2 kept at all targets in each of the ways, hold_at_edge as it is, and the fixed decays."""
    runs = [(way, target, 0.0) for way in ways for target in targets]
    runs += [("hold_at_edge", 1.0, 0.0)] + [("none", 1.0, decay) for decay in decays]
    return [(rate, epochs, schedule, *run) for schedule in SCHEDULES for run in runs]


def _sweep(*rows: tuple) -> dict[str, tuple]:
    """The axes of a zip."""
    return dict(zip(AXES, zip(*rows, strict=True), strict=True))


def _squared(config: ml_collections.ConfigDict) -> None:
    """Squared error, which has no temperature; its gradients are smaller, so J^2 grows more slowly."""
    config.update(loss="squared_error", constant_d=0.0, histories=(), sweep=_sweep(*_rows(4 * 0.02, 50)))


def _mnist(config: ml_collections.ConfigDict) -> None:
    """MNIST, whose own D is not known."""
    config.update(dataset="mnist", constant_d=0.0, histories=(), sweep=_sweep(*_rows(4 * 0.02, 50)))


def _noise(share: float) -> Callable[[ml_collections.ConfigDict], None]:
    """A share of wrong training labels, with which D is not known; fewer targets and decays."""

    def change(config: ml_collections.ConfigDict) -> None:
        config.update(label_noise=share, constant_d=0.0, histories=())
        config.sweep = _sweep(*_rows(4 * 0.02, 50, FEW_TARGETS, NOISE_DECAYS))

    return change


def _quick(config: ml_collections.ConfigDict) -> None:
    """Three targets, two decays, one seed."""
    config.update(learning_rate=8 * 0.02, batch_size=2 * 32, epochs=15, num_seeds=1, histories=())
    config.sweep = _sweep(*_rows(8 * 0.02, 15, (0.5, 1.0, 2.0), (0.0, 9e-5)))


def _digits(config: ml_collections.ConfigDict) -> None:
    """scikit-learn's digits, N = 64: decays 10 times as large."""
    config.update(DIGITS, epochs=100, histories=())
    many, few = (tuple(10 * value for value in decays) for decays in (WEIGHT_DECAYS, FEW_DECAYS))
    at_4_times = _rows(4 * 0.02, 100, TARGETS, many, HOLD + SPHERES)
    config.sweep = _sweep(*at_4_times, *_rows(0.02, 400, FEW_TARGETS, few))


VARIANTS = {
    "full": unchanged,
    "squared": _squared,
    "mnist": _mnist,
    "noise20": _noise(0.2),
    "noise40": _noise(0.4),
    "quick": _quick,
    "digits": _digits,
}


def get_config(variant: str | None = None) -> ml_collections.ConfigDict:
    """Returns the config of one variant."""
    config = training_fields()
    config.update(learning_rate=4 * 0.02, epochs=50, num_seeds=3, sweep_mode="zip", keep_kernels_at=())
    at_4_times = _rows(4 * 0.02, 50, ways=HOLD + SPHERES)
    config.sweep = _sweep(*at_4_times, *_rows(0.02, 200, FEW_TARGETS, FEW_DECAYS))
    config.histories = ("results/fig3",)  # runs of other learning rates, momenta and batch sizes
    return choose(variant, VARIANTS, config)
