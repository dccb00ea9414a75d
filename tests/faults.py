"""What goes wrong on real machines, done to real runs: kills, full disks, damaged files, a second run, a jumping clock.

After each fault the run is finished by the same command. Its arrays must have the bits of an undisturbed run, or the
command must refuse in a sentence; anything else counts as a failure, and is shown. Training is deterministic from its
beginning, so that the bits alone would not tell whether a run went on or began again: where work had been saved, the
command must name the epoch that it goes on from, and the seconds of the part before must be in the history.
"""

import dataclasses
import itertools
import math
import os
import shutil
import signal
import subprocess
import tempfile
import time
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import tqdm

from tests import hits
from tests.processes import ROOT, command, wait_for

# with work saved and gone on from; with nothing to go on from, or where that is not asked; or not gone on
RESUMED, SAME, REFUSED = "resumed, same bits", "same bits", "refused in a sentence"
GOOD = (RESUMED, SAME, REFUSED)
_MISSES = 5  # times that a run may end before it is hit
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
      keeps: whether it saves its state as it goes; one that does not can be hit at any moment only.
    """

    name: str
    arguments: tuple[str, ...] = ()
    keeps: bool = True


_OFTEN, _SEED = "--config.checkpoint_seconds=0.2", "--config.num_seeds=1"


def _swept(**values: tuple) -> tuple[str, ...]:
    """The members of a sweep, as arguments."""
    return tuple(f"--config.sweep.{name}={value}" for name, value in values.items())


SUBJECTS = (
    Subject("fig1", ("--config.num_columns=31", _OFTEN)),
    Subject("fig2", ("--config.map_num_neurons=100", "--config.epochs=400", _OFTEN)),
    Subject("fig3", ("--config.epochs=50", _OFTEN)),
    Subject("fig4", ("--config.epochs=100", _OFTEN)),
    Subject("fig5", (_OFTEN,)),
    Subject("fig6", ("--config.epochs=100", _OFTEN)),
    Subject("fig7", ("--config.fig2_workdir=", _OFTEN)),
    Subject("independence", (_OFTEN,)),
    Subject("guideline", ("--config.num_seeds=1",), keeps=False),
    Subject("rivals", ("--config.epochs=40", _OFTEN)),
    Subject("relu_adam", ("--config.epochs=40", "--config.map_num_neurons=50", _OFTEN)),
    Subject(
        "theories", (*_swept(learning_rate=(0.04, 0.08), epochs=(90, 90), weight_decay=(0.0, 1e-3)), _SEED, _OFTEN)
    ),
    Subject(
        "optimum",
        (
            *_swept(
                learning_rate=(0.08, 0.02),
                epochs=(90, 90),
                schedule=("constant", "cosine"),
                constraint=("none", "hold_two_sided"),
                target=(1.0, 2.0),
                weight_decay=(0.0, 0.0),
            ),
            *(_SEED, _OFTEN),
        ),
    ),
    Subject("profile", ("--config.epochs=3", "--config.depth=2"), keeps=False),
    Subject(
        "surrogates", ("--config.fig2_workdir=", "--config.epochs=60", "--config.keep_kernels_at=(1,60)"), keeps=False
    ),
    Subject("finite_size", ("--config.num_draws=4",), keeps=False),
    Subject(
        "plasticity",
        ("--config.num_tasks=10", "--config.epochs=2", "--config.num_random_images=100", "--config.num_seeds=2"),
        keeps=False,
    ),
    Subject(
        "three_edges",
        ("--config.learning_rates=(0.08,0.16)", "--config.num_windows=3", "--config.window_epochs=1"),
        keeps=False,
    ),
    Subject("deep", ("--config.epochs=6", "--config.width=32", "--config.num_trials=2"), keeps=False),
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
      phases: of a run's life in which it is hit, one after the other.
      hits: how often each of them was met.
    """

    subject: Subject
    folder: Path
    rng: np.random.Generator
    expected: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    seconds: float = 0.0
    phases: Iterator[str] = dataclasses.field(default_factory=lambda: itertools.cycle(hits.PHASES))
    hits: Counter = dataclasses.field(default_factory=Counter)

    def start(self, workdir: Path, *before: str, **options: object) -> subprocess.Popen:
        """A run in a process of its own, with `before` in front of its command line."""
        line = [*before, *command(self.subject.name, workdir, *self.subject.arguments)]
        pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
        return subprocess.Popen(line, cwd=ROOT, text=True, **pipes, **options)  # type: ignore[call-overload]

    def fresh(self) -> Path:
        """A work directory that does not exist yet."""
        return Path(tempfile.mkdtemp(dir=self.folder)) / "run"

    def hit(self, number: int, phase: str = "", twice: bool = False) -> Path:
        """A work directory whose run was sent a signal in a phase of its life; the next one if none is named.

        Raises:
          AssertionError: a run ends before each hit, or a signal that asks it to stop does not end it as promised.
        """
        phase = phase or next(self.phases)
        for _ in range(_MISSES):
            workdir = self.fresh()
            process = self.start(workdir)
            further = float(self.rng.uniform(0, self.seconds / 8 if phase == hits.AFTER else 0.3))
            if not self.subject.keeps:
                phase, further = hits.BEFORE, float(self.rng.uniform(0, self.seconds))
            if not hits.wait_for_phase(process, workdir, phase, further):
                hits.wait_and_read(process)
                continue
            process.send_signal(number)
            if twice:
                time.sleep(float(self.rng.uniform(0, 0.1)))
                process.send_signal(number)
            messages = hits.wait_and_read(process, 120)
            # before Python, or the run, has set up its handlers the system's own hold
            assert process.returncode in (0, 130, -number), messages
            assert "Traceback" not in messages, messages
            if process.returncode != 0:
                self.hits[hits.saved_in(workdir).phase()] += 1
                return workdir
        raise AssertionError(f"the run ended {_MISSES} times before it was hit {phase}")

    def end(self, workdir: Path, *before: str, **options: object) -> str:
        """What the same command makes of a work directory: one of GOOD, or what is wrong."""
        return self.judge(self.start(workdir, *before, **options), workdir)

    def go_on(self, workdir: Path) -> str:
        """The same, where what was saved must be gone on from."""
        saved, seconds = hits.saved_in(workdir), _seconds(workdir)
        process = self.start(workdir)
        messages = hits.wait_and_read(process)
        outcome = self.verdict(process.returncode, messages, workdir)
        if outcome != SAME or saved.is_nothing():
            return outcome
        lost = (_seconds(workdir) < seconds).any() if len(seconds) else False
        return hits.what_followed(saved, messages) or ("seconds of the part before are lost" if lost else RESUMED)

    def judge(self, process: subprocess.Popen, workdir: Path) -> str:
        """The outcome of a run, once it has ended."""
        messages = hits.wait_and_read(process)
        return self.verdict(process.returncode, messages, workdir)

    def verdict(self, status: int, messages: str, workdir: Path) -> str:
        """What status, messages and arrays of an ended run amount to."""
        if "Traceback" in messages:
            return f"traceback: {messages.strip().splitlines()[-1]}"
        if status == 2 and messages.strip().splitlines()[-1].startswith("error: "):
            return REFUSED
        if status != 0:
            return f"status {status}: {messages.strip()[-200:]}"
        try:
            found = _read(workdir)
        except (OSError, ValueError, zipfile.BadZipFile, zlib.error) as error:
            return f"not noticed: {str(error).replace(str(workdir), '')}"
        names = self.expected.keys() ^ found.keys()
        names |= {name for name, values in self.expected.items() if not _is_bitwise(found.get(name), values)}
        return f"other bits in {', '.join(sorted(names))}" if names else SAME


