"""The members of a sweep, their fixed sequence, and the groups that are computed together.

Members of one compiled program stand side by side in the sequence. A group is a stretch of it, so that two numbers name
its files, and a run goes on from them whatever devices and processes there are by then.
"""

import collections
import itertools
import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from edgechaos.errors import UserError
from edgechaos.runs.config import AXES, STATIC, TrainingConfig
from edgechaos.runs.fields import combinations

Columns = dict[str, Shaped[np.ndarray, "members"]]

_VECTORIZED_UP_TO = 256  # neurons; wider layers fill a processor's cores by themselves (BUILD_NOTES.md)
_MOST_VECTORIZED = 32  # members per device
_MOST_MEMBERS = 10**6
_COPIES = 4  # of the parameters: weights, velocity, gradient, and one more while they are updated


def count_members(config: TrainingConfig) -> int:
    """How many members a config has, told without making a list of them."""
    lengths = [len(values) for values in config.sweep.values()]
    combined = math.prod(lengths) if config.sweep_mode == "product" else min(lengths, default=1)
    return combined * config.num_seeds


def sweep_members(config: TrainingConfig) -> Columns:
    """What tells the members apart, [member]: the axes of the sweep, and the seed, which runs fastest.

    Args:
      config: validated; `sweep` maps fields to tuples, of which `sweep_mode` makes a "product" or a "zip".

    Raises:
      UserError: there are more than a million of them, as in a damaged record.
    """
    if count_members(config) > _MOST_MEMBERS:
        raise UserError(f"{count_members(config)} members: must be at most {_MOST_MEMBERS}")
    own = {name: getattr(config, name) for name in AXES}
    seeds = range(config.seed, config.seed + config.num_seeds)
    rows = [
        {**own, **changes, "seed": seed} for changes in combinations(config.sweep, config.sweep_mode) for seed in seeds
    ]
    return {name: np.array([row[name] for row in rows]) for name in (*AXES, "seed")}


def member_keys(columns: Columns) -> list[tuple]:
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


def compare_members(earlier: TrainingConfig, config: TrainingConfig) -> Added:
    """Compares the members of two configs."""
    before, now = (dict.fromkeys(member_keys(sweep_members(one))) for one in (earlier, config))
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


class Group(NamedTuple):
    """`size` places of the sequence, from `first` on."""

    first: int
    size: int

    def holds(self, other: "Group") -> bool:
        """Whether `other` lies within."""
        return self.first <= other.first and other.first + other.size <= self.first + self.size

    def places(self) -> slice:
        """For indexing the sequence."""
        return slice(self.first, self.first + self.size)

    def __str__(self) -> str:
        """The name of its files."""
        return f"{self.first}-{self.size}"


def parse_group(text: str) -> Group | None:
    """The group that a file's name tells, if it does."""
    first, separator, count = text.rpartition("-")
    return Group(int(first), int(count)) if separator and first.isdecimal() and count.isdecimal() else None


def program_of(columns: Columns, member: int) -> tuple:
    """What a program is compiled for."""
    return tuple(columns[name][member].item() for name in STATIC)


def first_sequence(columns: Columns) -> Int[np.ndarray, "members"]:
    """The members, those of one program side by side and of similar length next to each other."""
    members = range(len(columns["seed"]))
    return np.array(sorted(members, key=lambda member: (program_of(columns, member), columns["epochs"][member])), int)


class MemberSequence(NamedTuple):
    """The members in the sequence that names their files.

    Attributes:
      members: the member at each place.
      generation: 0 for the members of the beginning, 1 for those of the first extension, and so on.
    """

    members: Int[np.ndarray, "places"]
    generation: Int[np.ndarray, "places"]

    def of(self, group: Group) -> Int[np.ndarray, "group"]:
        """The members of a group."""
        return self.members[group.places()]


def sequence_of(columns: Columns, former: Iterable[Columns] = ()) -> MemberSequence:
    """The sequence of a sweep: members of former sweeps keep their places, those of an extension follow.

    Args:
      columns: of all members.
      former: columns of the sweep before each extension, the first one first; each holds what the one before holds.
    """
    member_of = {key: member for member, key in enumerate(member_keys(columns))}
    generation_of: dict[int, int] = {}
    for generation, some in enumerate((*former, columns)):
        names = member_keys(some)
        for member in first_sequence(some):
            generation_of.setdefault(member_of[names[member]], generation)
    return MemberSequence(np.array(list(generation_of), int), np.array(list(generation_of.values()), int))


def lanes_of(columns: Columns, sequence: MemberSequence, at_once: int, group: Group) -> int:
    """Members in the largest group of a group's program and generation, so that all such groups compile once.

    It does not depend on what is done, so that a group has the same bits whether or not it was interrupted.
    """
    kinds = [(program_of(columns, member), generation) for member, generation in zip(*sequence, strict=True)]
    number = kinds.count(kinds[group.first])
    return -(-number // -(-number // at_once))


def groups_of(
    columns: Columns,
    sequence: MemberSequence,
    at_once: int,
    done: Bool[np.ndarray, "places"],
    begun: Iterable[Group] = (),
) -> list[Group]:
    """Splits what is not done into groups that have one program and, if begun, one epoch behind them.

    A group may go on from the checkpoint of a longer one. Say that 2 devices began six members as 0-6, and that 3
    devices, a member each, go on: they make 0-3 and 3-3 of it, which read 0-6 and save files of their own. If only 0-3
    came to a later epoch then, 0-6 still holds the newest of 3-3. So within a longer one, a shorter one is the newer.

    Args:
      columns: of all members.
      sequence: where they stand.
      at_once: the most members of a group, >= 1.
      done: for each place of the sequence.
      begun: groups of earlier processes that left a checkpoint.
    """
    kinds = [(program_of(columns, member), generation) for member, generation in zip(*sequence, strict=True)]
    owner = np.full(len(done), -1)
    for number, group in enumerate(sorted(begun, key=lambda group: -group.size)):
        owner[group.places()] = number
    result = []
    alike = itertools.groupby(range(len(done)), lambda place: (bool(done[place]), kinds[place], owner[place]))
    for (is_done, *_), places in alike:
        stretch = list(places)
        if not is_done:
            split = np.array_split(stretch, -(-len(stretch) // at_once))
            result += [Group(int(some[0]), len(some)) for some in split]
    return result


def shares_of(costs: Float[np.ndarray, "groups"], num_processes: int) -> Int[np.ndarray, "groups"]:
    """The process of each group: the costliest first, each to the process that has least to do."""
    loads, process = np.zeros(num_processes), np.zeros(len(costs), int)
    for group in np.argsort(-costs, kind="stable"):
        process[group] = loads.argmin()
        loads[process[group]] += costs[group]
    return process
