"""The history of a sweep: which members belong together, on which clock they ran, and what they end with."""

import dataclasses
from collections.abc import Iterable, Mapping

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from edgechaos.theory import scaling


@dataclasses.dataclass(frozen=True)
class History:
    """The arrays of history.npz, with what follows from them; `history[name]` is an array.

    Attributes:
      arrays: metrics [member, epochs + 1] and columns [member]; the seed is the axis that runs fastest.
      num_samples: S of the data set.
    """

    arrays: Mapping[str, np.ndarray]
    num_samples: int

    def __getitem__(self, name: str) -> Shaped[np.ndarray, "members *entries"]:
        """One of the arrays."""
        return self.arrays[name]

    def some(self, chosen: Bool[np.ndarray, "members"]) -> "History":
        """The history of some members alone."""
        return History({name: values[chosen] for name, values in self.arrays.items()}, self.num_samples)

    def joined(self, later: "History") -> "History":
        """The history of the members of both."""
        arrays = {name: np.concatenate([values, later[name]]) for name, values in self.arrays.items()}
        return History(arrays, self.num_samples)

    def split_by(self, *names: str) -> list[tuple[tuple[float, ...], "History"]]:
        """(values of the columns `names`, members that have them), in the order in which they first occur."""
        columns = np.stack([self[name] for name in names], axis=1)
        values, first = np.unique(columns, axis=0, return_index=True)
        return [(tuple(one.tolist()), self.some((columns == one).all(1))) for one in values[np.argsort(first)]]

    def varied(self, name: str, among: Iterable[str]) -> Int[np.ndarray, "some"]:
        """The runs that differ in `name` alone: those with the most frequent values of the others `among`."""
        others = [self.column(other) for other in among if other != name]
        _, inverse, counts = np.unique(np.stack(others), axis=1, return_inverse=True, return_counts=True)
        return np.flatnonzero(inverse == counts.argmax())

    @property
    def num_seeds(self) -> int:
        """How many members differ in nothing but the seed."""
        return len(np.unique(self["seed"]))

    def by_seed(self, values: Shaped[np.ndarray, "members"]) -> Shaped[np.ndarray, "runs seeds"]:
        """Values of the members [run, seed]."""
        return values.reshape(-1, self.num_seeds)

    def column(self, name: str) -> Shaped[np.ndarray, "runs"]:
        """A hyperparameter of each run."""
        return self.by_seed(self[name])[:, 0]

    def members_of_run(self, run: int) -> slice:
        """Where the seeds of a run stand among the members."""
        return slice(run * self.num_seeds, (run + 1) * self.num_seeds)

    @property
    def scale_factor(self) -> Float[np.ndarray, "members"]:
        """eta / ((1 - alpha) B), before a schedule."""
        return np.asarray(scaling.scale_factor(self["learning_rate"], self["momentum"], self["batch_size"]), float)

    @property
    def elapsed(self) -> Float[np.ndarray, "members entries"]:
        """Epochs at the full learning rate that each entry's epochs of the member's schedule amount to."""
        epochs = np.arange(self["j_squared"].shape[1], dtype=float)
        if "schedule" not in self.arrays:
            return np.broadcast_to(epochs, self["j_squared"].shape)
        members = zip(self["schedule"], self["epochs"], strict=True)
        return np.stack([scaling.elapsed_epochs(str(schedule), epochs, int(length)) for schedule, length in members])

    def final(self, name: str) -> Float[np.ndarray, "runs seeds"]:
        """Mean over the last twentieth of each member's entries, at least one: what it ends with, less the noise.

        NaN for a member that has not come to its end.
        """
        return self.final_of(self[name])

    def final_of(self, values: Float[np.ndarray, "members entries"]) -> Float[np.ndarray, "runs seeds"]:
        """The same of values that follow from the metrics."""
        pairs = zip(values, self["epochs"] + 1, strict=True)
        return self.by_seed(np.array([last_mean(some[:entries]) for some, entries in pairs]))

    def last(self, name: str) -> Float[np.ndarray, "runs seeds"]:
        """The last entry of each member; NaN for one that has not come to its end."""
        pairs = zip(self[name], self["epochs"], strict=True)
        return self.by_seed(np.array([values[epochs] for values, epochs in pairs]))

    def largest(self, name: str) -> Float[np.ndarray, "runs seeds"]:
        """The largest entry of each member; NaN for one that has not come to its end.

        The largest of many noisy entries lies above what a run ends with, the further the more noise and entries.
        """
        pairs = zip(self[name], self["epochs"] + 1, strict=True)
        return self.by_seed(np.array([values[:entries].max() for values, entries in pairs]))


def last_mean(values: Float[np.ndarray, "*members entries"]) -> Float[np.ndarray, "*members"]:
    """Mean over the last twentieth of the entries, at least one."""
    return np.asarray(values[..., -max(1, values.shape[-1] // 20) :].mean(-1))
