"""Surrogates of trained kernels: which property takes a third of the exponent, and where training crosses into chaos.

python -m experiments.surrogates                                           full: the kernels of a Fig. 2 run
python -m experiments.surrogates --config=configs/surrogates.py:crossing   kernels at J^2 from 0.7 to 1.5, ten seeds
python -m experiments.surrogates --config=configs/surrogates.py:quick      4 times the scale factor, up to epoch 50
python -m experiments.surrogates --config=configs/surrogates.py:digits     scikit-learn's digits: seconds

--config.fig2_workdir=DIR takes the kernels of any Fig. 2 work directory, of those members that have come to their end;
where there is none it trains. The target, set before: the effective theory tells the exponent of each kernel with J > 1
within its standard error or 5 %.
"""

import ml_collections

from configs.common import DIGITS, QUICK, choose, training_fields, unchanged

# J^2 = 0.7, 0.8 ... 1.5 and one more, by Eq. 5 and its end beyond the edge
CROSSING_EPOCHS = (32, 38, 44, 48, 52, 56, 61, 67, 73, 80)


def _crossing(config: ml_collections.ConfigDict) -> None:
    """Ten seeds, trained here and kept at ten epochs about the edge; the trained kernel and its shuffled entries."""
    config.update(fig2_workdir="", epochs=82, num_seeds=10, keep_kernels_at=CROSSING_EPOCHS, num_draws=1)
    config.update(surrogates=("trained", "shuffled", "permuted"), num_states=16, lyapunov_iterations=1000)


def _quick(config: ml_collections.ConfigDict) -> None:
    """Fewer states and draws."""
    config.update(QUICK, epochs=50, fig2_workdir="runs/fig2-quick", num_draws=1, num_states=4, lyapunov_iterations=200)


def _digits(config: ml_collections.ConfigDict) -> None:
    """scikit-learn's digits, N = 64."""
    config.update(DIGITS, fig2_workdir="runs/fig2-digits", epochs=200, keep_kernels_at=(1, 60, 200))
    config.update(num_draws=2, num_states=4, lyapunov_iterations=100)


VARIANTS = {"full": unchanged, "crossing": _crossing, "quick": _quick, "digits": _digits}


def get_config(variant: str | None = None) -> ml_collections.ConfigDict:
    """Returns the config of one variant."""
    config = training_fields()
    config.update(epochs=501, keep_kernels_at=(1, 10, 50, 100, 200, 500), fig2_workdir="runs/fig2-paper")
    config.surrogates = (
        *("trained", "gaussian", "shuffled", "symmetry", "within_inputs", "within_outputs", "norms", "signs", "bases"),
        *("right_rotated", "left_rotated", "permuted", "learned"),
        *(f"without_{number}" for number in (1, 2, 4, 8, 16, 32)),
    )
    config.update(num_draws=3, num_states=8, lyapunov_iterations=400)
    return choose(variant, VARIANTS, config)
