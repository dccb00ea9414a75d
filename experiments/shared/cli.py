"""What the entry points share: flags, validation, the work directory, and errors without a traceback."""

import contextlib
import functools
import importlib
import logging
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import jax
from absl import app, flags
from absl import logging as absl_logging
from ml_collections import config_flags

from edgechaos import files, runs
from edgechaos.data import npz
from edgechaos.errors import UserError, use_any_encoding
from edgechaos.runs import fields, processes
from edgechaos.runs.config import RunConfig, TrainingConfig, as_record
from edgechaos.runs.history import require_room
from edgechaos.runs.run import chosen_devices
from edgechaos.runs.workdir import CONTENT
from experiments.shared import refusals

Config = TypeVar("Config", bound=RunConfig)


def run(
    name: str,
    experiment: Callable[[Config, Path], object],
    kind: type[Config],
    arrays: Mapping[str, str],
    is_sweep: bool = False,
    grows: bool = False,
) -> None:
    """Parses the command line and calls `experiment(config, directory)` on a validated config.

    Args:
      name: of the figure; the default config is configs/NAME.py, the default work directory runs/NAME-VARIANT.
      experiment: does the work.
      kind: of its config, a dataclass of declared fields.
      arrays: name -> shape and meaning, of what it writes.
      is_sweep: whether several processes may share it, each with some of its members; then it grows, too.
      grows: whether the same command with more seeds, or more values in its sweep, extends what is there.
    """
    known = fields.fields_of(kind)
    variants = list(importlib.import_module(f"configs.{name}").VARIANTS)
    config_flag = config_flags.DEFINE_config_file(
        "config",
        f"configs/{name}.py",
        f"config file, with :VARIANT ({', '.join(variants)}); --config.FIELD=VALUE changes a field:\n"
        f"{fields.describe(known)}",
    )
    workdir_flag = flags.DEFINE_string("workdir", None, f"work directory (default: runs/{name}-VARIANT)")
    for flag in (config_flag, workdir_flag, *(_distributed_flags() if is_sweep else ())):
        # --help shows the flags of the main module only
        flags.FLAGS.register_key_flag_for_module(sys.argv[0], flags.FLAGS[flag.name])

    def main(arguments: list[str]) -> None:
        if len(arguments) > 1:
            fail(f"unexpected argument '{arguments[1]}'; flags begin with --")
        path, _, variant = _config_flag_text(name).partition(":")
        if workdir_flag.value == "":
            fail("workdir = '': must name a directory")
        with _errors_in_a_line():
            config = fields.validate(refusals.as_dict(config_flag.value, path), kind)
            _set_up(is_sweep)
            workdir = workdir_flag.value or f"runs/{name}-{variant or variants[0]}"
            with _opened(name, workdir, config, arrays, grows or is_sweep) as directory:
                experiment(config, directory)

    use_any_encoding()
    app.run(main, flags_parser=functools.partial(_parse, name, known))


def _parse(name: str, known: Mapping[str, fields.Field], arguments: list[str]) -> list[str]:
    """The flags of a command line; what they cannot take ends the program."""
    number = sum(re.fullmatch(r"--?config(=.*)?", argument) is not None for argument in arguments)
    if number > 1:
        fail(f"config: is given {number} times; give one file")
    path = _config_flag_text(name).partition(":")[0]
    try:
        is_file = Path(path).is_file()
    except (OSError, ValueError):  # too long, or with a zero byte
        is_file = False
    if not is_file:
        fail(f"config = '{path}': there is no such file; give the command in the root of the clone")
    try:
        return flags.FLAGS(arguments)
    except (flags.Error, AttributeError, KeyError, TypeError, ValueError) as error:
        fail(refusals.explain(error, known, path))
    except Exception as error:  # a config file is a program of the user's
        fail(refusals.blame_config(error, path))


def _set_up(is_sweep: bool) -> None:
    """Other processes, devices, messages, compiled programs: what comes before the first computation."""
    absl_logging.set_verbosity(absl_logging.WARNING)  # JAX tells which devices it does not find
    if is_sweep:
        _connect()
    refusals.require_devices()
    _set_up_logging()
    use_compilation_cache()


@contextlib.contextmanager
def _errors_in_a_line() -> Iterator[None]:
    """An interruption, and an error that a user can mend, end the program without a traceback."""
    former, sys.unraisablehook = sys.unraisablehook, _end_if_interrupted
    try:
        yield
    except KeyboardInterrupt as stop:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # once more while the program ends: no traceback either
        _say_interrupted(stop)
        sys.exit(130)
    except (UserError, OSError) as error:
        fail(f"{processes.name()} {error}" if processes.name() else error)
    finally:
        sys.unraisablehook = former


