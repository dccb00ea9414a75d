"""Where each layer of a network stands in the order-chaos diagram, from a file of its weights.

python -m experiments.phase_report --params=FILE.npz [--activation=relu] [--learning_rate=0.1] [--figure=FILE.png]

Prints a row for every array, or why it was not judged; --json writes the same for machines, --figure the diagram.
"""

from pathlib import Path

from absl import app, flags
from absl import logging as absl_logging

from edgechaos.diagnosis.command import write_report
from edgechaos.theory.activations import ACTIVATIONS
from edgechaos.training.names import LAYOUTS
from experiments.shared import cli

_PARAMS = flags.DEFINE_string(
    "params", None, "weights: .npz, .safetensors, its index, .msgpack or a folder of Orbax", required=True
)
_ACTIVATION = flags.DEFINE_enum("activation", "tanh", list(ACTIVATIONS), "what follows the kernels")
_LAYOUT = flags.DEFINE_enum("layout", "by_name", list(LAYOUTS), "axes of kernels; PyTorch has out_in")
_LEARNING_RATE = flags.DEFINE_float("learning_rate", None, "for eta / |W|^2 of kernels before a normalisation")
_JSON = flags.DEFINE_string("json", None, "file to write the report to")
_FIGURE = flags.DEFINE_string("figure", None, "picture to draw: .png, .pdf or .svg")


def main(arguments: list[str]) -> None:
    """Command line."""
    absl_logging.set_verbosity(absl_logging.ERROR)
    if len(arguments) > 1:
        cli.fail(f"unexpected argument '{arguments[1]}'; flags begin with --")
    try:
        options = {"layout": _LAYOUT.value, "learning_rate": _LEARNING_RATE.value}
        write_report(Path(_PARAMS.value), _JSON.value, _FIGURE.value, activation=_ACTIVATION.value, **options)
    except (ValueError, ModuleNotFoundError) as error:
        cli.fail(error)


if __name__ == "__main__":
    app.run(main)
