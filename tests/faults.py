"""What goes wrong on real machines, done to real runs: kills, full disks, damaged files, a second run, a jumping clock.

After each fault the run is finished by the same command. Its arrays must have the bits of an undisturbed run, or the
command must refuse in a sentence; anything else counts as a failure, and is shown.
"""

import dataclasses
import math
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tqdm

from edgechaos.errors import UserError
from edgechaos.files import read_npz
from tests.processes import ROOT, command, wait_for

SAME, REFUSED = "same bits", "refused in a sentence"
_TIMINGS = {"seconds"}  # what differs between any two runs
_LARGEST_FILE = 20  # kB, of the disk that is full
_CLOCK = """
import random, time
_time, _random = time.time, random.Random(0)
time.time = lambda: _time() + _random.choice((-1, 1)) * 86400 * _random.random() * 1000
"""


@dataclasses.dataclass(frozen=True)
class Subject:
    """An experiment, short enough to be killed many times.

    Attributes:
      name: of the module.
      arguments: beside those of its digits variant.
    """

    name: str
    arguments: tuple[str, ...] = ()


_OFTEN = "--config.checkpoint_seconds=0.2"
SUBJECTS = (
    Subject("fig1", ("--config.num_columns=31", _OFTEN)),
    Subject("fig2", ("--config.map_num_neurons=100", "--config.epochs=400", _OFTEN)),
    Subject("fig3", ("--config.epochs=50", _OFTEN)),
    Subject("fig4", ("--config.epochs=100", _OFTEN)),
    Subject("fig5", (_OFTEN,)),
    Subject("fig6", ("--config.epochs=100", _OFTEN)),
    Subject("fig7", ("--config.fig2_workdir=", _OFTEN)),
    Subject("independence", (_OFTEN,)),
    Subject("guideline", ("--config.num_seeds=1",)),
    Subject("rivals", ("--config.epochs=40", _OFTEN)),
    Subject("relu_adam", ("--config.epochs=40", "--config.map_num_neurons=50", _OFTEN)),
    Subject("theories", ("--config.num_seeds=1", _OFTEN)),
    Subject("optimum", ("--config.num_seeds=1", "--config.epochs=15", _OFTEN)),
    Subject("profile", ("--config.epochs=3", "--config.depth=2")),
    Subject("deep", ("--config.epochs=6", "--config.width=32", "--config.num_trials=2")),
)


@dataclasses.dataclass
class Bench:
    """A subject with its undisturbed outcome.

    Attributes:
      subject: the experiment.
      folder: for work directories.
      rng: what is random in the faults.
      expected: arrays of an undisturbed run.
      seconds: that it took.
    """

    subject: Subject
    folder: Path
    rng: np.random.Generator
    expected: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    seconds: float = 0.0

    def start(self, workdir: Path, *before: str, **options: object) -> subprocess.Popen:
        """A run in a process of its own, with `before` in front of its command line."""
        line = [*before, *command(self.subject.name, workdir, *self.subject.arguments)]
        pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
        return subprocess.Popen(line, cwd=ROOT, text=True, **pipes, **options)  # type: ignore[call-overload]

    def fresh(self) -> Path:
        """A work directory that does not exist yet."""
        return Path(tempfile.mkdtemp(dir=self.folder)) / "run"

    def moment(self) -> float:
        """Seconds from the start, at some time during a run."""
        return float(self.rng.uniform(0.3, 1.05 * self.seconds))

    def end(self, workdir: Path, *before: str, **options: object) -> str:
        """What the same command makes of a work directory: SAME, REFUSED, or what is wrong."""
        return self.judge(self.start(workdir, *before, **options), workdir)

    def judge(self, process: subprocess.Popen, workdir: Path) -> str:
        """The outcome of a run, once it has ended."""
        _, messages = process.communicate(timeout=600)
        if "Traceback" in messages:
            return f"traceback: {messages.strip().splitlines()[-1]}"
        if process.returncode == 2 and messages.strip().splitlines()[-1].startswith("error: "):
            return REFUSED
        if process.returncode != 0:
            return f"status {process.returncode}: {messages.strip()[-200:]}"
        try:
            found = _read(workdir)
        except UserError as error:
            return f"not noticed: {str(error).replace(str(workdir), '')}"
        names = self.expected.keys() ^ found.keys()
        names |= {name for name, values in self.expected.items() if not _is_bitwise(found.get(name), values)}
        return f"other bits in {', '.join(sorted(names))}" if names else SAME


def _read(workdir: Path) -> dict[str, np.ndarray]:
    """All arrays of a work directory but timings, by file and name."""
    found: dict[str, np.ndarray] = {}
    for path in sorted(workdir.rglob("*.npz")):
        if not path.is_relative_to(workdir / "pieces"):
            arrays = read_npz(path)
            found |= {f"{path.relative_to(workdir)}: {name}": values for name, values in arrays.items()}
    return {name: values for name, values in found.items() if name.rpartition(" ")[2] not in _TIMINGS}


def _is_bitwise(one: np.ndarray | None, other: np.ndarray) -> bool:
    """Whether two arrays have the same bits."""
    return (
        one is not None and one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    )


def undisturbed(subject: Subject, folder: Path, seed: int) -> Bench:
    """Runs a subject twice: once to compile, and once for its time."""
    bench = Bench(subject, folder, np.random.default_rng(seed))
    for _ in range(2):
        workdir, begin = bench.fresh(), time.monotonic()
        process = bench.start(workdir)
        _, messages = process.communicate()
        assert process.returncode == 0, messages
        earlier, bench.expected = bench.expected, _read(workdir)
        assert not earlier or earlier.keys() == bench.expected.keys()
        bench.seconds = time.monotonic() - begin
    return bench


