"""Which members are computed together, in which order, and by which process.

Members stand in a fixed order, those of one compiled program side by side. A batch is a stretch of that order, so that
two numbers name its files, and a run goes on from them whatever devices and processes there are by then.
"""

import itertools
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from edgechaos import sweep
from edgechaos.sweep import STATIC, Columns


class Stretch(NamedTuple):
    """`size` places of the order, from `first` on."""

    first: int
    size: int

    def holds(self, other: "Stretch") -> bool:
        """Whether `other` lies within."""
        return self.first <= other.first and other.first + other.size <= self.first + self.size

    def places(self) -> slice:
        """For indexing the order."""
        return slice(self.first, self.first + self.size)

    def __str__(self) -> str:
        """The name of its files."""
        return f"{self.first}-{self.size}"


def parse(text: str) -> Stretch | None:
    """The stretch that a file's name tells, if it does."""
    first, separator, count = text.rpartition("-")
    return Stretch(int(first), int(count)) if separator and first.isdecimal() and count.isdecimal() else None


def program(columns: Columns, member: int) -> tuple:
    """What a program is compiled for."""
    return tuple(columns[name][member].item() for name in STATIC)


def order(columns: Columns) -> Int[np.ndarray, "members"]:
    """The members, those of one program side by side and of similar length next to each other."""
    members = range(len(columns["seed"]))
    return np.array(sorted(members, key=lambda member: (program(columns, member), columns["epochs"][member])), int)


class Sequence(NamedTuple):
    """The members in the order that names their files.

    Attributes:
      members: the member at each place.
      generation: 0 for the members of the beginning, 1 for those of the first extension, and so on.
    """

    members: Int[np.ndarray, "places"]
    generation: Int[np.ndarray, "places"]


def sequence(columns: Columns, former: Iterable[Columns] = ()) -> Sequence:
    """The sequence of a sweep: members of former sweeps keep their places, those of an extension follow.

    Args:
      columns: of all members.
      former: columns of the sweep before each extension, the first one first; each holds what the one before holds.
    """
    member_of = {key: member for member, key in enumerate(sweep.keys(columns))}
    generation_of: dict[int, int] = {}
    for generation, some in enumerate((*former, columns)):
        names = sweep.keys(some)
        for member in order(some):
            generation_of.setdefault(member_of[names[member]], generation)
    return Sequence(np.array(list(generation_of), int), np.array(list(generation_of.values()), int))


def lanes(columns: Columns, places: Sequence, at_once: int, stretch: Stretch) -> int:
    """Members in the largest batch of a stretch's program and generation, so that each batch of it compiles once.

    It does not depend on what is done, so that a batch has the same bits whether or not it was interrupted.
    """
    kinds = [(program(columns, member), generation) for member, generation in zip(*places, strict=True)]
    number = kinds.count(kinds[stretch.first])
    return -(-number // -(-number // at_once))


def batches(
    columns: Columns,
    places: Sequence,
    at_once: int,
    done: Bool[np.ndarray, "places"],
    begun: Iterable[Stretch] = (),
) -> list[Stretch]:
    """Splits what is not done into batches that have one program and, if begun, one epoch behind them.

    Args:
      columns: of all members.
      places: where they stand.
      at_once: the most members of a batch, >= 1.
      done: for each place of the sequence.
      begun: batches of earlier processes that left a checkpoint; within a longer one, a shorter one is the newer.
    """
    kinds = [(program(columns, member), generation) for member, generation in zip(*places, strict=True)]
    owner = np.full(len(done), -1)
    for number, stretch in enumerate(sorted(begun, key=lambda stretch: -stretch.size)):
        owner[stretch.places()] = number
    result = []
    alike = itertools.groupby(range(len(done)), lambda place: (bool(done[place]), kinds[place], owner[place]))
    for (is_done, *_), group in alike:
        one = list(group)
        if not is_done:
            pieces = np.array_split(one, -(-len(one) // at_once))
            result += [Stretch(int(piece[0]), len(piece)) for piece in pieces]
    return result


def shares(costs: Float[np.ndarray, "batches"], num_processes: int) -> Int[np.ndarray, "batches"]:
    """The process of each batch: the costliest first, each to the process that has least to do."""
    loads, process = np.zeros(num_processes), np.zeros(len(costs), int)
    for batch in np.argsort(-costs, kind="stable"):
        process[batch] = loads.argmin()
        loads[process[batch]] += costs[batch]
    return process
