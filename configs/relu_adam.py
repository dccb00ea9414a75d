"""ReLU and Adam, as in the runs that the authors' code has beside the paper: diagram, path, weight decays.

python -m experiments.relu_adam                                        full:  8 decays x 201 epochs, an hour
python -m experiments.relu_adam --config=configs/relu_adam.py:scaled   4 times the batch and eta, 61 epochs, 3 seeds
python -m experiments.relu_adam --config=configs/relu_adam.py:quick    three decays, 15 epochs
python -m experiments.relu_adam --config=configs/relu_adam.py:digits   scikit-learn's digits: seconds
"""

import ml_collections

from configs.common import DIGITS, choose, training_fields, unchanged

WEIGHT_DECAYS = (0.0, 1e-6, 1e-5, 4e-5, 1e-4, 3e-4, 5e-4, 1e-3)


def _scaled(config: ml_collections.ConfigDict) -> None:
    """As many samples per unit of learning in larger batches, fewer epochs, three seeds."""
    config.update(learning_rate=4e-3, batch_size=4 * 32, epochs=61, num_seeds=3, map_num_neurons=1000)


def _quick(config: ml_collections.ConfigDict) -> None:
    """Three decays, too short to settle."""
    config.update(sweep={"weight_decay": (0.0, 1e-4, 1e-3)}, learning_rate=4e-3, batch_size=4 * 32, epochs=15)
    config.map_num_neurons = 500


def _digits(config: ml_collections.ConfigDict) -> None:
    """scikit-learn's digits, N = 64."""
    config.update(DIGITS, epochs=100, num_seeds=2, map_num_neurons=100)


VARIANTS = {"full": unchanged, "scaled": _scaled, "quick": _quick, "digits": _digits}


def get_config(variant: str | None = None) -> ml_collections.ConfigDict:
    """Returns the config of one variant."""
    config = training_fields()
    config.update(activation="relu", optimizer="adam", learning_rate=1e-3, momentum=0.0, epochs=201, constant_d=0.0)
    config.update(sweep={"weight_decay": WEIGHT_DECAYS}, keep_kernels_at=())
    config.update(map_num_neurons=2500, map_num_iterations=100)
    return choose(variant, VARIANTS, config)
