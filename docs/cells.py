"""The cells of a script in jupytext's percent format, as a page of the site and as a notebook.

python docs/cells.py writes docs/first_edge.ipynb from docs/first_edge.py; a test says if the two differ.
"""

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

SCRIPT = Path(__file__).parent / "first_edge.py"
_CELL = re.compile(r"^# %%(.*)$", re.MULTILINE)


class Cell(NamedTuple):
    """Text without comment signs, or code."""

    is_text: bool
    source: str


def cells(script: str) -> list[Cell]:
    """The cells of a script, without its header."""
    _, *parts = _CELL.split(script)
    pairs = zip(parts[::2], parts[1::2], strict=True)
    return [
        Cell(True, re.sub(r"^# ?", "", text.strip(), flags=re.MULTILINE))
        if "markdown" in kind
        else Cell(False, text.strip())
        for kind, text in pairs
    ]


def as_page(script: str) -> str:
    """Markdown with the code in fences."""
    return "\n\n".join(cell.source if cell.is_text else f"```python\n{cell.source}\n```" for cell in cells(script))


def as_notebook(script: str) -> dict[str, Any]:
    """A notebook of format 4.5 without outputs, which jupytext keeps as the pair of the script."""
    return {
        "cells": [_as_cell(place, cell) for place, cell in enumerate(cells(script))],
        "metadata": {
            "jupytext": {"formats": "ipynb,py:percent"},
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def _as_cell(place: int, cell: Cell) -> dict[str, Any]:
    """One cell of a notebook."""
    common = {"id": f"cell-{place}", "metadata": {}, "source": cell.source.splitlines(keepends=True)}
    if cell.is_text:
        return {"cell_type": "markdown", **common}
    return {"cell_type": "code", "execution_count": None, "outputs": [], **common}


if __name__ == "__main__":
    text = json.dumps(as_notebook(SCRIPT.read_text()), indent=1, ensure_ascii=False)
    SCRIPT.with_suffix(".ipynb").write_text(text + "\n")
