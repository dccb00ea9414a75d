"""What the command line refuses: config files and devices that cannot be used, and why, in our own words."""

import os
import sys
import traceback
from collections.abc import Mapping
from typing import Any

import jax
import ml_collections

from edgechaos.errors import UserError
from edgechaos.runs import fields


def require_devices() -> None:
    """Looks for the devices before anything else does.

    Raises:
      UserError: JAX has none of the kind that JAX_PLATFORMS asks for.
    """
    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:
        asked = os.environ.get("JAX_PLATFORMS", "")
        reason = "".join(f" ({line[:200]})" for line in str(error).strip().splitlines()[:1])
        raise UserError(
            f"JAX_PLATFORMS = '{asked}': JAX finds no such device on this machine{reason}; unset it"
        ) from error


def as_dict(config: Any, path: str) -> dict[str, Any]:
    """What a config file gave.

    Raises:
      UserError: no ConfigDict.
    """
    if not isinstance(config, ml_collections.ConfigDict):
        kind = type(config).__name__
        raise UserError(f"config = '{path}': its get_config must return an ml_collections.ConfigDict, not a {kind}")
    return config.to_dict()


def blame_config(error: BaseException, path: str) -> str:
    """What is wrong with a config file, in a line: type and text of the error, and where in the file it arose."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if _is_same_file(frame.filename, path)]
    line = error.lineno if isinstance(error, SyntaxError) else lines[-1] if lines else None
    reason = error.msg if isinstance(error, SyntaxError) else (str(error).strip().splitlines() or [""])[0][:200]
    where = f", line {line}" if line else ""
    return f"config = '{path}'{where}: the file cannot be used ({type(error).__name__}: {reason})"


def _is_same_file(one: str, other: str) -> bool:
    """Whether two paths lead to one file."""
    return os.path.exists(one) and os.path.samefile(one, other)


def explain(error: BaseException, known: Mapping[str, fields.Field], path: str) -> str:
    """Our own words for what the flags library could not parse: field, allowed range, nearest name, line of a file."""
    ours, innermost, cause = None, error, error.__cause__ or error.__context__
    while cause is not None:  # it wraps an error of ours in others that quote its traceback
        ours = cause if isinstance(cause, UserError) else ours
        innermost, cause = cause, cause.__cause__ or cause.__context__
    if ours:
        return str(ours)
    raised = traceback.extract_tb(innermost.__traceback__)
    if isinstance(innermost, SyntaxError) or any(_is_same_file(frame.filename, path) for frame in raised):
        return blame_config(innermost, path)
    text = str(error.args[0] if isinstance(error, KeyError) and error.args else error).strip()
    for argument in sys.argv[1:]:
        named, _, value = argument.lstrip("-").partition("=")
        name = named.removeprefix("config.")
        if name.startswith("sweep.") and named.startswith("config."):
            return f"{name}: is not in '{path}', where a sweep is set; the command line changes only what is there"
        if named.startswith("config.") and name not in known:
            return fields.unknown_field(name, known)
        if named.startswith("config.") and named in text:
            return f"{name} = {value!r}: must be {known[name].allowed}, a value of type {known[name].type.__name__}"
        if named.startswith("config.") and name in text:
            return f"config field '{name}' does not exist in '{path}', which must be a config of this experiment"
    return f"config = '{path}': it has no function get_config" if "'get_config'" in text else text
