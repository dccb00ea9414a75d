"""A process that has imported what experiments import, and forks for each command that it reads: python -m tests.warm.

A fork is a process as a user's is, with its own flags, files, signals and JAX, but without the seconds of the imports.
A line of JSON on standard input names module, arguments, and files for output and errors; the exit status is printed.
"""

import importlib
import json
import os
import runpy
import signal
import sys
from typing import Any

_IMPORTS = (
    *("experiments.shared.sweep", "edgechaos.runs.simulate", "edgechaos.diagnosis.guideline"),
    *("matplotlib.backends.backend_agg", "matplotlib.backends.backend_pdf"),
)
_LONGEST = 300  # seconds, after which the system ends a command


def serve() -> dict[str, Any]:
    """Answers commands until there are none; returns in each fork, with its command."""
    for name in _IMPORTS:
        importlib.import_module(name)
    for line in sys.stdin:
        if os.fork() == 0:
            return json.loads(line)
        _, status = os.wait()
        print(os.waitstatus_to_exitcode(status), flush=True)
    sys.exit()


def become(command: dict[str, Any]) -> None:
    """Turns this fork into `python -m MODULE ARGUMENTS`."""
    signal.alarm(_LONGEST)
    files = [os.open(os.devnull, os.O_RDONLY), *(os.open(command[name], os.O_WRONLY) for name in ("output", "errors"))]
    for number, descriptor in enumerate(files):
        os.dup2(descriptor, number)
    sys.argv[1:] = command["arguments"]
    runpy.run_module(command["module"], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    become(serve())
