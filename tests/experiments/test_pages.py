import json
import re
import subprocess
import sys

import pytest

from edgechaos.errors import UserError
from experiments import pages
from experiments.shared.quotes import Quote
from experiments.shared.tables import RESULTS, TABLES
from tests.processes import ROOT

SUMMARY = {
    "measured": {"slope_a": 0.01234, "best_accuracy": 0.91, "least": None},
    "standard_deviation_over_seeds": {"slope_a": 0.00056, "best_accuracy": None, "least": None},
    "predicted": {"slope_a": 0.0137, "best_accuracy": None, "least": None},
}


def recorded(folder):
    """Results of one figure."""
    (folder / "fig9").mkdir()
    (folder / "fig9" / "summary.json").write_text(json.dumps(SUMMARY))
    return folder


def test_named_rows_quote_the_summary_that_is_linked_before_them(tmp_path):
    before = """[results/fig9](../results/fig9/summary.json):

| quantity | measured | predicted |
| --- | --- | --- |
| slope \\|A\\|, `slope_a` | 1 | 2 |
| accuracy, `best_accuracy` | 0.5 ± 0.1 | - |
| what is not known, `least` | 3 | 4 |
"""
    after = pages.with_named_rows(before, recorded(tmp_path))
    assert after.splitlines()[4:] == [
        "| slope \\|A\\|, `slope_a` | 0.0123 ± 0.00056 | 0.0137 |",
        "| accuracy, `best_accuracy` | 0.9100 | - |",
        "| what is not known, `least` | - | - |",
    ]
    with pytest.raises(UserError, match="`slope_b` is not in the summary"):
        pages.with_named_rows(before.replace("slope_a", "slope_b"), tmp_path)


def test_results_page_has_a_row_of_every_figure():
    rows = re.findall(r"^\| .*`([\w.-]+)` \| [^|]* \| [^|]* \|$", (ROOT / RESULTS).read_text(), re.M)
    figures = {"agreement", "slope_a", "largest_deviation", "last_range", "eq_9", "exponent_at_edge"}
    beyond = {"verified_j_squared", "chi_without_decay"}
    assert figures | beyond <= set(rows)


def test_sentence_keeps_its_words_and_lines():
    quote = Quote(RESULTS, "fig9", "falls from {first:.1e} to {last:.2f}, in")
    found = {"first": -2.34e-5, "last": 7.0}
    text = "It falls\n  from 1,000.5 to -1e-05, in order. At 5 it falls."
    assert pages.with_quote(text, quote, found) == "It falls\n  from -2.3e-05 to 7.00, in order. At 5 it falls."
    for wrong in ("It rises.", text + text):
        with pytest.raises(UserError, match="must have once the sentence"):
            pages.with_quote(wrong, quote, found)


def test_rows_below_a_header_are_replaced_and_no_others():
    text = "| a | b |\n| --- | --- |\n| 1 | 2 |\n| 3 | 4 |\n\n| c |\n| --- |\n| 5 |\n"
    assert pages.with_rows(text, "| a | b |", ["| x | y |"]) == text.replace("| 1 | 2 |\n| 3 | 4 |", "| x | y |")
    with pytest.raises(UserError, match="must be the header of one table"):
        pages.with_rows(text, "| d |", [])


def test_every_verdict_must_be_in_the_readme():
    readme = (ROOT / "README.md").read_text()
    line = next(line for line in readme.splitlines() if line.startswith("| Fig. 1:"))
    wrong = readme.replace(line, re.sub("decided|reproduced|contradicted", "perhaps", line))
    assert pages.with_verdicts(wrong, ROOT / "results") == readme
    with pytest.raises(UserError, match="must have one row for the claim"):
        pages.with_verdicts(readme.replace(line + "\n", ""), ROOT / "results")


def test_command_rewrites_pages_and_says_what_it_misses(tmp_path):
    for page in pages.PAGES:
        path = tmp_path / page
        path.parent.mkdir(exist_ok=True)
        path.write_text((ROOT / page).read_text())
    stale = tmp_path / "BUILD_NOTES.md"
    stale.write_text(stale.read_text().replace("| tanh | ", "| tanh | 1"))
    command = [sys.executable, "-m", "experiments.pages", f"--pages={tmp_path}"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert "BUILD_NOTES.md: rewritten" in result.stdout, result.stderr
    assert stale.read_text() == (ROOT / "BUILD_NOTES.md").read_text()
    (tmp_path / RESULTS).write_text("nothing\n")
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 2
    assert f"'{TABLES[0].header}': must be the header of one table" in result.stderr
