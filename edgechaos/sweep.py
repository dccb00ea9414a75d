"""The members of a sweep, and how many of them a machine computes together."""

import collections
import itertools
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Shaped

Columns = dict[str, Shaped[np.ndarray, "members"]]

# what may differ between members; a program is compiled for each value of the static ones
TRACED = ("learning_rate", "momentum", "weight_decay")
STATIC = ("batch_size", "init_j0", "init_j", "optimizer", "constraint", "schedule", "loss")
AXES = (*TRACED, *STATIC, "epochs")
MODES = ("product", "zip")
# what a config or a history meant before it had these fields
FORMER = {"optimizer": "sgd", "constraint": "none", "schedule": "constant", "loss": "cross_entropy"}
MEMBER_FIELDS = (*AXES, "seed", "num_seeds", "sweep", "sweep_mode")  # what `members` reads of a config

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


def keys(columns: Columns) -> list[tuple]:
    """What names each member, whatever others there are: its numbers, and a count of its equals before it."""
    rows = list(zip(*(columns[name].tolist() for name in (*AXES, "seed")), strict=True))
    seen: collections.Counter[tuple] = collections.Counter()
    result = []
    for row in rows:
        result.append((*row, seen[row]))
        seen[row] += 1
    return result


class Added(NamedTuple):
    """What a config has beyond an earlier one.

    Attributes:
      kept: how many members of the earlier one it has, too.
      new: how many others.
      missing: the first member of the earlier one that it does not have, in words; "" if it has all.
    """

    kept: int
    new: int
    missing: str


def added(earlier: Mapping[str, Any], config: Mapping[str, Any]) -> Added:
    """Compares the members of two configs."""
    before, now = (dict.fromkeys(keys(members(one))) for one in (earlier, config))
    missing = [key for key in before if key not in now]
    names = (*AXES, "seed")
    told = [name for index, name in enumerate(names) if len({key[index] for key in (*before, *now)}) > 1]
    words = [f"{name} {missing[0][names.index(name)]}" for name in told] if missing else []
    kept = len(before) - len(missing)
    return Added(kept, len(now) - kept, ", ".join(words) or ("one of several equal members" if missing else ""))


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
