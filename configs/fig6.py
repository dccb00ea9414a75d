"""Fig. 6: weight decay, and the one that ends at the edge of chaos.

python -m experiments.fig6                                    paper: 8 decays x 10 seeds x 501 epochs, 7.1 hours
python -m experiments.fig6 --config=configs/fig6.py:scaled    4 times the scale factor, 126 epochs, 3 seeds: 0.5 hours
python -m experiments.fig6 --config=configs/fig6.py:quick     three decays, 4 times the scale factor, 40 epochs
python -m experiments.fig6 --config=configs/fig6.py:digits    scikit-learn's digits: seconds
python -m experiments.fig6 --config=configs/fig6.py:mnist     MNIST, whose loss goes to 0: 4 decays, 251 epochs

To expect: the decay that ends at J^2 = 1 near 9e-5, about twice Eq. 9's.
"""

import ml_collections

from configs.common import DIGITS, choose, training_fields, unchanged

WEIGHT_DECAYS = (0.0, 1e-5, 5e-5, 9e-5, 1.5e-4, 3e-4, 5e-4, 1e-3)


def _scaled(config: ml_collections.ConfigDict) -> None:
    """Four times the scale factor, a quarter of the epochs, three seeds."""
    config.update(learning_rate=4 * 0.02, epochs=126, num_seeds=3)


def _quick(config: ml_collections.ConfigDict) -> None:
    """Three decays at four times the scale factor, too short to settle."""
    config.update(sweep={"weight_decay": (0.0, 9e-5, 5e-4)}, learning_rate=8 * 0.02, batch_size=2 * 32, epochs=40)


def _digits(config: ml_collections.ConfigDict) -> None:
    """scikit-learn's digits, N = 64: another D and S, so decays 40 times as large."""
    config.update(DIGITS, sweep={"weight_decay": tuple(40 * value for value in WEIGHT_DECAYS)}, epochs=300, num_seeds=3)


def _mnist(config: ml_collections.ConfigDict) -> None:
    """MNIST, at the learning rate of `scaled`: smaller decays, which take longer."""
    config.update(dataset="mnist", constant_d=0.0, learning_rate=4 * 0.02, epochs=251, num_seeds=1)
    config.sweep.weight_decay = (0.0, 1e-5, 2e-5, 4e-5)


VARIANTS = {"paper": unchanged, "scaled": _scaled, "quick": _quick, "digits": _digits, "mnist": _mnist}


def get_config(variant: str | None = None) -> ml_collections.ConfigDict:
    """Returns the config of one variant."""
    config = training_fields()
    config.update(sweep={"weight_decay": WEIGHT_DECAYS}, epochs=501, num_seeds=10, keep_kernels_at=())
    return choose(variant, VARIANTS, config)
