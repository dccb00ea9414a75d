"""Work directories: config, history, summary and provenance of a run, each written atomically."""

import contextlib
import datetime
import json
import logging
import math
import os
import platform
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Int

from edgechaos._version import __version__
from edgechaos.errors import UserError, printable
from edgechaos.files import atomic_write, exclusive_lock, read_npz, writable_directory, write_npz
from edgechaos.runs.config import (
    FORMER,
    INCIDENTAL,
    MEMBER_FIELDS,
    TRAINING_FIELDS,
    TrainingConfig,
    from_record,
)
from edgechaos.runs.machine import processor
from edgechaos.runs.members import MemberSequence, compare_members, sequence_of, sweep_members

logger = logging.getLogger(__name__)

CONTENT = "dataset_sha256"  # what a record has beside the config where the data set is a file of the user's
_ARRAYS = (
    "history.npz",
    "diagram*.npz",
    "trials*.npz",
    "pieces/[0-9]*.npz",
    "parts/[0-9]*.npz",
    "kernels/*-*.npz",
    "runs/*-*.npz",
)
_UNDER_WAY = ("checkpoint*", "diagram-*", "chosen/*")  # folders
_LARGEST_JSON = 2**24  # bytes, far beyond any of ours
PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "matplotlib")


@contextlib.contextmanager
def work_directory(path: str | os.PathLike, config: Mapping[str, Any], grows: bool = False) -> Iterator[Path]:
    """Opens a work directory for one configuration and holds it until the end.

    Args:
      path: created if need be.
      config: must equal the one that the directory was begun with, but for fields that do not bear on the result.
      grows: whether more seeds and more values of a sweep may be added to what is there.

    Raises:
      UserError: not writable, held by another process, begun with another config (the differences are named) or other
        data, its config.json is missing or cannot be read as an array of it, or a folder in it is a link.
    """
    directory = writable_directory(path, "workdir")
    with exclusive_lock(directory / ".lock", wait=False):
        _refuse_links(directory)
        earlier = _earlier_config(directory)
        if earlier is not None:
            _refuse_other_config(directory, earlier, _jsonable(config), grows)
        _refuse_damaged_arrays(directory)
        write_json(directory / "config.json", dict(config))
        yield directory


def _refuse_links(directory: Path) -> None:
    """Raises a UserError if a folder that we write to leads elsewhere, where ours would replace what is there."""
    for pattern in (*_UNDER_WAY, "pieces", "parts", "kernels"):
        for path in directory.glob(pattern):
            if path.is_symlink():
                raise UserError(
                    f"'{path}' is a link, and a run does not follow links; remove it or name another workdir"
                )


def _earlier_config(directory: Path) -> dict[str, Any] | None:
    """The config.json of an earlier run that left arrays or a checkpoint behind.

    Raises:
      UserError: it is damaged.
    """
    path = directory / "config.json"
    if not path.exists():
        return None
    if not any(any(directory.glob(left)) for left in ("*.npz", *_ARRAYS, *_UNDER_WAY)):
        (directory / "provenance.json").unlink(missing_ok=True)  # of commands that came to nothing
        return None
    return read_json(path, dict, f"remove '{directory}' or name another workdir")


def read_json(path: Path, kind: type, remedy: str) -> Any:
    """What a file of ours holds.

    Raises:
      UserError: it is damaged; `remedy` says what to do.
    """
    try:
        if not path.is_file() or path.stat().st_size > _LARGEST_JSON:
            raise ValueError("no file, or a very large one")
        content = json.loads(path.read_text())
        if not isinstance(content, kind):
            raise ValueError(f"a {type(content).__name__}")
    except (ValueError, RecursionError) as error:
        raise UserError(f"'{path}' is damaged ({error}); {remedy}") from error
    return content


