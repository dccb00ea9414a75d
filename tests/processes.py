"""Experiments as a user meets them: real processes in the root of the clone."""

import atexit
import functools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

ROOT = Path(__file__).parent.parent


def command(name: str, workdir: Path, *arguments: str, config: str | None = None) -> list[str]:
    """The command line of an experiment, on the digits data unless a config is given."""
    config = config or f"configs/{name}.py:digits"
    return [sys.executable, "-m", f"experiments.{name}", f"--config={config}", f"--workdir={workdir}", *arguments]


@functools.cache
def _warm() -> tuple[IO[str], IO[str]]:
    """Where to write commands, and read their exit statuses, of a process that lasts as long as the tests do."""
    line = [sys.executable, "-m", "tests.warm"]
    server = subprocess.Popen(line, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert server.stdin is not None
    assert server.stdout is not None
    atexit.register(server.wait)
    atexit.register(server.stdin.close)  # first, and ends it
    return server.stdin, server.stdout


def run(name: str, workdir: Path, *arguments: str, config: str | None = None) -> subprocess.CompletedProcess:
    """Runs an experiment to its end, in a fork of a process that has its imports behind it."""
    line, (commands, statuses) = command(name, workdir, *arguments, config=config), _warm()
    with tempfile.TemporaryDirectory() as folder:
        output, errors = Path(folder) / "output", Path(folder) / "errors"
        output.touch()
        errors.touch()
        asked = {"module": line[2], "arguments": line[3:], "output": str(output), "errors": str(errors)}
        print(json.dumps(asked), file=commands, flush=True)
        status = int(statuses.readline())
        return subprocess.CompletedProcess(line, status, output.read_text(), errors.read_text())


def wait_for(condition: Callable[[], object], seconds: float = 120) -> None:
    """Waits until `condition()` holds, and fails if it never does."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def steps(checkpoint: Path) -> list[int]:
    """The complete checkpoints; one that is being written has a longer name."""
    return [int(path.stem) for path in checkpoint.glob("*.npz") if path.stem.isdigit()]
