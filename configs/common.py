"""What the config files share: the fields with the paper's values, and the choice of a variant."""

import difflib
from collections.abc import Callable, Mapping

import ml_collections

from edgechaos.errors import UserError
from edgechaos.runs.config import TrainingConfig, as_record


def training_fields() -> ml_collections.ConfigDict:
    """The paper's run of Fig. 2: eta .02, alpha .5, B 32, no decay, J from 0.5, on Fashion-MNIST."""
    return ml_collections.ConfigDict(as_record(TrainingConfig()))


def unchanged(config: ml_collections.ConfigDict) -> None:
    """The config as it is."""


# what each variant changes of the paper's runs; all but the digits are moved along the paper's own scaling law
SCALED = {"learning_rate": 2 * 0.02, "num_seeds": 3, "keep_kernels_at": (1, 5, 100)}
QUICK = {"learning_rate": 8 * 0.02, "batch_size": 2 * 32, "keep_kernels_at": (1, 3, 50)}
DIGITS = {"dataset": "digits", "constant_d": 0.0}


def choose(
    variant: str | None,
    variants: Mapping[str, Callable[[ml_collections.ConfigDict], None]],
    config: ml_collections.ConfigDict,
) -> ml_collections.ConfigDict:
    """Applies the named variant to the config; by default the first one.

    Raises:
      UserError: a word that is no variant.
    """
    name = next(iter(variants)) if variant is None else variant
    if name not in variants:
        near = difflib.get_close_matches(name, variants, n=1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        raise UserError(f"variant = '{name}': must be one of {', '.join(variants)}{hint}")
    variants[name](config)
    return config