def _refuse_other_config(directory: Path, earlier: dict[str, Any], config: dict[str, Any], grows: bool) -> None:
    """Raises a UserError if `config` neither equals the earlier one nor extends it; writes down an extension."""
    earlier = {name: value for name, value in FORMER.items() if name in config} | earlier
    if CONTENT in config:  # work directories from before it was recorded have none
        earlier = {CONTENT: config[CONTENT]} | earlier
    differing = [name for name in _differing(earlier, config) if name not in INCIDENTAL]
    if not differing:
        return
    if differing == [CONTENT]:
        raise UserError(
            f"dataset = '{config.get('dataset')}': the content of this file has changed since '{directory}' was begun; "
            "name another workdir"
        )
    if grows and set(differing) <= set(MEMBER_FIELDS) - {"seed"}:
        try:
            added = compare_members(from_record(earlier), from_record(config))
        except (KeyError, TypeError, ValueError) as error:
            path = directory / "config.json"
            raise UserError(f"'{path}' is damaged ({error}); name another workdir") from error
        if not added.missing:
            before = {name: earlier[name] for name in MEMBER_FIELDS}  # what tells its members
            former = [one for one in _former_sweeps(directory) if one != before]
            write_json(directory / "sequence.json", {"former": [*former, before]})
            logger.info("'%s' holds %d members; adding %d", directory, added.kept, added.new)
            return
        if differing == ["num_seeds"]:
            raise UserError(
                f"num_seeds = {config['num_seeds']}: '{directory}' holds {earlier['num_seeds']} seeds; give at least "
                "as many, or name another workdir"
            )
        if "sweep" in differing:
            raise UserError(
                f"sweep: an extension must keep the members of '{directory}', but it drops "
                f"{printable(added.missing)}; name another workdir"
            )
    named = ", ".join(f"{printable(name)} {earlier.get(name)!r} -> {config.get(name)!r}" for name in differing)
    raise UserError(f"workdir = '{directory}' holds a run of another config ({named}); name another workdir")


def _differing(earlier: Mapping[str, Any], config: Mapping[str, Any]) -> list[str]:
    """The fields whose values are not the same."""
    return [name for name in {**earlier, **config} if earlier.get(name) != config.get(name)]


def _former_sweeps(directory: Path) -> list[dict[str, Any]]:
    """What an extended work directory held before each of its extensions."""
    path = directory / "sequence.json"
    if not path.exists():
        return []
    return read_json(path, dict, "name another workdir")["former"]


def sequence(directory: Path, config: TrainingConfig) -> MemberSequence:
    """The members in the order that names their files; those of an extension come after those before it.

    Raises:
      UserError: what the directory keeps of former extensions is damaged.
    """
    try:
        former = [sweep_members(from_record(one)) for one in _former_sweeps(directory)]
        return sequence_of(sweep_members(config), former)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"'{directory / 'sequence.json'}' is damaged ({error}); name another workdir") from error


