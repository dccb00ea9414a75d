import ast
import importlib
import json
import re
from pathlib import Path

import pytest

from edgechaos import analysis
from edgechaos.files import read_npz
from edgechaos.runs.fields import fields_of
from experiments import fig1, fig2, fig7, ledger
from experiments.shared.claims import CLAIMS

ROOT = Path(__file__).parent.parent
README, RESULTS, CONFIG, INDEX = (
    (ROOT / path).read_text() for path in ("README.md", "docs/RESULTS.md", "docs/CONFIG.md", "docs/PAPER_TO_CODE.md")
)


def paper_index():
    """Rows of the table that leads from the paper to the code."""
    rows = [line for line in INDEX.splitlines() if line.startswith("|")]
    return [[cell.strip().strip("`") for cell in row.strip("|").split(" |")] for row in rows[2:]]


@pytest.mark.parametrize("row", paper_index(), ids=lambda row: row[0])
def test_paper_index_names_what_exists(row):
    _, function, test, config = row
    module, _, name = function.rpartition(".")
    assert callable(getattr(importlib.import_module(module), name))
    path, _, test_name = test.partition("::")
    tree = ast.parse((ROOT / path).read_text())
    assert test_name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert not config or (ROOT / config).is_file()


def test_every_config_field_is_in_the_table():
    listed = set(
        re.findall(r"`(\w+)`", "\n".join(row.split("|")[1] for row in CONFIG.splitlines() if row.startswith("|")))
    )
    assert listed == set().union(*(fields_of(module.Config) for module in (fig1, fig2, fig7)))


def test_claims_are_judged_as_in_the_ledger():
    for claim in CLAIMS:
        assert not claim.brief or ledger.brief_row(claim, ROOT / "results") in README


def test_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"`?make ([a-z]\w*)", README)):
        assert re.search(rf"^{target}:", makefile, re.M), target


@pytest.mark.parametrize("folder", ["fig1-scaled", "fig2", "fig6-scaled", "fig7"])
def test_quoted_results_are_those_committed(folder):
    """Every row of the figure's table quotes results/FOLDER/summary.json."""
    summary = json.loads((ROOT / "results" / folder / "summary.json").read_text())
    section = RESULTS.partition(f"## Fig. {folder[3]}:")[2].partition("\n##")[0]
    rows = re.findall(r"^\| .*?`([\w.-]+)` \| (\S+)(?: ± (\S+))? \| (\S+) \|", section, re.M)
    assert len(rows) >= 6
    for name, measured, spread, predicted in rows:
        pairs = [(measured, summary["measured"][name]), (predicted, summary["predicted"][name])]
        if spread:
            pairs.append((spread, summary["standard_deviation_over_seeds"][name]))
        for quoted, value in pairs:
            if quoted == "-":
                assert value is None
            else:
                digits = len(quoted.partition("e")[0].replace(".", "").lstrip("-0"))
                assert float(quoted) == pytest.approx(float(f"{value:.{max(digits, 1)}g}"), rel=1e-6), name


def rows_of_variants_benchmark():
    content = json.loads((ROOT / "results" / "bench" / "variants.json").read_text())
    for name, value in content["microseconds of a step's parts"].items():
        yield f"| {name} | {value:.0f} |"
    for name, n in content["seconds of an epoch"].items():
        yield f"| {name} | {n['median']:.2f} | {n['least']:.2f} to {n['most']:.2f} |"


def rows_of_quadrature_benchmark():
    content = json.loads((ROOT / "results" / "bench" / "quadrature.json").read_text())
    for name, errors in content["largest errors"].items():
        yield f"| {name} | {' | '.join(f'{error:.0e}' for error in errors.values())} |"


def rows_of_conversion_benchmark():
    content = json.loads((ROOT / "results" / "bench" / "conversion.json").read_text())
    for name, (left, expected, half, expected_half) in ((n, v.values()) for n, v in content["conventions"].items()):
        yield f"| {name} | {left:.4f} | {expected:.4f} | {half:.2f} | {expected_half:.2f} |"


BENCHMARKS = {
    "conversion": rows_of_conversion_benchmark,
    "variants": rows_of_variants_benchmark,
    "quadrature": rows_of_quadrature_benchmark,
}


@pytest.mark.parametrize("name", BENCHMARKS)
def test_quoted_timings_are_those_recorded(name):
    notes = (ROOT / "BUILD_NOTES.md").read_text()
    for row in BENCHMARKS[name]():
        assert row in notes, row


def rows_of_rivals():
    """The table of ways to choose weight decay."""
    for row in json.loads((ROOT / "results" / "rivals" / "summary.json").read_text())["rows"]:
        name = row["name"].replace("lambda =", "λ =")
        accuracy = f"{row['accuracy']:.4f} ± {row['accuracy_deviation']:.4f}"
        yield f"| {name} | {accuracy} | {row['loss']:.3f} | {row['j_squared']:.2f} | {row['cost']:,.0f} |"


def rows_of_deep():
    """The table of deep networks."""
    for row in json.loads((ROOT / "results" / "deep" / "summary.json").read_text())["rows"]:
        accuracy = f"{row['accuracy']:.4f} ± {row['accuracy_deviation']:.4f}"
        layers = ", ".join(f"{value:.2f}" for value in row["j_squared"])
        yield f"| {row['activation']} | {row['way']} | {accuracy} | {row['loss']:.3f} | {layers} | {row['cost']:,.0f} |"


def rows_of_theories():
    """The measured exponents; the row is named by the quantity."""
    found = json.loads((ROOT / "results" / "theories" / "summary.json").read_text())["measured"]
    for name in ("growth_exponent", "edge_exponent_rescaled", "loss_exponent_rescaled", "loss_exponent_epochs"):
        yield f"| {found[name]:.2f} ± {found[f'{name}_error']:.2f} |"


@pytest.mark.parametrize("rows", [rows_of_rivals, rows_of_deep, rows_of_theories])
def test_quoted_comparisons_are_those_recorded(rows):
    for row in rows():
        assert row in RESULTS, row


def test_committed_summary_follows_from_the_committed_history():
    folder = ROOT / "results" / "fig2"
    summary = json.loads((folder / "summary.json").read_text())
    measured = analysis.mean(analysis.measure(analysis.History(read_npz(folder / "history.npz"), 60_000)))
    for name, value in summary["measured"].items():
        assert measured[name] == pytest.approx(value, rel=1e-5), name
