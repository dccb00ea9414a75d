"""Fig. 1: the network, and the order-chaos phase diagram by simulation and by theory.

python -m experiments.fig1                                    paper: N = 10,000, about an hour on 2 cores
python -m experiments.fig1 --config=configs/fig1.py:scaled    N = 1,000, 3 seeds: about 3 minutes
python -m experiments.fig1 --config=configs/fig1.py:quick     N = 500, 61 x 40 cells: half a minute
python -m experiments.fig1 --config=configs/fig1.py:digits    N = 64, the width of the digits: seconds

To expect: simulation and chi > 1 agree on more than 99 % of the cells with |chi - 1| > 0.1.
"""

import ml_collections

from configs.common import choose, unchanged


def _scaled(config: ml_collections.ConfigDict) -> None:
    """A tenth of the neurons, the same cells and iterations, three draws of the disorder."""
    config.update(num_neurons=1_000, num_seeds=3)


def _quick(config: ml_collections.ConfigDict) -> None:
    """Fewer cells, too."""
    config.update(num_neurons=500, num_columns=61, num_rows=40)


def _digits(config: ml_collections.ConfigDict) -> None:
    """As many neurons as the digits have pixels: finite-size effects are large."""
    config.update(num_neurons=64, num_columns=61, num_rows=40, num_seeds=2)


VARIANTS = {"paper": unchanged, "scaled": _scaled, "quick": _quick, "digits": _digits}


def get_config(variant: str | None = None) -> ml_collections.ConfigDict:
    """Returns the config of one variant."""
    config = ml_collections.ConfigDict(
        {
            "activation": "tanh",
            "num_neurons": 10_000,
            "num_iterations": 500,
            "perturbation_std": 1e-4,
            "j0_over_j_from": -1.0,
            "j0_over_j_to": 2.0,
            "num_columns": 151,
            "inverse_j_to": 2.0,
            "num_rows": 100,
            "lyapunov_points": 24,
            "lyapunov_iterations": 200,
            "seed": 0,
            "num_seeds": 1,
            "checkpoint_seconds": 30.0,
            "memory_gib": 4.0,
        }
    )
    return choose(variant, VARIANTS, config)
