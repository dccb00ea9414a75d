"""Fig. 2: the way of one training run through the order-chaos phase diagram.

python -m experiments.fig2                                    paper: 501 epochs, 6 minutes on 2 cores
python -m experiments.fig2 --config.num_seeds=10              and nine seeds more in the same directory: 0.8 hours
python -m experiments.fig2 --config=configs/fig2.py:scaled
python -m experiments.fig2 --config=configs/fig2.py:quick
python -m experiments.fig2 --config=configs/fig2.py:digits
"""

import ml_collections

from configs.common import DIGITS, QUICK, SCALED, choose, training_fields, unchanged


def _scaled(config: ml_collections.ConfigDict) -> None:
    """Twice the scale factor, half the epochs, three seeds."""
    config.update(SCALED, epochs=251)


def _quick(config: ml_collections.ConfigDict) -> None:
    """Four times the scale factor, with the larger batch that makes an epoch faster."""
    config.update(QUICK, epochs=61)
    config.update(map_num_neurons=784, map_num_columns=41, map_num_rows=60)


def _digits(config: ml_collections.ConfigDict) -> None:
    """scikit-learn's digits, N = 64: seconds, no download."""
    config.update(DIGITS, epochs=200)
    config.update(map_num_neurons=500, map_num_columns=41, map_num_rows=60)


VARIANTS = {"paper": unchanged, "scaled": _scaled, "quick": _quick, "digits": _digits}


def get_config(variant: str | None = None) -> ml_collections.ConfigDict:
    """Returns the config of one variant."""
    config = training_fields()
    config.keep_kernels_at = (1, 10, 50, 100, 200, 500)  # those of Fig. 7 among them
    config.update(map_num_neurons=2500, map_num_iterations=100, map_num_columns=61, map_num_rows=90)
    return choose(variant, VARIANTS, config)
