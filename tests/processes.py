"""Experiments as a user meets them: real processes in the root of the clone."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parent.parent


def command(name: str, workdir: Path, *arguments: str, config: str | None = None) -> list[str]:
    """The command line of an experiment, on the digits data unless a config is given."""
    config = config or f"configs/{name}.py:digits"
    return [sys.executable, "-m", f"experiments.{name}", f"--config={config}", f"--workdir={workdir}", *arguments]


def run(name: str, workdir: Path, *arguments: str, config: str | None = None) -> subprocess.CompletedProcess:
    """Runs an experiment to its end."""
    line = command(name, workdir, *arguments, config=config)
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=300)


def wait_for(condition: Callable[[], object], seconds: float = 120) -> None:
    """Waits until `condition()` holds, and fails if it never does."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def steps(checkpoint: Path) -> list[int]:
    """The complete checkpoints; one that is being written has a longer name."""
    return [int(path.name) for path in checkpoint.iterdir() if path.name.isdigit()] if checkpoint.exists() else []
