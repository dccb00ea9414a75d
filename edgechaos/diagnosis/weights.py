"""Files of network weights: .npz and .safetensors, read as data, never as code."""

import json
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from edgechaos.errors import UserError
from edgechaos.files import read_npz

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


def read_weights(path: Path) -> dict[str, np.ndarray]:
    """Name -> array of a weights file.

    Raises:
      UserError: the file does not exist, is of another kind, or damaged.
    """
    if not path.is_file():
        raise UserError(f"'{path}' is not a file")
    if path.suffix == ".npz":
        return read_npz(path)
    if path.suffix == ".safetensors":
        try:
            return _parse_safetensors(path.read_bytes())
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"'{path}' is damaged ({error})") from error
    raise UserError(f"'{path}': must be an .npz or a .safetensors file")


def _parse_safetensors(content: bytes) -> dict[str, np.ndarray]:
    """The arrays of a .safetensors file: length of the header, header in JSON, bytes of the arrays."""
    length = int.from_bytes(content[:8], "little")
    if len(content) < 8 or length > min(len(content) - 8, _LARGEST_HEADER):
        raise ValueError("its header does not fit into it")
    header, data = json.loads(content[8 : 8 + length]), content[8 + length :]
    return {name: _array(name, entry, data) for name, entry in header.items() if name != "__metadata__"}


def _array(name: str, entry: dict[str, Any], data: bytes) -> np.ndarray:
    """One array, checked against the bytes that there are."""
    if entry["dtype"] not in _TYPES:
        raise ValueError(f"'{name}' is of type {entry['dtype']}, which is not known")
    dtype, shape, (first, last) = np.dtype(_TYPES[entry["dtype"]]), tuple(entry["shape"]), entry["data_offsets"]
    if not 0 <= first <= last <= len(data) or last - first != dtype.itemsize * int(np.prod(shape, dtype=object)):
        raise ValueError(f"'{name}' {shape} does not fit its {last - first} bytes")
    return np.frombuffer(data[first:last], dtype).reshape(shape)
