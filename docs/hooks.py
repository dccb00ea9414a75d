"""Brings into the site what stands outside docs/, the script as a page, and formulas that need no script."""

import html
import re
from pathlib import Path
from typing import Any

from cells import SCRIPT, as_page  # this folder is on the path while mkdocs loads its hooks
from latex2mathml.converter import convert
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
_FOOT = "\n\n---\n\nWords and symbols are in the [glossary](GLOSSARY.md).\n"
_FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)


def on_files(files: Files, config: Any) -> Files:
    """Adds pictures and numbers of the results, the notes, the changelog, and the script."""
    results = [*ROOT.glob("results/*/*.png"), *ROOT.glob("results/**/*.json")]
    for path in sorted([*results, ROOT / "BUILD_NOTES.md", ROOT / "CHANGELOG.md"]):
        files.append(File.generated(config, str(path.relative_to(ROOT)), abs_src_path=str(path)))
    files.append(File.generated(config, "FIRST_EDGE.md", content=as_page(SCRIPT.read_text())))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Links as they are seen from the site, where all of this is one folder, and one to the glossary at the end."""
    foot = "" if page.file.src_path == "GLOSSARY.md" else _FOOT
    return markdown.replace("](../", "](").replace("](docs/", "](") + foot


def on_page_content(content: str, page: Page, **_: Any) -> str:
    """Formulas in MathML, which needs no script and nothing from another host."""
    where = page.file.src_path
    return _FORMULA.sub(lambda found: in_mathml(html.unescape(found[2]), found[1] == "div", where), content)


def in_mathml(formula: str, is_block: bool, where: str) -> str:
    """MathML of a formula in TeX; one with a command that the converter does not know ends the build."""
    converted = convert(formula, display="block" if is_block else "inline")
    if "\\" in converted:
        raise PluginError(f"{where}: the formula {formula!r} has a command that is not known")
    return converted
