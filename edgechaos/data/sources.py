"""Data sets: a verified cache, local IDX files or the official download, in this order.

`python -m edgechaos.data` prepares a data set ahead of the first experiment.
"""

import argparse
import hashlib
import logging
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from edgechaos.data import npz
from edgechaos.data.dataset import Dataset
from edgechaos.errors import UserError, extra
from edgechaos.files import exclusive_lock, expanded, read_npz, user_cache, writable_directory, write_npz

logger = logging.getLogger("edgechaos.data")

DATASETS = ("fashion_mnist", "mnist", "kmnist", "digits")
DEBIAN_FOLDERS = {"fashion_mnist": Path("/usr/share/datasets/fashion-mnist")}
DEBIAN_PACKAGES = {"fashion_mnist": "dataset-fashion-mnist"}
ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")


def load(name: str = "fashion_mnist", data_dir: str | os.PathLike | None = None) -> Dataset:
    """Loads a data set, preparing its cache on the first call.

    Args:
      name: "fashion_mnist", "mnist", "kmnist" (S = 60,000, T = 10,000, N = 784), "digits" (scikit-learn's 8 x 8
        set, S = 1,437, T = 360, N = 64, a fixed stratified 80/20 split), or an .npz file of one's own, see `own_data`.
      data_dir: where the cache is kept and IDX files are looked for; default: the user's cache folder. If it exists
        but cannot be written to, the cache is kept in the user's cache folder.

    Raises:
      UserError: unknown name, no folder for the cache, damaged files, or no source within reach.
    """
    if name == "digits":
        return _digits()
    if name.endswith(".npz"):
        return npz.load(Path(name))
    if name not in DATASETS:
        raise UserError(
            f"dataset = '{name}': no such data set; there are {', '.join(DATASETS)}, or a file that ends in .npz"
        )
    folder = expanded(data_dir, "data_dir") if data_dir else user_cache() / "data"
    arrays = _read_cache(folder / f"{name}.npz")
    if arrays is None:
        from edgechaos.data import mnist_family  # noqa: F401  a missing package is said before a folder is made

        cache = _cache_folder(folder)
        with exclusive_lock(cache / f"{name}.lock", wait=True):
            arrays = _read_cache(cache / f"{name}.npz") or _prepare(name, folder, cache)
    return Dataset(
        train_images=_scale(arrays["train_images"], 255),
        train_labels=arrays["train_labels"].astype(np.int32),
        test_images=_scale(arrays["test_images"], 255),
        test_labels=arrays["test_labels"].astype(np.int32),
        num_classes=10,
    )


def _cache_folder(folder: Path) -> Path:
    """`folder` if it can be written to, else the user's cache folder for one that can only be read."""
    try:
        return writable_directory(folder, "data_dir")
    except UserError:
        if not folder.is_dir():
            raise
        return writable_directory(user_cache() / "data", "the user's cache folder, XDG_CACHE_HOME,")


def _scale(images: np.ndarray, maximum: int) -> np.ndarray:
    """Maps 0 ... maximum to [0, 1] in float32."""
    return images.astype(np.float32) / np.float32(maximum)


def _digits() -> Dataset:
    """scikit-learn's digits; the split is fixed by its seed."""
    with extra("experiments"):
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split

    images, labels = load_digits(return_X_y=True)
    split = train_test_split(images, labels.astype(np.int32), test_size=0.2, random_state=0, stratify=labels)
    train_images, test_images, train_labels, test_labels = split
    logger.info("digits: from scikit-learn")
    return Dataset(_scale(train_images, 16), train_labels, _scale(test_images, 16), test_labels, num_classes=10)


