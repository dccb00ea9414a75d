import ast
import importlib
import json
import re
from pathlib import Path

import pytest

from edgechaos import analysis
from edgechaos.files import read_npz
from edgechaos.runs.fields import fields_of
from experiments import fig1, fig2, fig7, pages

ROOT = Path(__file__).parent.parent
README, CONFIG, INDEX = ((ROOT / path).read_text() for path in ("README.md", "docs/CONFIG.md", "docs/PAPER_TO_CODE.md"))


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


def test_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"`?make ([a-z]\w*)", README)):
        assert re.search(rf"^{target}:", makefile, re.M), target


@pytest.mark.parametrize("page", pages.PAGES)
def test_pages_quote_what_is_recorded(page):
    text = (ROOT / page).read_text()
    assert pages.updated(page, text, ROOT / "results") == text, "give the command python -m experiments.pages"


def test_committed_summary_follows_from_the_committed_history():
    folder = ROOT / "results" / "fig2"
    summary = json.loads((folder / "summary.json").read_text())
    measured = analysis.mean(analysis.measure(analysis.History(read_npz(folder / "history.npz"), 60_000)))
    for name, value in summary["measured"].items():
        assert measured[name] == pytest.approx(value, rel=1e-5), name
