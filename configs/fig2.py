"""Fig. 2: the way of one training run through the order-chaos phase diagram.

python -m experiments.fig2                                    paper, 501 epochs
python -m experiments.fig2 --config=configs/fig2.py:scaled
python -m experiments.fig2 --config=configs/fig2.py:quick
python -m experiments.fig2 --config=configs/fig2.py:digits
"""

import ml_collections

from configs.common import choose, training_fields


def _paper(config: ml_collections.ConfigDict) -> None:
    """The paper's run."""


def _scaled(config: ml_collections.ConfigDict) -> None:
    """Twice the scale factor, half the epochs, three seeds."""
    config.update(learning_rate=2 * 0.02, epochs=251, num_seeds=3)


def _quick(config: ml_collections.ConfigDict) -> None:
    """Four times the scale factor, with the larger batch that makes an epoch faster."""
    config.update(learning_rate=8 * 0.02, batch_size=2 * 32, epochs=61)
    config.update(keep_kernels_at=(1, 10, 50))
    config.update(map_num_neurons=784, map_num_columns=41, map_num_rows=60)


def _digits(config: ml_collections.ConfigDict) -> None:
    """scikit-learn's digits, N = 64: seconds, no download."""
    config.update(dataset="digits", constant_d=0.0, epochs=200)
    config.update(map_num_neurons=500, map_num_columns=41, map_num_rows=60)


VARIANTS = {"paper": _paper, "scaled": _scaled, "quick": _quick, "digits": _digits}


def get_config(variant: str | None = None) -> ml_collections.ConfigDict:
    """Returns the config of one variant."""
    config = training_fields()
    config.update(keep_kernels_at=(1, 10, 200))  # those of Fig. 7
    config.update(map_num_neurons=2500, map_num_iterations=100, map_num_columns=61, map_num_rows=90)
    return choose(variant, VARIANTS, config)
