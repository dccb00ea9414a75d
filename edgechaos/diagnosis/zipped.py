"""The arrays of somebody's .npz, each checked against its CRC; what is no plain array is skipped with the reason."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from edgechaos.diagnosis.safetensors import Unread
from edgechaos.errors import UserError

_LARGE, _RATIO = 2**28, 200  # bytes of all arrays, and over the file's, beyond which a file is taken for a trap


def read_zipped(path: Path) -> dict[str, Any]:
    """Name -> array, or why it is not read.

    Raises:
      UserError: its arrays are many times as large as the file.
      Exception: whatever the parsers of zip and .npy raise for a damaged file.
    """
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if len(set(names)) < len(names):
            raise ValueError("it has a name twice")
        size = sum(member.file_size for member in archive.infolist())
        if size > max(_LARGE, _RATIO * path.stat().st_size):
            raise UserError(
                f"'{path}' would fill {size / 2**30:.1f} GiB, more than {_RATIO} times its size; not unpacked"
            )
        return {name.removesuffix(".npy"): _read(archive, name) for name in names}


def _read(archive: zipfile.ZipFile, name: str) -> np.ndarray | Unread:
    """One member."""
    if not name.endswith(".npy"):
        return Unread((), "no array")
    with archive.open(name) as file:
        version = np.lib.format.read_magic(file)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read_header(file)
        if dtype.hasobject:
            return Unread(shape, "pickled Python objects, which are never loaded")
        if archive.getinfo(name).file_size - file.tell() != dtype.itemsize * int(np.prod(np.array(shape, object))):
            raise ValueError(f"'{name}' {shape} does not fit its bytes")
    with archive.open(name) as file:
        array = np.lib.format.read_array(file, allow_pickle=False)
        file.read(1)  # the CRC is compared at the end of a member
    return array
