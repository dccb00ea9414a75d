"""The fields that configs share, their ranges, and the check that runs before anything is compiled."""

import difflib
import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from edgechaos.data.sources import DATASETS
from edgechaos.errors import UserError
from edgechaos.runs.members import AXES, combinations
from edgechaos.runs.members import SWEEP_MODES as SWEEP_MODES
from edgechaos.theory.activations import ACTIVATIONS
from edgechaos.theory.scaling import SCHEDULES
from edgechaos.training.epochs import CONSTRAINTS, LOSSES
from edgechaos.training.optim import MODES, OPTIMIZERS


class Field(NamedTuple):
    """Type, test, allowed range in words, meaning of one config field, and the words that it may be if they are few."""

    type: type
    allows: Callable[[Any], bool]
    allowed: str
    meaning: str
    words: tuple[str, ...] = ()


def one_of(names: tuple[str, ...], meaning: str) -> Field:
    """A word out of a few."""
    return Field(str, lambda value: value in names, f"one of {', '.join(names)}", meaning, names)


def real(allows: Callable[[float], bool], allowed: str, meaning: str) -> Field:
    """A finite number in a range."""
    return Field(float, lambda value: math.isfinite(value) and allows(value), allowed, meaning)


def integer(least: int, meaning: str) -> Field:
    """An integer from `least` on."""
    return Field(int, lambda value: value >= least, f"an integer >= {least}", meaning)


def epochs_tuple(meaning: str) -> Field:
    """A tuple of distinct epochs, which may be empty."""
    return Field(
        tuple,
        lambda value: all(type(epoch) is int and epoch >= 0 for epoch in value) and len(set(value)) == len(value),
        "a tuple of distinct integers >= 0, such as (1, 10)",
        meaning,
    )


RUN_FIELDS: dict[str, Field] = {
    "seed": integer(0, "of the first member; the others count up from it"),
    "num_seeds": integer(1, "members that differ in nothing but the seed"),
    "checkpoint_seconds": real(lambda value: value >= 0, ">= 0 (seconds)", "longest time between checkpoints"),
}
TRAINING_FIELDS: dict[str, Field] = {
    "dataset": Field(
        str,
        lambda value: value in DATASETS or value.endswith(".npz"),
        f"one of {', '.join(DATASETS)}, or a file that ends in .npz",
        "data set; a file must hold x_train, y_train, x_test and y_test",
        DATASETS,
    ),
    "data_dir": Field(
        str, lambda value: True, "a folder, '' for the user's cache", "where data are cached and looked for"
    ),
    "learning_rate": real(lambda value: value > 0, "> 0", "eta of Eq. 6"),
    "schedule": one_of(SCHEDULES, "what the learning rate does over a run's own length: stay, or fall to 0"),
    "momentum": real(lambda value: 0 <= value < 1, "in [0, 1)", "alpha of Eq. 6"),
    "batch_size": integer(1, "B, samples per step, at most the training set"),
    "weight_decay": real(lambda value: value >= 0, ">= 0", "lambda of Eq. 6: the gradient gets 2 lambda w"),
    "weight_decay_mode": one_of(MODES, "whether the decay passes through the momentum"),
    "optimizer": one_of(OPTIMIZERS, "Eq. 6, or Adam, which takes no momentum"),
    "loss": one_of(tuple(LOSSES), "of the logits; squared_error is against one-hot labels, mean over the classes"),
    "constraint": one_of(tuple(CONSTRAINTS), "what else acts on the kernels after each step"),
    "activation": one_of(tuple(ACTIVATIONS), "of the hidden layer"),
    "init_j0": real(lambda value: True, "a finite number", "J0 of the initial hidden kernel"),
    "init_j": real(lambda value: value >= 0, ">= 0", "J of the initial hidden kernel"),
    "epochs": integer(1, "passes over the training set"),
    "constant_d": real(lambda value: value >= 0, ">= 0, 0 for unknown", "D of Eq. 5 behind the printed prediction"),
    "sweep": Field(dict, lambda value: True, "fields with tuples of values", "what members differ in, beside the seed"),
    "sweep_mode": one_of(SWEEP_MODES, "whether a sweep spans all combinations, or pairs its tuples"),
    "keep_kernels_at": epochs_tuple(
        "after which hidden kernels are kept, beside the one nearest to J = 1; () keeps none"
    ),
    "devices": integer(0, "how many devices a process spreads members over, 0 for all there are"),
    **RUN_FIELDS,
}
_SEEDS = 2**31  # JAX keeps the low 32 bits of a seed
# a run may be resumed with other values of these
INCIDENTAL = ("data_dir", "devices", "checkpoint_seconds", "memory_gib", "fig2_workdir", "trials")


