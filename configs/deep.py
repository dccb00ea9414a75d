"""Four hidden layers of 256, tanh and ReLU: each layer held at the edge, against AdamW with a decay by Optuna.

python -m experiments.deep                                   full:  20 epochs, 32 trials, 3 seeds, about an hour
python -m experiments.deep --config=configs/deep.py:scaled   16 trials: half of it
python -m experiments.deep --config=configs/deep.py:quick    4 epochs, 2 trials, one seed
python -m experiments.deep --config=configs/deep.py:digits   scikit-learn's digits: a minute

The paper has one hidden layer only.
"""

import ml_collections

from configs.common import choose, unchanged


def _scaled(config: ml_collections.ConfigDict) -> None:
    """Half the trials."""
    config.num_trials = 16


def _quick(config: ml_collections.ConfigDict) -> None:
    """Too short to settle."""
    config.update(epochs=4, num_trials=2, num_seeds=1)


def _digits(config: ml_collections.ConfigDict) -> None:
    """scikit-learn's digits, narrower layers."""
    config.update(dataset="digits", width=64, batch_size=32, epochs=30, num_trials=4)


VARIANTS = {"full": unchanged, "scaled": _scaled, "quick": _quick, "digits": _digits}


def get_config(variant: str | None = None) -> ml_collections.ConfigDict:
    """Returns the config of one variant."""
    config = ml_collections.ConfigDict(
        {
            "dataset": "fashion_mnist",
            "data_dir": "",
            "learning_rate": 1e-3,
            "batch_size": 128,
            "epochs": 20,
            "depth": 4,
            "width": 256,
            "num_trials": 32,
            "seed": 0,
            "num_seeds": 3,
        }
    )
    return choose(variant, VARIANTS, config)
