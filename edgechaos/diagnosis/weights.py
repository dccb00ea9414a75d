"""Files of network weights, read as data, never as code, and mapped into memory where their format allows it."""

import mmap
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from edgechaos.diagnosis.safetensors import read_index, read_safetensors
from edgechaos.errors import UserError, printable
from edgechaos.files import Unread, read_zipped
from edgechaos.training.kernels import path_name

__all__ = ["Unread", "read_weights"]

_KINDS = (
    "must be an .npz or a .safetensors file, their .safetensors.index.json, a .msgpack of flax or a folder of Orbax"
)
_PICKLES = (".pt", ".pth", ".bin", ".ckpt", ".pkl", ".pickle")
_INDEX = ".index.json"
_LONGEST_SHOWN = 80
_ORBAX = "_METADATA"  # in the folder of an item


def read_weights(path: Path) -> dict[str, np.ndarray | Unread]:
    """Name -> array of a weights file, or why that one is not read.

    .safetensors files are mapped: an array takes memory while it is looked at. Names have their control characters and
    whatever else cannot be printed escaped.

    Args:
      path: a file or a folder; "~" is the home folder.

    Raises:
      UserError: it does not exist, is of another kind, or cannot be understood.
    """
    path = _expanded(path)
    if path.is_dir():
        return _shown(path, _read_orbax)
    if not path.is_file():
        raise UserError(f"'{path}' is not a file")
    if path.suffix in _PICKLES:
        raise UserError(_advice(path))
    readers: dict[str, Callable[[Path], dict[str, Any]]] = {
        ".npz": read_zipped,
        ".safetensors": read_safetensors,
        ".msgpack": _read_msgpack,
    }
    reader = read_index if path.name.endswith(_INDEX) else readers.get(path.suffix)
    if reader is None:
        raise UserError(f"'{path}': {_KINDS}")
    return _shown(path, reader)


def _expanded(path: Path) -> Path:
    """The path with "~" replaced, if the system can take it."""
    try:
        path = path.expanduser()
        path.exists()
    except (OSError, RuntimeError) as error:
        text = str(path)
        name = text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}... ({len(text)} characters)"
        raise UserError(f"'{name}' cannot be looked up ({getattr(error, 'strerror', None) or error})") from error
    return path


def _advice(path: Path) -> str:
    """What to do with a pickle."""
    convert = (
        'python -c "import sys, torch; from safetensors.torch import save_file; '
        "save_file({k: v.contiguous().clone() for k, v in torch.load(sys.argv[1], weights_only=True).items()}, "
        f'sys.argv[2])" {shlex.quote(str(path))} {shlex.quote(path.stem + ".safetensors")}'
    )
    return (
        f"'{path}' is a pickle of PyTorch's kind, that is a program, and is not run: {_KINDS}; where PyTorch and "
        f"safetensors are installed, this converts a state_dict:\n{convert}"
    )


def _shown(path: Path, reader: Callable[[Path], dict[str, Any]]) -> dict[str, np.ndarray | Unread]:
    """What a reader finds, under names that can be printed; a UserError for what it cannot read."""
    try:
        arrays = reader(path)
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"'{path}' cannot be read ({error.strerror or _first(error)})") from error
    # a hostile file may make the parsers of JSON, msgpack, zip and Orbax raise anything
    except Exception as error:
        raise UserError(
            f"'{path}' cannot be read: it is incomplete, or its content is not what its name says ({_first(error)})"
        ) from error
    names = {printable(name): name for name in arrays}
    if len(names) < len(arrays):
        raise UserError(f"'{path}' cannot be read: two of its names are printed in the same way")
    if arrays and all(isinstance(array, Unread) for array in arrays.values()):
        name, first = next(iter(arrays.items()))
        raise UserError(f"'{path}' has no array that can be read; '{printable(name)}' is {first.reason}")
    return {shown: arrays[name] for shown, name in names.items()}


def _first(error: Exception) -> str:
    """The first line of an error, printable and short."""
    lines = str(error).strip().splitlines() or [""]
    return printable(f"{lines[0] or type(error).__name__}")[:300]


def _named(tree: Any) -> dict[str, Any]:
    """The arrays of nested dictionaries and lists by their paths."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {path_name(path): leaf for path, leaf in leaves}


def _read_msgpack(path: Path) -> dict[str, Any]:
    """The arrays of what flax.serialization wrote."""
    from flax import serialization

    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        tree = serialization.msgpack_restore(content)  # type: ignore[arg-type]
    found = _named(tree)
    unread = {name for name, leaf in found.items() if not isinstance(leaf, np.ndarray | np.generic)}
    return {
        name: Unread((), f"{type(leaf).__name__}, no array") if name in unread else np.asarray(leaf)
        for name, leaf in found.items()
    }


def _read_orbax(path: Path) -> dict[str, Any]:
    """The arrays of a checkpoint of Orbax: of the folder of an item, or of one with a single item."""
    items = [path, *sorted(folder for folder in path.iterdir() if folder.is_dir())]
    found = [folder for folder in items if (folder / _ORBAX).is_file()]
    if len(found) != 1:
        names = ", ".join(printable(folder.name) for folder in found)
        several = f"several checkpoints of Orbax ({names}); name one"
        raise UserError(f"'{path}' holds {several if found else 'no checkpoint of Orbax; give the folder of one step'}")
    import orbax.checkpoint as ocp

    (item,) = found
    handler = ocp.PyTreeCheckpointer()
    shapes = handler.metadata(item.absolute()).item_metadata.tree
    as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), shapes)
    return _named(handler.restore(item.absolute(), restore_args=as_numpy))
