"""Four networks of six blocks: chi of each block by the Jacobian, through training, beside that of the weights.

python -m experiments.profile                                      full: 10 epochs, 3 seeds
python -m experiments.profile --config=configs/profile.py:quick    2 epochs, one seed: minutes
python -m experiments.profile --config=configs/profile.py:digits   scikit-learn's digits

The paper has one hidden layer only; nothing here is its own. The perceptrons begin at chi = 1.
"""

import ml_collections

from configs.common import choose, unchanged


def _quick(config: ml_collections.ConfigDict) -> None:
    """Too short to settle."""
    config.update(epochs=2, num_seeds=1)


def _digits(config: ml_collections.ConfigDict) -> None:
    """scikit-learn's digits, narrower blocks."""
    config.update(dataset="digits", width=32, batch_size=32, epochs=20, num_profiled=64)


VARIANTS = {"full": unchanged, "quick": _quick, "digits": _digits}


def get_config(variant: str | None = None) -> ml_collections.ConfigDict:
    """Returns the config of one variant."""
    config = ml_collections.ConfigDict(
        {
            "dataset": "fashion_mnist",
            "data_dir": "",
            "learning_rate": 1e-3,
            "batch_size": 128,
            "epochs": 10,
            "depth": 6,
            "width": 64,
            "num_profiled": 256,
            "seed": 0,
            "num_seeds": 3,
        }
    )
    return choose(variant, VARIANTS, config)
