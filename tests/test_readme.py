import ast
import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from edgechaos import analysis
from edgechaos.files import read_npz
from experiments import fig2

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_library_example_runs_from_an_empty_folder(tmp_path):
    (example,) = re.findall(r"```python\n(.*?)```", README, re.S)
    result = subprocess.run([sys.executable, "-c", example], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    ordered, edge, epochs = result.stdout.split()
    assert ordered == "True"
    assert float(edge) == 1
    assert float(epochs) == pytest.approx(55, abs=1)


def paper_index():
    """Rows of the table that leads from the paper to the code."""
    section = README.partition("## From the paper to the code")[2].partition("\n## ")[0]
    return [
        [cell.strip().strip("`") for cell in row.strip("|").split(" |")] for row in section.strip().splitlines()[2:]
    ]


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
    section = README.partition("## Config fields")[2].partition("\n## ")[0]
    listed = set(
        re.findall(r"`(\w+)`", "\n".join(row.split("|")[1] for row in section.splitlines() if row.startswith("|")))
    )
    assert listed == fig2.FIELDS.keys()


def test_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"`?make ([a-z]\w*)", README)):
        assert re.search(rf"^{target}:", makefile, re.M), target


def test_quoted_results_are_those_committed():
    """Every row of the table of results quotes results/fig2/summary.json."""
    summary = json.loads((ROOT / "results" / "fig2" / "summary.json").read_text())
    section = README.partition("## What was measured")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| .*?`(\w+)` \| (\S+) \| (\S+) \|", section, re.M)
    assert len(rows) >= 8
    for name, measured, predicted in rows:
        for quoted, value in ((measured, summary["measured"][name]), (predicted, summary["predicted"][name])):
            if quoted == "-":
                assert value is None
            else:
                digits = len(quoted.replace(".", "").lstrip("0"))
                assert float(quoted) == pytest.approx(float(f"{value:.{digits}g}"), rel=1e-6), (name, quoted, value)


def rows_of_epoch_benchmark():
    """The tables of BUILD_NOTES.md as the recorded benchmark gives them."""
    content = json.loads((ROOT / "results" / "bench" / "epoch.json").read_text())
    for name, n in content["seconds"].items():
        yield f"| {name} | {n['median']:.2f} | {n['least']:.2f} to {n['most']:.2f} |"
    for row in content["ratios"]:
        yield f"| {row['ratio']} | {row['median']:.2f} | {row['least']:.2f} to {row['most']:.2f} | {row['target']} |"


def rows_of_variants_benchmark():
    content = json.loads((ROOT / "results" / "bench" / "variants.json").read_text())
    for name, value in content["microseconds of a step's parts"].items():
        yield f"| {name} | {value:.0f} |"
    for name, n in content["seconds of an epoch"].items():
        yield f"| {name} | {n['median']:.2f} | {n['least']:.2f} to {n['most']:.2f} |"


def test_quoted_timings_are_those_recorded():
    notes = (ROOT / "BUILD_NOTES.md").read_text()
    for row in (*rows_of_epoch_benchmark(), *rows_of_variants_benchmark()):
        assert row in notes


def test_committed_summary_follows_from_the_committed_history():
    folder = ROOT / "results" / "fig2"
    summary = json.loads((folder / "summary.json").read_text())
    measured = analysis.mean(analysis.measure(read_npz(folder / "history.npz"), 60_000))
    for name, value in summary["measured"].items():
        assert measured[name] == pytest.approx(value, rel=1e-5), name
