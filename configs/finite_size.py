"""The edge of finite networks: exponents, distances and the share of chaotic draws about J = 1.

python -m experiments.finite_size                                           full: N = 64 to 10,000, 64 draws: 4 hours
python -m experiments.finite_size --config=configs/finite_size.py:scaled    N = 64 to 2,048: an hour
python -m experiments.finite_size --config=configs/finite_size.py:quick     N = 64 to 256, 16 draws: a minute
python -m experiments.finite_size --config=configs/finite_size.py:digits    N = 64 alone, as wide as the digits: seconds

The same command with more sizes extends what is there. To expect: J_c(N) - 1 about 4.7 / sqrt(N).
"""

import ml_collections

from configs.common import choose, unchanged


def _scaled(config: ml_collections.ConfigDict) -> None:
    """Without the largest sizes."""
    config.sizes = (64, 128, 256, 512, 1024, 2048)


def _quick(config: ml_collections.ConfigDict) -> None:
    """Small networks, fewer draws and iterations."""
    config.sizes = (64, 128, 256)
    config.update(num_draws=16, lyapunov_iterations=1000)


def _digits(config: ml_collections.ConfigDict) -> None:
    """As many neurons as the digits have pixels."""
    config.sizes = (64,)
    config.update(num_draws=8, lyapunov_iterations=300)


VARIANTS = {"full": unchanged, "scaled": _scaled, "quick": _quick, "digits": _digits}


def get_config(variant: str | None = None) -> ml_collections.ConfigDict:
    """Returns the config of one variant."""
    config = ml_collections.ConfigDict(
        {
            "sizes": (64, 128, 256, 512, 1024, 2048, 10_000),
            "num_draws": 64,
            "scaled_j_from": -3.0,
            "scaled_j_to": 12.0,
            "num_places": 16,
            "lyapunov_iterations": 4000,
            "watched_iterations": 500,
            "seed": 0,
            "num_seeds": 1,
        }
    )
    return choose(variant, VARIANTS, config)
