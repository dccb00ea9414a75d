"""Ways to choose weight decay, side by side: test accuracy and loss, J^2 at the end, and the epochs that it took.

python -m experiments.rivals                                     full:  eta 0.02, 501 epochs, one seed: 4 hours
python -m experiments.rivals --config=configs/rivals.py:scaled   4 times the scale factor, 126 epochs, 3 seeds: 2 hours
python -m experiments.rivals --config=configs/rivals.py:quick    three of them, 40 epochs
python -m experiments.rivals --config=configs/rivals.py:digits   scikit-learn's digits: seconds

The first eight fixed decays are the paper's grid, from which the best is taken; then Eq. 9's, hold_at_edge, the hard
sphere, hyperball, norm control and CPR, the first three also at the radius of the initial kernel. Last the decay that
the hold of the first seed ends with, and the best of 8, 16 and 32 trials of Optuna (with the first seed, by a
validation split), each trained with by all seeds.
"""

import ml_collections

from configs.common import DIGITS, choose, training_fields, unchanged
from edgechaos.theory import paper
from edgechaos.theory.scaling import weight_decay_at_edge

GRID = (0.0, 1e-5, 5e-5, 9e-5, 1.5e-4, 3e-4, 5e-4, 1e-3)
EQ_9 = round(float(weight_decay_at_edge(paper.CONSTANT_D, paper.NUM_SAMPLES)), 6)
CONSTRAINTS = ("hold_at_edge", "hard_sphere", "hyperball", "norm_control", "constrained_parameters")
AT_START = ("hold_at_edge", "hard_sphere", "hyperball")  # also with the J^2 of the initial kernel


def _sweep(decays: tuple[float, ...], at_edge: tuple[str, ...], at_start: tuple[str, ...] = ()) -> dict[str, tuple]:
    """Fixed decays without a constraint, then each constraint without a decay."""
    constraints = (*at_edge, *at_start)
    return {
        "weight_decay": (*decays, *(0.0 for _ in constraints)),
        "constraint": (*("none" for _ in decays), *constraints),
        "target": (*(1.0 for _ in (*decays, *at_edge)), *(0.25 for _ in at_start)),
    }


def _scaled(config: ml_collections.ConfigDict) -> None:
    """Four times the scale factor, three seeds."""
    config.update(learning_rate=4 * 0.02, epochs=126, num_seeds=3)


def _quick(config: ml_collections.ConfigDict) -> None:
    """No decay, 9e-5 and the hold, too short to settle."""
    few = _sweep((0.0, 9e-5), ("hold_at_edge",))
    config.update(sweep=few, trials=(), learning_rate=8 * 0.02, batch_size=2 * 32, epochs=40)


def _digits(config: ml_collections.ConfigDict) -> None:
    """scikit-learn's digits, N = 64: decays 10 times as large, none of them Eq. 9's."""
    grid = tuple(10 * value for value in GRID)
    config.update(DIGITS, trials=(4, 8), learning_rate=0.08, epochs=100, num_seeds=3)
    config.sweep = _sweep(grid, CONSTRAINTS, AT_START)


VARIANTS = {
    "full": unchanged,
    "scaled": _scaled,
    "quick": _quick,
    "digits": _digits,
}


def get_config(variant: str | None = None) -> ml_collections.ConfigDict:
    """Returns the config of one variant."""
    config = training_fields()
    config.update(sweep=_sweep((*GRID, EQ_9), CONSTRAINTS, AT_START), sweep_mode="zip", epochs=501, keep_kernels_at=())
    config.trials = (8, 16, 32)
    return choose(variant, VARIANTS, config)
