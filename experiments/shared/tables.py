"""Tables of the pages whose rows follow from a file of recorded results."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

RESULTS, NOTES = "docs/RESULTS.md", "BUILD_NOTES.md"
Content = Mapping[str, Any]


class Table(NamedTuple):
    """The rows below a header.

    Attributes:
      page: the file that it is in.
      header: its first line.
      source: the file below results/ that the rows follow from.
      rows: content of that file -> lines of Markdown.
    """

    page: str
    header: str
    source: str
    rows: Callable[[Content], Iterator[str]]


def _rivals(summary: Content) -> Iterator[str]:
    """Ways to choose weight decay."""
    for row in summary["rows"]:
        name = row["name"].replace("lambda =", "λ =")
        accuracy = f"{row['accuracy']:.4f} ± {row['accuracy_deviation']:.4f}"
        yield f"| {name} | {accuracy} | {row['loss']:.3f} | {row['j_squared']:.2f} | {row['cost']:,.0f} |"


def _deep(summary: Content) -> Iterator[str]:
    """Deep networks."""
    for row in summary["rows"]:
        accuracy = f"{row['accuracy']:.4f} ± {row['accuracy_deviation']:.4f}"
        layers = ", ".join(f"{value:.2f}" for value in row["j_squared"])
        yield f"| {row['activation']} | {row['way']} | {accuracy} | {row['loss']:.3f} | {layers} | {row['cost']:,.0f} |"


def _profile(summary: Content) -> Iterator[str]:
    """Four deep networks, by the Jacobian and by the weights."""
    columns = ("start", "end", "weights_start", "weights_end", "accuracy")
    mean, deviation = summary["measured"], summary["standard_deviation_over_seeds"]
    for network in dict.fromkeys(name.rpartition(", ")[0] for name in mean):
        names = [f"{network}, {column}" for column in columns]
        digits = (2, 2, 2, 2, 3)
        cells = [f"{mean[name]:.{n}f} ± {deviation[name]:.{n}f}" for name, n in zip(names, digits, strict=True)]
        yield f"| {network} | {' | '.join(cells)} |"


def _surrogates(summary: Content) -> Iterator[str]:
    """What each surrogate keeps, and the exponents that are left of the trained kernel's."""
    of = {(row["kernel"], row["surrogate"]): row for row in summary["surrogates"]}
    for name in dict.fromkeys(name for _, name in of):
        early, late = of["epoch-200", name], of["epoch-500", name]
        exponents = (f"{row['exponent']:.3f} ± {row['exponent_deviation']:.3f}" for row in (early, late))
        place = f"{early['surrogate_j']:.2f} | {early['surrogate_size']:.0f}"
        yield f"| {early['keeps']} | {place} | {' | '.join(exponents)} |"


_THEORIES = (
    ("growth_exponent", "growth of J² without decay", "1", "2", "-"),
    ("edge_exponent_rescaled", "λ that ends at J² = 1, fixed rescaled epochs", "0", "-", "-"),
    ("loss_exponent_rescaled", "λ of least loss, fixed rescaled epochs", "0", "-", "-"),
    ("loss_exponent_epochs", "λ of least loss, fixed epochs", "-", "-", "-1"),
)


def _theories(summary: Content) -> Iterator[str]:
    """Exponents of the learning rate."""
    for name, *cells in _THEORIES:
        value, error = summary["measured"][name], summary["measured"][f"{name}_error"]
        yield f"| {' | '.join(cells)} | {value:.2f} ± {error:.2f} |"


def _step(content: Content) -> Iterator[str]:
    """Parts of a step, timed alone."""
    for name, value in content["microseconds of a step's parts"].items():
        yield f"| {name} | {value:.0f} |"


def _epoch(content: Content) -> Iterator[str]:
    """Ways to write an epoch."""
    for name, n in content["seconds of an epoch"].items():
        yield f"| {name} | {n['median']:.2f} | {n['least']:.2f} to {n['most']:.2f} |"


def _quadrature(content: Content) -> Iterator[str]:
    """Errors of quadrature rules."""
    for name, errors in content["largest errors"].items():
        yield f"| {name} | {' | '.join(f'{error:.0e}' for error in errors.values())} |"


def _conversion(content: Content) -> Iterator[str]:
    """Weight decay in the conventions of other libraries."""
    for name, (left, expected, half, expected_half) in ((n, v.values()) for n, v in content["conventions"].items()):
        yield f"| {name} | {left:.4f} | {expected:.4f} | {half:.2f} | {expected_half:.2f} |"


TABLES = (
    Table(RESULTS, "| way | test accuracy | test loss | J² at the end | epochs |", "rivals/summary.json", _rivals),
    Table(RESULTS, "| activation | way | accuracy | loss | J² of the layers | epochs |", "deep/summary.json", _deep),
    Table(
        RESULTS,
        "| what the surrogate keeps | J | N_eff | exponent, epoch 200 | exponent, epoch 500 |",
        "surrogates/summary.json",
        _surrogates,
    ),
    Table(
        RESULTS,
        "| network | χ, start | χ, end | χ of the weights, start | χ of the weights, end | test accuracy |",
        "profile/summary.json",
        _profile,
    ),
    Table(
        RESULTS,
        "| quantity | drift (the paper) | random walk | Wang and Aitchison | measured |",
        "theories/summary.json",
        _theories,
    ),
    Table(NOTES, "| part of a step at B = 32 | least of 7, microseconds |", "bench/variants.json", _step),
    Table(NOTES, "| way to write the epoch | median seconds | least to most |", "bench/variants.json", _epoch),
    Table(
        NOTES,
        "| integrand, width J sqrt(q0) | graded | Gauss-Hermite, 20 | Gauss-Hermite, 50 | Gauss-Hermite, 100 "
        "| Gauss-Hermite, 200 |",
        "bench/quadrature.json",
        _quadrature,
    ),
    Table(
        NOTES, "| optimizer | left | exp(-decay) | half-life, epochs | expected |", "bench/conversion.json", _conversion
    ),
)