def _refuse_damaged_arrays(directory: Path) -> None:
    """Reads the arrays of an earlier run, also those that a finished one would not look at again, and no others."""
    for path in sorted(path for pattern in _ARRAYS for path in directory.glob(pattern)):
        read = _read_kernel if path.parent.name == "kernels" else read_npz
        read(path)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes strict JSON: a number that is not finite becomes null."""
    text = json.dumps(_jsonable(content), indent=2, allow_nan=False) + "\n"
    atomic_write(path, lambda file: file.write(text.encode()))


def _jsonable(value: Any) -> Any:
    """Python numbers, lists and dicts from arrays and NumPy numbers."""
    if isinstance(value, Mapping):
        return {key: _jsonable(entry) for key, entry in value.items()}
    if isinstance(value, np.ndarray | jax.Array | np.generic):
        value = np.asarray(value).tolist()
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_jsonable(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def keep_kernels(
    directory: Path, name: str, kernels: Float[np.ndarray, "some N N"], epoch: int, places: Int[np.ndarray, "some"]
) -> None:
    """Keeps hidden kernels of some members, each in kernels/NAME-PLACE.npz by its place in the sequence."""
    (directory / "kernels").mkdir(exist_ok=True)
    for place, kernel in zip(places, kernels, strict=True):
        write_npz(directory / "kernels" / f"{name}-{place}.npz", {"kernel": kernel, "epoch": np.array(epoch)})


def read_kernels(directory: Path, places: MemberSequence) -> dict[str, dict[str, np.ndarray]]:
    """The kept kernels: name -> kernel [members, N, N] and epoch [members], NaN and -1 where there is none.

    Args:
      directory: the work directory.
      places: its `sequence`.

    Raises:
      UserError: a file is damaged.
    """
    kept: dict[str, dict[str, np.ndarray]] = {}
    for path in sorted((directory / "kernels").glob("*-*.npz")):
        name, _, place = path.stem.rpartition("-")
        one = _read_kernel(path)
        if name not in kept:
            size = len(places.members)
            kept[name] = {
                "kernel": np.full((size, *one["kernel"].shape), np.nan, np.float32),
                "epoch": np.full(size, -1),
            }
        if place.isdecimal() and int(place) < len(places.members):
            for entry, values in kept[name].items():
                values[places.members[int(place)]] = one[entry]
    return kept


def read_kernels_of(directory: Path, config: TrainingConfig) -> dict[str, dict[str, np.ndarray]]:
    """The kept kernels of another work directory, if it has finished the same training; else none.

    That run may be longer; its kernels nearest to J = 1 are left out if one is from beyond the epochs of this config.

    Args:
      directory: a work directory, with further fields in its config or without.
      config: of a run of any length, which keeps any of its kernels.

    Raises:
      UserError: a file is damaged.
    """
    earlier = FORMER | read_json(directory / "config.json", dict, "name another work directory, or none")
    mine = _jsonable({name: getattr(config, name) for name in TRAINING_FIELDS})
    other = {"epochs", "keep_kernels_at", "constant_d", *INCIDENTAL}
    is_other = (set(_differing(earlier, mine)) & TRAINING_FIELDS.keys()) - other
    if is_other or from_record(earlier).epochs < config.epochs or any(directory.glob("checkpoint*")):
        return {}
    found = read_kernels(directory, sequence(directory, from_record(earlier)))
    if "edge" in found and (found["edge"]["epoch"] > config.epochs).any():
        del found["edge"]
    return found


def finished_kernels(directory: Path) -> tuple[TrainingConfig, Int[np.ndarray, "members"], dict[str, np.ndarray]]:
    """The kept kernels of another work directory, whether its run is over or not.

    Returns:
      Its config, the members that have all kernels which any member has, and name -> their kernel [members, N, N] and,
      under "NAME:epoch", epoch [members].

    Raises:
      UserError: no member has all, or a file is damaged.
    """
    config = from_record(FORMER | read_json(directory / "config.json", dict, "name another work directory, or none"))
    found = read_kernels(directory, sequence(directory, config))
    complete = [np.isfinite(one["kernel"]).all((1, 2)) for one in found.values()]
    members = np.flatnonzero(np.all(complete, axis=0)) if complete else np.zeros(0, int)
    if not len(members):
        raise UserError(f"'{directory}' holds no member with kept kernels to its end; wait for one, or name another")
    arrays = {name: one["kernel"][members] for name, one in found.items()}
    return config, members, arrays | {f"{name}:epoch": one["epoch"][members] for name, one in found.items()}


def _read_kernel(path: Path) -> dict[str, np.ndarray]:
    """One file of kept kernels."""
    try:
        return read_npz(path)
    except UserError as error:
        raise UserError(
            f"'{path}', kept from an earlier epoch, is damaged; name another workdir, or remove the file to "
            "continue without it"
        ) from error


def record_provenance(directory: Path, module: str, arguments: Sequence[str], arrays: Mapping[str, str]) -> None:
    """Adds this process to provenance.json: code, versions, device, command, and what the arrays mean.

    Args:
      directory: the work directory.
      module: the entry point, as given to `python -m`.
      arguments: its command line.
      arrays: name -> shape and meaning, of history.npz.
    """
    path = directory / "provenance.json"
    earlier = []
    if path.exists():
        try:
            earlier = read_json(path, dict, "beginning it anew").get("processes", [])
            if not isinstance(earlier, list):
                raise UserError(f"'{path}' is damaged (processes are not a list); starting it again")
        except UserError as error:
            logger.warning("%s", error)
            earlier = []
    device = jax.devices()[0]
    process = {
        "command": " ".join(["python", "-m", module, *arguments]),
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "revision": revision(),
        "edgechaos": __version__,
        "python": platform.python_version(),
        "versions": {name: metadata.version(name) for name in PACKAGES},
        "device": f"{jax.device_count()} x {device.device_kind} ({device.platform})",
        "processor": processor(),
        "cores": os.cpu_count(),
        "processes": jax.process_count(),
    }
    write_json(path, {"arrays": arrays, "processes": [*earlier, process]})


def revision() -> str:
    """The commit of the clone that the code runs from, '+' if changed since; 'unknown' outside a clone."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return "unknown"

    def git(*arguments: str) -> str:
        return subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True).stdout

    try:
        tracked = "--untracked-files=no", "--", "edgechaos", "experiments", "configs"
        changed = git("--no-optional-locks", "status", "--porcelain", *tracked)
        return git("rev-parse", "HEAD").strip() + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
