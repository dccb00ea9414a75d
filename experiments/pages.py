"""Numbers in the pages, from the recorded results: README.md, docs/RESULTS.md and BUILD_NOTES.md.

python -m experiments.pages [--results=results] [--pages=.]

Rewrites the verdicts in README, the tables, and the sentences of `experiments/shared/quotes.py`. A row of a table that
ends its first cell with the `name` of a number quotes the summary.json that the page links last before it. Everything
else in the pages stays as it is. A test says if a page is out of date.
"""

import argparse
import json
import operator
import re
import string
from pathlib import Path
from typing import Any

from edgechaos.errors import UserError
from edgechaos.files import atomic_write
from experiments import ledger
from experiments.shared.claims import CLAIMS
from experiments.shared.quotes import QUOTES, Quote, numbers
from experiments.shared.tables import RESULTS, TABLES

PAGES = ("README.md", *dict.fromkeys(table.page for table in TABLES))
_NUMBER = r"-?[\d.,]*\d(?:e-?\d+)?"
_ROW = re.compile(r"^\| (?P<text>.*`(?P<name>[\w.-]+)`) \| [^|]* \| [^|]* \|$")
_FOLDER = re.compile(r"results/([\w-]+)/summary\.json")


def updated(page: str, text: str, results: Path) -> str:
    """The text of a page with the numbers of the recorded results.

    Raises:
      UserError: a verdict, a table or a sentence is not in the page, or a quoted number is not recorded.
    """
    if page == "README.md":
        text = with_verdicts(text, results)
    if page == RESULTS:
        text = with_named_rows(text, results)
    for table in TABLES:
        if table.page == page and (results / table.source).is_file():
            content = json.loads((results / table.source).read_text())
            text = with_rows(text, table.header, list(table.rows(content)))
    found: dict[str, dict[str, float]] = {}
    for quote in QUOTES:
        if quote.page == page:
            if quote.folder not in found:
                found[quote.folder] = numbers(results / quote.folder)
            text = with_quote(text, quote, found[quote.folder])
    return text


def with_verdicts(text: str, results: Path) -> str:
    """README with the rows of the ledger."""
    for claim in CLAIMS:
        if claim.brief:
            row = re.compile(rf"^\| {re.escape(claim.brief)} \|.*$", re.MULTILINE)
            found = list(row.finditer(text))
            if len(found) != 1:
                raise UserError(f"README.md: must have one row for the claim '{claim.brief}'")
            text = text[: found[0].start()] + ledger.brief_row(claim, results) + text[found[0].end() :]
    return text


def with_named_rows(text: str, results: Path) -> str:
    """A page with the measured and the predicted number in each row that names one."""
    lines, summary = [], {}
    for line in text.splitlines():
        for folder in _FOLDER.findall(line):
            summary = json.loads((results / folder / "summary.json").read_text())
        row = _ROW.match(line)
        lines.append(named_row(row["text"], row["name"], summary) if row else line)
    return "\n".join(lines) + "\n"


def named_row(text: str, name: str, summary: dict[str, Any]) -> str:
    """One row: what the number is, as it was measured, with its standard deviation over the seeds, and predicted."""
    if name not in summary.get("measured", {}):
        raise UserError(f"{RESULTS}: `{name}` is not in the summary.json that is linked before it")
    measured, spread = summary["measured"][name], summary["standard_deviation_over_seeds"][name]
    deviation = f" ± {spread:.2g}" if spread else ""
    return f"| {text} | {shown(name, measured)}{deviation} | {shown(name, summary['predicted'][name])} |"


def shown(name: str, value: float | None) -> str:
    """A number with three digits, D with four, an accuracy with four decimals; '-' where there is none."""
    if value is None:
        return "-"
    if "accuracy" in name:
        return f"{value:.4f}"
    return f"{value:.4g}" if name == "constant_d" else f"{value:.3g}"


def with_rows(text: str, header: str, rows: list[str]) -> str:
    """A page with other rows below a table's header."""
    table = re.compile(rf"^({re.escape(header)}\n\|[ |-]*\|\n)(?:\|.*\n)*", re.MULTILINE)
    if len(table.findall(text)) != 1:
        raise UserError(f"'{header}': must be the header of one table")
    return table.sub(lambda match: match[1] + "".join(f"{row}\n" for row in rows), text)


def with_quote(text: str, quote: Quote, found: dict[str, float]) -> str:
    """A page with the numbers of one sentence."""
    parts = list(string.Formatter().parse(quote.text))
    pattern, values = "", []
    for literal, name, form, _ in parts:
        words = r"\s+".join(re.escape(word) for word in re.split(r"\s+", literal))
        pattern += f"({words})"
        if name is not None:
            values.append(format(found[name], form or ""))
            pattern += f"(?:{_NUMBER})"
    if len(re.findall(pattern, text)) != 1:
        raise UserError(f"{quote.page}: must have once the sentence '{quote.text}'")
    return re.sub(pattern, lambda match: _joined(match.groups(), values), text)


def _joined(literals: tuple[str, ...], values: list[str]) -> str:
    """Text and numbers in turn."""
    return "".join(literal + value for literal, value in zip(literals, [*values, ""], strict=False))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m experiments.pages", description=__doc__.partition("\n")[0])
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder with a work directory per figure")
    parser.add_argument("--pages", type=Path, default=Path(), help="folder with README.md, BUILD_NOTES.md and docs/")
    arguments = parser.parse_args()
    for page in PAGES:
        path = arguments.pages / page
        try:
            before = path.read_text()
            text = updated(page, before, arguments.results)
            if text != before:
                atomic_write(path, operator.methodcaller("write", text.encode()))
        except (UserError, OSError) as error:
            parser.error(str(error))
        print(f"{page}: {'rewritten' if text != before else 'up to date'}")


if __name__ == "__main__":
    main()
