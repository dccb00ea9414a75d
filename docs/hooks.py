"""Brings into the site what stands outside docs/, and the script as a page."""

from pathlib import Path
from typing import Any

from cells import SCRIPT, as_page  # this folder is on the path while mkdocs loads its hooks
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent


def on_files(files: Files, config: Any) -> Files:
    """Adds pictures and numbers of the results, the notes, the changelog, and the script."""
    results = [*ROOT.glob("results/*/*.png"), *ROOT.glob("results/**/*.json")]
    for path in sorted([*results, ROOT / "BUILD_NOTES.md", ROOT / "CHANGELOG.md"]):
        files.append(File.generated(config, str(path.relative_to(ROOT)), abs_src_path=str(path)))
    files.append(File.generated(config, "FIRST_EDGE.md", content=as_page(SCRIPT.read_text())))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Links as they are seen from the site, where all of this is one folder."""
    return markdown.replace("](../", "](").replace("](docs/", "](")
