"""What the config files share: the fields with the paper's values, and the choice of a variant."""

import difflib
from collections.abc import Callable, Mapping

import ml_collections

from edgechaos.errors import UserError

VARIANTS = ("paper", "scaled", "quick", "digits")


def training_fields() -> ml_collections.ConfigDict:
    """The paper's run of Fig. 2: eta .02, alpha .5, B 32, no decay, J from 0.5, on Fashion-MNIST."""
    return ml_collections.ConfigDict(
        {
            "dataset": "fashion_mnist",
            "data_dir": "",
            "learning_rate": 0.02,
            "schedule": "constant",
            "momentum": 0.5,
            "batch_size": 32,
            "weight_decay": 0.0,
            "weight_decay_mode": "coupled",
            "optimizer": "sgd",
            "loss": "cross_entropy",
            "constraint": "none",
            "activation": "tanh",
            "init_j0": 0.0,
            "init_j": 0.5,
            "epochs": 501,
            "seed": 0,
            "num_seeds": 1,
            "sweep": {},
            "sweep_mode": "product",
            "keep_kernels_at": (1, 10, 200),  # those of Fig. 7
            "constant_d": 10.96,  # mean of the authors' recorded slopes over eta / B, spread 1 %
            "devices": 0,
            "checkpoint_seconds": 30.0,
        }
    )


# what each variant changes of the paper's runs; all but the digits are moved along the paper's own scaling law
SCALED = {"learning_rate": 2 * 0.02, "num_seeds": 3, "keep_kernels_at": (1, 5, 100)}
QUICK = {"learning_rate": 8 * 0.02, "batch_size": 2 * 32, "keep_kernels_at": (1, 3, 50)}
DIGITS = {"dataset": "digits", "constant_d": 0.0}


def choose(
    variant: str | None,
    variants: Mapping[str, Callable[[ml_collections.ConfigDict], None]],
    config: ml_collections.ConfigDict,
) -> ml_collections.ConfigDict:
    """Applies the named variant (default: paper) to the paper's config.

    Raises:
      UserError: a word that is no variant.
    """
    name = "paper" if variant is None else variant
    if name not in variants:
        near = difflib.get_close_matches(name, variants, n=1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        raise UserError(f"variant = '{name}': must be one of {', '.join(variants)}{hint}")
    variants[name](config)
    return config
