"""Brings into the site what stands outside docs/, and the script as a page."""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent
_CELL = re.compile(r"^# %%(.*)$", re.MULTILINE)


def on_files(files: Files, config: Any) -> Files:
    """Adds pictures and numbers of the results, the notes, the changelog, and the script."""
    results = [*ROOT.glob("results/*/*.png"), *ROOT.glob("results/**/*.json")]
    for path in sorted([*results, ROOT / "BUILD_NOTES.md", ROOT / "CHANGELOG.md"]):
        files.append(File.generated(config, str(path.relative_to(ROOT)), abs_src_path=str(path)))
    page = as_page((ROOT / "docs" / "first_edge.py").read_text())
    files.append(File.generated(config, "FIRST_EDGE.md", content=page))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Links as they are seen from the site, where all of this is one folder."""
    return markdown.replace("](../", "](").replace("](docs/", "](")


def as_page(script: str) -> str:
    """Markdown of a script in jupytext's percent format."""
    _, *parts = _CELL.split(script)
    cells = zip(parts[::2], parts[1::2], strict=True)
    return "\n\n".join(
        re.sub(r"^# ?", "", text.strip(), flags=re.MULTILINE)
        if "markdown" in kind
        else f"```python\n{text.strip()}\n```"
        for kind, text in cells
    )