def _stopped(bench: Bench, signal_number: int) -> Path:
    """A work directory whose run was sent a signal at some moment."""
    workdir = bench.fresh()
    process = bench.start(workdir)
    try:
        process.communicate(timeout=bench.moment())
    except subprocess.TimeoutExpired:
        process.send_signal(signal_number)
        process.communicate(timeout=120)
    return workdir


def killed(bench: Bench) -> str:
    """kill -9 at a random moment."""
    return bench.end(_stopped(bench, signal.SIGKILL))


def interrupted(bench: Bench) -> str:
    """Ctrl-C at a random moment."""
    return bench.end(_stopped(bench, signal.SIGINT))


def disk_full(bench: Bench) -> str:
    """Every file ends at 20 kB, then there is room again."""
    workdir = bench.fresh()
    environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": ""}
    outcome = bench.end(workdir, "bash", "-c", f'ulimit -f {_LARGEST_FILE}; exec "$@"', "-", env=environment)
    return outcome if outcome not in (SAME, REFUSED) else bench.end(workdir)


def file_damaged(bench: Bench) -> str:
    """A run is stopped, one of its files is cut, has a bit flipped or becomes 300 random bytes, and the run goes on."""
    workdir = _stopped(bench, signal.SIGINT)
    files = sorted(path for path in workdir.rglob("*") if path.is_file() and path.name != ".lock")
    if files:
        path = files[bench.rng.integers(len(files))]
        content, kind = bytearray(path.read_bytes()), bench.rng.integers(3)
        if kind == 0:
            content = content[: bench.rng.integers(len(content) + 1)]
        elif kind == 1 and content:
            content[bench.rng.integers(len(content))] ^= 1 << bench.rng.integers(8)
        else:
            content = bytearray(bench.rng.bytes(300))
        path.write_bytes(content)
    return bench.end(workdir)


def second_run(bench: Bench) -> str:
    """Two runs on one work directory: the later one is refused, the first one does not notice."""
    workdir = bench.fresh()
    first = bench.start(workdir)
    lock = workdir / ".lock"
    wait_for(lambda: first.poll() is not None or (lock.exists() and lock.read_text().strip()))
    second = bench.start(workdir)
    _, messages = second.communicate(timeout=120)
    if f"process {first.pid}" not in messages and first.poll() is None:
        return f"the second run was let in: {messages.strip()[-200:]}"
    return bench.judge(first, workdir)


def stale_lock(bench: Bench) -> str:
    """The lock of a process that is no more."""
    workdir = bench.fresh()
    workdir.mkdir(parents=True)
    (workdir / ".lock").write_text("1999999999")
    return bench.end(workdir)


def nowhere_to_write(bench: Bench) -> str:
    """A work directory where nobody may write."""
    return bench.end(Path("/proc/edgechaos"))


def clock_jumps(bench: Bench) -> str:
    """The wall clock jumps by up to 1,000 days at each look, in a run that is stopped and goes on."""
    workdir, patch = bench.fresh(), Path(tempfile.mkdtemp(dir=bench.folder))
    (patch / "sitecustomize.py").write_text(_CLOCK)
    environment = {**os.environ, "PYTHONPATH": str(patch)}
    process = bench.start(workdir, env=environment)
    try:
        process.communicate(timeout=bench.seconds / 2)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=120)
    return bench.end(workdir, env=environment)


def programs_damaged(bench: Bench) -> str:
    """Compiled programs in JAX's cache are cut short, as if their disk had been full."""
    cache = Path(tempfile.mkdtemp(dir=bench.folder))
    environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": str(cache)}
    outcome = bench.end(bench.fresh(), env=environment)
    for path in cache.rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[: int(bench.rng.integers(path.stat().st_size + 1))])
    return outcome if outcome != SAME else bench.end(bench.fresh(), env=environment)


# fault -> how it may end
FAULTS: dict[Callable[[Bench], str], set[str]] = {
    killed: {SAME},
    interrupted: {SAME},
    file_damaged: {SAME, REFUSED},
    disk_full: {SAME},
    second_run: {SAME},
    stale_lock: {SAME},
    nowhere_to_write: {REFUSED},
    clock_jumps: {SAME},
    programs_damaged: {SAME},
}
# how often, times --kills; the others once
_AT_RANDOM: dict[Callable[[Bench], str], float] = {killed: 1.0, interrupted: 0.25, file_damaged: 0.25}


def try_all(subject: Subject, kills: int, seed: int = 0) -> dict[str, Counter]:
    """How often each fault had which outcome."""
    with tempfile.TemporaryDirectory() as folder:
        bench = undisturbed(subject, Path(folder), seed)
        trials = [fault for fault in FAULTS for _ in range(math.ceil(kills * _AT_RANDOM.get(fault, 0.0)) or 1)]
        found: dict[str, Counter] = {fault.__name__: Counter() for fault in FAULTS}
        for fault in tqdm.tqdm(trials, desc=subject.name, unit="fault", dynamic_ncols=True):
            outcome = fault(bench)
            if outcome in (SAME, REFUSED) and outcome not in FAULTS[fault]:
                outcome = f"{outcome}, which it should not be"
            found[fault.__name__][outcome] += 1
            if outcome not in (SAME, REFUSED):
                tqdm.tqdm.write(f"{subject.name}, {fault.__name__}: {outcome}")
            for path in Path(folder).iterdir():
                shutil.rmtree(path, ignore_errors=True)
    return found
