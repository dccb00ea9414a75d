"""edgechaos-report FILE: where each layer of a network stands in the order-chaos diagram, by its weights."""

import argparse
import json
from pathlib import Path
from typing import Any

from edgechaos.diagnosis.report import phase_report
from edgechaos.errors import use_any_encoding
from edgechaos.files import atomic_write
from edgechaos.theory.activations import ACTIVATIONS
from edgechaos.training.names import LAYOUTS

_PICTURES = (".png", ".pdf", ".svg")


def main(arguments: list[str] | None = None) -> None:
    """Command line; needs no package but those of the light installation, unless a picture is asked for."""
    parser = argparse.ArgumentParser("edgechaos-report", description=__doc__, allow_abbrev=False)
    parser.add_argument("file", type=Path, help=".npz, .safetensors, its index, .msgpack or a folder of Orbax")
    parser.add_argument("--activation", default="tanh", choices=ACTIVATIONS, help="what follows the kernels")
    parser.add_argument("--layout", default="by_name", choices=LAYOUTS, help="axes of kernels; PyTorch has out_in")
    parser.add_argument("--learning-rate", type=float, help="for eta / |W|^2 of kernels before a normalisation")
    parser.add_argument("--json", help="file to write the report to")
    parser.add_argument("--figure", help="picture to draw: .png, .pdf or .svg")
    given = parser.parse_args(arguments)
    try:
        options = {"layout": given.layout, "learning_rate": given.learning_rate}
        write_report(given.file, given.json, given.figure, activation=given.activation, **options)
    except (ValueError, ModuleNotFoundError) as error:
        parser.exit(2, f"error: {error}\n")


def write_report(params: Path, json_file: str | None, figure_file: str | None, **options: Any) -> None:
    """Prints a row for every array of a file; also writes the report for machines, and draws it, where asked to.

    Args:
      params: the file.
      json_file: to write.
      figure_file: likewise.
      options: of `phase_report`.

    Raises:
      ValueError: as in `phase_report`; a picture of another type.
      ModuleNotFoundError: a picture is asked for and there is no matplotlib.
    """
    if figure_file and Path(figure_file).suffix not in _PICTURES:
        raise ValueError(f"figure = '{figure_file}': must end in .png, .pdf or .svg")
    report = phase_report(params, **options)
    use_any_encoding()
    print(report)
    if json_file:
        text = json.dumps(report.to_dict(), indent=2, allow_nan=False) + "\n"
        atomic_write(Path(json_file), lambda file: file.write(text.encode()))
    if figure_file:
        from edgechaos import plotting  # matplotlib takes a second to import

        with plotting.figure(6, 4, params.name, Path(figure_file)) as figure:
            report.plot(figure.subplots())
