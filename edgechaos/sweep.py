"""The members of a sweep, and how many of them a machine computes together."""

import itertools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Shaped

Columns = dict[str, Shaped[np.ndarray, "members"]]

# what may differ between members; a program is compiled for each value of the static ones
TRACED = ("learning_rate", "momentum", "weight_decay")
STATIC = ("batch_size", "init_j0", "init_j", "optimizer", "constraint")
AXES = (*TRACED, *STATIC, "epochs")
MODES = ("product", "zip")

_VECTORIZED_UP_TO = 256  # neurons; wider layers fill a processor's cores by themselves (BUILD_NOTES.md)
_MOST_VECTORIZED = 32  # members per device
_COPIES = 4  # of the parameters: weights, velocity, gradient, and one more while they are updated


def combinations(config: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What each member of a sweep sets, but for its seed; one that sets nothing if there is no sweep."""
    names, values = list(config["sweep"]), list(config["sweep"].values())
    rows = itertools.product(*values) if config["sweep_mode"] == "product" or not names else zip(*values, strict=True)
    return [dict(zip(names, row, strict=True)) for row in rows]


def members(config: Mapping[str, Any]) -> Columns:
    """What tells the members apart, [member]: the axes of the sweep, and the seed, which runs fastest.

    Args:
      config: validated; `sweep` maps fields to tuples, of which `sweep_mode` makes a "product" or a "zip".
    """
    seeds = range(config["seed"], config["seed"] + config["num_seeds"])
    rows = [{**config, **changes, "seed": seed} for changes in combinations(config) for seed in seeds]
    return {name: np.array([row[name] for row in rows]) for name in (*AXES, "seed")}


def member_bytes(num_neurons: int, num_classes: int) -> int:
    """Memory of one member in training, in float32."""
    return _COPIES * 4 * (num_neurons**2 + num_neurons * num_classes + num_classes)


def members_at_once(
    num_members: int, num_neurons: int, num_classes: int, num_devices: int, platform: str, free_bytes: float
) -> int:
    """How many members to compute together, a multiple of the devices where there are several.

    On a CPU a wide member fills the cores by itself, and one after the other is as fast as vmap; narrow ones, and all
    on a GPU or TPU, are vectorized as far as memory allows.

    Args:
      num_members: of the whole sweep.
      num_neurons: N.
      num_classes: of the data.
      num_devices: over which members are spread.
      platform: "cpu", "gpu" or "tpu".
      free_bytes: of one device.
    """
    fits = max(1, int(free_bytes / member_bytes(num_neurons, num_classes)))
    wide = platform == "cpu" and num_neurons > _VECTORIZED_UP_TO
    per_device = 1 if wide else min(fits, _MOST_VECTORIZED, math.ceil(num_members / num_devices))
    return num_devices * per_device
