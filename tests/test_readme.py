import ast
import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from edgechaos.config import FIELDS
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
    assert listed == {*FIELDS, *fig2.FIELDS}


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
