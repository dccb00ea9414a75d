"""Refusing bad input: the error that is shown without a traceback, and range checks of arguments.

Traced values have no value yet and are not checked.
"""

import contextlib
import errno
import io
import os
import re
import sys
from collections.abc import Callable, Iterator

import jax
import numpy as np


class UserError(ValueError):
    """Bad input, missing data or an unusable directory; the message names the thing, its value and the way out."""


@contextlib.contextmanager
def extra(name: str) -> Iterator[None]:
    """Imports of what a light installation does not have; a missing package is named with the extra that brings it."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("edgechaos"):
            raise
        package = error.name.partition(".")[0]
        message = f"there is no {package} here, which this part of edgechaos needs: pip install 'edgechaos[{name}]'"
        raise ModuleNotFoundError(message, name=error.name, path=error.path) from error


def printable(text: str) -> str:
    r"""A text from a file with what cannot be printed escaped: control characters, lone surrogates, marks of direction.

    >>> print(printable("a" + chr(27) + "[2J" + chr(0xD800)))
    a\x1b[2J\ud800
    """
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def use_any_encoding() -> None:
    """Has the standard streams escape what their encoding lacks, so that a name costs no result at the very end."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


# what passes, or what its administrator can mend, as against the content of a file
_PASSING = {
    *(errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.EINTR, errno.EBUSY, errno.EIO, errno.ESTALE),
    *(errno.EACCES, errno.EPERM, errno.ENOTCONN, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ETIMEDOUT, errno.ENOLCK),
}


def blamed_on_machine(error: BaseException) -> str:
    """Why reading a file failed, if a bad moment of the machine is to blame; '' if it may be the file's content.

    Memory, open files, permissions, or a network folder that is away; also where a library has wrapped the system's
    error in another, or quotes its number as TensorStore does.

    >>> blamed_on_machine(OSError(errno.EMFILE, "Too many open files", "a.npz")), blamed_on_machine(ValueError("bits"))
    ('Too many open files', '')
    """
    seen: list[BaseException] = []
    one: BaseException | None = error
    while one is not None and one not in seen:
        seen.append(one)
        if isinstance(one, MemoryError):
            return "not enough memory"
        numbers = {int(number) for number in re.findall(r"\[(?:OS error|Errno) (\d+)", str(one))}
        numbers |= {one.errno} if isinstance(one, OSError) and one.errno else set()
        numbers &= _PASSING
        if numbers:
            return os.strerror(min(numbers))
        one = one.__cause__ or one.__context__
    return ""


def require(name: str, value: object, allows: Callable[[np.ndarray], np.ndarray], allowed: str) -> None:
    """Refuses an argument with an entry out of range before anything is computed with it.

    Args:
      name: of the argument.
      value: number or array; a tracer is let through, since it has no value yet.
      allows: entries -> bool.
      allowed: the range in words.

    Raises:
      ValueError: names the argument, its first bad entry and the allowed range; also for what is no real number.
    """
    if isinstance(value, jax.core.Tracer):
        return
    entries = np.asarray(value)
    if entries.dtype.kind in "OSUc":
        raise ValueError(f"{name} = {value!r}: must be real numbers, {allowed}")
    bad = ~np.asarray(allows(entries))
    if bad.any():
        raise ValueError(f"{name} = {entries[bad].flat[0]}: must be {allowed}")


def require_positive(name: str, value: object) -> None:
    """Refuses zero, negative numbers, NaN and infinity."""
    require(name, value, lambda entries: (entries > 0) & np.isfinite(entries), "> 0")


def require_finite(name: str, value: object) -> None:
    """Refuses NaN and infinity."""
    require(name, value, np.isfinite, "finite")


def require_count(name: str, value: object, least: int) -> None:
    """Refuses what is no whole number, 3.0 included, since it is the length of something; or is below `least`."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise ValueError(f"{name} = {value!r}: must be a whole number >= {least}")
    require_at_least(name, int(value), least)


def require_at_least(name: str, value: int, least: int) -> None:
    """Refuses a count below `least`."""
    require(name, value, lambda entries: entries >= least, f">= {least}")
