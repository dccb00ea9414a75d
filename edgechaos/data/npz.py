"""A user's own data set from an .npz file, checked before anything is trained on it."""

import hashlib
from pathlib import Path

import numpy as np

from edgechaos.data.dataset import Dataset
from edgechaos.errors import UserError
from edgechaos.files import read_npz

NAMES = ("x_train", "y_train", "x_test", "y_test")


def content_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, by which a run knows its data again.

    Raises:
      UserError: there is no such file, or it cannot be read.
    """
    if not path.is_file():
        raise UserError(f"dataset = '{path}' is not a file")
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"dataset = '{path}' cannot be read ({error.strerror})") from error


def load(path: Path) -> Dataset:
    """Reads x_train [samples, ...], y_train [samples], x_test and y_test; inputs are flattened and taken as they are.

    Raises:
      UserError: the file does not exist or is damaged, an array is missing, has NaN or complex numbers, another width
        or length than its partner, or labels that are not 0 ... classes - 1.
    """
    if not path.is_file():
        raise UserError(f"dataset = '{path}' is not a file")
    arrays = read_npz(path, "write it again, or name another")
    missing = [name for name in NAMES if name not in arrays]
    if missing:
        raise UserError(f"'{path}' has no {', '.join(missing)}; it must hold {', '.join(NAMES)}")
    inputs = {split: _inputs(path, f"x_{split}", arrays[f"x_{split}"]) for split in ("train", "test")}
    labels = {split: _labels(path, f"y_{split}", arrays[f"y_{split}"]) for split in ("train", "test")}
    for split, values in inputs.items():
        if len(values) != len(labels[split]):
            raise UserError(f"'{path}': x_{split} has {len(values)} samples, y_{split} {len(labels[split])}")
    if inputs["train"].shape[1] != inputs["test"].shape[1]:
        widths = inputs["train"].shape[1], inputs["test"].shape[1]
        raise UserError(f"'{path}': x_train has {widths[0]} numbers per sample, x_test {widths[1]}")
    classes = np.unique(labels["train"])
    num_classes, last = len(classes), max(int(classes[-1]), int(labels["test"].max()))
    if num_classes < 2 or last >= num_classes:  # labels >= 0 with one beyond their number leave one out
        raise UserError(
            f"'{path}': labels must be 0 ... classes - 1; each must be in y_train, "
            "and y_test must have no others; y_train has "
            f"{num_classes} different labels, and the largest of all is {last}"
        )
    train, test = (labels[split].astype(np.int32) for split in ("train", "test"))
    return Dataset(inputs["train"], train, inputs["test"], test, num_classes)


def _inputs(path: Path, name: str, values: np.ndarray) -> np.ndarray:
    """Flattened samples in float32."""
    if values.ndim < 2 or not values.size or values.dtype.kind not in "iuf":
        raise UserError(f"'{path}': {name} {values.shape} {values.dtype}: must be real numbers [samples, ...]")
    with np.errstate(over="ignore"):  # what float32 does not reach is infinite, and refused
        flat = values.reshape(len(values), -1).astype(np.float32)
    bad = np.flatnonzero(~np.isfinite(flat).all(1))
    if len(bad):
        raise UserError(f"'{path}': {name} has NaN or infinite numbers, first in sample {bad[0]}")
    return flat


def _labels(path: Path, name: str, values: np.ndarray) -> np.ndarray:
    """Class numbers in the type that the file has, in which none of them wraps."""
    if values.ndim != 1 or not np.issubdtype(values.dtype, np.integer):
        raise UserError(f"'{path}': {name} {values.shape} {values.dtype}: must be integers [samples]")
    if len(values) and values.min() < 0:
        raise UserError(f"'{path}': {name} has the label {values.min()}, but labels must count from 0")
    return values