def _content_sha256(arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 over names, shapes and bytes of the cached arrays."""
    digest = hashlib.sha256()
    for key in ARRAYS:
        digest.update(f"{key}{arrays[key].shape}".encode())
        digest.update(np.ascontiguousarray(arrays[key]).data)
    return digest.hexdigest()


def _read_cache(path: Path) -> dict[str, np.ndarray] | None:
    """Returns the cached uint8 arrays, or None if there is no cache or it is damaged (said in the log)."""
    if not path.exists():
        return None
    try:
        arrays = read_npz(path)
        intact = str(arrays.pop("sha256")) == _content_sha256(arrays)
    except (UserError, KeyError) as error:
        logger.warning("the cache cannot be read (%s); preparing it again", error)
        return None
    if not intact:
        logger.warning("the cache '%s' is damaged (wrong SHA-256); preparing it again", path)
        return None
    logger.info("%s: from the cache '%s'", path.stem, path)
    return arrays


def _prepare(name: str, folder: Path, cache: Path) -> dict[str, np.ndarray]:
    """Builds the data set from local files in `folder` or from the download, and writes its cache."""
    from edgechaos.data import mnist_family  # TFDS is needed on the first call only

    local_folder = _local_folder(name, folder)
    incomplete = cache / f"{name}.incomplete"
    shutil.rmtree(incomplete, ignore_errors=True)  # left by a killed process; we hold the lock
    origin = f"'{local_folder}'" if local_folder else f"the download {mnist_family.SOURCES[name].url}"
    logger.info("%s: preparing from %s", name, origin)
    try:
        arrays = mnist_family.build(name, incomplete, _local_files(local_folder) if local_folder else None)
    except UserError:
        raise
    except Exception as error:  # TFDS raises whatever its network stack and its writers do
        if local_folder:
            raise UserError(f"dataset = '{name}': preparing it from {origin} failed ({_reason(error)})") from error
        raise UserError(_how_to_get(name, folder, error)) from error
    finally:
        shutil.rmtree(incomplete, ignore_errors=True)
    write_npz(cache / f"{name}.npz", {"sha256": np.array(_content_sha256(arrays)), **arrays})
    return arrays


def _reason(error: Exception) -> str:
    """Type and first line of an error."""
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0][:200]}"


def _local_files(folder: Path) -> dict[str, Path]:
    """Returns those of the four IDX files that `folder` holds, by official name."""
    from edgechaos.data import mnist_family

    found: dict[str, Path] = {}
    for name in mnist_family.FILES:
        for candidate in (folder / name, folder / f"{name}.gz"):
            if candidate.is_file():
                found.setdefault(name, candidate)
    return found


def _local_folder(name: str, directory: Path) -> Path | None:
    """Returns the first place that holds all four IDX files."""
    for folder in (directory, DEBIAN_FOLDERS.get(name)):
        found = len(_local_files(folder)) if folder else 0
        if found == 4:
            return folder
        if found:
            logger.warning("'%s' holds %d of the four IDX files only; looking elsewhere", folder, found)
    return None


def _how_to_get(name: str, directory: Path, error: Exception) -> str:
    """Names the ways to the data after all of them failed."""
    package = DEBIAN_PACKAGES.get(name)
    ways = (
        f"put the four official IDX files, gzipped or not, into '{directory}', or set data_dir to their folder",
        f"on Debian: apt-get install {package}" if package else f"copy {name}.npz there from a machine that has it",
        f"allow the download, which failed just now ({_reason(error)})",
    )
    numbered = "".join(f"\n  {number}. {way}" for number, way in enumerate(ways, 1))
    return f"dataset = '{name}': no cache, no local files and no download. Three ways to it:{numbered}"


def main() -> int:
    """Command line: prepares data sets and says where they came from."""
    parser = argparse.ArgumentParser(prog="python -m edgechaos.data", description="Prepare and check a data set.")
    parser.add_argument(
        "--dataset", default="fashion_mnist", help=f"one of {', '.join(DATASETS)} (default %(default)s)"
    )
    parser.add_argument("--data_dir", default=None, help="folder of the cache and of IDX files (default: user's cache)")
    arguments = parser.parse_args()
    logging.basicConfig(format="%(message)s")
    logger.setLevel(logging.INFO)
    try:
        dataset = load(arguments.dataset, arguments.data_dir)
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    train, test = dataset.train_images, dataset.test_images
    print(f"{arguments.dataset}: {len(train)} training and {len(test)} test images of {train.shape[1]} pixels")
    return 0
