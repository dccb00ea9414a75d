"""J^2 = 1, the edge of stability and the sensitivity of the run itself, at five learning rates over a factor of 16.

python -m experiments.three_edges                                           full: 5 learning rates, 3 seeds: 40 minutes
python -m experiments.three_edges --config=configs/three_edges.py:quick     two learning rates, one seed: 2 minutes
python -m experiments.three_edges --config=configs/three_edges.py:digits    scikit-learn's digits: half a minute

Each run has the rescaled length at which J^2 comes to about 2, in 14 windows. Learning rate 0.16 is 8 times the scale
factor of Fig. 2, beyond the law, which reaches up to 4 times. The paper has J^2 alone; that the edges coincide is the
idea that is judged.
"""

import ml_collections

from configs.common import choose, unchanged
from edgechaos.theory import paper


def _quick(config: ml_collections.ConfigDict) -> None:
    """Two learning rates, windows twice as long, one seed."""
    config.update(learning_rates=(0.08, 0.16), num_windows=7, window_epochs=2, num_images=1000, num_seeds=1)


def _digits(config: ml_collections.ConfigDict) -> None:
    """scikit-learn's digits, N = 64, which need more epochs for the same J^2."""
    config.update(dataset="digits", constant_d=0.0, learning_rates=(0.04, 0.08, 0.16), window_epochs=2, num_images=500)


VARIANTS = {"full": unchanged, "quick": _quick, "digits": _digits}


def get_config(variant: str | None = None) -> ml_collections.ConfigDict:
    """Returns the config of one variant."""
    config = ml_collections.ConfigDict(
        {
            "dataset": "fashion_mnist",
            "data_dir": "",
            "momentum": paper.MOMENTUM,
            "batch_size": paper.BATCH_SIZE,
            "constant_d": paper.CONSTANT_D,
            "learning_rates": (0.01, 0.02, 0.04, 0.08, 0.16),
            "num_windows": 14,
            "window_epochs": 1,
            "num_images": 2000,
            "lanczos_iterations": 20,
            "seed": 0,
            "num_seeds": 3,
        }
    )
    return choose(variant, VARIANTS, config)
