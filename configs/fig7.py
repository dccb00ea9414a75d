"""Fig. 7: distances of perturbed test images after 50 iterations of the trained hidden map, and their cause.

python -m experiments.fig7                                    paper: the run of Fig. 2 up to epoch 200
python -m experiments.fig7 --config=configs/fig7.py:scaled    twice the scale factor, 3 seeds, up to epoch 100
python -m experiments.fig7 --config=configs/fig7.py:quick     4 times the scale factor, up to epoch 50
python -m experiments.fig7 --config=configs/fig7.py:digits    scikit-learn's digits: seconds

It takes the kernels that a Fig. 2 run of the same variant has kept, and trains where there is none.
"""

import ml_collections

from configs.common import DIGITS, QUICK, SCALED, choose, training_fields, unchanged


def _scaled(config: ml_collections.ConfigDict) -> None:
    """Twice the scale factor, half the epochs, three seeds."""
    config.update(SCALED, epochs=100, fig2_workdir="runs/fig2-scaled")


def _quick(config: ml_collections.ConfigDict) -> None:
    """Four times the scale factor, with the larger batch that makes an epoch faster."""
    config.update(QUICK, epochs=50, fig2_workdir="runs/fig2-quick")


def _digits(config: ml_collections.ConfigDict) -> None:
    """scikit-learn's digits, N = 64."""
    config.update(DIGITS, fig2_workdir="runs/fig2-digits")


VARIANTS = {"paper": unchanged, "scaled": _scaled, "quick": _quick, "digits": _digits}


def get_config(variant: str | None = None) -> ml_collections.ConfigDict:
    """Returns the config of one variant."""
    config = training_fields()
    config.update(epochs=200, fig2_workdir="runs/fig2-paper", num_iterations=50, perturbation_std=1e-4)
    config.update(late_iterations=500, num_perturbations=16, lyapunov_iterations=500)
    return choose(variant, VARIANTS, config)
