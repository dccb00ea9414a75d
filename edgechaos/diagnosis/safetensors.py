"""The .safetensors format: length of the header, header in JSON, and the bytes of the arrays, which stay on disk."""

import itertools
import json
import mmap
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from edgechaos.errors import UserError
from edgechaos.files import Unread

_LARGEST_HEADER = 100_000_000  # bytes, the format's own limit
_TYPES: dict[str, Any] = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "BF16": jnp.bfloat16,
    "I64": np.int64,
    "I32": np.int32,
    "I16": np.int16,
    "I8": np.int8,
    "U8": np.uint8,
    "BOOL": np.bool_,
}
_UNREAD_BITS = {  # types of the format that are skipped: quantised, packed, or without a place in a report
    "F8_E4M3": 8,
    "F8_E5M2": 8,
    "F8_E8M0": 8,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "F4": 4,
    "U16": 16,
    "U32": 32,
    "U64": 64,
    "C64": 64,
}


def read_safetensors(path: Path) -> dict[str, Any]:
    """The arrays of a file, mapped; those of types that are not read as `Unread`.

    Raises:
      Exception: whatever parsing a header that does not describe the file raises.
    """
    size = path.stat().st_size
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(size - 8, _LARGEST_HEADER):
            raise ValueError("its header does not fit into it")
        header = load_json(file.read(length))
    entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
    places = {name: _place(name, entry, size - 8 - length) for name, entry in entries.items()}
    _check_apart(places)
    data = np.memmap(path, np.uint8, "r", offset=8 + length) if size > 8 + length else np.empty(0, np.uint8)
    return {name: _array(entry, data[slice(*places[name])]) for name, entry in entries.items()}


def load_json(text: bytes) -> dict[str, Any]:
    """A JSON object of which no key stands twice.

    Raises:
      ValueError: it is none.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        content = dict(pairs)
        if len(content) < len(pairs):
            raise ValueError("its header has a name twice")
        return content

    header = json.loads(text, object_pairs_hook=once)
    if not isinstance(header, dict):
        raise ValueError("its header is not a JSON object")
    return header


def _place(name: str, entry: Any, available: int) -> tuple[int, int]:
    """First and last byte of one array, checked against the bytes that there are."""
    kind, shape, (first, last) = entry["dtype"], entry["shape"], entry["data_offsets"]
    if kind not in _TYPES and kind not in _UNREAD_BITS:
        raise ValueError(f"'{name}' is of type {kind}, which is not known")
    if not all(type(number) is int and number >= 0 for number in (*shape, first, last)):
        raise ValueError(f"'{name}' has a shape or a position that is not a whole number")
    bits = _UNREAD_BITS.get(kind) or 8 * np.dtype(_TYPES[kind]).itemsize
    count = int(np.prod(np.array(shape, object))) if shape else 1
    if not first <= last <= available or last - first != -(-count * bits // 8):
        raise ValueError(f"'{name}' {tuple(shape)} does not fit its {last - first} bytes")
    return first, last


def _check_apart(places: dict[str, tuple[int, int]]) -> None:
    """Refuses arrays that share bytes, of which a small file could hold very many."""
    taken = sorted(place for place in places.values() if place[0] < place[1])
    if any(one[1] > other[0] for one, other in itertools.pairwise(taken)):
        raise ValueError("two of its arrays share bytes")


def _array(entry: dict[str, Any], data: np.ndarray) -> np.ndarray | Unread:
    """One array as a view of the mapped bytes."""
    kind, shape = entry["dtype"], tuple(entry["shape"])
    if kind in _UNREAD_BITS:
        return Unread(shape, f"{kind}, a type that is not read")
    return np.frombuffer(data, np.dtype(_TYPES[kind]).newbyteorder("<")).reshape(shape)


def release(array: np.ndarray) -> None:
    """Lets go of the memory that looking at a mapped array took; it is read again from the file when it is needed."""
    owner: Any = array
    while isinstance(owner, np.ndarray | memoryview):
        owner = owner.obj if isinstance(owner, memoryview) else owner.base
    if isinstance(owner, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):  # not on Windows
        owner.madvise(mmap.MADV_DONTNEED)


def read_index(path: Path) -> dict[str, Any]:
    """The arrays of several .safetensors files, by the index that says which is in which.

    Raises:
      UserError: a file is missing, lies elsewhere, or has not what the index says.
    """
    index = load_json(path.read_bytes())["weight_map"]
    if not isinstance(index, dict) or not all(isinstance(part, str) for part in index.values()):
        raise UserError(f"'{path}': its weight_map must say for each name in which file it is")
    parts: dict[str, dict[str, Any]] = {}
    for name in sorted(set(index.values())):
        if Path(name).name != name or not name.endswith(".safetensors"):
            raise UserError(f"'{path}' names {name!a}, which is not a .safetensors file in the same folder")
        if not (path.parent / name).is_file():
            raise UserError(f"'{path}' names {name!a}, which does not exist; download all parts of the model")
        parts[name] = read_safetensors(path.parent / name)
    missing = [name for name, part in index.items() if name not in parts[part]]
    if missing:
        raise UserError(f"'{path}' says that {missing[0]!a} is in {index[missing[0]]!a}, but it is not there")
    return {name: parts[part][name] for name, part in index.items()}
