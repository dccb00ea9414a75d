"""Fields of a config: each is declared once, with type, range, meaning, default and role, and checked before a run."""

import dataclasses
import difflib
import hashlib
import itertools
import json
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, TypeVar

from edgechaos.errors import UserError

# what a field means to a run: "traced" and "static" ones may differ between the members of a sweep, and a program is
# compiled for each value of the static ones; "shared" is compiled for, too, but the same for all members; a run may be
# resumed with another "incidental" one
Role = Literal["traced", "static", "shared", "run", "incidental"]
Config = TypeVar("Config")
REQUIRED: Any = object()  # no default


@dataclasses.dataclass(frozen=True)
class Field:
    """One field of a config.

    Attributes:
      type: of its value.
      allows: whether a value of this type is in range.
      allowed: the range in words.
      meaning: for --help, and for the columns of a history.
      words: all allowed ones, if it is a choice.
      default: what configs begin with; REQUIRED if each must say it.
      role: what it means to a run.
      later: whether recorded configs may be older than the field; they meant its default.
    """

    type: type
    allows: Callable[[Any], bool]
    allowed: str
    meaning: str
    words: tuple[str, ...] = ()
    default: Any = REQUIRED
    role: Role = "run"
    later: bool = False


def one_of(names: tuple[str, ...], meaning: str, default: Any = REQUIRED, role: Role = "run") -> Field:
    """A word out of a few."""
    return Field(
        type=str,
        allows=lambda value: value in names,
        allowed=f"one of {', '.join(names)}",
        meaning=meaning,
        words=names,
        default=default,
        role=role,
    )


def real(
    allows: Callable[[float], bool],
    allowed: str,
    meaning: str,
    default: Any = REQUIRED,
    role: Role = "run",
) -> Field:
    """A finite number in a range."""
    return Field(
        type=float,
        allows=lambda value: math.isfinite(value) and allows(value),
        allowed=allowed,
        meaning=meaning,
        default=default,
        role=role,
    )


def integer(least: int, meaning: str, default: Any = REQUIRED, role: Role = "run") -> Field:
    """An integer from `least` on."""
    return Field(
        type=int,
        allows=lambda value: value >= least,
        allowed=f"an integer >= {least}",
        meaning=meaning,
        default=default,
        role=role,
    )


def folder(allowed: str, meaning: str, default: Any = REQUIRED) -> Field:
    """A path on the machine of the moment."""
    return Field(
        type=str,
        allows=lambda value: True,
        allowed=allowed,
        meaning=meaning,
        default=default,
        role="incidental",
    )


def epochs_tuple(meaning: str, default: Any = REQUIRED) -> Field:
    """A tuple of distinct epochs, which may be empty."""
    return Field(
        type=tuple,
        allows=lambda value: (
            all(type(epoch) is int and epoch >= 0 for epoch in value) and len(set(value)) == len(value)
        ),
        allowed="a tuple of distinct integers >= 0, such as (1, 10)",
        meaning=meaning,
        default=default,
    )


def is_rising(values: tuple, kinds: tuple[type, ...], allows: Callable[[Any], bool]) -> bool:
    """Whether all values are finite numbers of these types that are allowed, each larger than the one before."""
    known = all(type(one) in kinds and math.isfinite(one) and allows(one) for one in values)
    return known and sorted(set(values)) == list(values)


def rising_tuple(meaning: str, example: str) -> Field:
    """A tuple of rising numbers of something, which may be empty and does not bear on what is there."""
    return Field(
        type=tuple,
        allows=lambda value: is_rising(value, (int,), lambda one: one >= 1),
        allowed=f"a tuple of rising integers >= 1, such as {example}",
        meaning=meaning,
        role="incidental",
    )


def words_tuple(words: tuple[str, ...], meaning: str, role: Role = "run") -> Field:
    """A tuple of distinct words out of a few, at least one."""
    return Field(
        type=tuple,
        allows=lambda value: len(value) > 0 and set(value) <= set(words) and len(set(value)) == len(value),
        allowed=f"a tuple of distinct words out of {', '.join(words)}",
        meaning=meaning,
        role=role,
    )


def numbers_tuple(least: int, meaning: str) -> Field:
    """A tuple of rising integers, at least one."""
    return Field(
        type=tuple,
        allows=lambda value: len(value) > 0 and is_rising(value, (int,), lambda one: one >= least),
        allowed=f"a tuple of rising integers >= {least}",
        meaning=meaning,
    )


def declared(field: Field) -> Any:
    """A field as the attribute of a frozen dataclass, which is what a validated config is."""
    metadata = {"field": field}
    if isinstance(field.default, dict):
        return dataclasses.field(default_factory=dict, metadata=metadata)
    if field.default is REQUIRED:
        return dataclasses.field(metadata=metadata)
    return dataclasses.field(default=field.default, metadata=metadata)


def fields_of(kind: type) -> dict[str, Field]:
    """The fields that a kind of config declares, by name."""
    return {field.name: field.metadata["field"] for field in dataclasses.fields(kind)}


_SEEDS = 2**31  # JAX keeps the low 32 bits of a seed


