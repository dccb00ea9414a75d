"""The guideline as a tool: weight decay and learning rate for a data set from a probe of 30 epochs.

python -m experiments.guideline                                      full:  Fashion-MNIST, one seed: a minute
python -m experiments.guideline --config=configs/guideline.py:scaled 5 seeds
python -m experiments.guideline --config=configs/guideline.py:quick  as paper, B 64
python -m experiments.guideline --config=configs/guideline.py:digits scikit-learn's digits: seconds
python -m experiments.guideline --verify                             and a run with what was recommended
python -m experiments.guideline --config.dataset=FILE.npz            x_train, y_train, x_test, y_test of one's own

To expect on Fashion-MNIST: D near 11, Eq. 9's decay near 4.7e-5, and the one that holds the edge near 8.6e-5.
"""

import ml_collections

from configs.common import choose, unchanged


def _scaled(config: ml_collections.ConfigDict) -> None:
    """Five seeds."""
    config.num_seeds = 5


def _quick(config: ml_collections.ConfigDict) -> None:
    """Larger batches, whose epochs are faster, at the same scale factor."""
    config.update(batch_size=64, learning_rate=0.16)


def _digits(config: ml_collections.ConfigDict) -> None:
    """scikit-learn's digits, N = 64."""
    config.update(dataset="digits", num_seeds=5)


VARIANTS = {"full": unchanged, "scaled": _scaled, "quick": _quick, "digits": _digits}


def get_config(variant: str | None = None) -> ml_collections.ConfigDict:
    """Returns the config of one variant."""
    config = ml_collections.ConfigDict(
        {
            "dataset": "fashion_mnist",
            "data_dir": "",
            "learning_rate": 0.08,
            "momentum": 0.5,
            "batch_size": 32,
            "seed": 0,
            "num_seeds": 1,
        }
    )
    return choose(variant, VARIANTS, config)
