"""Fig. 4: one scale factor, (eta, B) = (0.02, 32) times d = 1/4 ... 4.

python -m experiments.fig4                                    paper: 501 epochs, 0.6 to 0.8 hours on 2 cores
python -m experiments.fig4 --config=configs/fig4.py:scaled    4 times the scale factor, 126 epochs, 2 seeds
python -m experiments.fig4 --config=configs/fig4.py:quick     d = 2 and 4 alone, twice the scale factor, 50 epochs
python -m experiments.fig4 --config=configs/fig4.py:digits    scikit-learn's digits: seconds
"""

import ml_collections

from configs.common import DIGITS, choose, training_fields, unchanged


def _sweep(factor: float, *scales: float) -> dict[str, tuple]:
    """(eta, B) = (factor 0.02, 32) times each of `scales`."""
    return {
        "learning_rate": tuple(factor * 0.02 * scale for scale in scales),
        "batch_size": tuple(int(32 * scale) for scale in scales),
    }


def _scaled(config: ml_collections.ConfigDict) -> None:
    """Four times the scale factor, a quarter of the epochs; without d = 4, to save its time."""
    config.update(sweep=_sweep(4, 1 / 4, 1 / 2, 1, 2), epochs=126, num_seeds=2)


def _quick(config: ml_collections.ConfigDict) -> None:
    """Two runs, large batches."""
    config.update(sweep=_sweep(2, 2, 4), epochs=50)


def _digits(config: ml_collections.ConfigDict) -> None:
    """scikit-learn's digits, N = 64."""
    config.update(DIGITS, epochs=200)


VARIANTS = {"paper": unchanged, "scaled": _scaled, "quick": _quick, "digits": _digits}


def get_config(variant: str | None = None) -> ml_collections.ConfigDict:
    """Returns the config of one variant."""
    config = training_fields()
    config.update(sweep=_sweep(1, 1 / 4, 1 / 2, 1, 2, 4), sweep_mode="zip", epochs=501, keep_kernels_at=())
    return choose(variant, VARIANTS, config)