def _arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a file, by NumPy and not by the code under test."""
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays.items())


def _read(workdir: Path) -> dict[str, np.ndarray]:
    """All arrays of a work directory but timings, by file and name."""
    found: dict[str, np.ndarray] = {}
    for path in sorted(workdir.rglob("*.npz")):
        if not path.is_relative_to(workdir / "pieces"):
            found |= {f"{path.relative_to(workdir)}: {name}": values for name, values in _arrays(path).items()}
    return {name: values for name, values in found.items() if name.rpartition(" ")[2] not in _TIMINGS}


def _seconds(workdir: Path) -> np.ndarray:
    """Seconds of computing by member, of a history; empty without one, or if an earlier one cannot be read."""
    try:
        return _arrays(workdir / "history.npz")["seconds"]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, zlib.error):
        return np.zeros(0)


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


def killed(bench: Bench) -> str:
    """kill -9 before, within and after a checkpoint in turn."""
    return bench.go_on(bench.hit(signal.SIGKILL))


def interrupted(bench: Bench) -> str:
    """Ctrl-C before, within and after a checkpoint in turn."""
    return bench.go_on(bench.hit(signal.SIGINT))


def terminated(bench: Bench) -> str:
    """SIGTERM, as Slurm sends it, before, within and after a checkpoint in turn."""
    return bench.go_on(bench.hit(signal.SIGTERM))


def interrupted_twice(bench: Bench) -> str:
    """Ctrl-C, and again at once, after a checkpoint."""
    return bench.go_on(bench.hit(signal.SIGINT, hits.AFTER, twice=True))


def disk_full(bench: Bench) -> str:
    """Every file ends at 20 kB, then there is room again."""
    workdir = bench.fresh()
    environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": ""}
    outcome = bench.end(workdir, "bash", "-c", f'ulimit -f {_LARGEST_FILE}; exec "$@"', "-", env=environment)
    return outcome if outcome not in (SAME, REFUSED) else bench.end(workdir)


def file_damaged(bench: Bench) -> str:
    """A run is stopped, one of its files is cut, has a bit flipped or becomes 300 random bytes, and the run goes on."""
    workdir = bench.hit(signal.SIGTERM)
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
    if bench.subject.keeps and hits.wait_for_phase(process, workdir, hits.AFTER, 0.0):
        process.send_signal(signal.SIGINT)
    hits.wait_and_read(process, 120)
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
    killed: {RESUMED, SAME},
    interrupted: {RESUMED, SAME},
    terminated: {RESUMED, SAME},
    interrupted_twice: {RESUMED, SAME},
    file_damaged: {SAME, REFUSED},
    disk_full: {SAME},
    second_run: {SAME},
    stale_lock: {SAME},
    nowhere_to_write: {REFUSED},
    clock_jumps: {SAME},
    programs_damaged: {SAME},
}
# how often, times --kills; the others once
_AT_RANDOM: dict[Callable[[Bench], str], float] = {
    killed: 1.0,
    interrupted: 0.25,
    terminated: 0.25,
    interrupted_twice: 0.1,
    file_damaged: 0.25,
}


def try_all(subject: Subject, kills: int, seed: int = 0) -> tuple[dict[str, Counter], Counter]:
    """How often each fault had which outcome, and in which phase of its life a run was hit."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # a shell's background job has it, and so would the runs
        signal.signal(signal.SIGINT, signal.default_int_handler)
    with tempfile.TemporaryDirectory() as folder:
        bench = undisturbed(subject, Path(folder), seed)
        trials = [fault for fault in FAULTS for _ in range(math.ceil(kills * _AT_RANDOM.get(fault, 0.0)) or 1)]
        found: dict[str, Counter] = {fault.__name__: Counter() for fault in FAULTS}
        for fault in tqdm.tqdm(trials, desc=subject.name, unit="fault", dynamic_ncols=True):
            try:
                outcome = fault(bench)
            except AssertionError as error:
                outcome = f"not hit as planned: {str(error).strip()[-200:]}"
            if outcome in GOOD and outcome not in FAULTS[fault]:
                outcome = f"{outcome}, which it should not be"
            found[fault.__name__][outcome] += 1
            if outcome not in GOOD:
                tqdm.tqdm.write(f"{subject.name}, {fault.__name__}: {outcome}")
            for path in Path(folder).iterdir():
                shutil.rmtree(path, ignore_errors=True)
    return found, bench.hits