def _say_interrupted(stop: BaseException | None) -> None:
    """Where an interrupted run goes on."""
    print(str(stop or "") or "interrupted; the same command continues from the last checkpoint", file=sys.stderr)


def _end_if_interrupted(lost: Any) -> None:
    """Ends the program by a Ctrl-C in a callback, such as one of the garbage collector, where no exception gets out."""
    if not issubclass(lost.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(lost)
        return
    _say_interrupted(lost.exc_value)
    sys.stderr.flush()
    os._exit(130)


@contextlib.contextmanager
def _opened(name: str, workdir: str, config: RunConfig, arrays: Mapping[str, str], grows: bool) -> Iterator[Path]:
    """The work directory with this process noted in it, once what the config asks for is there."""
    record, dataset = as_record(config), getattr(config, "dataset", "")
    if isinstance(config, TrainingConfig):
        chosen_devices(config)
        require_room(config)
    if dataset.endswith(".npz"):
        record[CONTENT] = npz.content_sha256(Path(dataset))
    with processes.work_directory(workdir, record, grows) as directory:
        if processes.is_first():
            runs.record_provenance(directory, f"experiments.{name}", sys.argv[1:], arrays)
        yield directory


def _distributed_flags() -> list[flags.FlagHolder]:
    """The flags of several processes."""
    return [
        flags.DEFINE_bool(
            "distributed",
            False,
            "share the members with other processes, which start with the same command and see the same workdir; "
            "under Slurm, Open MPI and on TPU pods JAX finds them by itself, elsewhere the next three say where",
        ),
        flags.DEFINE_string("coordinator", None, "HOST:PORT of process 0"),
        flags.DEFINE_integer("num_processes", None, "how many processes there are", lower_bound=1),
        flags.DEFINE_integer("process_index", None, "which one this is, from 0", lower_bound=0),
    ]


def _connect() -> None:
    """Connects with the other processes, if asked for.

    Raises:
      UserError: see `processes.connect`; or the flags contradict each other.
    """
    where = [flags.FLAGS[name].value for name in ("coordinator", "num_processes", "process_index")]
    if flags.FLAGS["distributed"].value:
        processes.connect(*where)
    elif any(value is not None for value in where):
        raise UserError("coordinator, num_processes, process_index: can be used only with --distributed")


def seeds(config: RunConfig) -> str:
    """How many, in words."""
    return f"{config.num_seeds} seed{'s' if config.num_seeds > 1 else ''}"


def setting(config: Any) -> str:
    """Learning rate, momentum and batch size, for a title."""
    return f"$\\eta$ {config.learning_rate:g}, $\\alpha$ {config.momentum:g}, B {config.batch_size}"


def other(config: TrainingConfig) -> str:
    """What of a training is not the paper's: schedule, loss and label noise, in words for a title."""
    schedule = "" if config.schedule == "constant" else f", {config.schedule} schedule"
    loss = "" if config.loss == "cross_entropy" else f", {config.loss.replace('_', ' ')}"
    return schedule + loss + (f", {config.label_noise:.0%} of the training labels wrong" if config.label_noise else "")


def fail(error: object) -> NoReturn:
    """Says what is wrong and ends with the exit status of a usage error."""
    print(f"error: {str(error).strip()}", file=sys.stderr, flush=True)
    sys.exit(2)


def _config_flag_text(name: str) -> str:
    """What was given as --config, which the flag itself does not keep."""
    text = f"configs/{name}.py"
    for index, argument in enumerate(sys.argv):
        flag, separator, value = argument.lstrip("-").partition("=")
        if flag == "config" and argument.startswith("-"):
            following = sys.argv[index + 1] if index + 1 < len(sys.argv) else ""
            text = value if separator else following
    return text


def _set_up_logging() -> None:
    """Our own messages on standard error, with the name of the process where there are several."""
    handler = logging.StreamHandler()
    prefix = f"{processes.name()}: " if processes.name() else ""
    handler.setFormatter(logging.Formatter(f"{prefix}%(message)s"))
    logger = logging.getLogger("edgechaos")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False


def use_compilation_cache() -> None:
    """Keeps compiled programs in the user's cache folder, unless JAX was told of another one."""
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        with contextlib.suppress(UserError):  # without a home folder they are compiled each time
            jax.config.update("jax_compilation_cache_dir", str(files.user_cache() / "jax"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
