"""How long one waits: for the import, for a first number, and for a first picture.

python -m benchmarks.startup [--rounds=5] [--output=FILE.json]
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.common import in_turn, options, record, show, statistics

NUMBER = "import edgechaos as ec; print(ec.edge_of_chaos(1.5))"


def main() -> None:
    """Command line."""
    arguments = options("benchmarks.startup", __doc__, rounds=5).parse_args()
    with tempfile.TemporaryDirectory() as folder:

        def python(*line: str) -> None:
            subprocess.run([sys.executable, *line], check=True, capture_output=True)

        def picture() -> None:
            workdir = tempfile.mkdtemp(dir=folder)
            python("-m", "experiments.fig2", "--config=configs/fig2.py:digits", f"--workdir={workdir}")
            assert (Path(workdir) / "fig2.png").exists()

        seconds = in_turn(
            {
                "python alone": lambda: python("-c", "pass"),
                "import jax": lambda: python("-c", "import jax"),
                "import edgechaos": lambda: python("-c", "import edgechaos"),
                "first number, J of an edge": lambda: python("-c", NUMBER),
                "Fig. 2 of the digits, 200 epochs": picture,
            },
            arguments.rounds,
        )
    numbers = {f"{name}, s": statistics(values) for name, values in seconds.items()}
    show(numbers)
    record(arguments.output, {"numbers": numbers})


if __name__ == "__main__":
    main()