def combinations(sweep: Mapping[str, Any], mode: str) -> list[dict[str, Any]]:
    """What each member of a sweep sets, but for its seed; one that sets nothing if there is no sweep."""
    names, values = list(sweep), list(sweep.values())
    rows = itertools.product(*values) if mode == "product" or not names else zip(*values, strict=True)
    return [dict(zip(names, row, strict=True)) for row in rows]


def validate(config: Mapping[str, Any], kind: type[Config]) -> Config:
    """Checks every field of `config` before anything is computed.

    Args:
      config: field -> value; an ml_collections ConfigDict is one.
      kind: a frozen dataclass of declared fields, all that the experiment knows.

    Returns:
      The config, with the declared types: a whole number given for a real one becomes a float.

    Raises:
      UserError: a field is missing, unknown (the nearest name is given), of another type, or out of range.
    """
    fields = fields_of(kind)
    for name in config:
        if name not in fields:
            raise UserError(unknown_field(name, fields))
    for name, field in fields.items():
        if name not in config:
            raise UserError(f"config field '{name}' is missing; it must be {field.allowed}")
        _validate_value(name, config[name], field)
    if "sweep" in fields:
        _validate_sweep(config["sweep"], config["sweep_mode"], fields)
    if config.get("optimizer") == "adam" and (config["momentum"] or any(config.get("sweep", {}).get("momentum", ()))):
        raise UserError(
            f"momentum = {config['momentum']}: must be 0 with optimizer = 'adam', "
            "which has its own parameters for momentum"
        )
    if config["num_seeds"] > _SEEDS:
        raise UserError(f"num_seeds = {config['num_seeds']}: must be at most {_SEEDS}, as many as there are seeds")
    if config["seed"] + config["num_seeds"] > _SEEDS:
        raise UserError(f"seed = {config['seed']}: must be in [0, {_SEEDS - config['num_seeds']}] with its num_seeds")
    return kind(**{name: field.type(config[name]) for name, field in fields.items()})


def _validate_value(name: str, value: Any, field: Field) -> None:
    """Checks one value against its field."""
    # bool is an int and int a number to Python; only the second is meant here
    if isinstance(value, bool) or not isinstance(value, (int, float) if field.type is float else field.type):
        raise UserError(f"{name} = {value!r}: must be {field.allowed}, not a {type(value).__name__}")
    if not field.allows(value):
        raise UserError(f"{name} = {value!r}: must be {field.allowed}{_nearest(value, field)}")


def _validate_sweep(sweep: Mapping[str, Any], mode: str, fields: Mapping[str, Field]) -> None:
    """Checks that a sweep's fields can be swept, its tuples fit each other, and every value is in range.

    Raises:
      UserError: names field and member.
    """
    axes = axes_of(fields)
    for name, values in sweep.items():
        if name not in axes:
            near = difflib.get_close_matches(name, axes, n=1)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            raise UserError(f"sweep.{name}: must be one of {', '.join(axes)}{hint}")
        if not isinstance(values, tuple) or not values:
            raise UserError(f"sweep.{name} = {values!r}: must be a tuple of at least one value")
    lengths = {name: len(values) for name, values in sweep.items()}
    if mode == "zip" and len(set(lengths.values())) > 1:
        named = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise UserError(f"sweep_mode = 'zip': tuples must have the same length, but they have {named}")
    for member, changes in enumerate(combinations(sweep, mode)):
        for name, value in changes.items():
            _validate_value(f"member {member + 1}: sweep.{name}", value, fields[name])


def unknown_field(name: str, fields: Iterable[str]) -> str:
    """Says that there is no such field, and which one may have been meant."""
    nearest = difflib.get_close_matches(name, fields, n=1)
    hint = f"did you mean '{nearest[0]}'?" if nearest else f"there are {', '.join(fields)}"
    return f"config field '{name}' does not exist; {hint}"


def _nearest(value: Any, field: Field) -> str:
    """Suggests the nearest valid word for a mistyped one."""
    near = difflib.get_close_matches(value, field.words, n=1) if isinstance(value, str) else []
    return f"; did you mean '{near[0]}'?" if near else ""


def validate_batch_size(batch_size: int, num_samples: int) -> None:
    """Checks B against the training set, once its size is known.

    Raises:
      UserError: B > S.
    """
    if batch_size > num_samples:
        raise UserError(f"batch_size = {batch_size}: must be in [1, {num_samples}], the size of the training set")


def axes_of(fields: Mapping[str, Field]) -> tuple[str, ...]:
    """What members of a sweep may differ in, beside the seed."""
    return (*(name for role in ("traced", "static") for name, field in fields.items() if field.role == role), "epochs")


def digest(content: Mapping[str, Any]) -> str:
    """SHA-256 of names and values."""
    return hashlib.sha256(json.dumps(dict(sorted(content.items()))).encode()).hexdigest()


def describe(fields: Mapping[str, Field]) -> str:
    """One line per field: its name, its meaning, and its range."""
    return "\n".join(f"  {name}: {field.meaning}; allowed: {field.allowed}" for name, field in fields.items())