def validate(config: Mapping[str, Any], fields: Mapping[str, Field]) -> dict[str, Any]:
    """Checks every field of `config` before anything is computed.

    Args:
      config: field -> value; an ml_collections ConfigDict is one.
      fields: all that the experiment knows, `RUN_FIELDS` among them.

    Returns:
      The fields with their declared types: a whole number given for a real one becomes a float.

    Raises:
      UserError: a field is missing, unknown (the nearest name is given), of another type, or out of range.
    """
    for name in config:
        if name not in fields:
            raise UserError(unknown_field(name, fields))
    for name, field in fields.items():
        if name not in config:
            raise UserError(f"config field '{name}' is missing; it must be {field.allowed}")
        _validate_value(name, config[name], field)
    if "sweep" in fields:
        _validate_sweep(config, fields)
    if config.get("optimizer") == "adam" and (config["momentum"] or any(config["sweep"].get("momentum", ()))):
        raise UserError(
            f"momentum = {config['momentum']}: must be 0 with optimizer = 'adam', which has betas of its own"
        )
    if config["num_seeds"] > _SEEDS:
        raise UserError(f"num_seeds = {config['num_seeds']}: must be at most {_SEEDS}, as many as there are seeds")
    if config["seed"] + config["num_seeds"] > _SEEDS:
        raise UserError(f"seed = {config['seed']}: must be in [0, {_SEEDS - config['num_seeds']}] with its num_seeds")
    return {name: field.type(config[name]) for name, field in fields.items()}


def _validate_value(name: str, value: Any, field: Field) -> None:
    """Checks one value against its field."""
    # bool is an int and int a number to Python; only the second is meant here
    if isinstance(value, bool) or not isinstance(value, (int, float) if field.type is float else field.type):
        raise UserError(f"{name} = {value!r}: must be {field.allowed}, not a {type(value).__name__}")
    if not field.allows(value):
        raise UserError(f"{name} = {value!r}: must be {field.allowed}{_nearest(value, field)}")


def _validate_sweep(config: Mapping[str, Any], fields: Mapping[str, Field]) -> None:
    """Checks that a sweep's fields can be swept, its tuples fit each other, and every value is in range.

    Raises:
      UserError: names field and member.
    """
    for name, values in config["sweep"].items():
        if name not in AXES:
            near = difflib.get_close_matches(name, AXES, n=1)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            raise UserError(f"sweep.{name}: must be one of {', '.join(AXES)}{hint}")
        if not isinstance(values, tuple) or not values:
            raise UserError(f"sweep.{name} = {values!r}: must be a tuple of at least one value")
    lengths = {name: len(values) for name, values in config["sweep"].items()}
    if config["sweep_mode"] == "zip" and len(set(lengths.values())) > 1:
        named = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise UserError(f"sweep_mode = 'zip': tuples must be of one length, but there are {named}")
    for member, changes in enumerate(combinations(config)):
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


def identity(config: Mapping[str, Any]) -> str:
    """SHA-256 of the fields that bear on the result; a checkpoint fits a config of the same identity only."""
    relevant = {name: value for name, value in sorted(config.items()) if name not in INCIDENTAL}
    return hashlib.sha256(json.dumps(relevant).encode()).hexdigest()


def describe(fields: Mapping[str, Field]) -> str:
    """One line per field: name, range, meaning."""
    return "\n".join(f"  {name}: {field.meaning}; {field.allowed}" for name, field in fields.items())
