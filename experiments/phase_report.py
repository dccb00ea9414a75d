"""Where each layer of a network stands in the order-chaos diagram, from a file of its weights.

python -m experiments.phase_report --params=FILE.npz [--activation=relu] [--layout=out_in] [--figure=FILE.png]

Prints a row for every array, or why it was not judged; --json writes the same for machines, --figure the diagram.
"""

import json
from pathlib import Path

from absl import app, flags
from absl import logging as absl_logging

import edgechaos as ec
from edgechaos import plotting
from edgechaos.errors import UserError
from edgechaos.files import atomic_write
from edgechaos.theory.activations import ACTIVATIONS
from experiments.shared import cli

_PARAMS = flags.DEFINE_string(
    "params", None, "weights: .npz, .safetensors, its index, .msgpack or a folder of Orbax", required=True
)
_ACTIVATION = flags.DEFINE_enum("activation", "tanh", list(ACTIVATIONS), "what follows the kernels")
_LAYOUT = flags.DEFINE_enum("layout", "in_out", ["in_out", "out_in"], "axes of a kernel; PyTorch has out_in")
_JSON = flags.DEFINE_string("json", None, "file to write the report to")
_FIGURE = flags.DEFINE_string("figure", None, "picture to draw: .png, .pdf or .svg")


def main(arguments: list[str]) -> None:
    """Command line."""
    absl_logging.set_verbosity(absl_logging.ERROR)
    if len(arguments) > 1:
        cli.fail(f"unexpected argument '{arguments[1]}'; flags begin with --")
    if _FIGURE.value and Path(_FIGURE.value).suffix not in {".png", ".pdf", ".svg"}:
        cli.fail(f"figure = '{_FIGURE.value}': must end in .png, .pdf or .svg")
    try:
        report = ec.phase_report(_PARAMS.value, _ACTIVATION.value, layout=_LAYOUT.value)
        print(report)
        if _JSON.value:
            text = json.dumps(report.to_dict(), indent=2, allow_nan=False) + "\n"
            atomic_write(Path(_JSON.value), lambda file: file.write(text.encode()))
        if _FIGURE.value:
            with plotting.figure(6, 4, Path(_PARAMS.value).name, Path(_FIGURE.value)) as figure:
                report.plot(figure.subplots())
    except (UserError, ValueError) as error:
        cli.fail(error)


if __name__ == "__main__":
    app.run(main)
