"""Where is the best place for J^2? Along a run, held at eight places, and with eight fixed decays.

python -m experiments.optimum                                           full: 102 runs of 50 epochs: 1.7 hours
python -m experiments.optimum --config=configs/optimum.py:squared       the same with the squared error
python -m experiments.optimum --config=configs/optimum.py:mnist         the same on MNIST
python -m experiments.optimum --config=configs/optimum.py:noise20       20 % of the training labels wrong: 60 runs of
                                                                        50 epochs, half an hour on two idle cores
python -m experiments.optimum --config=configs/optimum.py:noise40       the same with 40 %
python -m experiments.optimum --config=configs/optimum.py:quick         three places, one seed, too short to settle
python -m experiments.optimum --config=configs/optimum.py:digits        scikit-learn's digits: a minute

At 4 times Fig. 2's scale factor, under a constant and a cosine learning rate. The paper's claim: the best J^2 is 1.
Wrong labels are what a network can only learn by overfitting, so that there J^2 should matter more.
"""

from collections.abc import Callable

import ml_collections

from configs.common import DIGITS, choose, training_fields, unchanged

TARGETS = (0.25, 0.5, 0.71, 1.0, 1.41, 2.0, 2.83, 4.0)
WEIGHT_DECAYS = (0.0, 1e-5, 5e-5, 9e-5, 1.5e-4, 3e-4, 5e-4, 1e-3)
SCHEDULES = ("constant", "cosine")
NOISE_TARGETS = (0.25, 0.5, 1.0, 2.0, 4.0)
NOISE_DECAYS = (0.0, 9e-5, 3e-4, 1e-3)


def _sweep(targets: tuple[float, ...], decays: tuple[float, ...]) -> dict[str, tuple]:
    """For each schedule: J^2 held at all targets from both sides, hold_at_edge as it is, and the fixed decays."""
    rows = [(schedule, "hold_two_sided", target, 0.0) for schedule in SCHEDULES for target in targets]
    rows += [(schedule, "hold_at_edge", 1.0, 0.0) for schedule in SCHEDULES]
    rows += [(schedule, "none", 1.0, decay) for schedule in SCHEDULES for decay in decays]
    return dict(zip(("schedule", "constraint", "target", "weight_decay"), zip(*rows, strict=True), strict=True))


def _squared(config: ml_collections.ConfigDict) -> None:
    """Squared error, which has no temperature; its gradients are smaller, so J^2 grows more slowly."""
    config.update(loss="squared_error", constant_d=0.0, histories=())


def _mnist(config: ml_collections.ConfigDict) -> None:
    """MNIST, whose own D is not known."""
    config.update(dataset="mnist", constant_d=0.0, histories=())


def _noise(share: float) -> Callable[[ml_collections.ConfigDict], None]:
    """A share of wrong training labels, with which D is not known; fewer targets and decays."""

    def change(config: ml_collections.ConfigDict) -> None:
        config.update(label_noise=share, constant_d=0.0, histories=())
        config.sweep = _sweep(NOISE_TARGETS, NOISE_DECAYS)

    return change


def _quick(config: ml_collections.ConfigDict) -> None:
    """Three targets, two decays, one seed."""
    config.update(learning_rate=8 * 0.02, batch_size=2 * 32, epochs=15, num_seeds=1, histories=())
    config.sweep = _sweep((0.5, 1.0, 2.0), (0.0, 9e-5))


def _digits(config: ml_collections.ConfigDict) -> None:
    """scikit-learn's digits, N = 64: decays 10 times as large."""
    config.update(DIGITS, epochs=100, histories=())
    config.sweep = _sweep(TARGETS, tuple(10 * value for value in WEIGHT_DECAYS))


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
    config.sweep = _sweep(TARGETS, WEIGHT_DECAYS)
    config.histories = ("results/fig3",)  # runs of other learning rates, momenta and batch sizes
    return choose(variant, VARIANTS, config)
